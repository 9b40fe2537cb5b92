from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from index import build, manifest
from index.build import embed_missing, rebuild_index
from index.manifest import builder_lock, index_folder, read_manifest
from index.search import Searcher
from store.database import Database
from store.episodes import remove_episode
from store.errors import IndexUnavailable
from tests import talks


def found(database: Database, query: str) -> set[str]:
    searcher = Searcher(talks.settings(database.folder), database, talks.embedder())
    return {moment.episode_id for moment in searcher.search(query, limit=20).moments}


def test_following_the_log(database: Database) -> None:
    stage = talks.stage(database)
    bread = talks.add_talk(database, stage, "bread")
    first = stage.publish()
    assert (first.generation, first.parts) == (1, 1) and first.windows > 0
    assert stage.publish() == build.BuildReport(1, 0, 0, 1, first.windows, False)  # nothing new: nothing done
    sea = talks.add_talk(database, stage, "sea")
    second = stage.publish()
    assert (second.generation, second.parts) == (2, 2) and second.added_windows > 0
    assert found(database, "why is salt in the sea or in bread") == {bread, sea}
    with database.write() as connection:
        remove_episode(connection, sea)
    third = stage.publish()
    assert third.removed_ranges == 1
    assert found(database, "why is salt in the sea or in bread") == {bread}


def test_an_episode_transcribed_again_replaces_itself(database: Database) -> None:
    stage = talks.stage(database)
    talks.add_talk(database, stage, "bread")
    talks.add_talk(database, stage, "code")
    before = stage.publish().windows
    talks.add_talk(database, stage, "bread")
    stage.publish()
    searcher = Searcher(talks.settings(database.folder), database, talks.embedder())
    answer = searcher.search("how much salt does bread need", limit=50)
    assert len({(moment.episode_id, moment.start_s) for moment in answer.moments}) == len(answer.moments)
    assert rebuild_index(database, talks.settings(database.folder)).windows == before


def test_many_small_parts_are_merged(database: Database) -> None:
    stage = talks.stage(database)
    ids = set()
    for number in range(build.MANY_PARTS + 2):
        ids.add(talks.add_talk(database, stage, "code", guid=f"code-{number}"))
        report = stage.publish()
    assert report.parts < build.MANY_PARTS and report.merged
    assert report.windows == 1 * len(ids)
    listed = {part.name for part in read_manifest(index_folder(talks.settings(database.folder))).parts}
    names = {path.name for path in (database.folder / "index" / "parts").iterdir()}
    assert listed <= names  # those of the generation before stay for readers that are just opening it


def test_removing_most_of_it_merges(database: Database) -> None:
    stage = talks.stage(database)
    ids = [talks.add_talk(database, stage, name) for name in talks.TALKS]
    stage.publish()
    with database.write() as connection:
        remove_episode(connection, ids[0])
        remove_episode(connection, ids[1])
    assert stage.publish().merged
    assert read_manifest(database.folder / "index").removed == ()
    with database.write() as connection:
        remove_episode(connection, ids[2])
    assert stage.publish().windows == 0
    assert found(database, "anything") == set()


def test_a_lost_folder_is_rebuilt_without_embedding(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = talks.stage(database)
    ids = {talks.add_talk(database, stage, name) for name in talks.TALKS}
    stage.publish()
    shutil.rmtree(database.folder / "index")
    with pytest.raises(IndexUnavailable, match="reindex"):
        found(database, "salt")

    def refuse(texts: object) -> None:
        raise AssertionError("embedded again")

    embedder = talks.embedder()
    monkeypatch.setattr(embedder, "embed_passages", refuse)
    monkeypatch.setattr(build, "open_embedder", lambda settings: embedder)
    rebuild_index(database, talks.settings(database.folder))
    monkeypatch.undo()
    assert found(database, "salt water clock") == ids


def test_a_crash_leaves_the_old_generation(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = talks.stage(database)
    bread = talks.add_talk(database, stage, "bread")
    stage.publish()
    talks.add_talk(database, stage, "sea")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_manifest", crash)
    with pytest.raises(KeyboardInterrupt):
        stage.publish()
    monkeypatch.undo()
    assert found(database, "salt") == {bread}
    parts = database.folder / "index" / "parts"
    assert len(list(parts.iterdir())) == 2  # the orphan
    report = stage.publish()
    assert report.parts == 2 and len(list(parts.iterdir())) == 2


def test_another_model_builds_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = talks.stage(database)
    talks.add_talk(database, stage, "code")
    stage.publish()
    embedder = talks.embedder()
    monkeypatch.setattr(embedder, "name", "other@sha256:00000000")
    assert embed_missing(database, embedder) > 0
    report = stage.publish()
    assert report.merged and read_manifest(database.folder / "index").embedder == "other@sha256:00000000"


def test_damage_is_told(database: Database) -> None:
    stage = talks.stage(database)
    talks.add_talk(database, stage, "code")
    stage.publish()
    (part,) = (database.folder / "index" / "parts").iterdir()
    path = part / "dense.faiss"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1  # FAISS would read this without a word
    path.write_bytes(content)
    with pytest.raises(IndexUnavailable, match="checksum"):
        found(database, "salt")
    path.unlink()
    with pytest.raises(IndexUnavailable, match="missing"):
        found(database, "salt")
    (database.folder / "index" / "manifest.json").write_text("{")
    with pytest.raises(IndexUnavailable, match="manifest"):
        found(database, "salt")
    assert stage.publish().merged  # a builder does not need it
    assert found(database, "firmware")


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": manifest.FORMAT + 1}))
    with pytest.raises(IndexUnavailable, match="version"):
        read_manifest(tmp_path)


def test_one_builder_at_a_time(database: Database, tmp_path: Path) -> None:
    with builder_lock(tmp_path), pytest.raises(IndexUnavailable, match="another process"), builder_lock(tmp_path, wait_s=0.1):
        pass
    stages = [talks.stage(database) for _ in range(4)]
    for number, stage in enumerate(stages):
        talks.add_talk(database, stage, "code", guid=str(number))
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda stage: stage.publish(), stages))
    assert {report.windows for report in reports} == {reports[0].windows}
    assert max(report.generation for report in reports) == 1


def test_an_empty_catalogue_has_an_index(database: Database) -> None:
    assert talks.stage(database).publish().windows == 0
    assert found(database, "anything") == set()

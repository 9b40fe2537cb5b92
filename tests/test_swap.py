from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from index import swap
from index.build import IndexStage
from index.manifest import index_folder, read_manifest
from index.search import Searcher
from store.database import Database
from store.settings import Settings
from store.weights import find_embedder
from tests import talks


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM with two of its six layers: another model, with other vectors of the same length."""
    talks.embedder()
    source = find_embedder("all-MiniLM-L6-v2", talks.settings(Path("nowhere")))
    folder = tmp_path_factory.mktemp("models") / "two-layers"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "onnx"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    weights = load_file(source / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if not any(f"layer.{n}." in name for n in range(2, 6))},
        folder / "model.safetensors",
    )
    return folder


@pytest.fixture
def changed(database: Database, other_model: Path) -> Settings:
    """Settings that name another model than the catalogue's index was made with."""
    stage = talks.stage(database)
    for name in ("bread", "sea"):
        talks.add_talk(database, stage, name)
    stage.publish()
    return replace(talks.settings(database.folder), embedder=str(other_model))


def answers(searcher: Searcher) -> bool:
    """Ask what only meaning can answer; True if both sides did."""
    answer = searcher.search("hydrostatic squeeze deep beneath oceanic surfaces")
    return answer.degraded is None and bool(answer.moments)


def test_the_old_model_answers_until_the_new_one_has_read_everything(
    database: Database, changed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "AT_ONCE", 2)
    monkeypatch.setattr(swap, "EMBED_AT_ONCE", 3)
    folder = index_folder(changed)
    before = read_manifest(folder).embedder
    reader, old_reader = Searcher(changed, database), Searcher(talks.settings(database.folder), database)
    assert answers(reader) and answers(old_reader)
    stage = IndexStage(changed, database)
    newest = talks.add_talk(database, talks.stage(database), "code")  # committed by a worker that still has the old model
    stage.publish()
    assert read_manifest(folder).embedder == before and answers(reader)
    assert reader.search("oven firmware").moments[0].episode_id == newest
    said = []
    while done := stage.catch_up():
        said.append(done)
        assert answers(reader) and answers(old_reader)
    assert len(said) > 2 and "passages left" in said[0] and "the index is swapped" in said[-1]
    after = read_manifest(folder)
    assert after.embedder == stage.model != before and after.source == changed.embedder
    assert answers(reader) and answers(old_reader) and stage.catch_up() == ""
    assert reader.search("oven firmware").moments[0].episode_id == newest


def test_a_stop_in_the_middle_loses_one_batch(database: Database, changed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "EMBED_AT_ONCE", 2)
    first = IndexStage(changed, database).catch_up()
    again = IndexStage(changed, database).catch_up()  # another process, later
    left = [int(said.split(": ")[1].split()[0]) for said in (first, again)]
    assert left[1] == left[0] - 2


def test_one_process_at_a_time(database: Database, changed: Settings) -> None:
    with swap.builder_lock(index_folder(changed), name=swap.LOCK_NAME):
        assert IndexStage(changed, database).catch_up() == ""


def test_a_small_catalogue_is_swapped_at_once(database: Database, changed: Settings) -> None:
    stage = IndexStage(changed, database)
    stage.publish()
    assert read_manifest(index_folder(changed)).embedder == stage.model
    assert answers(Searcher(changed, database))


def test_a_model_that_is_gone_leaves_the_words(database: Database, changed: Settings, tmp_path: Path) -> None:
    away = tmp_path / "away"
    shutil.copytree(changed.embedder, away)
    IndexStage(replace(changed, embedder=str(away)), database).publish()
    shutil.rmtree(away)
    reader = Searcher(talks.settings(database.folder), database)
    assert reader.search("salty sea").degraded == "lexical"

"""A catalogue whose windows come and go while Qdrant (or the parts) finds them, and what is told when Qdrant fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from index import build, qdrant
from index.candidates import Finders
from index.columns import EpisodeFacts, window_rows
from index.generation import Readers
from index.health import check_index
from index.language import stem_hash, stems
from index.manifest import read_manifest
from index.qdrant import Collection, collection_name
from index.query import Filters
from index.search import Searcher
from store.database import Database
from store.episodes import remove_episode
from store.errors import IndexBusy, IndexUnavailable, SettingsError
from store.passages import passages_after
from store.records import Passage
from store.settings import Settings
from tests import talks
from tests.local_web import serve
from tests.spoken import FINDERS, ROOT, settings_of, stage_of

# --- what comes and goes ----------------------------------------------------------------------------------------------


@pytest.fixture(params=FINDERS)
def small(request: pytest.FixtureRequest, database: Database) -> SimpleNamespace:
    stage = stage_of(database, request.param)
    return SimpleNamespace(
        finder=request.param,
        database=database,
        stage=stage,
        settings=settings_of(request.param, database.folder),
        searcher=Searcher(settings_of(request.param, database.folder), database, talks.embedder()),
    )


def found(small: SimpleNamespace, query: str, **filters: Any) -> set[str]:
    answer = small.searcher.search(query, limit=50, filters=Filters(**filters))
    assert answer.degraded is None
    return {moment.episode_id for moment in answer.moments}


def there(small: SimpleNamespace) -> set[str]:
    """The episodes of all windows that can be found: the searcher folds what is said twice."""
    generation = Readers(small.database.folder / "index").current()
    vector = talks.embedder().embed_query("salt")
    places = Finders(small.settings).of(generation).by_meaning(generation, vector, Filters(), 1000)
    columns = [part.columns for part in generation.parts]
    return {columns[part].episodes[columns[part].episode[columns[part].window_row[window]]].id for part, window in places}


def in_step(small: SimpleNamespace) -> None:
    """In Qdrant there is what the store has, and nothing else; the parts have neither vectors nor words."""
    if small.finder == "parts":
        return
    manifest = read_manifest(small.database.folder / "index")
    passages = passages_after(small.database, 0)
    wanted = [passages[row].id for row, _ in window_rows(passages)]
    assert sorted(Collection(small.settings, manifest.collection).ids().tolist()) == wanted
    files = {Path(name).name for part in manifest.parts for name in part.files}
    assert not files & {"dense.faiss", "dense.json", "meta.json"} and (not manifest.parts or "stem_hashes.npy" in files)


def test_what_is_added_is_found_and_what_is_removed_is_not(small: SimpleNamespace) -> None:
    bread = talks.add_talk(small.database, small.stage, "bread")
    small.stage.publish()
    assert found(small, "why is salt in the sea or in bread") == {bread}
    sea = talks.add_talk(small.database, small.stage, "sea")
    small.stage.publish()
    in_step(small)
    assert found(small, "why is salt in the sea or in bread") == {bread, sea}
    talks.add_talk(small.database, small.stage, "sea")  # transcribed again
    small.stage.publish()
    in_step(small)
    assert found(small, "why is salt in the sea or in bread") == {bread, sea}
    with small.database.write() as connection:
        remove_episode(connection, sea)
    assert found(small, "why is salt in the sea") == {bread}  # before the index follows
    small.stage.publish()
    in_step(small)
    assert found(small, "salt") == {bread}
    assert small.stage.publish().added_windows == 0
    assert [check.ok for check in check_index(small.settings)][-1]


def test_a_crash_is_repaired_by_the_next_update(small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    bread = talks.add_talk(small.database, small.stage, "bread")
    small.stage.publish()
    assert found(small, "salt") == {bread}
    sea = talks.add_talk(small.database, small.stage, "sea")
    with small.database.write() as connection:
        remove_episode(connection, bread)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_manifest", crash)
    with pytest.raises(KeyboardInterrupt):
        small.stage.publish()
    monkeypatch.undo()
    assert found(small, "salt") == set()  # the new one is there and belongs to no generation
    small.stage.publish()
    in_step(small)
    assert found(small, "salt") == {sea}


def test_removed_windows_that_are_still_there_are_never_found(small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    sea = talks.add_talk(small.database, small.stage, "sea")
    others = {talks.add_talk(small.database, small.stage, "bread", guid=f"bread {number}") for number in range(4)}
    small.stage.publish()
    monkeypatch.setattr(Collection, "drop", lambda *_: None)
    monkeypatch.setattr(build._Builder, "merged", lambda _, parts, removed: (parts, False))
    with small.database.write() as connection:
        for episode_id in others:
            remove_episode(connection, episode_id)
    small.stage.publish()
    generation = Readers(small.database.folder / "index").current()
    finder = Finders(small.settings).of(generation)
    vector = talks.embedder().embed_query("how much salt goes into bread")
    assert len(finder.by_meaning(generation, vector, Filters(), 2)) == 2  # the removed ones are nearer
    assert found(small, "how much salt goes into the sea") == {sea}


def test_another_model_has_its_own_vectors(small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    talks.add_talk(small.database, small.stage, "code")
    small.stage.publish()
    before = read_manifest(small.database.folder / "index").collection
    monkeypatch.setattr(talks.embedder(), "name", "other@sha256:00000000")
    report = small.stage.publish()
    in_step(small)
    after = read_manifest(small.database.folder / "index").collection
    assert report.merged and found(small, "firmware")
    if small.finder == "qdrant":
        assert after != before and after.endswith("other-sha256-00000000")
        assert not Collection(small.settings, before).is_there()


def test_a_large_catalogue_is_built_in_pieces(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PIECE", 12)
    small = SimpleNamespace(finder="qdrant", database=database, stage=stage_of(database, "qdrant"))
    small.settings = settings_of("qdrant", database.folder)
    small.searcher = Searcher(small.settings, database, talks.embedder())
    ids = [talks.add_talk(database, small.stage, "bread", guid=f"bread {number}") for number in range(12)]
    sea = talks.add_talk(database, small.stage, "sea")
    small.stage.publish()
    in_step(small)
    pieces = read_manifest(database.folder / "index").parts
    assert len(pieces) > 3 and all(12 <= part.passages < 24 for part in pieces[:-1])
    assert there(small) == {*ids, sea}
    for number in range(12):
        ids.append(talks.add_talk(database, small.stage, "code", guid=f"code {number}"))
        small.stage.publish()
        in_step(small)
    kept = read_manifest(database.folder / "index").parts
    assert kept[: len(pieces) - 1] == pieces[:-1] and len(kept) < len(pieces) + build.MANY_PARTS + 2
    with database.write() as connection:
        for episode_id in ids[:4]:
            remove_episode(connection, episode_id)
    assert small.stage.publish().merged
    in_step(small)
    after = read_manifest(database.folder / "index")
    assert after.parts[-2:] == kept[-2:] and after.removed == ()
    assert there(small) == {*ids[4:], sea}


def test_an_index_moves_in_and_out(database: Database) -> None:
    stage = stage_of(database, "parts")
    bread = talks.add_talk(database, stage, "bread")
    stage.publish()
    there = SimpleNamespace(finder="qdrant", database=database, stage=stage_of(database, "qdrant"))
    there.settings = settings_of("qdrant", database.folder)
    there.searcher = Searcher(there.settings, database, talks.embedder())
    assert found(there, "salt") == {bread}  # the index is still here
    assert check_index(there.settings)[-1].found == "the index is on this machine still"
    there.stage.publish()
    in_step(there)
    assert found(there, "salt") == {bread}
    here = Searcher(settings_of("parts", database.folder), database, talks.embedder())
    with pytest.raises(IndexUnavailable, match=r"EARMARK_QDRANT.*reindex"):
        here.search("salt")
    assert not check_index(settings_of("parts", database.folder))[-1].ok
    stage.publish()
    assert here.search("salt").moments


def test_a_lost_collection_is_filled_again(database: Database) -> None:
    small = SimpleNamespace(finder="qdrant", database=database, stage=stage_of(database, "qdrant"))
    small.settings = settings_of("qdrant", database.folder)
    bread = talks.add_talk(database, small.stage, "bread")
    small.stage.publish()
    Collection(small.settings, read_manifest(database.folder / "index").collection).delete()
    small.searcher = Searcher(small.settings, database, talks.embedder())
    with pytest.raises(IndexUnavailable, match="reindex"):
        small.searcher.search("salt")
    small.stage.publish()
    in_step(small)
    assert found(small, "salt") == {bread}
    shutil.rmtree(database.folder / "index")
    small.stage.publish()
    in_step(small)
    assert found(small, "salt") == {bread}


# --- what fails -------------------------------------------------------------------------------------------------------


def test_one_side_answers_when_the_other_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(database, "qdrant")
    sea = talks.add_talk(database, stage, "sea")
    stage.publish()
    searcher = Searcher(settings_of("qdrant", database.folder), database, talks.embedder())

    def fail(*_: object, **__: object) -> None:
        raise IndexBusy("Qdrant does not answer (a test)", next_step="See whether it runs: earmark doctor")

    monkeypatch.setattr(Collection, "by_vector", fail)
    answer = searcher.search("why is the sea salty")
    assert answer.degraded == "lexical" and answer.moments[0].episode_id == sea
    monkeypatch.undo()
    monkeypatch.setattr(Collection, "by_stems", fail)
    answer = searcher.search("why is the sea salty")
    assert answer.degraded == "dense" and answer.moments[0].episode_id == sea
    monkeypatch.setattr(Collection, "by_vector", fail)
    with pytest.raises(IndexUnavailable, match="Qdrant does not answer"):
        searcher.search("why is the sea salty")


@pytest.mark.filterwarnings("ignore:Api key is used")
@pytest.mark.parametrize(("status", "says"), [(401, "API_KEY"), (404, "reindex"), (400, "refuses"), (503, "does not answer")])
def test_a_server_that_refuses_is_told_in_a_sentence(status: int, says: str) -> None:
    with serve() as web:
        name = collection_name("0", "model@sha256:1")
        web.pages[f"/collections/{name}/exists"] = (b'{"status": {"error": "no"}}', "application/json", status)
        given = Settings(qdrant=web.link(""), qdrant_api_key="a secret key")
        with pytest.raises(IndexUnavailable, match=says) as told:
            Collection(given, name).is_there()
        assert not any(part in str(told.value) for part in ("secret", "127.0.0.1", "\n"))
        assert told.value.permanent == (status != 503)
        assert web.seen[0][1]["api-key"] == "a secret key"


def test_what_a_server_is_sent() -> None:
    """No server could be tried here: this holds the requests to the documented ones."""
    seen: list[tuple[str, str, Any]] = []

    class Server(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
            seen.append((self.command, self.path.split("?")[0].removeprefix("/collections/talks"), sent))
            result: Any = {"operation_id": 1, "status": "completed"}
            if self.path.endswith("/exists"):
                result = {"exists": False}
            elif self.command == "PUT" and self.path.endswith("/talks"):
                result = True
            elif self.path.split("?")[0].endswith("/query"):
                result = {"points": [{"id": 7, "version": 0, "score": 0.5}]}
            body = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collection = Collection(Settings(qdrant=f"http://127.0.0.1:{server.server_port}"), "talks")
    facts = EpisodeFacts("e1", "s1", "2026-02-03", "A talk", "A show")
    sentences = ["It's the sea.", "Salt stays behind."]
    passages = [Passage("e1", n, 0, 9, text, f"h{n}", (), ("Ada  GREEN",), "en", n + 5) for n, text in enumerate(sentences)]
    vectors = np.eye(2, 4, dtype=np.float32)
    collection.make(4)
    collection.put(passages, vectors, {"e1": facts})
    collection.drop([(5, 6)])
    filters = Filters(("s1",), ("e1",), ("ada green",), ("EN",), "2026-01-01", "2026-12-31")
    ids, scores = collection.by_stems({3: 1.5, 9: 0.5}, [("it's", "the")], filters, 10)
    assert (ids.tolist(), scores.tolist()) == ([7], [0.5])
    collection.by_vector(vectors[0], Filters(), 10, among=[7, 8])
    server.shutdown()

    made = next(sent for method, path, sent in seen if (method, path) == ("PUT", ""))
    assert made["vectors"]["meaning"] == {
        "size": 4,
        "distance": "Dot",
        "on_disk": True,
        "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
    }
    assert list(made["sparse_vectors"]) == ["words"] and made["on_disk_payload"] is True
    fields = {sent["field_name"]: sent["field_schema"] for _, path, sent in seen if path == "/index"}
    assert fields == {
        **dict.fromkeys(("show", "episode", "speaker", "language"), "keyword"),
        "day": "integer",
        "said": {"type": "text", "tokenizer": "whitespace", "phrase_matching": True, "on_disk": True},
    }
    (point,) = next(sent for method, path, sent in seen if (method, path) == ("PUT", "/points"))["points"]
    assert point["id"] == 5 and point["vector"]["meaning"] == [0.707107, 0.707107, 0.0, 0.0]
    hashes = {stem_hash(stem) for text in sentences for stem in stems(text, "en")}
    assert set(point["vector"]["words"]["indices"]) == hashes and min(point["vector"]["words"]["values"]) > 0
    said = "itʼs the sea salt stays behind"
    day = (date(2026, 2, 3) - date(1970, 1, 1)).days
    assert point["payload"] == {
        "show": "s1", "episode": "e1", "speaker": ["ada green"], "language": "en", "said": said, "day": day,
    }  # fmt: skip
    assert next(sent for _, path, sent in seen if path == "/points/delete")["points"] == [5, 6]
    words_query, meaning_query = (sent for _, path, sent in seen if path == "/points/query")
    assert words_query["query"]["nearest"] == {"indices": [3, 9], "values": [1.5, 0.5]} and words_query["using"] == "words"
    assert words_query["filter"]["must"] == [
        {"key": "episode", "match": {"any": ["e1"]}},
        {"key": "show", "match": {"any": ["s1"]}},
        {"key": "speaker", "match": {"any": ["ada green"]}},
        {"key": "language", "match": {"any": ["en"]}},
        {"key": "day", "range": {"gte": 20454, "lte": 20818}},
        {"key": "said", "match": {"phrase": "itʼs the"}},
    ]
    assert meaning_query["filter"]["must"] == [{"has_id": [7, 8]}]
    assert meaning_query["params"]["quantization"] == {"rescore": True, "oversampling": 2.0}


def test_a_server_that_is_not_there_is_told(database: Database) -> None:
    stage = stage_of(database, "qdrant")
    talks.add_talk(database, stage, "sea")
    stage.publish()
    away = replace(settings_of("qdrant", database.folder), qdrant="http://127.0.0.1:9")
    with pytest.raises(IndexUnavailable, match="Qdrant does not answer"):
        Searcher(away, database, talks.embedder()).search("why is the sea salty")
    assert "does not answer" in check_index(away)[-1].found


def test_another_process_in_the_folder_is_told(tmp_path: Path) -> None:
    program = (
        "import sys; from index.qdrant_door import open_door; from store.settings import Settings;"
        f"open_door(Settings(qdrant={str(tmp_path / 'qdrant')!r})); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        with pytest.raises(IndexUnavailable, match=r"another process.*server"):
            Collection(Settings(qdrant=str(tmp_path / "qdrant")), "x").is_there()
        other.communicate("")


def test_a_missing_extra_is_one_sentence(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant, "find_spec", lambda _: None)
    with pytest.raises(
        SettingsError, match=r"EARMARK_QDRANT: Qdrant's client is not installed. Run: pip install 'earmark\[qdrant\]'"
    ):
        Searcher(settings_of("qdrant", database.folder), database, talks.embedder())
    Searcher(settings_of("parts", database.folder), database, talks.embedder())
    program = (
        f"import sys; sys.modules['qdrant_client'] = None; sys.argv[1:] = ['search', 'salt', '--data', {str(database.folder)!r}];"
        "import cli; cli.main()"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "", "EARMARK_QDRANT": "http://127.0.0.1:9", "HOME": str(database.folder)},
    )
    assert told.returncode == 1 and "pip install 'earmark[qdrant]'" in told.stderr and "Traceback" not in told.stderr


def test_the_app_searches_with_it(database: Database) -> None:
    from fastapi.testclient import TestClient

    from ui.web import create_app

    stage = stage_of(database, "qdrant")
    sea = talks.add_talk(database, stage, "sea")
    stage.publish()
    app = create_app(replace(settings_of("qdrant", database.folder), rate_limit_per_minute=0))
    with TestClient(app) as client:
        answer = client.get("/api/search", params={"q": "why is the sea salty"}).json()
    assert answer["degraded"] is None and answer["moments"][0]["episode_id"] == sea


def test_turned_off_it_is_not_even_imported() -> None:
    program = (
        "import sys, index.search, index.build, index.health;"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('qdrant_client', 'grpc')))"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

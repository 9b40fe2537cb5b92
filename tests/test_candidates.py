"""The contract of those who find candidates, held to the parts (FAISS and tantivy) and to Qdrant (its client's local mode)."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bench.search_data import read_windows
from index import build, qdrant
from index.candidates import Finder, Finders
from index.columns import EpisodeFacts, window_rows
from index.generation import Generation, Readers
from index.health import check_index
from index.language import stem_hash, stems, words
from index.lexical import LexicalQuery
from index.manifest import read_manifest
from index.qdrant import Collection, collection_name
from index.query import Filters, fold_name, parse_query
from index.ranker import Counts, Place, bm25, count_terms, lexical_scores
from index.search import Searcher
from store.database import Database
from store.episodes import get_episode, remove_episode, save_episode, save_show, set_transcript
from store.errors import IndexBusy, IndexUnavailable, SettingsError
from store.passages import passages_after, replace_passages, save_vectors
from store.records import Episode, EpisodeListing, Passage, Segment, ShowListing, TranscriptHead
from store.settings import Settings
from store.transcripts import save_transcript
from tests import talks
from tests.local_web import serve

ROOT = Path(__file__).parents[1]
FINDERS = ("parts", "qdrant")
JUDGED_TALKS, JUDGED_SEGMENTS = 6, 40
GERMAN = (
    "Warum ist das Meer salzig? Der Regen löst Salze aus dem Gestein, und die Flüsse tragen sie ins Meer. Das Wasser verdunstet, "
    "das Salz bleibt zurück. So wird das Meer seit Milliarden Jahren ein wenig salziger. "
)
QUERIES = (
    "why are there two high tides a day",
    "what do bees do in winter",
    "who invented the shipping container",
    "the rings of a lighthouse lens",
    "why is the sea salty",
    "flour and water",
    "how a piano is tuned",
    "it is the o'clock",
    "Salz im Meer",
)


@dataclass(frozen=True)
class Talk:
    show: str
    title: str
    published: str
    language: str
    said: list[tuple[str | None, str]]


def sample_talks() -> Iterator[Talk]:
    """The project's own samples, with two speakers each; a German talk, and one without a date."""
    for number, path in enumerate(sorted((ROOT / "samples").glob("*.txt"))):
        paragraphs = path.read_text(encoding="utf-8").split("\n\n")
        said: list[tuple[str | None, str]] = [
            (("Ada Green", "Ben Brown", None)[(number + n) % 3], p) for n, p in enumerate(paragraphs)
        ]
        yield Talk(f"Show {number % 3}", path.stem, f"2026-0{1 + number % 5}-1{number}", "en", said)
    yield Talk("Show 0", "Salziges Meer", "2026-02-01", "de", [("Cleo", GERMAN * 12)])
    yield Talk("Show 1", "An old tape", "", "en", [("ADA  green", "Nobody knows when this was said. " * 12)])


def judged_talks(shared: Path) -> Iterator[Talk]:
    """Talks of the retrieval set, the first of a few shows, cut short."""
    seen: set[str] = set()
    with gzip.open(shared / "retrieval" / "episodes.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        for episode in map(json.loads, file):
            if episode["show"] in seen:
                continue
            seen.add(episode["show"])
            said = [(segment.get("speaker"), segment["text"]) for segment in episode["segments"][:JUDGED_SEGMENTS]]
            yield Talk(episode["show"], episode["title"], episode["date"] or "", "en", said)


def add(database: Database, stage: build.IndexStage, talk: Talk) -> str:
    segments, start_s = [], 0.0
    for speaker, text in talk.said:
        end_s = start_s + 0.4 * len(text.split())
        segments.append(Segment(start_s, end_s, text, speaker=speaker, language=talk.language))
        start_s = end_s
    show = ShowListing(link=f"https://example.org/{talk.show}", kind="feed", title=talk.show, episodes=())
    listing = EpisodeListing(talk.title, talk.title, f"https://example.org/{talk.title}.mp3", published=talk.published)
    with database.write() as connection:
        episode_id, _ = save_episode(connection, save_show(connection, show), listing)
    passages, vectors = stage.prepare(episode_id, segments, talk.language)
    with database.write() as connection:
        save_vectors(connection, stage.model, vectors)
        head = TranscriptHead("sidecar", language=talk.language)
        set_transcript(connection, episode_id, save_transcript(connection, head, segments, None))
        replace_passages(connection, episode_id, passages)
    return episode_id


def settings_of(finder: str, folder: Path) -> Settings:
    given = talks.settings(folder)
    return replace(given, qdrant=str(folder / "qdrant")) if finder == "qdrant" else given


def stage_of(database: Database, finder: str) -> build.IndexStage:
    stage = build.IndexStage(settings_of(finder, database.folder), database)
    stage._embedder = talks.embedder()
    return stage


@dataclass(frozen=True)
class Spoken:
    """A catalogue, who finds its windows, and the truth about each of them, worked out from the store."""

    database: Database
    settings: Settings

    @cached_property
    def generation(self) -> Generation:
        return Readers(self.settings.data_dir / "index").current()

    @cached_property
    def finder(self) -> Finder:
        return Finders(self.settings).of(self.generation)

    @cached_property
    def searcher(self) -> Searcher:
        return Searcher(self.settings, self.database, talks.embedder())

    @cached_property
    def windows(self) -> dict[int, tuple[Passage, ...]]:
        passages = passages_after(self.database, 0)
        return {passages[row].id: tuple(passages[row : row + count]) for row, count in window_rows(passages)}

    @cached_property
    def episodes(self) -> dict[str, Episode]:
        return {spoken[0].episode_id: get_episode(self.database, spoken[0].episode_id) for spoken in self.windows.values()}

    @cached_property
    def vectors(self) -> dict[int, np.ndarray]:
        ids, _, vectors = read_windows(self.database, talks.embedder().name)
        return dict(zip(ids, vectors, strict=True))

    def passing(self, filters: Filters) -> set[int]:
        return {key for key, spoken in self.windows.items() if passes(spoken, self.episodes[spoken[0].episode_id], filters)}

    def ids(self, places: Any) -> list[int]:
        columns = [part.columns for part in self.generation.parts]
        return [int(columns[part].ids[columns[part].window_row[position]]) for part, position in places]

    @cached_property
    def places(self) -> list[Place]:
        return [(n, w) for n, part in enumerate(self.generation.parts) for w in range(part.columns.windows)]

    def asked(self, text: str) -> tuple[LexicalQuery, Counts]:
        parsed = parse_query(text)
        terms = tuple(self.generation.stems(word) for word in parsed.words)
        return LexicalQuery(terms, parsed.phrases), count_terms(self.generation.parts, terms)

    def by_words(self, text: str, filters: Filters = Filters(), limit: int = 100) -> list[Place]:
        asked, counts = self.asked(text)
        return self.finder.by_words(self.generation, asked, counts, filters, limit)

    def by_meaning(self, text: str, filters: Filters = Filters(), limit: int = 100, among: Any = None) -> dict[Place, float]:
        return self.finder.by_meaning(self.generation, talks.embedder().embed_query(text), filters, limit, among)


def passes(spoken: tuple[Passage, ...], episode: Episode, filters: Filters) -> bool:
    """What the filters promise, in plain words."""
    speakers = {fold_name(name) for passage in spoken for name in passage.speakers}
    return (
        (not filters.episode_ids or episode.id in filters.episode_ids)
        and (not filters.show_ids or episode.show_id in filters.show_ids)
        and (not filters.speakers or bool(speakers & {fold_name(name) for name in filters.speakers}))
        and (not filters.languages or (spoken[0].language or "") in {name.lower() for name in filters.languages})
        and (not filters.since or (bool(episode.published) and episode.published[:10] >= filters.since))
        and (not filters.until or (bool(episode.published) and episode.published[:10] <= filters.until))
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """One store with real vectors, from which each finder's index is built."""
    database = Database.in_folder(tmp_path_factory.mktemp("spoken"))
    stage = stage_of(database, "parts")
    shared = ROOT.parent / "shared"
    judged = list(itertools.islice(judged_talks(shared), JUDGED_TALKS)) if (shared / "retrieval").is_dir() else []
    for talk in (*sample_talks(), *judged):
        add(database, stage, talk)
    return database


def indexed(source: Database, finder: str, folder: Path) -> Spoken:
    source.read().execute("vacuum into ?", (str(folder / source.path.name),))
    database = Database.in_folder(folder)
    stage_of(database, finder).publish()
    return Spoken(database, settings_of(finder, folder))


@pytest.fixture(scope="module", params=FINDERS)
def spoken(request: pytest.FixtureRequest, source: Database, tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    return indexed(source, request.param, tmp_path_factory.mktemp(request.param))


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES)
def test_the_nearest_are_those_of_brute_force(spoken: Spoken, query: str) -> None:
    vector = talks.embedder().embed_query(query)
    truth = sorted(((float(window @ vector), key) for key, window in spoken.vectors.items()), reverse=True)
    found = sorted(spoken.by_meaning(query, limit=20).items(), key=lambda item: -item[1])[:20]
    assert len(set(spoken.ids([place for place, _ in found])) & {key for _, key in truth[:20]}) >= 19
    for (_, score), (cosine, _) in zip(found, truth, strict=False):
        assert score == pytest.approx(cosine, abs=3e-3)


@pytest.mark.parametrize("query", QUERIES)
def test_words_pick_what_bm25_puts_first(spoken: Spoken, query: str) -> None:
    _, counts = spoken.asked(query)
    places = spoken.by_words(query, limit=100)
    everywhere = dict(zip(spoken.places, bm25(spoken.generation.parts, spoken.places, counts).tolist(), strict=True))
    best = sorted((place for place in everywhere if everywhere[place] > 0), key=lambda place: -everywhere[place])[:10]
    assert set(places) >= set(best)
    assert len(set(places[:10]) & set(best)) >= 0.7 * len(best)  # by its own order
    scores = lexical_scores(spoken.generation.parts, places, counts)
    assert (scores > 0).all()


def test_both_find_the_same_through_the_searcher(source: Database, tmp_path: Path) -> None:
    answers = []
    for name in FINDERS:
        (tmp_path / name).mkdir()
        searcher = indexed(source, name, tmp_path / name).searcher
        found = [searcher.search(query, limit=5) for query in (*QUERIES, '"two high tides"', '"the sea" salt', '"tides high"')]
        assert all(answer.degraded is None for answer in found)
        answers.append([[(moment.episode_id, moment.start_s) for moment in answer.moments] for answer in found])
    assert answers[0] == answers[1]
    assert sum(map(len, answers[0])) >= 20 and answers[0][-1] == []


def test_judged_questions_find_the_same(source: Database, shared: Path, tmp_path: Path) -> None:
    titles = {row["title"] for row in source.read().execute("select title from episode")}
    with gzip.open(shared / "retrieval" / "episodes.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        here = {episode["id"] for episode in map(json.loads, file) if episode["title"] in titles}
    with gzip.open(shared / "retrieval" / "queries.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        queries = [query["text"] for query in map(json.loads, file) if query["episode"] in here][:25]
    assert queries
    firsts = []
    for name in FINDERS:
        (tmp_path / name).mkdir()
        searcher = indexed(source, name, tmp_path / name).searcher
        firsts.append([[(m.episode_id, m.start_s) for m in searcher.search(query, limit=1).moments] for query in queries])
    assert sum(one == other for one, other in zip(*firsts, strict=True)) >= len(queries) - 1  # fp16 vectors may swap a tie


def test_phrases_are_exact(spoken: Spoken) -> None:
    for phrase in ("two high tides", "the sea", "o'clock", "carries", "high two tides", "there is only one moon"):
        said = tuple(words(phrase))
        truth = {
            key
            for key, window in spoken.windows.items()
            if any(
                said == tuple(passed[n : n + len(said)])
                for passed in [[word for passage in window for word in words(passage.text)]]
                for n in range(len(passed))
            )
        }
        assert set(spoken.ids(spoken.by_words(f'"{phrase}"', limit=2000))) == truth, phrase


def test_meaning_among_some_windows_only(spoken: Spoken) -> None:
    some = spoken.places[::7]
    found = spoken.by_meaning("why is the sea salty", limit=1000, among=some)
    assert set(found) == set(some)
    assert spoken.by_meaning("why is the sea salty", among=[]) == {}


def test_counts_of_stems_are_exact(spoken: Spoken) -> None:
    said = [{stem for passage in window for stem in stems(passage.text, passage.language)} for window in spoken.windows.values()]
    for stem in ("sea", "the", "lighthous", "salz", "xylophon"):
        assert sum(part.count(stem) for part in spoken.generation.parts) == sum(stem in window for window in said), stem


def test_words_that_nobody_said_find_nothing(spoken: Spoken) -> None:
    assert spoken.by_words("xylophonic quizzaciously") == []
    assert spoken.by_words("") == []


# --- filters ----------------------------------------------------------------------------------------------------------


def check_filters(spoken: Spoken, filters: Filters) -> None:
    truth = spoken.passing(filters)
    assert set(spoken.ids(spoken.by_meaning("the sea", filters, limit=5000))) == truth
    stemmed = {stem_hash(stem) for word in ("the", "das") for stem in spoken.generation.stems(word)}
    saying = {
        key
        for key in truth
        if stemmed & {stem_hash(stem) for passage in spoken.windows[key] for stem in stems(passage.text, passage.language)}
    }
    assert set(spoken.ids(spoken.by_words("the das", filters, limit=5000))) == saying
    few = spoken.by_meaning("the sea", filters, limit=3)
    assert set(spoken.ids(few)) <= truth and len(few) >= min(3, len(truth))


def test_every_filter_is_exact(spoken: Spoken) -> None:
    shows = sorted({episode.show_id for episode in spoken.episodes.values()})
    episodes = sorted(spoken.episodes)
    cases = [
        Filters(),
        Filters(show_ids=(shows[0],)),
        Filters(show_ids=tuple(shows[:2])),
        Filters(show_ids=("nowhere",)),
        Filters(episode_ids=(episodes[0], episodes[3])),
        Filters(speakers=("ada green",)),
        Filters(speakers=("BEN   Brown", "cleo")),
        Filters(speakers=("nobody",)),
        Filters(languages=("de",)),
        Filters(languages=("DE", "EN")),
        Filters(languages=("fr",)),
        Filters(since="2026-03-01"),
        Filters(until="2026-03-01"),
        Filters(since="2026-02-01", until="2026-02-01"),
        Filters(since="2027-01-01"),
        Filters(show_ids=(shows[0],), speakers=("Ada Green",), since="2026-01-01", until="2026-04-30", languages=("en",)),
    ]
    sizes = set()
    for filters in cases:
        check_filters(spoken, filters)
        sizes.add(len(spoken.passing(filters)))
    assert len(sizes) > 6  # the cases differ


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_filters_are_exact(spoken: Spoken, data: st.DataObject) -> None:
    def some(values: set[str]) -> tuple[str, ...]:
        return tuple(data.draw(st.lists(st.sampled_from(sorted(values)), max_size=2, unique=True)))

    dates = {episode.published[:10] for episode in spoken.episodes.values()} | {""}
    names = {name for window in spoken.windows.values() for passage in window for name in passage.speakers}
    filters = Filters(
        show_ids=some({episode.show_id for episode in spoken.episodes.values()}),
        episode_ids=some(set(spoken.episodes)),
        speakers=some(names | {"x"}),
        languages=some({"en", "de", "fr"}),
        since=data.draw(st.sampled_from(sorted(dates))),
        until=data.draw(st.sampled_from(sorted(dates))),
    )
    check_filters(spoken, filters)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200), since=st.text(max_size=12))
def test_any_text_answers(spoken: Spoken, text: str, since: str) -> None:
    assume(parse_query(text))
    answer = spoken.searcher.search(text, filters=Filters(since=since))
    assert answer.degraded is None


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

"""The contract of those who find candidates, held to the parts (FAISS and tantivy) and to Qdrant (its client's local mode)."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from index.language import stem_hash, stems, words
from index.query import Filters, parse_query
from index.ranker import bm25, lexical_scores
from index.spelling import Spelling
from store.database import Database
from tests import talks
from tests.spoken import FINDERS, JUDGED_TALKS, ROOT, Spoken, add, judged_talks, sample_talks, settings_of, stage_of

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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """One store with real vectors, from which each finder's index is built."""
    database = Database.in_folder(tmp_path_factory.mktemp("spoken"))
    stage = stage_of(database, "parts")
    shared = Path(os.environ.get("EARMARK_SHARED", ROOT.parent / "shared"))
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


def test_both_find_the_same_through_the_searcher(source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spelling, "meant", lambda *_, **__: None)  # Qdrant has no list of words to look in
    answers = []
    for name in FINDERS:
        (tmp_path / name).mkdir()
        searcher = indexed(source, name, tmp_path / name).searcher
        found = [searcher.search(query, limit=5) for query in (*QUERIES, '"two high tides"', '"the sea" salt', '"tides high"')]
        assert all(answer.degraded is None for answer in found)
        answers.append([[(moment.episode_id, moment.start_s) for moment in answer.moments] for answer in found])
    assert answers[0] == answers[1]
    assert sum(map(len, answers[0])) >= 20 and answers[0][-1] == []


def test_judged_questions_find_the_same(source: Database, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = {row["title"] for row in source.read().execute("select title from episode")}
    with gzip.open(shared / "retrieval" / "episodes.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        here = {episode["id"] for episode in map(json.loads, file) if episode["title"] in titles}
    with gzip.open(shared / "retrieval" / "queries.dev.jsonl.gz", "rt", encoding="utf-8") as file:
        queries = [query["text"] for query in map(json.loads, file) if query["episode"] in here][:25]
    assert queries
    monkeypatch.setattr(Spelling, "meant", lambda *_, **__: None)  # Qdrant has no list of words to look in
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

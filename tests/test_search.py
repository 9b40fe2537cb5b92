from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.health import check_index
from index.query import Filters
from index.ranker import Ranked, fuse, scaled
from index.recency import faded
from index.search import Searcher
from store.database import Database
from store.episodes import remove_episode
from store.errors import IndexUnavailable
from store.records import Moment
from tests import talks

FIELDS = "episode_id show_id show title published start_s end_s speaker text score play_url page_url".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> tuple[Searcher, dict[str, str], Database]:
    database = Database.in_folder(tmp_path_factory.mktemp("search"))
    stage = talks.stage(database)
    ids = {talks.add_talk(database, stage, name): name for name in talks.TALKS}
    stage.publish()
    reader = Database.in_folder(database.folder, read_only=True)
    return Searcher(talks.settings(database.folder), reader, talks.embedder()), ids, database


Catalogue = tuple[Searcher, dict[str, str], Database]


def best(catalogue: Catalogue, query: str) -> Moment:
    return catalogue[0].search(query).moments[0]


@pytest.mark.parametrize(
    ("query", "talk", "start"),
    [
        ("why is the sea salty", "sea", "Why is the sea salty?"),
        ("what makes bread rise", "bread", "Why does bread rise at all?"),
        ("#3098", "code", "A listener wrote in about issue #3098"),
        ("sounds of marine mammals and vessels", "sea", "Whales sing"),
        ("how hot should my oven be for a loaf", "bread", ""),
        ('"proof of work"', "code", "So the proof of work"),
    ],
)
def test_the_moment_is_found_and_starts_where_it_begins(catalogue: Catalogue, query: str, talk: str, start: str) -> None:
    moment = best(catalogue, query)
    assert catalogue[1][moment.episode_id] == talk
    assert moment.text.startswith(start)
    said = " ".join(text for _, text in talks.TALKS[talk][2])
    if start:
        assert moment.start_s == pytest.approx(0.5 * len(said[: said.index(start)].split()), abs=0.6)


def test_the_answer_is_the_one_in_the_issue(catalogue: Catalogue) -> None:
    answer = catalogue[0].search("salt", limit=2)
    assert answer.query == "salt" and answer.degraded is None and answer.took_ms > 0
    assert len(answer.moments) == 2
    moment = answer.moments[0]
    assert list(asdict(moment)) == FIELDS
    assert moment.play_url == f"https://example.org/{catalogue[1][moment.episode_id]}.mp3"
    assert moment.page_url == f"/e/{moment.episode_id}?t={moment.start_s:.0f}"
    assert moment.start_s < moment.end_s and 0 <= moment.score <= 1


def test_windows_of_one_discussion_are_one_moment(catalogue: Catalogue) -> None:
    answer = catalogue[0].search("sourdough bread salt yeast gluten oven", limit=50)
    starts = [(moment.episode_id, moment.start_s) for moment in answer.moments]
    assert len(set(starts)) == len(starts)
    assert [moment.score for moment in answer.moments] == sorted((moment.score for moment in answer.moments), reverse=True)


def test_filters(catalogue: Catalogue) -> None:
    searcher, ids, _ = catalogue
    by_name = {name: key for key, name in ids.items()}
    sea_show = next(m.show_id for m in searcher.search("whales").moments if m.episode_id == by_name["sea"])
    cases = [
        (Filters(show_ids=(sea_show,)), {"sea"}),
        (Filters(episode_ids=(by_name["code"],)), {"code"}),
        (Filters(speakers=("cleo",)), {"sea"}),
        (Filters(since="2026-02-01", until="2026-02-28"), {"sea"}),
        (Filters(languages=("en",)), {"bread", "sea", "code"}),
        (Filters(languages=("fr",)), set()),
    ]
    for filters, expected in cases:
        moments = searcher.search("the water and the salt of the clock", limit=50, filters=filters).moments
        assert {ids[moment.episode_id] for moment in moments} == expected


def test_of_what_fits_alike_the_recent_comes_first(catalogue: Catalogue) -> None:
    ranking = [
        Ranked((0, place), 1 - place / 1000) for place in range(catalogue[0]._lookup.readers.current().parts[0].columns.windows)
    ]
    parts = catalogue[0]._lookup.readers.current().parts
    episodes = parts[0].columns.episode[parts[0].columns.window_row[[one.place[1] for one in faded(parts, ranking)]]]
    days = [parts[0].columns.episodes[episode].published for episode in episodes]
    assert days == sorted(days, reverse=True)
    answer = catalogue[0].search("why is the sea salty", sort="recent")
    assert catalogue[1][answer.moments[0].episode_id] == "sea"  # what fits far better stays first


def test_what_a_named_speaker_says_comes_first(catalogue: Catalogue) -> None:
    searcher = catalogue[0]
    everybody = [moment.speaker for moment in searcher.search("salt in the water").moments]
    assert everybody[0] == "Cleo" and "Ana" in everybody
    answer, why = searcher.explain("what does Ana say about salt in the water")
    assert answer.moments[0].speaker == "Ana" and answer.understood == ""
    assert why is not None and why.speakers == ("ana",)
    _, why = searcher.explain("what does ana say about salt in the water")  # no capital: it may be any word
    assert why is not None and why.speakers == ()


def test_newest_first(catalogue: Catalogue) -> None:
    moments = catalogue[0].search("salt water oven kitchen", sort="newest").moments
    assert [moment.published for moment in moments] == sorted((moment.published for moment in moments), reverse=True)


def test_an_advert_comes_once(catalogue: Catalogue) -> None:
    found = catalogue[0].search("wooden spoon subscription code ladle", limit=20).moments
    assert "Wooden Spoon" in found[0].text


def test_nothing_to_look_for_finds_nothing(catalogue: Catalogue) -> None:
    for query in ("", "  ", '""', "?!"):
        assert catalogue[0].search(query).moments == ()
    assert catalogue[0].search('"salty salty salty"').moments == ()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=400), copies=st.sampled_from([1, 1, 1, 25]), since=st.text(max_size=12))
def test_any_text_answers(catalogue: Catalogue, text: str, copies: int, since: str) -> None:
    answer = catalogue[0].search(text * copies, filters=Filters(since=since, speakers=(text[:20],) if len(text) % 2 else ()))
    assert answer.took_ms < 5000


@pytest.mark.parametrize("query", ["how to train a puppy", "football world cup final score", "xyzzy frobnicate"])
def test_what_nobody_spoke_of_finds_nothing(catalogue: Catalogue, query: str) -> None:
    answer = catalogue[0].search(query)
    assert answer.moments == () and answer.degraded is None


@pytest.mark.parametrize("query", ["salinity of the ocean", "loaves", "why does seawater taste of salt", "baking"])
def test_other_words_for_what_was_said_find_it(catalogue: Catalogue, query: str) -> None:
    assert catalogue[0].search(query).moments


class Broken:
    name, dim, max_tokens, unrelated = "x", 384, 256, 0.0

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def embed_passages(self, texts: object) -> np.ndarray:
        raise RuntimeError("no")

    def embed_query(self, text: str) -> np.ndarray:
        time.sleep(self._delay_s)
        raise RuntimeError("no")


@pytest.mark.parametrize("delay_s", [0.0, 2.0])
def test_words_answer_when_meaning_fails_or_is_late(catalogue: Catalogue, delay_s: float) -> None:
    _, ids, database = catalogue
    broken = Broken(delay_s)
    broken.name = talks.embedder().name
    alone = Searcher(talks.with_budget(talks.settings(database.folder), 500), database, broken)
    started = time.perf_counter()
    answer = alone.search("why is the sea salty")
    assert time.perf_counter() - started < 1.5
    assert answer.degraded == "lexical" and ids[answer.moments[0].episode_id] == "sea"


def test_meaning_answers_when_words_fail(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher, ids, _ = catalogue
    monkeypatch.setattr("index.lookup._by_words", lambda *_: 1 / 0)
    answer = searcher.search("why is the sea salty")
    assert answer.degraded == "dense" and ids[answer.moments[0].episode_id] == "sea"
    monkeypatch.setattr(searcher._lookup, "_by_meaning", lambda *_: 1 / 0)
    with pytest.raises(IndexUnavailable, match="doctor"):
        searcher.search("why is the sea salty")


def test_another_models_index_is_asked_with_its_own_model(catalogue: Catalogue) -> None:
    _, ids, database = catalogue
    other = Searcher(talks.settings(database.folder), database, Broken(0))  # which answers nothing that is not here
    answer = other.search("salty sea")
    assert answer.degraded is None and ids[answer.moments[0].episode_id] == "sea"


@pytest.mark.parametrize(
    ("query", "understood", "talk"),
    [
        ("rain washes minera", "rain washes minerals", "sea"),  # still being typed
        ("how does yaest make a loaf", "how does yeast make a loaf", "bread"),
        ("whalse sing", "whales sing", "sea"),
        ("the firmwre timer", "the firmware timer", "code"),
        ("yeast and bacteria", "", "bread"),
        ('"yaest"', "", ""),  # quotes mean it
        ("version two point four point one", "", "code"),
    ],
)
def test_a_word_that_nobody_said_is_read_as_one_that_somebody_did(
    catalogue: Catalogue, query: str, understood: str, talk: str
) -> None:
    answer = catalogue[0].search(query)
    assert answer.understood == understood
    assert [catalogue[1][moment.episode_id] for moment in answer.moments[:1]] == ([talk] if talk else [])


def test_numbers_are_found_however_they_are_written(catalogue: Catalogue) -> None:
    for query in ("11000 metres", "two percent", "2 percent", "1960", "nineteen sixty", "issue three zero nine eight", "255"):
        _, why = catalogue[0].explain(query, limit=1)
        assert why is not None and why.moments[0].coverage == 1.0, query


def test_many_searches_at_once(catalogue: Catalogue) -> None:
    queries = ["salt", "bread", "whales", "oven", '"carbon dioxide"', "moon"] * 6
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda query: catalogue[0].search(query), queries))
    for query, answer in zip(queries, answers, strict=True):
        assert [moment.start_s for moment in answer.moments] == [m.start_s for m in catalogue[0].search(query).moments]


def test_a_new_episode_and_a_removed_one_are_noticed(database: Database) -> None:
    stage = talks.stage(database)
    sea = talks.add_talk(database, stage, "sea")
    stage.publish()
    searcher = Searcher(talks.settings(database.folder), database, talks.embedder())
    assert {moment.episode_id for moment in searcher.search("salt").moments} == {sea}
    bread = talks.add_talk(database, stage, "bread")
    stage.publish()
    assert {moment.episode_id for moment in searcher.search("salt").moments} == {sea, bread}
    with database.write() as connection:
        remove_episode(connection, sea)
    assert {moment.episode_id for moment in searcher.search("salt").moments} == {bread}  # before the index follows
    stage.publish()
    assert {moment.episode_id for moment in searcher.search("salt").moments} == {bread}


def test_scores_are_stretched_and_added() -> None:
    assert scaled(np.array([3.0, 1.0, 2.0])).tolist() == [1.0, 0.0, 0.5]
    assert scaled(np.array([2.0, 2.0])).tolist() == [1.0, 1.0]
    ranking = fuse({(0, 1): 9.0, (0, 2): 5.0}, {(0, 2): 0.8, (0, 3): 0.2}, 0.7)
    assert [(one.place, round(one.score, 2)) for one in ranking] == [((0, 1), 0.7), ((0, 2), 0.3), ((0, 3), 0.0)]


def test_the_doctor_looks_at_the_index(catalogue: Catalogue, tmp_path: Path) -> None:
    _, _, database = catalogue
    checks = check_index(talks.settings(database.folder))
    assert [check.ok for check in checks] == [True, True], checks
    Database.in_folder(tmp_path)
    assert not check_index(talks.settings(tmp_path))[-1].ok


def test_searching_imports_nothing_heavy(catalogue: Catalogue) -> None:
    _, _, database = catalogue
    program = (
        "import sys; from pathlib import Path; from store.settings import Settings; from store.database import Database;"
        "from index.search import Searcher;"
        f"settings = Settings(data_dir=Path({str(database.folder)!r}), models_dir={talks.models_dir()!r}, search_budget_ms=2e4);"
        "answer = Searcher(settings, Database.in_folder(settings.data_dir, read_only=True)).search('salty sea');"
        "print(len(answer.moments) > 0, answer.degraded,"
        " sorted({'torch', 'sentence_transformers', 'transformers', 'onnx', 'scipy', 'gradio'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True
    )
    assert found.stdout.strip() == "True None []"

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from index import trees
from index.features import FEATURES, describe
from index.moments import starts_of
from index.query import parse_query
from index.search import Searcher
from index.trees import Trees, open_trees
from store.database import Database
from tests import talks

MODEL = {  # two trees over two features: inner nodes first, then leaves
    "features": ["bm25", "start_words"],
    "depth": 2,
    "trees": [
        {"splits": [[0, 0.5, 2, 1], [1, 10.0, 3, 4]], "value": [0.0, 0.0, -1.0, 2.0, 1.0]},
        {"splits": [[1, 20.0, 1, 2]], "value": [0.0, 0.25, -0.25]},
    ],
}


def test_every_row_walks_down_every_tree() -> None:
    rows = np.zeros((4, len(FEATURES)))
    rows[:, FEATURES.index("bm25")] = [0.5, 0.6, 0.6, 0.6]
    rows[:, FEATURES.index("start_words")] = [0.0, 10.0, 11.0, 21.0]
    assert Trees(MODEL).score(rows).tolist() == [-0.75, 2.25, 1.25, 0.75]


def test_unknown_features_are_refused() -> None:
    with pytest.raises(ValueError, match="moon"):
        Trees({**MODEL, "features": ["moon"]})


@pytest.fixture
def searcher(database: Database) -> Searcher:
    stage = talks.stage(database)
    for name in ("bread", "sea"):
        talks.add_talk(database, stage, name)
    stage.publish()
    talks.add_talk(database, stage, "code")  # a second part
    stage.publish()
    return Searcher(talks.settings(database.folder), database, talks.embedder())


def test_features_say_what_is_there(searcher: Searcher) -> None:
    sides = searcher.sides(parse_query("how much salt is in the sea and in bread"))
    fused = {one.place: one.score for one in searcher.rank(sides)}
    parts = sides.generation.parts
    places, features = describe(parts, sides.counts, sides.lexical, sides.dense, fused)
    assert places == sorted(fused) and features.shape == (len(places), len(FEATURES)) and np.isfinite(features).all()
    assert len({part for part, _ in places}) == 2
    column = {name: features[:, number] for number, name in enumerate(FEATURES)}
    for row, place in enumerate(places):
        part, position = parts[place[0]], place[1]
        first = int(part.columns.window_row[position])
        count = int(part.columns.window_rows[position])
        ((start_row, sentence),) = starts_of(parts, [place], sides.counts)
        borders, _ = part.terms.sentences_of_rows(np.array([start_row]), np.array([0, part.terms.length(start_row, 1)]))
        before = int(borders[sentence])
        assert column["start_words"][row] == before + part.terms.length(first, start_row - first)
        assert column["length"][row] == part.terms.length(first, count)
        assert column["depth"][row] * part.columns.rows_of(part.columns.episode[[first]])[0] == part.columns.ordinal[first]
    sea = max(places, key=lambda place: column["coverage"][places.index(place)])
    assert column["title"].max() > 0 and 0 < column["coverage"][places.index(sea)] <= 1


def test_no_candidates_have_no_features(searcher: Searcher) -> None:
    sides = searcher.sides(parse_query("salt"))
    assert describe(sides.generation.parts, sides.counts, {}, {}, {})[1].shape == (0, len(FEATURES))


def test_a_ranker_beside_the_program_decides(searcher: Searcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [one.place for one in searcher.rank(searcher.sides(parse_query("salt in bread")))]
    (tmp_path / "ranker.json").write_text(json.dumps(MODEL))
    monkeypatch.setattr(trees, "RANKER", tmp_path / "ranker.json")
    open_trees.cache_clear()
    try:
        learned = searcher.rank(searcher.sides(parse_query("salt in bread")))
        assert sorted(one.place for one in learned) == sorted(plain)
        assert [one.score for one in learned] == sorted((one.score for one in learned), reverse=True)
        assert searcher.search("salt in bread").moments
    finally:
        open_trees.cache_clear()

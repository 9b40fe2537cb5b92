from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from bench.bm25 import FrozenBm25
from bench.retrieval import judge, lenient, measure, strict, table
from bench.retrieval_data import Query, read_set, worsen
from bench.retrieval_runs import RUNS, Hit, reciprocal
from tests import talks


def query(first: int, last: int) -> Query:
    return Query("q", "title", "salt", "t", first, last, "salt")


def test_hit_rules() -> None:
    assert strict(query(100, 500), Hit("t", 180, 340, 200))  # the window lies inside the answer
    assert strict(query(100, 120), Hit("t", 0, 160, 0))  # the answer inside the window
    assert strict(query(100, 500), Hit("t", 20, 180, 20)) and not strict(query(100, 500), Hit("t", 19, 179, 20))
    assert lenient(query(100, 500), Hit("t", 0, 120, 0)) and not lenient(query(100, 500), Hit("t", 0, 119, 0))
    assert not strict(query(100, 500), Hit("other", 180, 340, 200))
    judged = judge(query(100, 500), [Hit("other", 0, 9, 0), Hit("t", 60, 220, 130), Hit("t", 0, 9, 0)])
    assert judged.ranks == {"strict": 2, "lenient": 2}
    assert judged.start_errors == (None, 30, -100)


def test_frozen_bm25_scores() -> None:
    index = FrozenBm25(["salt in the sea", "bread and salt and salt", "whales"])
    (first, score), (second, _) = index.search("salts", 10)
    assert (first, second) == (1, 0)
    idf = np.log1p((3 - 2 + 0.5) / (2 + 0.5))
    assert score == pytest.approx(idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 5 / (10 / 3))))
    assert index.search("nothing here", 10) == []


def test_reciprocal_rank_fusion() -> None:
    assert reciprocal([(0, 1), (0, 2)], [(0, 2), (0, 3)]) == [(0, 2), (0, 1), (0, 3)]


def test_worse_words_keep_their_number() -> None:
    text = "the quick brown fox said 3098 times that it would not jump " * 20
    worse = worsen(text, 0.1)
    changed = sum(a != b for a, b in zip(text.split(), worse.split(), strict=True))
    assert 0.04 * len(text.split()) < changed < 0.16 * len(text.split())
    assert worsen(text, 0.1) == worse and worsen(text, 0.0) == " ".join(text.split())


def test_any_folder_of_the_format(tmp_path: Path) -> None:
    talks.embedder()
    episodes, queries = [], []
    for name, (show, date, said) in talks.TALKS.items():
        segments = [
            {"start": n * 20.0, "end": n * 20.0 + 20, "speaker": speaker, "text": text} for n, (speaker, text) in enumerate(said)
        ]
        episodes.append({"id": name, "show": show, "title": name, "date": date, "segments": segments})
    for number, (name, text, first) in enumerate(
        [("sea", "whales singing", 4), ("bread", "why dough rises", 1), ("code", "#3098", 0)]
    ):
        queries.append({"id": str(number), "kind": "id" if "#" in text else "title", "text": text, "episode": name,
                        "seg_from": first, "seg_to": first + 1, "anchored": False})  # fmt: skip
    for name, rows in (("episodes", episodes[:2]), ("queries", queries), ("distractors", episodes[2:])):
        with gzip.open(tmp_path / f"{name}.own.jsonl.gz", "wt") as file:
            file.write("\n".join(map(json.dumps, rows)))
    given = read_set(tmp_path, "own", distractors=5)
    assert [talk.id for talk in given.talks] == ["bread", "sea", "code"]
    assert [one.talk_id for one in given.queries] == ["sea", "bread"]
    assert given.queries[0].answer.startswith("Whales sing")
    rows = measure(tmp_path, "own", None, 5, None, 0.0, RUNS, tmp_path / "cache", models_dir=talks.models_dir())
    fused = next(row for row in rows if (row.run, row.hit, row.slice) == ("fused", "lenient", "all"))
    assert (fused.queries, fused.ndcg10, fused.play1) == (2, 1.0, 1.0)
    assert {row.run for row in rows} == set(RUNS)
    assert "fused" in table(rows)


def test_the_shared_set_can_be_read(shared: Path) -> None:
    given = read_set(shared / "retrieval", "dev", episodes=3)
    assert len(given.talks) == 3 and given.queries
    for talk in given.talks:
        assert talk.word_starts[-1] == sum(len(passage.text.split()) for passage in talk.passages)

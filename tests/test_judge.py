from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.judge import Judge
from index.query import parse_query
from index.ranker import Ranked
from index.search import Searcher
from store.database import Database
from store.weights import find_embedder
from tests import talks

QUERY = "why is the sea salty"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real cross-encoder, small and never trained: its scores mean nothing, but they are its own."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    source = find_embedder("all-MiniLM-L6-v2", talks.settings(Path("nowhere")))
    folder = tmp_path_factory.mktemp("models") / "cross"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=1, initializer_range=0.5, **sizes)).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return talks.indexed(tmp_path_factory.mktemp("judge"))


def order_of(searcher: Searcher) -> list[tuple[str, float]]:
    return [(moment.episode_id, moment.start_s) for moment in searcher.search(QUERY).moments]


def ready(searcher: Searcher) -> Searcher:
    assert searcher._judge._opening is not None
    searcher._judge._opening.exception(60)
    return searcher


def test_it_puts_the_first_windows_in_another_order(database: Database, model: Path) -> None:
    given = talks.settings(database.folder)
    plain = Searcher(given, database, talks.embedder())
    judged = ready(Searcher(replace(given, cross_encoder=str(model), cross_encoder_budget_ms=10_000), database, talks.embedder()))
    assert judged._judge._opening is not None and judged._judge._opening.exception() is None
    changed = 0
    for query in (QUERY, "how much salt goes in", "oven firmware timer", "the moon", "whales and ships", "a dough that rises"):
        before, after = (searcher.rank(searcher.sides(parse_query(query))) for searcher in (plain, judged))
        assert {one.place for one in before} == {one.place for one in after}
        changed += [one.place for one in before] != [one.place for one in after]
    assert changed >= 3
    assert order_of(judged) == order_of(judged)


def test_what_cannot_be_loaded_is_done_without(database: Database, tmp_path: Path) -> None:
    given = talks.settings(database.folder)
    broken = ready(Searcher(replace(given, cross_encoder=str(tmp_path)), database, talks.embedder()))
    assert order_of(broken) == order_of(Searcher(given, database, talks.embedder()))


class Slow:
    """A model that takes its time and likes later windows better."""

    def __init__(self, ms_each: float) -> None:
        self.ms_each, self.read = ms_each, 0

    def predict(self, pairs: list[tuple[str, str]], **_: Any) -> np.ndarray:  # type: ignore[type-arg]
        time.sleep(self.ms_each * len(pairs) / 1000)
        self.read += len(pairs)
        return np.array([float(text) for _, text in pairs])


def test_it_keeps_to_its_time() -> None:
    ranking = [Ranked((0, place), 1 - place / 100) for place in range(64)]
    with ThreadPoolExecutor(1) as pool:
        judge = Judge(replace(talks.settings(Path("nowhere")), cross_encoder_budget_ms=100), pool)
        slow = Slow(10)
        judge._opening = pool.submit(lambda: slow)
        judge._opening.result()
        for _ in range(8):
            began = time.perf_counter()
            found = judge.order("why", ranking, lambda places: [str(2.0 * place[1]) for place in places])
            assert time.perf_counter() - began < 0.4
            assert [one.score for one in found] == [one.score for one in ranking]
            assert {one.place for one in found} == {one.place for one in ranking}
        assert 5 <= judge._ms_each <= 30 and 0 < slow.read < 8 * 32
        slow.ms_each = 500.0
        judge.order("why", ranking, lambda places: [str(place[1]) for place in places])
        before = slow.read
        assert judge.order("why", ranking, lambda places: [str(place[1]) for place in places]) == ranking
        assert slow.read == before  # it is too slow: nobody waits for it again

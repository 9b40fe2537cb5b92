"""How well search finds judged answers: nDCG, MRR, recall, and how near the first moment starts to the true start.

Comes in: a folder as `bench.retrieval_data` reads it. Goes out: rows, as a table or as JSON.
The catalogue is put into a store and an index of its own, in a folder that is thrown away, and searched by the product's code.
`bm25` is frozen (`bench.bm25`): it never changes, so that figures can be compared over time.
Does not know: how a run ranks.

    python -m bench.retrieval --data ../shared/retrieval --split dev --episodes 40
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.bm25 import FrozenBm25
from bench.retrieval_data import Query, RetrievalSet, embed_set, read_set, worsen
from bench.retrieval_runs import RUNS, Catalogue, Hit
from index.embed import open_embedder
from index.language import stems
from store.settings import load_settings

CACHE = Path.home() / ".cache" / "earmark" / "bench"
DEPTH = 100
STRICT_SHARE = 0.5  # strict: at least half of the window, or of the answer, lies inside the other
LENIENT_WORDS = 20  # lenient: they share at least this many words
NEAR_WORDS = 40  # play@k: a moment among the first k starts this near to the true start (about 15 s)
SLICES = ("all", "title", "desc", "id", "heading", "low60", "low40")


@dataclass(frozen=True, slots=True)
class Row:
    """One run on one slice under one hit rule.

    `start_error_words`: how far the first moment starts from the true start, the median over queries whose first moment is a hit.
    """

    run: str
    hit: str
    slice: str
    queries: int
    ndcg10: float
    mrr10: float
    r10: float
    r100: float
    play1: float
    play3: float
    start_error_words: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What one run did for one query: the rank of the first hit (from 1, 0 for none) by hit rule, and how it starts."""

    query: Query
    ranks: Mapping[str, int]
    start_errors: tuple[int | None, ...]  # words from the true start of the first three; None in another talk


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the set")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--episodes", type=int, help="take this many judged episodes (default: all)")
    parser.add_argument("--distractors", type=int, default=0, help="add this many episodes without judgments")
    parser.add_argument("--queries", type=int, help="take this many queries, picked at random")
    parser.add_argument("--noise", type=float, default=0.0, help="share of words to replace as speech recognition might (0.1)")
    parser.add_argument("--runs", default=",".join(RUNS), help="runs to make, separated by commas")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder where vectors are kept by text")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    rows = measure(
        given.data, given.split, given.episodes, given.distractors, given.queries, given.noise, given.runs.split(","), given.cache
    )
    if given.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(table(rows))


def measure(
    data: Path,
    split: str,
    episodes: int | None,
    distractors: int,
    queries: int | None,
    noise: float,
    runs: Sequence[str],
    cache: Path,
    models_dir: str = "",
) -> list[Row]:
    """Put the set into an index, ask every query, and return the rows of every run."""
    alter = partial(worsen, share=noise) if noise else None
    given = read_set(data, split, episodes=episodes, distractors=distractors, alter=alter)
    if queries is not None and queries < len(given.queries):
        given = RetrievalSet(given.talks, tuple(random.Random(0).sample(given.queries, queries)))
    tell(f"{len(given.talks)} talks, {sum(len(talk.passages) for talk in given.talks)} passages, {len(given.queries)} queries")
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        settings = load_settings(Path(folder), {"models_dir": models_dir} if models_dir else {})
        embedder = open_embedder(settings)
        vectors = embed_set(given.talks, embedder, cache, tell)
        catalogue = Catalogue(settings, given.talks, embedder, vectors, FrozenBm25)
        tell("indexed")
        judged: dict[str, list[Judged]] = {run: [] for run in runs}
        for number, query in enumerate(given.queries):
            for run, hits in catalogue.answer(query.text, runs, DEPTH).items():
                judged[run].append(judge(query, hits))
            if number % 500 == 499:
                tell(f"{number + 1} queries")
    return [row for run in runs for row in _rows(run, judged[run])]


def judge(query: Query, hits: Sequence[Hit]) -> Judged:
    """Hold a ranking against the answer."""
    ranks = {rule.__name__: next((n for n, hit in enumerate(hits, 1) if rule(query, hit)), 0) for rule in (strict, lenient)}
    errors = tuple(hit.start_word - query.first_word if hit.talk_id == query.talk_id else None for hit in hits[:3])
    return Judged(query, ranks, errors)


def strict(query: Query, hit: Hit) -> bool:
    """Tell whether half of the window, or of the answer, lies inside the other."""
    shared = _shared(query, hit)
    smaller = min(hit.last_word - hit.first_word, query.last_word - query.first_word)
    return shared > 0 and shared >= STRICT_SHARE * smaller


def lenient(query: Query, hit: Hit) -> bool:
    """Tell whether window and answer share twenty words."""
    return _shared(query, hit) >= LENIENT_WORDS


def overlap(query: Query) -> float:
    """Return the share of the query's stems that the answer says."""
    asked = set(stems(query.text, "en"))
    return len(asked & set(stems(query.answer, "en"))) / len(asked) if asked else 1.0


def table(rows: Sequence[Row]) -> str:
    """Return rows as text, one a line."""
    lines = [f"{'run':8} {'hit':8} {'slice':8} {'n':>5}  ndcg10  mrr10    r10   r100  play1  play3  start"]
    for row in rows:
        error = "-" if row.start_error_words is None else f"{row.start_error_words:.0f}"
        figures = "  ".join(f"{value:.3f}" for value in (row.ndcg10, row.mrr10, row.r10, row.r100, row.play1, row.play3))
        lines.append(f"{row.run:8} {row.hit:8} {row.slice:8} {row.queries:5}   {figures}  {error:>5}")
    return "\n".join(lines)


def tell(text: str) -> None:
    """Say on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def _shared(query: Query, hit: Hit) -> int:
    if hit.talk_id != query.talk_id:
        return 0
    return max(0, min(hit.last_word, query.last_word) - max(hit.first_word, query.first_word))


def _rows(run: str, judged: Sequence[Judged]) -> Iterator[Row]:
    shares = [overlap(one.query) for one in judged]
    for hit in ("strict", "lenient"):
        for name in SLICES:
            chosen = [one for one, share in zip(judged, shares, strict=True) if _in_slice(name, one.query, share)]
            if chosen:
                yield _row(run, hit, name, chosen)


def _in_slice(name: str, query: Query, share: float) -> bool:
    if name.startswith("low"):
        return share <= int(name[3:]) / 100
    return name in ("all", query.kind)


def _row(run: str, hit: str, name: str, judged: Sequence[Judged]) -> Row:
    ranks = np.array([one.ranks[hit] for one in judged])
    top = (ranks > 0) & (ranks <= 10)
    first = [one.start_errors[0] for one in judged if one.ranks[hit] == 1 and one.start_errors and one.start_errors[0] is not None]
    return Row(
        run=run,
        hit=hit,
        slice=name,
        queries=len(judged),
        ndcg10=float(np.where(top, 1 / np.log2(1 + np.maximum(ranks, 1)), 0).mean()),
        mrr10=float(np.where(top, 1 / np.maximum(ranks, 1), 0).mean()),
        r10=float(top.mean()),
        r100=float(((ranks > 0) & (ranks <= 100)).mean()),
        play1=_mean(judged, lambda one: _plays(one, 1)),
        play3=_mean(judged, lambda one: _plays(one, 3)),
        start_error_words=float(np.median(np.abs(first))) if first else None,
    )


def _plays(one: Judged, depth: int) -> bool:
    return any(error is not None and abs(error) <= NEAR_WORDS for error in one.start_errors[:depth])


def _mean(judged: Sequence[Judged], holds: Callable[[Judged], bool]) -> float:
    return sum(map(holds, judged)) / len(judged)


if __name__ == "__main__":
    main()

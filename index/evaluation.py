"""How well search answers questions whose answers are known, by order and by kind of question, and whether two embedders differ.

Comes in: questions and an opened catalogue. Goes out: `Figures` for each order and kind, and `Difference` with its interval.
The product's own search is asked, and what it shows is judged: moments, merged and spread, as a visitor sees them.
Does not know: where questions come from, or how figures are printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from index.embed import Embedder
from index.manifest import index_folder, read_manifest
from index.query import Filters, ParsedQuery
from index.questions import Question
from index.ranker import Ranking, fuse
from index.search import DEPTH, Searcher, Sides
from store.database import Database
from store.errors import IndexUnavailable
from store.passages import last_change_id
from store.records import Moment
from store.settings import Settings

Order = Literal["used", "scores", "words", "meaning"]
ORDERS: tuple[Order, ...] = get_args(Order)

SHOWN = 10  # moments that are judged
HALF = 0.5  # a hit: at least half of the moment, or of the answer, lies inside the other
NEAR_S = 15.0  # play@1: the first moment starts this near to the true start
PATIENCE_MS = 60_000.0  # quality is measured here, however busy the machine is
SAMPLES = 4000  # of the bootstrap
INTERVAL = (2.5, 97.5)  # percentiles
FEW_QUESTIONS, FEW_EPISODES = 50, 10  # with fewer, nothing can be told
TELL_EVERY = 50  # questions
ALL = "all"


@dataclass(frozen=True, slots=True)
class Judged:
    """What one order did with one question: the rank of the first hit (from 1, 0 for none), and whether the first moment plays it.

    `plays` is None where the answer has no time.
    """

    question: Question
    rank: int
    plays: bool | None

    @property
    def gain(self) -> float:
        """What the rank is worth in nDCG@10 with one right answer."""
        return 1 / math.log2(1 + self.rank) if self.rank else 0.0


Answers = dict[Order, list[Judged]]


@dataclass(frozen=True, slots=True)
class Figures:
    """One order on the questions of one kind. `play1` is None where no answer has a time."""

    order: Order
    kind: str
    questions: int
    ndcg10: float
    mrr10: float
    success1: float
    success10: float
    play1: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """nDCG@10 of another embedder less that of the catalogue's own, on the same questions, with its 95 % interval.

    `verdict` is better, worse, or open: the interval holds zero, or there are too few questions.
    """

    order: Order
    embedder: str
    own: float
    other: float
    difference: float
    low: float
    high: float
    verdict: Literal["better", "worse", "open"]


class _Orders(Searcher):
    """The product's searcher, told which order to put its windows in. Both sides are asked once for a question."""

    order: Order = "used"

    def __init__(self, settings: Settings, database: Database, embedder: Embedder) -> None:
        super().__init__(replace(settings, search_budget_ms=PATIENCE_MS), database, embedder)
        self._lexical_share = settings.lexical_weight
        self._asked: tuple[ParsedQuery, Sides] | None = None

    def sides(self, parsed: ParsedQuery, filters: Filters = Filters(), depth: int = DEPTH) -> Sides:
        if self._asked is None or self._asked[0] != parsed:
            found = super().sides(parsed, filters, depth)
            if found.degraded:
                raise IndexUnavailable(
                    "only one side of the search answers", next_step="See why: earmark search something; earmark doctor"
                )
            self._asked = parsed, found
        return self._asked[1]

    def rank(self, sides: Sides) -> Ranking:
        if self.order == "used":
            return super().rank(sides)
        lexical = {} if self.order == "meaning" else sides.lexical
        dense = {} if self.order == "words" else sides.dense
        return fuse(lexical, dense, self._lexical_share)


def ask(
    settings: Settings, database: Database, embedder: Embedder, questions: Sequence[Question], tell: Callable[[str], None]
) -> Answers:
    """Ask every question in every order. Raises `IndexUnavailable` without an index that both sides can use."""
    manifest = read_manifest(index_folder(settings))
    if manifest.embedder != embedder.name:
        raise IndexUnavailable(
            f"the index was made with {manifest.embedder}, not with {embedder.name}",
            where=str(settings.data_dir),
            next_step="Set the embedder back and compare with: earmark eval --embedder NAME; or run: earmark reindex",
        )
    if manifest.change_id < last_change_id(database):
        tell("the index is behind the catalogue (earmark run brings it up to date): what it lacks is not found")
    searcher = _Orders(settings, database, embedder)
    answers: Answers = {order: [] for order in ORDERS}
    for number, question in enumerate(questions, 1):
        for order in ORDERS:
            searcher.order = order
            answers[order].append(judge(question, searcher.search(question.query, limit=SHOWN).moments))
        if number % TELL_EVERY == 0 and number < len(questions):
            tell(f"asked {number} of {len(questions)} questions")
    return answers


def judge(question: Question, moments: Sequence[Moment]) -> Judged:
    """Hold what was found against the answer."""
    rank = next((rank for rank, moment in enumerate(moments[:SHOWN], 1) if is_hit(question, moment)), 0)
    if question.start_s is None:
        return Judged(question, rank, None)
    first = moments[0] if moments else None
    near = first is not None and first.episode_id == question.episode_id and abs(first.start_s - question.start_s) <= NEAR_S
    return Judged(question, rank, near)


def is_hit(question: Question, moment: Moment) -> bool:
    """Tell whether a moment is the answer: half of one lies inside the other; without a time, any moment of the episode."""
    if moment.episode_id != question.episode_id:
        return False
    if question.start_s is None or question.end_s is None:
        return True
    shared_s = min(moment.end_s, question.end_s) - max(moment.start_s, question.start_s)
    return shared_s > 0 and shared_s >= HALF * min(moment.end_s - moment.start_s, question.end_s - question.start_s)


def figures(answers: Answers) -> list[Figures]:
    """Return the figures of every order: all questions first, then each kind."""
    kinds = [ALL, *dict.fromkeys(judged.question.kind for judged in answers["used"])]
    return [
        _figures(order, kind, [judged for judged in answers[order] if kind in (ALL, judged.question.kind)])
        for kind in kinds
        for order in ORDERS
    ]


def compare(own: Answers, other: Answers, embedder: str) -> list[Difference]:
    """Compare two embedders on the same questions, order by order; words alone know no embedder and are left out."""
    return [_difference(order, embedder, own[order], other[order]) for order in ORDERS if order != "words"]


def is_few(questions: Sequence[Question]) -> bool:
    """Tell whether so few questions can tell anything."""
    return len(questions) < FEW_QUESTIONS or len({question.episode_id for question in questions}) < FEW_EPISODES


def _figures(order: Order, kind: str, judged: Sequence[Judged]) -> Figures:
    ranks = [one.rank for one in judged]
    plays = [one.plays for one in judged if one.plays is not None]
    return Figures(
        order=order,
        kind=kind,
        questions=len(judged),
        ndcg10=_mean([one.gain for one in judged]),
        mrr10=_mean([1 / rank if rank else 0.0 for rank in ranks]),
        success1=_mean([float(rank == 1) for rank in ranks]),
        success10=_mean([float(rank > 0) for rank in ranks]),
        play1=_mean([float(one) for one in plays]) if plays else None,
    )


def _difference(order: Order, embedder: str, own: Sequence[Judged], other: Sequence[Judged]) -> Difference:
    """Draw episodes, not questions: questions on one episode succeed and fail together."""
    gains = np.array([[one.gain for one in own], [one.gain for one in other]])
    episodes = {name: row for row, name in enumerate(dict.fromkeys(one.question.episode_id for one in own))}
    rows = np.array([episodes[one.question.episode_id] for one in own])
    gained = np.bincount(rows, weights=gains[1] - gains[0], minlength=len(episodes))
    counted = np.bincount(rows, minlength=len(episodes))
    drawn: npt.NDArray[np.int64] = np.random.default_rng(0).multinomial(len(episodes), [1 / len(episodes)] * len(episodes), SAMPLES)
    low, high = np.percentile((drawn @ gained) / (drawn @ counted), INTERVAL).tolist()
    open_ = low <= 0 <= high or is_few([one.question for one in own])
    own_mean, other_mean = gains.mean(axis=1).tolist()
    return Difference(
        order=order,
        embedder=embedder,
        own=own_mean,
        other=other_mean,
        difference=other_mean - own_mean,
        low=low,
        high=high,
        verdict="open" if open_ else "better" if low > 0 else "worse",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

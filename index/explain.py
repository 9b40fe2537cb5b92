"""Why a moment was found, and why it stands where it stands.

Comes in: what both sides found, the order, the moments. Goes out: an `Explanation` of plain values, for programs and for reading.
Does not know: how anything was found; it only looks again at what a search had in hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from index.features import FEATURES, Numbers
from index.moments import Found
from index.part import Part
from index.query import ParsedQuery
from index.ranker import Counts, Place, Ranking, said_in
from index.trees import Trees, learned_scores

REASONS = 4  # that are told of each moment
FELT = 0.005  # of the whole range of scores: what moves a window less is no reason


@dataclass(frozen=True, slots=True)
class WordWeight:
    """A word of the question: its share of the question's weight, and in how many windows of the catalogue it is said."""

    word: str
    share: float
    windows: int


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's part in the learned order.

    `effect`: how much of the range between the worst and the best candidate the moment would lose (below 0: gain) if the
    feature were as usual among the candidates.
    """

    feature: str
    value: float
    usual: float
    effect: float


@dataclass(frozen=True, slots=True)
class Why:
    """What is known of one moment. Ranks count windows from 1; None where that side did not find it."""

    said: tuple[str, ...]
    coverage: float  # share of the question's weight that is said
    by_words_rank: int | None
    bm25: float
    by_meaning_rank: int | None
    cosine: float
    by_score_rank: int
    final_rank: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a search came about. `order` is `learned`, or `score` where the learned order had no say.

    `read_as`: words that nobody said, and what they were read as. `speakers`: whom it names; what they say stands further up.
    """

    order: str
    words: tuple[WordWeight, ...]
    phrases: tuple[str, ...]
    read_as: dict[str, str]
    speakers: tuple[str, ...]
    found_by_words: int
    found_by_meaning: int
    found_by_both: int
    moments: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a search had in hand. `places` and `features` are those of the learned order, empty where it had no say."""

    parts: Sequence[Part]
    counts: Counts
    lexical: Mapping[Place, float]
    dense: Mapping[Place, float]
    by_score: Ranking
    final: Ranking
    places: Sequence[Place]
    features: Numbers


def explain(
    parsed: ParsedQuery,
    evidence: Evidence,
    found: Sequence[Found],
    trees: Trees | None,
    speakers: Set[str] = frozenset(),
) -> Explanation:
    """Return why each of `found` was found, in their order."""
    idf = np.array(evidence.counts.idf)
    shares = idf / idf.sum() if idf.sum() else idf
    told = [one.place for one in found]
    said = said_in(evidence.parts, told, evidence.counts)
    ranks = [_ranks(order) for order in (_best_first(evidence.lexical), _best_first(evidence.dense), _places(evidence.by_score))]
    final = _ranks(_places(evidence.final))
    reasons = _reasons(trees, evidence, told) if trees is not None and len(evidence.places) else {}
    moments = tuple(
        Why(
            said=tuple(word for word, there in zip(parsed.words, row, strict=True) if there),
            coverage=round(float(shares[row].sum()), 3),
            by_words_rank=ranks[0].get(place),
            bm25=round(evidence.lexical.get(place, 0.0), 3),
            by_meaning_rank=ranks[1].get(place),
            cosine=round(evidence.dense.get(place, 0.0), 3),
            by_score_rank=ranks[2][place],
            final_rank=final[place],
            reasons=reasons.get(place, ()),
        )
        for place, row in zip(told, said, strict=True)
    )
    return Explanation(
        order="learned" if len(evidence.places) else "score",
        words=tuple(
            WordWeight(word, round(float(share), 3), windows)
            for word, share, windows in zip(parsed.words, shares, evidence.counts.windows, strict=True)
        ),
        phrases=tuple(" ".join(phrase) for phrase in parsed.phrases),
        read_as=dict(parsed.read_as),
        speakers=tuple(sorted(speakers)),
        found_by_words=len(evidence.lexical),
        found_by_meaning=len(evidence.dense),
        found_by_both=len(evidence.lexical.keys() & evidence.dense.keys()),
        moments=moments,
    )


def explanation_text(explanation: Explanation) -> list[str]:
    """Return one text for each moment, and before them one for the question."""
    words = ", ".join(f"{one.word} {one.share:.0%} (in {one.windows} windows)" for one in explanation.words)
    order = "in order of score" if explanation.order == "score" else "in the learned order"
    read = "".join(f"\n{word} was never said and is read as {meant}" for word, meant in explanation.read_as.items())
    read += f"\nwhat {', '.join(explanation.speakers)} says stands further up" if explanation.speakers else ""
    head = (
        f"words: {words or 'none'}\nfound: {explanation.found_by_words} windows by word, "
        f"{explanation.found_by_meaning} by meaning, {explanation.found_by_both} of them by both; {order}{read}"
    )
    return [head, *map(_why_text, explanation.moments)]


def _why_text(why: Why) -> str:
    by_words = f"BM25 {why.bm25:.2f}, number {why.by_words_rank}" if why.by_words_rank else "not among the first"
    by_meaning = f"cosine {why.cosine:.2f}, number {why.by_meaning_rank}" if why.by_meaning_rank else "not among the first"
    lines = [
        f"says: {', '.join(why.said) or 'none of the words'} ({why.coverage:.0%} of the question's weight)",
        f"by word: {by_words}; by meaning: {by_meaning}; by both scores: number {why.by_score_rank}; in the end: {why.final_rank}",
    ]
    if why.reasons:
        told = (f"{one.feature} {one.value:.2f} (usual {one.usual:.2f}) {one.effect:+.0%}" for one in why.reasons)
        lines.append(f"decided by: {'; '.join(told)}")
    return "\n".join(lines)


def _reasons(trees: Trees, evidence: Evidence, told: Sequence[Place]) -> dict[Place, tuple[Reason, ...]]:
    """Ask for the order again with each feature in turn as it usually is among the candidates."""
    row_of = {place: row for row, place in enumerate(evidence.places)}
    rows = [(place, row_of[place]) for place in told if place in row_of]
    if not rows:
        return {}
    usual = np.median(evidence.features, axis=0)
    whole = learned_scores(trees, evidence.features)
    span = max(float(whole.max() - whole.min()), 1e-9)
    own = evidence.features[[row for _, row in rows]]
    effects = np.zeros_like(own)
    for column in range(own.shape[1]):
        changed = own.copy()
        changed[:, column] = usual[column]
        effects[:, column] = (learned_scores(trees, own) - learned_scores(trees, changed)) / span
    made = {}
    for (place, _), values, effect in zip(rows, own, effects, strict=True):
        felt = [column for column in np.argsort(-np.abs(effect), kind="stable").tolist() if abs(effect[column]) >= FELT]
        made[place] = tuple(
            Reason(FEATURES[column], *(round(float(one[column]), 3) for one in (values, usual, effect)))
            for column in felt[:REASONS]
        )
    return made


def _best_first(scores: Mapping[Place, float]) -> list[Place]:
    return sorted(scores, key=lambda place: (-scores[place], place))


def _places(ranking: Ranking) -> list[Place]:
    return [one.place for one in ranking]


def _ranks(places: Sequence[Place]) -> dict[Place, int]:
    return {place: rank for rank, place in enumerate(places, 1)}

"""New before old, where both fit: scores fade with the age of their talks.

Comes in: a ranking. Goes out: the ranking with faded scores, best first. Age counts from the catalogue's newest talk.
Does not know: what the scores were made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from index.columns import NO_DAY
from index.part import Part
from index.ranker import Ranked, Ranking, by_part

HALF_LIFE_DAYS = 365  # a talk of last year counts half of one of today
LEAST = 0.1  # what the oldest keep


def faded(parts: Sequence[Part], ranking: Ranking) -> Ranking:
    """Return `ranking` with every score faded by age; a talk without a date counts as one of the oldest."""
    if not ranking:
        return ranking
    days = np.full(len(ranking), NO_DAY, dtype=np.int64)
    for number, here, positions in by_part([one.place for one in ranking]):
        days[here] = parts[number].columns.days_of(positions)
    newest = max(part.columns.newest_day for part in parts)
    age_days = np.where(days == NO_DAY, np.inf, newest - days)
    left = np.maximum(LEAST, 0.5 ** (age_days / HALF_LIFE_DAYS))
    made = [Ranked(one.place, one.score * share) for one, share in zip(ranking, left.tolist(), strict=True)]
    return sorted(made, key=lambda one: (-one.score, one.place))

"""From ranked windows to moments: windows of one discussion merged, repeats folded, spread over episodes, snapped to a start.

Comes in: a ranking and the opened parts. Goes out: where each moment starts and ends, by passage and sentence.
Does not know: the database, texts, addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from index.part import Part
from index.ranker import Counts, Place, Ranking, count_in

START_COVERAGE = 0.6  # a moment starts at the first sentence with this share of the best sentence's weight (FACTS: 10 words off)
NEAR_ROWS = 2  # windows of one episode whose first passages are this near speak of one thing
SAME_SHARE = 0.8  # of words in common: the same advert or introduction again
SPREAD = 0.93  # each further moment of an episode counts this much less than the one before


@dataclass(frozen=True, slots=True)
class Found:
    """A moment inside the index: a window, the row and sentence to start at, and the last row that belongs to it."""

    place: Place
    row: int
    sentence: int
    last_row: int
    score: float


def find_moments(parts: Sequence[Part], ranking: Ranking, counts: Counts, limit: int) -> list[Found]:
    """Return up to `limit` moments, best first."""
    leaders = _spread(parts, _merged(parts, ranking), limit)
    return [_snapped(parts, found, counts) for found in leaders]


def start_of(parts: Sequence[Part], place: Place, counts: Counts) -> tuple[int, int]:
    """Return (row, sentence) where the discussion in a window begins: the first sentence that says nearly as much as the best."""
    part, position = parts[place[0]], place[1]
    first = int(part.columns.window_row[position])
    rows = range(first, first + int(part.columns.window_rows[position]))
    sentences = [(row, index, terms) for row in rows for index, terms in enumerate(part.terms.sentences_of(row))]
    if not sentences or not counts.terms:
        return first, 0
    present = count_in([terms for _, _, terms in sentences], counts.terms) > 0
    coverage = present @ np.array(counts.idf)
    best = float(coverage.max())
    start = int(np.argmax(coverage >= START_COVERAGE * best)) if best > 0 else 0
    return sentences[start][0], sentences[start][1]


def _merged(parts: Sequence[Part], ranking: Ranking) -> list[Found]:
    """Keep the best window of each discussion, reaching as far as its neighbours do."""
    kept: list[Found] = []
    by_episode: dict[tuple[int, int], list[int]] = {}
    for one in ranking:
        part, position = parts[one.place[0]], one.place[1]
        row = int(part.columns.window_row[position])
        last = row + int(part.columns.window_rows[position]) - 1
        near = by_episode.setdefault((one.place[0], int(part.columns.episode[row])), [])
        joined = next((index for index in near if abs(kept[index].row - row) <= NEAR_ROWS), None)
        if joined is None:
            near.append(len(kept))
            kept.append(Found(one.place, row, 0, last, one.score))
    return kept


def _spread(parts: Sequence[Part], found: list[Found], limit: int) -> list[Found]:
    """Take the best in turn, holding back further moments of an episode and leaving out what was said before word for word."""
    taken: list[Found] = []
    seen_words: list[set[int]] = []
    seen_episodes: dict[tuple[int, int], int] = {}
    waiting = sorted(found, key=lambda one: -one.score)
    while waiting and len(taken) < limit:
        best = max(waiting, key=lambda one: one.score * SPREAD ** seen_episodes.get(_episode(parts, one), 0))
        waiting.remove(best)
        words = _words(parts, best)
        if any(_alike(words, other) for other in seen_words):
            continue
        seen_words.append(words)
        earlier = seen_episodes.get(_episode(parts, best), 0)
        seen_episodes[_episode(parts, best)] = earlier + 1
        taken.append(replace(best, score=best.score * SPREAD**earlier))
    return taken


def _snapped(parts: Sequence[Part], found: Found, counts: Counts) -> Found:
    row, sentence = start_of(parts, found.place, counts)
    return Found(found.place, row, sentence, found.last_row, found.score)


def _episode(parts: Sequence[Part], found: Found) -> tuple[int, int]:
    return found.place[0], int(parts[found.place[0]].columns.episode[found.row])


def _words(parts: Sequence[Part], found: Found) -> set[int]:
    part = parts[found.place[0]]
    return set(part.terms.of(found.row, found.last_row - found.row + 1).tolist())


def _alike(words: set[int], other: set[int]) -> bool:
    smaller = min(len(words), len(other))
    return smaller > 0 and len(words & other) >= SAME_SHARE * max(len(words), len(other))

"""From ranked windows to moments: windows of one discussion merged, repeats folded, spread over episodes, snapped to a start.

Comes in: a ranking and the opened parts. Goes out: where each moment starts and ends, by passage and sentence.
Does not know: the database, texts, addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.part import Part
from index.ranker import Counts, Place, Ranking, by_part, count_in

START_COVERAGE = 0.6  # a moment starts at the first sentence with this share of the best sentence's weight (FACTS: 10 words off)
NEAR_ROWS = 2  # windows of one episode whose first passages are this near speak of one thing
SAME_SHARE = 0.8  # of words in common: the same advert or introduction again
MAYBE_SHARE = 0.4  # of an eighth of the words in common: with less, that is hardly ever so
SPREAD = 0.93  # each further moment of an episode counts this much less than the one before


class Found(NamedTuple):
    """A moment inside the index: a window, the row and sentence to start at, and the last row that belongs to it."""

    place: Place
    episode: int  # its number in the part
    row: int
    sentence: int
    last_row: int
    score: float


def find_moments(parts: Sequence[Part], ranking: Ranking, counts: Counts, limit: int) -> list[Found]:
    """Return up to `limit` moments, best first."""
    leaders = _spread(parts, _merged(parts, ranking), limit)
    starts = starts_of(parts, [one.place for one in leaders], counts)
    return [one._replace(row=row, sentence=sentence) for one, (row, sentence) in zip(leaders, starts, strict=True)]


def starts_of(parts: Sequence[Part], places: Sequence[Place], counts: Counts) -> list[tuple[int, int]]:
    """Return (row, sentence) where the discussion in each window begins: the first sentence with nearly the best's weight."""
    found: list[tuple[int, int]] = [(0, 0)] * len(places)
    idf = np.array(counts.idf)
    for number, here, positions in by_part(places):
        columns, terms = parts[number].columns, parts[number].terms
        firsts, sizes = columns.window_row[positions], columns.window_rows[positions].astype(np.int64)
        ends = np.cumsum(sizes)
        rows = np.repeat(firsts - (ends - sizes), sizes) + np.arange(ends[-1])
        hashes, starts = terms.of_rows(rows)
        borders, of_row = terms.sentences_of_rows(rows, starts)
        coverage = (count_in(hashes, np.append(borders, len(hashes)), counts) > 0) @ idf
        for one, first, begin, end in zip(here.tolist(), firsts.tolist(), (ends - sizes).tolist(), ends.tolist(), strict=True):
            low, high = int(of_row[begin]), int(of_row[end])
            start = low + _first_telling(coverage[low:high])
            row = int(np.searchsorted(of_row[begin:end], start, side="right")) - 1
            found[one] = (first + row, start - int(of_row[begin + row]))
    return found


def _first_telling(coverage: npt.NDArray[np.float64]) -> int:
    best = float(coverage.max()) if len(coverage) else 0.0
    return int(np.argmax(coverage >= START_COVERAGE * best)) if best > 0 else 0


def _merged(parts: Sequence[Part], ranking: Ranking) -> Iterator[Found]:
    """Yield the best window of each discussion, best first, reaching as far as its neighbours do."""
    table = np.zeros((len(ranking), 3), dtype=np.int64)  # episode, first row, last row
    for number, here, positions in by_part([one.place for one in ranking]):
        columns = parts[number].columns
        rows = columns.window_row[positions]
        table[here] = np.column_stack([columns.episode[rows], rows, rows + columns.window_rows[positions] - 1])
    seen: dict[tuple[int, int], set[int]] = {}
    for (place, score), (episode, row, last) in zip(ranking, table.tolist(), strict=True):
        near = seen.setdefault((place[0], episode), set())
        if row not in near:
            near.update(range(row - NEAR_ROWS, row + NEAR_ROWS + 1))
            yield Found(place, episode, row, 0, last, score)


def _spread(parts: Sequence[Part], found: Iterator[Found], limit: int) -> list[Found]:
    """Take the best in turn, holding back further moments of an episode and leaving out what was said before word for word."""
    taken: list[Found] = []
    seen_words: list[_Words] = []
    seen_episodes: dict[tuple[int, int], int] = {}
    waiting: list[tuple[float, int, int, Found]] = []  # what it is worth after so many of its episode
    order, coming = 0, next(found, None)
    while (waiting or coming) and len(taken) < limit:
        while coming and (not waiting or coming.score >= -waiting[0][0]):  # what comes later is worth no more than this
            heappush(waiting, (-coming.score, order, 0, coming))
            order, coming = order + 1, next(found, None)
        worth, number, counted, best = heappop(waiting)
        episode = (best.place[0], best.episode)
        earlier = seen_episodes.get(episode, 0)
        if earlier != counted:  # others of its episode were taken meanwhile
            heappush(waiting, (-best.score * SPREAD**earlier, number, earlier, best))
            continue
        words = _Words(parts, best)
        if any(words.alike(other) for other in seen_words):
            continue
        seen_words.append(words)
        seen_episodes[episode] = earlier + 1
        taken.append(best._replace(score=-worth))
    return taken


class _Words:
    """The different words of a moment; of most pairs an eighth of them tells that they are not alike."""

    def __init__(self, parts: Sequence[Part], found: Found) -> None:
        self._hashes = parts[found.place[0]].terms.of(found.row, found.last_row - found.row + 1)
        self._few = set(self._hashes[self._hashes & 7 == 0].tolist())

    @cached_property
    def _all(self) -> set[int]:
        return set(self._hashes.tolist())

    def alike(self, other: _Words) -> bool:
        """Tell whether both say the same, but for a few words."""
        if len(self._few & other._few) < MAYBE_SHARE * min(len(self._few), len(other._few)):
            return False
        smaller, larger = sorted((len(self._all), len(other._all)))
        needed = SAME_SHARE * larger
        return 0 < smaller >= needed and len(self._all & other._all) >= needed

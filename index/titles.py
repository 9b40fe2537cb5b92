"""Which episodes' titles and shows' names hold a word: one part's titles, turned round.

Comes in: the part's episodes. Goes out: for words of a query, what each episode's title is worth.
Does not know: passages; it is made when it is first asked, from what the columns hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from index.columns import EpisodeFacts
from index.language import stem_hash, stems

Weights = npt.NDArray[np.float64]


class Titles:
    """The titles of one part. Safe to ask from many threads at once."""

    def __init__(self, episodes: Sequence[EpisodeFacts], language: str | None) -> None:
        """Take the part's episodes in their order, and the language that their titles are stemmed in."""
        said = [frozenset(map(stem_hash, stems(f"{facts.title} {facts.show}", language))) for facts in episodes]
        hashes = np.array([number for one in said for number in one], dtype=np.uint32)
        owners = np.repeat(np.arange(len(said), dtype=np.int32), [len(one) for one in said])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], owners[order]
        self._episodes = len(said)

    def weights(self, terms: Sequence[tuple[int, ...]], idf: Sequence[float]) -> Weights:
        """Return for every episode the weight of the words (each with its stems' hashes) in its title, shape (episodes,)."""
        total = np.zeros(self._episodes)
        for group, weight in zip(terms, idf, strict=True):
            low = np.searchsorted(self._hashes, np.array(group, dtype=np.uint32))
            high = np.searchsorted(self._hashes, np.array(group, dtype=np.uint32), side="right")
            found = [self._owners[first:last] for first, last in zip(low.tolist(), high.tolist(), strict=True) if last > first]
            if len(found) == 1:
                total[found[0]] += weight
            elif found:
                total[np.unique(np.concatenate(found))] += weight
        return total

"""In how many windows of a part a stem stands: all that a score needs of words that are found elsewhere.

Comes in: passages. Goes out: counts by stem, mapped from disk, 8 bytes for each different stem.
Does not know: which windows those are (tantivy or Qdrant does), or what a rare word is worth (`index.ranker`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from index.columns import open_array, window_rows
from index.language import stem_hash, stems
from store.records import Passage

HASHES_NAME, COUNTS_NAME = "stem_hashes.npy", "stem_windows.npy"


class StemCounts:
    """The counts of one part. Safe to use from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Map what `write_stem_counts` wrote."""
        self._hashes = open_array(folder / HASHES_NAME)
        self._counts = open_array(folder / COUNTS_NAME)

    def count(self, stem: str) -> int:
        """Return how many windows hold a stem."""
        wanted = np.uint32(stem_hash(stem))
        place = int(np.searchsorted(self._hashes, wanted))
        return int(self._counts[place]) if place < len(self._hashes) and self._hashes[place] == wanted else 0


def write_stem_counts(folder: Path, passages: Sequence[Passage]) -> None:
    """Count the stems of the passages' windows into `folder`."""
    counted: Counter[int] = Counter()
    said = [{stem_hash(stem) for stem in stems(passage.text, passage.language)} for passage in passages]
    for row, count in window_rows(passages):
        counted.update(set().union(*said[row : row + count]))
    hashes = np.array(sorted(counted), dtype=np.uint32)
    np.save(folder / HASHES_NAME, hashes)
    np.save(folder / COUNTS_NAME, np.array([counted[key] for key in hashes.tolist()], dtype=np.uint32))


def has_stem_counts(folder: Path) -> bool:
    """Tell whether a part keeps counts, because its words are found elsewhere."""
    return (folder / HASHES_NAME).is_file()

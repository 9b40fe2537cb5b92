"""One immutable part of the index: a folder with columns, terms, vectors and words of some episodes' windows.

Comes in: passages with ids and their vectors. Goes out: the folder; later, the same opened and mapped.
Where Qdrant finds windows, a part has neither vectors nor words: what ranks and cuts moments (columns, terms) stays, and how many
windows hold a stem.
Does not know: other parts, generations, queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.columns import Columns, EpisodeFacts, window_rows, write_columns
from index.dense import DenseIndex, window_vectors, write_dense
from index.lexical import LexicalIndex, write_lexical
from index.stem_counts import StemCounts, has_stem_counts, write_stem_counts
from index.terms import Terms, write_terms
from index.titles import Titles
from store.errors import IndexUnavailable
from store.records import Passage


class Part:
    """An opened part. Its members are safe to use from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Map a part's files. Raises `IndexUnavailable` if one cannot be read."""
        self.folder = folder
        self.columns = Columns(folder)
        self.terms = Terms(folder)
        elsewhere = has_stem_counts(folder)
        self._dense = None if elsewhere else DenseIndex(folder)
        self._lexical = None if elsewhere else LexicalIndex(folder)
        counts = self._lexical or StemCounts(folder)
        self.count: Callable[[str], int] = counts.count  # in how many windows a stem stands

    @cached_property
    def titles(self) -> Titles:
        """The words of the episodes' titles; read when they are first asked for."""
        languages = self.columns.languages
        return Titles(self.columns.episodes, languages[0] if languages else None)

    @property
    def dense(self) -> DenseIndex:
        """The part's vectors. Raises `IndexUnavailable` if they are elsewhere."""
        if self._dense is None:
            raise self._elsewhere()
        return self._dense

    @property
    def lexical(self) -> LexicalIndex:
        """The part's words. Raises `IndexUnavailable` if they are elsewhere."""
        if self._lexical is None:
            raise self._elsewhere()
        return self._lexical

    def _elsewhere(self) -> IndexUnavailable:
        return IndexUnavailable("this part's windows are found by Qdrant", where=str(self.folder), next_step="Run: earmark reindex")


def write_part(
    folder: Path,
    passages: Sequence[Passage],
    vectors: npt.NDArray[np.float32],
    episodes: dict[str, EpisodeFacts],
    *,
    threads: int = 1,
    findable: bool = True,
) -> int:
    """Write a part of `passages` (in id order, whole episodes) with their vectors (shape (n, d)); return its number of windows.

    Not `findable`: its windows are found elsewhere, so it gets neither vectors nor words.
    """
    folder.mkdir(parents=True)
    windows = window_rows(passages)
    write_columns(folder, passages, episodes)
    write_terms(folder, passages)
    if findable:
        write_dense(folder, window_vectors(vectors, windows), threads=threads)
        write_lexical(folder, passages, episodes)
    else:
        write_stem_counts(folder, passages)
    return len(windows)

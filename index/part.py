"""One immutable part of the index: a folder with columns, terms, vectors and words of some episodes' windows.

Comes in: passages with ids and their vectors. Goes out: the folder; later, the same opened and mapped.
Does not know: other parts, generations, queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.columns import Columns, EpisodeFacts, window_rows, write_columns
from index.dense import DenseIndex, window_vectors, write_dense
from index.lexical import LexicalIndex, write_lexical
from index.terms import Terms, write_terms
from index.titles import Titles
from store.records import Passage


class Part:
    """An opened part. Its members are safe to use from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Map a part's files. Raises `IndexUnavailable` if one cannot be read."""
        self.folder = folder
        self.columns = Columns(folder)
        self.terms = Terms(folder)
        self.dense = DenseIndex(folder)
        self.lexical = LexicalIndex(folder)

    @cached_property
    def titles(self) -> Titles:
        """The words of the episodes' titles; read when they are first asked for."""
        languages = self.columns.languages
        return Titles(self.columns.episodes, languages[0] if languages else None)


def write_part(
    folder: Path,
    passages: Sequence[Passage],
    vectors: npt.NDArray[np.float32],
    episodes: dict[str, EpisodeFacts],
    *,
    threads: int = 1,
) -> int:
    """Write a part of `passages` (in id order, whole episodes) with their vectors (shape (n, d)); return its number of windows."""
    folder.mkdir(parents=True)
    windows = window_rows(passages)
    write_columns(folder, passages, episodes)
    write_terms(folder, passages)
    write_dense(folder, window_vectors(vectors, windows), threads=threads)
    write_lexical(folder, passages, episodes)
    return len(windows)

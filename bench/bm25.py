"""The frozen yardstick: BM25 (k1 1.2, b .75) over stemmed words, in numpy and scipy. It must never change.

Comes in: the windows' texts. Goes out: for a query the best windows and their scores.
Does not know: the product; only its stemmer (Snowball English) is shared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix  # type: ignore[import-untyped]

from index.language import stem

K1, B = 1.2, 0.75
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


class FrozenBm25:
    """BM25 over texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Count the words of `texts`."""
        self._vocabulary: dict[str, int] = {}
        rows, columns, values, lengths = [], [], [], []
        for row, text in enumerate(texts):
            counts = Counter(_stems(text))
            lengths.append(sum(counts.values()))
            for word, count in counts.items():
                rows.append(row)
                columns.append(self._vocabulary.setdefault(word, len(self._vocabulary)))
                values.append(count)
        length = np.array(lengths, dtype=np.float64)
        tf = np.array(values, dtype=np.float64)
        column = np.array(columns, dtype=np.int64)
        document_frequency = np.bincount(column, minlength=len(self._vocabulary))
        idf = np.log1p((len(texts) - document_frequency + 0.5) / (document_frequency + 0.5))
        norm = K1 * (1 - B + B * length[np.array(rows, dtype=np.int64)] / length.mean())
        weights = idf[column] * tf * (K1 + 1) / (tf + norm)
        self._matrix = csc_matrix((weights, (rows, columns)), shape=(len(texts), len(self._vocabulary)))

    def search(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Return up to `limit` (row, score) pairs, best first."""
        columns = [self._vocabulary[word] for word in _stems(query) if word in self._vocabulary]
        scores: npt.NDArray[np.float64] = np.zeros(self._matrix.shape[0])
        for column in columns:
            start, end = self._matrix.indptr[column], self._matrix.indptr[column + 1]
            scores[self._matrix.indices[start:end]] += self._matrix.data[start:end]
        best = np.argsort(-scores, kind="stable")[:limit]
        return [(int(row), float(scores[row])) for row in best if scores[row] > 0]


def _stems(text: str) -> list[str]:
    return [stem(word, "en") for word in _WORD.findall(text.lower().replace("’", "'"))]

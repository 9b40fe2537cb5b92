"""Nearest windows by meaning: FAISS over each part's vectors, twice as it grows: short codes to find, 8-bit vectors to be exact.

Comes in: windows' vectors, float32, shape (n, d), normalised. Goes out: positions of the nearest and their cosine.
A search without a filter runs over all short codes (4 bits for 4 dimensions, in registers: 100,000 windows in 0.3 ms) and compares
the best again by their 8-bit vectors, which stay on disk, mapped. Cells (IVF) need 2.1 ms there for less recall, and tuning.
Does not know: passage ids (positions count from 0 inside a part) or how vectors are made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from store.errors import IndexUnavailable

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

EXACT_WINDOWS = 5_000  # up to here every vector is compared as it is: 1 ms
CODE_DIMENSIONS = 4  # that one code of 4 bits stands for
TRAINED_WITH = 20_000  # vectors
REFINED = 4  # times as many are compared again as are wanted: recall of the ten nearest .99 on 100,000 windows
FEWEST_REFINED = 400
WIDE = 0.1  # a filter that leaves a larger share is first answered from the short codes

FILE_NAME, CODES_NAME, ABOUT_NAME = "dense.faiss", "dense.codes.faiss", "dense.json"


class DenseIndex:
    """The vectors of one part. Safe to search from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Open what `write_dense` wrote. Raises `IndexUnavailable` if FAISS cannot read it."""
        import faiss

        faiss.omp_set_num_threads(1)  # one thread a search: many searches run side by side
        about = json.loads((folder / ABOUT_NAME).read_text(encoding="utf-8"))
        path = folder / FILE_NAME
        try:
            self._vectors = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            self._codes = faiss.read_index(str(folder / CODES_NAME)) if about["codes"] else None
        except RuntimeError as error:
            raise IndexUnavailable(f"FAISS cannot read it ({error})", where=str(path), next_step="Run: earmark reindex") from error
        self._refined = faiss.IndexRefine(self._codes, self._vectors) if self._codes is not None else None
        self.size = int(self._vectors.ntotal)

    def search(self, vector: Vectors, limit: int, allowed: Mask | None = None) -> tuple[Positions, Scores]:
        """Return up to `limit` positions and cosines, best first. `allowed` (by position) is obeyed exactly."""
        count = self.size if allowed is None else int(np.count_nonzero(allowed))
        limit = min(limit, count)
        if limit == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        query = np.ascontiguousarray(vector[None, :], dtype=np.float32)
        if allowed is None:
            return self._among_all(query, limit)
        if self._codes is not None and count >= WIDE * self.size:
            near = self._by_codes(query, int(np.ceil(_refined(limit) * limit * self.size / count)))
            near = near[allowed[near]]
            if len(near) >= 2 * limit:  # fewer: what the question is about and what is allowed hardly meet
                return self._compared(query[0], near, limit)
        return self._among(query, limit, allowed)

    def _among_all(self, query: Vectors, limit: int) -> tuple[Positions, Scores]:
        import faiss

        if self._refined is None:
            return _found(*self._vectors.search(query, limit))
        options: dict[str, Any] = {"k_factor": _refined(limit)}
        return _found(*self._refined.search(query, limit, params=faiss.IndexRefineSearchParameters(**options)))

    def _among(self, query: Vectors, limit: int, allowed: Mask) -> tuple[Positions, Scores]:
        import faiss

        bits = np.packbits(allowed, bitorder="little")
        options: dict[str, Any] = {"sel": faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))}
        return _found(*self._vectors.search(query, limit, params=faiss.SearchParameters(**options)))

    def _by_codes(self, query: Vectors, limit: int) -> Positions:
        assert self._codes is not None
        positions, _ = _found(*self._codes.search(query, min(limit, self.size)))
        return positions

    def _compared(self, vector: Vectors, near: Positions, limit: int) -> tuple[Positions, Scores]:
        scores = self._vectors.reconstruct_batch(near) @ vector
        best = np.argsort(-scores, kind="stable")[:limit]
        return near[best], scores[best]


def _refined(limit: int) -> float:
    return max(REFINED, FEWEST_REFINED / limit)


def _found(scores: Any, positions: Any) -> tuple[Positions, Scores]:
    there = positions[0] >= 0
    return positions[0][there].astype(np.int64), scores[0][there]


def window_vectors(vectors: Vectors, windows: list[tuple[int, int]]) -> Vectors:
    """Return the windows' vectors: the normalised mean of their passages'. `windows` are (first row, number of rows)."""
    first = np.array([row for row, _ in windows], dtype=np.int64)
    last = np.array([row + count - 1 for row, count in windows], dtype=np.int64)
    means = vectors[first] + vectors[last]
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    result: Vectors = (means / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def write_dense(folder: Path, vectors: Vectors, *, threads: int = 1) -> None:
    """Write the index of `vectors` (float32, shape (n, d), normalised) into `folder`."""
    import faiss

    count, dim = vectors.shape
    faiss.omp_set_num_threads(threads)
    with_codes = count > EXACT_WINDOWS and dim % CODE_DIMENSIONS == 0
    sample = vectors[np.sort(np.random.default_rng(0).permutation(count)[:TRAINED_WITH])]
    kinds = {FILE_NAME: "SQ8" if count > EXACT_WINDOWS else "SQfp16"}
    if with_codes:
        kinds[CODES_NAME] = f"PQ{dim // CODE_DIMENSIONS}x4fs"
    for name, kind in kinds.items():
        index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors if kind == "SQ8" else sample)  # of 8-bit vectors the range of every dimension is learned: from all
        index.add(vectors)
        faiss.write_index(index, str(folder / name))
    about = {"kinds": list(kinds.values()), "codes": with_codes, "windows": count}
    (folder / ABOUT_NAME).write_text(json.dumps(about), encoding="utf-8")

"""Nearest windows by meaning: one FAISS index for each part, its kind chosen by size.

Comes in: windows' vectors, float32, shape (n, d), normalised. Goes out: positions of the nearest and their cosine.
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

EXACT_WINDOWS = 20_000  # up to here every vector is compared: 4 ms; above, lists of neighbours are
TRAINING_PER_LIST = 48  # vectors a list is trained with
WANTED_RECALL = 0.97  # of the ten nearest, on queries made up at build time; real ones find .95 to .96 then
TUNING_QUERIES = 200
TUNING_COSINE = 0.6  # how near a made-up query is to the window it was made from; real queries are about as far
NARROW = 0.25  # a filter that leaves a smaller share than this is answered from every list

FILE_NAME, ABOUT_NAME = "dense.faiss", "dense.json"


class DenseIndex:
    """The vectors of one part, mapped from disk. Safe to search from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Map the index that `write_dense` wrote. Raises `IndexUnavailable` if FAISS cannot read it."""
        import faiss

        faiss.omp_set_num_threads(1)  # one thread a search: many searches run side by side
        about = json.loads((folder / ABOUT_NAME).read_text(encoding="utf-8"))
        path = folder / FILE_NAME
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexUnavailable(f"FAISS cannot read it ({error})", where=str(path), next_step="Run: earmark reindex") from error
        self._lists = int(about["lists"])
        self._probes = int(about["probes"])
        self.size = int(self._index.ntotal)

    def search(self, vector: Vectors, limit: int, allowed: Mask | None = None) -> tuple[Positions, Scores]:
        """Return up to `limit` positions and cosines, best first. `allowed` (by position) is obeyed exactly."""
        import faiss

        limit = min(limit, self.size if allowed is None else int(np.count_nonzero(allowed)))
        if limit == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        options: dict[str, Any] = {}
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        if self._lists:
            share = 1.0 if allowed is None else np.count_nonzero(allowed) / self.size
            probes = self._lists if share < NARROW else min(self._lists, int(np.ceil(self._probes / share)))
            options["nprobe"] = probes
        parameters = _parameters(**options)
        scores, positions = self._index.search(vector[None, :].astype(np.float32), limit, params=parameters)
        found = positions[0] >= 0
        return positions[0][found].astype(np.int64), scores[0][found]


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
    lists = 0 if count <= EXACT_WINDOWS else 2 ** round(np.log2(4 * np.sqrt(count)) - 0.25)
    kind = f"IVF{lists},SQ8" if lists else "SQfp16"
    index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    probes = 0
    if lists:
        chosen = np.random.default_rng(0).permutation(count)[: TRAINING_PER_LIST * lists]
        index.train(vectors[np.sort(chosen)])
    elif not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    if lists:
        probes = _tuned_probes(index, vectors, lists)
    faiss.write_index(index, str(folder / FILE_NAME))
    (folder / ABOUT_NAME).write_text(
        json.dumps({"kind": kind, "lists": lists, "probes": probes, "windows": count}), encoding="utf-8"
    )


def _parameters(**options: Any) -> Any:
    import faiss

    kind: Any = faiss.SearchParametersIVF if "nprobe" in options else faiss.SearchParameters
    return kind(**options)


def _tuned_probes(index: Any, vectors: Vectors, lists: int) -> int:
    """Return the smallest number of lists to look into that finds `WANTED_RECALL` of the true ten nearest."""
    import faiss

    random = np.random.default_rng(1)
    queries = vectors[random.integers(0, len(vectors), TUNING_QUERIES)]
    noise = random.standard_normal(queries.shape).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    queries = TUNING_COSINE * queries + np.sqrt(1 - TUNING_COSINE**2).astype(np.float32) * noise
    _, truth = faiss.knn(queries, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)
    probes = 8
    while probes < lists:
        _, found = index.search(queries, 10, params=_parameters(nprobe=probes))
        hits = sum(len(set(row) & set(true)) for row, true in zip(found.tolist(), truth.tolist(), strict=True))
        if hits >= WANTED_RECALL * truth.size:
            break
        probes = int(probes * 1.5)
    return min(probes, lists)

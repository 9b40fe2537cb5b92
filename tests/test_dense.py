from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from index import dense
from index.dense import DenseIndex, window_vectors, write_dense
from store.errors import IndexUnavailable


def some_vectors(count: int, dim: int = 32, seed: int = 0) -> dense.Vectors:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((40, dim))
    vectors = centres[random.integers(0, 40, count)] + 0.7 * random.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def truth(vectors: dense.Vectors, query: dense.Vectors, limit: int, allowed: dense.Mask | None = None) -> list[int]:
    scores = vectors @ query
    if allowed is not None:
        scores = np.where(allowed, scores, -2)
    return np.argsort(-scores)[:limit].tolist()


def test_small_parts_are_exact(tmp_path: Path) -> None:
    vectors = some_vectors(500)
    write_dense(tmp_path, vectors)
    index = DenseIndex(tmp_path)
    for query in some_vectors(10, seed=1):
        positions, scores = index.search(query, 10)
        assert set(positions[:8].tolist()) <= set(truth(vectors, query, 10))
        np.testing.assert_allclose(scores, vectors[positions] @ query, atol=2e-3)
        assert (np.diff(scores) <= 0).all()


def test_filters_are_obeyed(tmp_path: Path) -> None:
    vectors = some_vectors(300)
    write_dense(tmp_path, vectors)
    index = DenseIndex(tmp_path)
    allowed = np.zeros(300, dtype=bool)
    allowed[[3, 77, 299]] = True
    positions, _ = index.search(vectors[0], 10, allowed)
    assert sorted(positions.tolist()) == [3, 77, 299]
    positions, _ = index.search(vectors[0], 10, np.zeros(300, dtype=bool))
    assert positions.tolist() == []


def test_large_parts_search_short_codes_and_still_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "EXACT_WINDOWS", 1000)
    vectors = some_vectors(6000, dim=128)
    write_dense(tmp_path, vectors)
    about = json.loads((tmp_path / dense.ABOUT_NAME).read_text())
    assert about["kinds"] == ["SQ8", "PQ32x4fs"] and (tmp_path / dense.CODES_NAME).is_file()
    index = DenseIndex(tmp_path)
    queries = vectors[:50] + 0.1 * some_vectors(50, dim=128, seed=1)
    hits = sum(len(set(index.search(query, 10)[0].tolist()) & set(truth(vectors, query, 10))) for query in queries)
    assert hits >= 0.93 * 500
    for share in (0.02, 0.3, 0.99):
        allowed = np.random.default_rng(2).random(6000) < share
        found = [index.search(query, 10, allowed) for query in queries]
        assert all(allowed[positions].all() and len(positions) == 10 for positions, _ in found)
        assert all((np.diff(scores) <= 1e-6).all() for _, scores in found)
        hits = sum(
            len(set(positions.tolist()) & set(truth(vectors, query, 10, allowed)))
            for query, (positions, _) in zip(queries, found, strict=True)
        )
        assert hits >= 0.93 * 500, share


def test_a_wide_filter_that_leaves_out_all_that_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "EXACT_WINDOWS", 1000)
    vectors = some_vectors(6000, dim=128)
    write_dense(tmp_path, vectors)
    query = vectors[0]
    allowed = vectors @ query < np.median(vectors @ query)
    positions, _ = DenseIndex(tmp_path).search(query, 50, allowed)
    assert len(positions) == 50 and allowed[positions].all()
    best = vectors[truth(vectors, query, 50, allowed)] @ query
    np.testing.assert_allclose(np.sort(vectors[positions] @ query), np.sort(best), atol=0.005)


def test_many_threads_at_once(tmp_path: Path) -> None:
    vectors = some_vectors(400)
    write_dense(tmp_path, vectors)
    index = DenseIndex(tmp_path)
    masks = [np.arange(400) % 4 == n % 4 for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: index.search(vectors[n], 5, masks[n])[0], range(40)))
    for n, positions in enumerate(found):
        assert masks[n][positions].all() and len(positions) == 5


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    write_dense(tmp_path, some_vectors(100))
    path = tmp_path / dense.FILE_NAME
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(IndexUnavailable, match="reindex"):
        DenseIndex(tmp_path)


def test_window_vectors_are_the_mean_of_two() -> None:
    vectors = some_vectors(3)
    made = window_vectors(vectors, [(0, 2), (2, 1)])
    mean = vectors[0] + vectors[1]
    np.testing.assert_allclose(made[0], mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(made[1], vectors[2], rtol=1e-5)

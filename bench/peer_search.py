"""The recipe that small tools share, for comparison: SQLite FTS5, FAISS Flat in 32 bits, reciprocal rank fusion.

Comes in: the folder of a benchmark's catalogue. Goes out: its latency and memory on the same queries, encoding included.
Does not know: the product's index; the store is only read for texts and vectors.
"""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.search_data import read_windows
from index.embed import open_embedder
from store.database import Database
from store.settings import load_settings

DEPTH, RRF_K = 100, 60
NAME = "FTS5 + FAISS Flat + RRF"


def measure_peer(folder: str, queries: list[str]) -> dict[str, Any]:
    """Build the peer over the same windows and return its figures."""
    import faiss

    faiss.omp_set_num_threads(1)
    settings = load_settings(Path(folder))
    embedder = open_embedder(settings, threads=1)
    ids, texts, vectors = read_windows(Database.in_folder(settings.data_dir, read_only=True), embedder.name)
    path = Path(folder) / "peer.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("create virtual table window using fts5(text, tokenize='porter unicode61', content='')")
    connection.executemany("insert into window (rowid, text) values (?, ?)", zip(ids, texts, strict=True))
    connection.commit()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    del texts, vectors
    numbers = np.array(ids)
    took = []
    for query in queries:
        started = time.perf_counter()
        words = re.findall(r"\w+", query)
        match = " OR ".join(f'"{word}"' for word in words)
        rows = (
            connection.execute("select rowid from window where window match ? order by rank limit ?", (match, DEPTH))
            if words
            else []
        )
        _, near = flat.search(embedder.embed_query(query)[None, :], DEPTH)
        scores: dict[int, float] = {}
        for ranking in ([row[0] for row in rows], numbers[near[0]].tolist()):
            for rank, key in enumerate(ranking, 1):
                scores[key] = scores.get(key, 0.0) + 1 / (RRF_K + rank)
        sorted(scores, key=lambda key: -scores[key])
        took.append((time.perf_counter() - started) * 1000)
    return {
        "name": NAME,
        "p50_ms": round(float(np.percentile(took, 50)), 1),
        "p95_ms": round(float(np.percentile(took, 95)), 1),
        "rss_mb": peak_rss_mb(),
    }


def peak_rss_mb() -> int:
    """Return this process's highest resident memory; `getrusage` may tell that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return round(int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024)

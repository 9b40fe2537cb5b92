"""What a window costs in Qdrant and beside it: bytes on the wire, on its disk and in its memory, bytes in the parts that stay here.

Comes in: a folder as `bench.retrieval_data` reads it. Goes out: one JSON object.
Qdrant's engine runs inside the process (`pip install qdrant-edge-py`), with the points and the settings of `index.qdrant`: what a
server and a network add is not in these figures. Texts are real; passages that the cache has no vector of get a turned one.
Does not know: whether what is found is right (`bench.retrieval`).

    python -m bench.qdrant --data ../shared/retrieval --windows 100000
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer_search import peak_rss_mb
from bench.retrieval import CACHE, tell
from bench.search_data import fill_store, read_windows
from index.build import rebuild, update_index
from index.embed import open_embedder
from index.language import stem_hash, stems, words
from index.manifest import builder_lock
from index.part import write_part
from index.qdrant import BEAM, COMPARED_AGAIN, MEANING, PUT_AT_ONCE, WORDS, Collection, points_of, spoken_form
from index.query import Filters
from index.ranker import K1, B
from store.database import Database
from store.passages import passages_after, vectors_by_hash
from store.records import Passage
from store.settings import Settings, load_settings

ASKED, NEAREST, DEPTH = 200, 10, 100
WEIGHED_EVERY = 100  # points
LOADED_FOR_S = 1.0


def main() -> None:
    """Run the benchmark from the command line."""
    tasks = {"--build": build, "--build-beside": build_beside, "--measure": measure}
    if sys.argv[1:2] and sys.argv[1] in tasks:
        print(json.dumps(tasks[sys.argv[1]](Path(sys.argv[2]))))
        return
    parser = argparse.ArgumentParser(prog="python -m bench.qdrant", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where bench.retrieval keeps vectors")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        print(json.dumps(run(given.data, given.split, given.windows, given.cache, Path(folder)), indent=1))


def run(data: Path, split: str, windows: int, cache: Path, folder: Path) -> dict[str, Any]:
    """Build both, and return the figures."""
    settings = load_settings(folder / "data")
    embedder = open_embedder(settings)
    database = Database.in_folder(settings.data_dir)
    fill_store(database, data, split, windows, cache, embedder.name)
    tell("stored")
    figures = _in_a_process("--build", folder)
    windows = figures["windows"]
    figures.update(_in_a_process("--build-beside", folder))
    passages = _passages(database)
    figures["hours"] = round(sum(passage.end_s - passage.start_s for passage in passages) / 3600, 1)
    figures["words_a_passage"] = round(sum(len(words(passage.text)) for passage in passages) / len(passages), 1)
    figures["local_bytes_a_window"] = _bytes_of(settings.data_dir / "index" / "parts", windows)
    tell(f"indexed: {windows} windows")
    kept = vectors_by_hash(database, embedder.name, (passage.text_hash for passage in passages))
    vectors = np.stack([kept[passage.text_hash] for passage in passages])
    facts = _facts(settings.data_dir)
    write_part(folder / "beside", passages, vectors, facts, findable=False)
    figures["beside_qdrant_bytes_a_window"] = _bytes_of(folder / "beside", windows)
    figures.update(_fill(folder, passages, vectors, facts, windows))
    figures["qdrant_disk_bytes_a_window"] = _bytes_of(folder / "shard", windows)
    _questions(folder, database, embedder, passages)
    measured = {**_in_a_process("--measure", folder), "client_ms": client_ms()}
    for name in ("anon", "file"):
        measured[f"memory_{name}_bytes_a_window"] = round(measured.pop(f"{name}_bytes") / windows)
    return {**figures, **measured}


def build(folder: Path) -> dict[str, Any]:
    """Build the index of this machine in this process, and return how much memory that took at most."""
    settings = load_settings(folder / "data")
    embedder = open_embedder(settings)
    before_mb = peak_rss_mb()
    report = update_index(Database.in_folder(settings.data_dir), settings, embedder)
    taken_bytes = (peak_rss_mb() - before_mb) << 20
    return {"windows": report.windows, "build_memory_bytes_a_window": round(taken_bytes / report.windows)}


class _Nowhere(Collection):
    """A collection that takes every window and keeps none."""

    def is_there(self) -> bool:
        return True

    def make(self, dim: int) -> None:
        """Make nothing."""

    def put(self, passages: Sequence[Passage], vectors: Any, episodes: Any) -> None:
        for _ in points_of(passages, vectors, episodes):
            pass

    def keep_only(self, ids: Any) -> None:
        """Drop nothing."""


def build_beside(folder: Path) -> dict[str, Any]:
    """Build what stays here where Qdrant finds, and every point, in this process; return how much memory that took at most."""
    settings = replace(load_settings(folder / "data"), qdrant="nowhere", data_dir=folder / "data")
    embedder = open_embedder(settings)
    before_mb = peak_rss_mb()
    with builder_lock(folder / "index-beside"):
        report = rebuild(Database.in_folder(settings.data_dir), folder / "index-beside", embedder, 1, _Nowhere(settings, "nowhere"))
    taken_bytes = (peak_rss_mb() - before_mb) << 20
    return {"build_beside_memory_bytes_a_window": round(taken_bytes / report.windows)}


def _in_a_process(task: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.qdrant", task, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _fill(folder: Path, passages: list[Passage], vectors: Any, facts: Any, windows: int) -> dict[str, Any]:
    import qdrant_edge as edge

    shard = _shard(folder, make=True)
    sent_bytes, sent_count, stems_said = 0, 0, 0
    started = time.perf_counter()
    batch: list[Any] = []
    for number, point in enumerate(points_of(passages, vectors, facts), 1):
        if number % WEIGHED_EVERY == 0:
            sent_bytes += len(point.model_dump_json())
            sent_count += 1
        vector = point.vector
        stems_said += len(vector[WORDS].indices)
        sparse = edge.SparseVector(vector[WORDS].indices, vector[WORDS].values)
        batch.append(edge.Point(point.id, {MEANING: vector[MEANING], WORDS: sparse}, point.payload))
        if len(batch) == PUT_AT_ONCE or number == windows:
            shard.update(edge.UpdateOperation.upsert_points(batch))
            batch = []
    put_s = time.perf_counter() - started
    tell("put")
    shard.optimize()
    shard.flush()
    shard.close()
    tell("graph of neighbours made")
    return {
        "json_bytes_a_window": round(sent_bytes / sent_count),
        "stems_a_window": round(stems_said / windows, 1),
        "put_s": round(put_s, 1),
        "optimize_s": round(time.perf_counter() - started - put_s, 1),
    }


def _shard(folder: Path, *, make: bool = False) -> Any:
    """Open a shard with what `Collection.make` asks a server for."""
    import qdrant_edge as edge

    if not make:
        return edge.EdgeShard.load(str(folder / "shard"))
    small = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, always_ram=True)
    dense = edge.EdgeVectorParams(384, edge.Distance.Dot, on_disk=True, quantization_config=small)
    config = edge.EdgeConfig(
        vectors={MEANING: dense}, sparse_vectors={WORDS: edge.EdgeSparseVectorParams()}, on_disk_payload=True, max_search_threads=1
    )
    (folder / "shard").mkdir()
    shard = edge.EdgeShard.create(str(folder / "shard"), config)
    text = edge.TextIndexParams(tokenizer=edge.TokenizerType.Whitespace, phrase_matching=True, on_disk=True)
    kinds: dict[str, Any] = dict.fromkeys(("show", "episode", "speaker", "language"), edge.PayloadSchemaType.Keyword)
    for field, kind in {**kinds, "day": edge.PayloadSchemaType.Integer, "said": text}.items():
        shard.update(edge.UpdateOperation.create_field_index(field, kind))
    return shard


def _questions(folder: Path, database: Database, embedder: Any, passages: list[Passage]) -> None:
    """Write what the measuring process asks, with the exact answers: sentences' halves as questions, three words as phrases."""
    source = random.Random(0)
    ids, texts, vectors = read_windows(database, embedder.name)
    lists = [[stem_hash(stem) for stem in stems(text, "en")] for text in texts]
    said = defaultdict(set)
    for place, hashes in enumerate(lists):
        for key in set(hashes):
            said[key].add(place)
    folded = [f" {spoken_form(words(text))} " for text in texts]
    asked = []
    for passage in source.sample(passages, ASKED):
        spoken = passage.text.split()
        start = source.randrange(max(1, len(spoken) - 9))
        question, phrase = " ".join(spoken[start : start + 8]), words(" ".join(spoken[start : start + 3]))
        vector = embedder.embed_query(question)
        near = [ids[place] for place in np.argsort(-(vectors @ vector))[:NEAREST].tolist()]
        keys = list(dict.fromkeys(stem_hash(stem) for stem in stems(question, "en")))
        weights = {key: float(np.log1p((len(ids) - len(said[key]) + 0.5) / (len(said[key]) + 0.5))) for key in keys}
        form = spoken_form(phrase)
        holding = [key for key, text in zip(ids, folded, strict=True) if f" {form} " in text]
        asked.append(
            {
                "vector": vector.tolist(),
                "weights": weights,
                "near": near,
                "best": _bm25(lists, said, weights, ids),
                "phrase": form,
                "holding": holding,
            }
        )
    (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")


def _bm25(lists: list[list[int]], said: dict[int, set[int]], weights: dict[int, float], ids: list[int]) -> list[int]:
    mean = sum(map(len, lists)) / len(lists)
    scores: dict[int, float] = defaultdict(float)
    rare = sorted(weights, key=lambda key: len(said[key]))
    for place in set().union(*(said[key] for key in rare[:4])):
        norm = K1 * (1 - B + B * len(lists[place]) / mean)
        for key, weight in weights.items():
            if place in said[key]:
                count = lists[place].count(key)
                scores[place] += weight * count * (K1 + 1) / (count + norm)
    return [ids[place] for place in sorted(scores, key=lambda place: -scores[place])[:NEAREST]]


def measure(folder: Path) -> dict[str, Any]:
    """Load the shard in this process and ask it: memory beyond an empty process's, times, and what it misses."""
    import qdrant_edge as edge

    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    before = _memory()
    shard = _shard(folder)
    time.sleep(LOADED_FOR_S)
    params = edge.SearchParams(hnsw_ef=BEAM, quantization=edge.QuantizationSearchParams(rescore=True, oversampling=COMPARED_AGAIN))
    took: dict[str, list[float]] = defaultdict(list)
    hits: dict[str, int] = defaultdict(int)

    def ask(kind: str, vector: Any, using: str, limit: int, **more: Any) -> list[int]:
        started = time.perf_counter()
        request = edge.QueryRequest(limit=limit, query=edge.Query.Nearest(vector, using=using), with_payload=False, **more)
        found = [int(point.id) for point in shard.query(request)]
        took[kind].append((time.perf_counter() - started) * 1000)
        return found

    for one in asked:
        sparse = edge.SparseVector([int(key) for key in one["weights"]], list(one["weights"].values()))
        near = ask("meaning", one["vector"], MEANING, DEPTH, params=params)
        hits["meaning"] += len(set(near[:NEAREST]) & set(one["near"]))
        best = ask("words", sparse, WORDS, 2 * DEPTH)
        hits["words"] += len(set(best) & set(one["best"]))
        held = edge.Filter(must=[edge.FieldCondition("said", match=edge.MatchPhrase(one["phrase"]))])
        holding = ask("phrase", sparse, WORDS, 4000, filter=held)
        hits["phrase"] += set(holding) == set(one["holding"]) or len(one["holding"]) > 4000
    after = _memory()
    shard.close()
    return {
        "recall10_meaning": round(hits["meaning"] / (NEAREST * len(asked)), 3),
        "best10_words_among_200": round(hits["words"] / sum(len(one["best"]) for one in asked), 3),
        "phrases_exact": f"{hits['phrase']} of {len(asked)}",
        **{f"{kind}_ms": _percentiles(times) for kind, times in took.items()},
        "anon_bytes": after["RssAnon"] - before["RssAnon"],
        "file_bytes": after["RssFile"] - before["RssFile"],
    }


def client_ms() -> list[float]:
    """Return what the client and HTTP on this machine add to one request: it is answered at once, with 200 windows."""
    hits = [{"id": number, "version": 0, "score": 0.5} for number in range(2 * DEPTH)]
    body = json.dumps({"result": {"points": hits}, "status": "ok", "time": 0.0}).encode()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collection = Collection(Settings(qdrant=f"http://127.0.0.1:{server.server_port}"), "x")
    vector = np.random.default_rng(0).standard_normal(384).astype(np.float32)
    took = []
    for _ in range(ASKED):
        started = time.perf_counter()
        collection.by_vector(vector, Filters(), DEPTH)
        took.append((time.perf_counter() - started) * 1000)
    server.shutdown()
    return _percentiles(took)


def _memory() -> dict[str, int]:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return {name: int(size) * 1024 for name, size in re.findall(r"(Rss\w+):\s+(\d+) kB", status)}


def _percentiles(times: Sequence[float]) -> list[float]:
    return [round(float(np.percentile(times, share)), 1) for share in (50, 95)]


def _passages(database: Database) -> list[Passage]:
    passages: list[Passage] = []
    while found := passages_after(database, passages[-1].id if passages else 0, 20_000):
        passages += found
    return passages


def _facts(data_dir: Path) -> Any:
    from index.columns import Columns

    parts = [Columns(part) for part in (data_dir / "index" / "parts").iterdir()]
    return {facts.id: facts for columns in parts for facts in columns.episodes}


def _bytes_of(folder: Path, windows: int) -> dict[str, int]:
    """Return bytes a window: of all files, and of those that belong together."""
    sizes: dict[str, int] = defaultdict(int)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        parts = path.relative_to(folder).parts
        size = path.stat().st_blocks * 512  # allocated, not apparent: Qdrant makes some files long before they are full
        sizes["all"] += size
        name = next((part for part in parts if re.match(r"vector_|payload_|lexical|dense|term|wal", part)), "other")
        sizes[re.split(r"[.]", name)[0]] += size
    return {name: round(size / windows) for name, size in sorted(sizes.items())}


if __name__ == "__main__":
    main()

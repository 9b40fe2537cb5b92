"""How fast search is on a large catalogue, beside the recipe that small tools share (FTS5 + FAISS Flat + rank fusion).

Comes in: a folder as `bench.retrieval_data` reads it. Goes out: one JSON object, or the same as lines.
Queries are real and all different, encoding is included, every measurement runs in a process of its own.
Does not know: whether what is found is right (`bench.retrieval`).

    python -m bench.search --data ../shared/retrieval --windows 100000 --json
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer_search import measure_peer, peak_rss_mb
from bench.retrieval import CACHE, tell
from bench.search_data import fill_store, read_windows
from index.build import update_index
from index.embed import open_embedder
from index.passages import cut_passages
from index.query import Filters, parse_query
from index.search import Searcher
from store.database import Database
from store.episodes import save_episode, save_show
from store.passages import replace_passages
from store.records import EpisodeListing, Segment, ShowListing
from store.settings import load_settings

ALONE, TOGETHER, RECALLED = 400, 1600, 200  # queries asked one by one, by many clients, and held against the exact answer
CLIENTS = 16
NARROW_SHARE = 0.02
NEAREST = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What one measuring process is asked to do."""

    folder: str
    queries: list[str]
    narrow: list[str]  # episodes with about 2 % of the windows
    peer: bool


def main() -> None:
    """Run the benchmark from the command line."""
    if sys.argv[1:2] == ["--measure"]:
        plan = Plan(**json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
        print(json.dumps(measure_peer(plan.folder, plan.queries[:ALONE]) if plan.peer else measure(plan)))
        return
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where bench.retrieval keeps vectors; it must have run before")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = run(given.data, given.split, given.windows, given.cache)
    print(json.dumps(figures) if given.json else "\n".join(f"{name:16} {value}" for name, value in figures.items()))


def run(data: Path, split: str, windows: int, cache: Path) -> dict[str, Any]:
    """Build the catalogue, measure it and the peer, and return the figures."""
    with gzip.open(data / f"queries.{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        queries = list(dict.fromkeys(json.loads(line)["text"] for line in file))
    random.Random(0).shuffle(queries)
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        settings = load_settings(Path(folder))
        embedder = open_embedder(settings)
        database = Database.in_folder(settings.data_dir)
        ids = fill_store(database, data, split, windows, cache, embedder.name)
        tell("stored")
        started = time.perf_counter()
        report = update_index(database, settings, embedder)
        figures: dict[str, Any] = {"windows": report.windows, "build_s": round(time.perf_counter() - started, 1)}
        tell(f"indexed: {report}")
        narrow = random.Random(1).sample(ids, max(1, round(NARROW_SHARE * len(ids))))
        figures.update(_in_a_process(Plan(folder, queries, narrow, peer=False)))
        figures["append_s"] = round(_append(database, settings, embedder), 2)
        figures["peer"] = _in_a_process(Plan(folder, queries, narrow, peer=True))
    return figures


def measure(plan: Plan) -> dict[str, Any]:
    """Measure the product in this process: opening, one query at a time, many at once, memory, recall."""
    settings = load_settings(Path(plan.folder))
    started = time.perf_counter()
    searcher = Searcher(settings, Database.in_folder(settings.data_dir, read_only=True))
    searcher.search("a first question")
    figures: dict[str, Any] = {"open_s": round(time.perf_counter() - started, 2)}
    took = []
    for query in plan.queries[:ALONE]:
        started = time.perf_counter()
        searcher.search(query)
        took.append((time.perf_counter() - started) * 1000)
    figures.update(p50_ms=_percentile(took, 50), p95_ms=_percentile(took, 95))
    many = plan.queries[ALONE : ALONE + TOGETHER]
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        degraded = sum(answer.degraded is not None for answer in pool.map(searcher.search, many))
    figures["qps_16"] = round(len(many) / (time.perf_counter() - started), 1)
    figures["degraded_16"] = degraded
    figures["rss_mb"] = peak_rss_mb()
    narrow = Filters(episode_ids=tuple(plan.narrow))
    figures.update(_recalls(searcher, Database.in_folder(settings.data_dir, read_only=True), plan.queries[:RECALLED], narrow))
    return figures


def _recalls(searcher: Searcher, database: Database, queries: list[str], narrow: Filters) -> dict[str, float]:
    """Return which share of the ten truly nearest windows the dense side finds, in everything and under a narrow filter."""
    generation = searcher.sides(parse_query("anything")).generation
    ids, _, vectors = read_windows(database, generation.manifest.embedder)
    place = {key: row for row, key in enumerate(ids)}
    rows_of = [np.array([place[key] for key in part.columns.ids[part.columns.window_row].tolist()]) for part in generation.parts]
    recalls = {}
    for name, filters in (("recall10", Filters()), ("recall10_filtered", narrow)):
        allowed = np.zeros(len(ids), dtype=bool)
        for rows, mask in zip(rows_of, generation.masks(filters), strict=True):
            allowed[rows] = True if mask is None else mask
        chosen = np.flatnonzero(allowed)
        hits = 0
        for query in queries:
            parsed = replace(parse_query(query), phrases=())
            sides = searcher.sides(parsed, filters)
            found = sorted(sides.dense, key=lambda place: -sides.dense[place])[:NEAREST]
            truth = chosen[np.argsort(-(vectors[chosen] @ searcher.embed(parsed)), kind="stable")[:NEAREST]]
            hits += len({place[key] for key in sides.window_ids(found)} & set(truth.tolist()))
        recalls[name] = round(hits / (NEAREST * len(queries)), 3)
    return recalls


def _append(database: Database, settings: Any, embedder: Any) -> float:
    """Return the seconds from a committed transcript of an hour to a searchable episode, embedding left out."""
    text = "Somebody says something about the weather and the price of tea. " * 700
    passages = cut_passages("appended", [Segment(0, 3600, text)], "en")
    with database.write() as connection:
        show_id = save_show(connection, ShowListing(link="appended", kind="feed", title="Appended", episodes=()))
        episode_id, _ = save_episode(connection, show_id, EpisodeListing(guid="appended", title="Appended", media_url=""))
        replace_passages(connection, episode_id, cut_passages(episode_id, [Segment(0, 3600, text)], "en"))
    embedder.embed_passages([passages[0].text])
    started = time.perf_counter()
    update_index(database, settings, embedder)
    return time.perf_counter() - started


def _in_a_process(plan: Plan) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({"folder": plan.folder, "queries": plan.queries, "narrow": plan.narrow, "peer": plan.peer}, file)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "bench.search", "--measure", file.name], stdout=subprocess.PIPE, text=True, check=True
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _percentile(values: list[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 1)


if __name__ == "__main__":
    main()

"""Whether a worker's memory stays flat over a long run: resident memory after 20 and after 200 short recordings.

`python -m bench.memory --json` cuts short recordings out of the project's own samples, runs one `earmark run` over them with a
real engine (tiny.en), and reads the resident memory of all its processes each time that an episode gets its transcript.
Does not know: what holds the memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.crash import Catalogue, make_recordings

CUT_S = 12.0
AROUND = 5  # readings before and after a mark of which the median is taken: memory goes up and down with each batch
PAGE_MB = 4096 / (1 << 20)
MOST_GROWTH = 0.10


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [pid, *(int(child) for child in (children.read_text().split() if children.exists() else ()))]
    pages = 0
    for one in pids:
        statm = Path(f"/proc/{one}/statm")
        if statm.exists():
            pages += int(statm.read_text().split()[1])
    return pages * PAGE_MB


def main() -> None:
    """Run and read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--first", type=int, default=20, help="episodes after which memory is read first")
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-memory-") as folder:
        recordings = Path(folder, "recordings")
        make_recordings(recordings, flags.episodes, CUT_S)
        catalogue = Catalogue(Path(folder, "data"), workers=1)
        catalogue.add(recordings)
        run = catalogue.start()
        readings: list[tuple[int, float]] = []  # (episodes readable, MB)
        while run.poll() is None:
            time.sleep(0.2)
            done = catalogue.database.read().execute("select count(*) from episode where transcript_id is not null").fetchone()[0]
            readings.append((done, resident_mb(run.pid)))
        after = {
            mark: statistics.median([mb for done, mb in readings if abs(done - mark) <= AROUND] or [0.0])
            for mark in (flags.first, flags.episodes - AROUND)
        }
        first, last = after.values()
        result = {
            "episodes": flags.episodes,
            "rss_mb_first": round(first),
            "rss_mb_last": round(last),
            "growth": round(last / first - 1, 3) if first else None,
            "failed": run.returncode,
        }
    print(json.dumps(result) if flags.json else "\n".join(f"{name:14} {value}" for name, value in result.items()))
    sys.exit(0 if result["growth"] is not None and result["growth"] <= MOST_GROWTH and not run.returncode else 1)


if __name__ == "__main__":
    main()

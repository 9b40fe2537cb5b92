"""Checks that `earmark doctor` prints: are these our own rooms, is the store sound, is there space, how is the queue.

Comes in: settings. Goes out: `Check` rows; other rooms add their own.
Does not know: how to repair anything beyond saying the next step.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from store.database import FILE_NAME, Database
from store.errors import EarmarkError
from store.jobs import count_jobs, list_jobs
from store.settings import Settings

ROOMS = ("pipeline", "index", "store", "ui")
LITTLE_SPACE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    next_step: str = ""


def check_rooms(home: Path) -> list[Check]:
    """Tell whether the rooms that Python imports are the ones beside the door: their names are everyday words."""
    checks = []
    for room in ROOMS:
        spec = find_spec(room)
        origin = Path(spec.origin).parent if spec is not None and spec.origin else None
        ok = origin is not None and origin.resolve() == (home / room).resolve()
        step = "" if ok else f"Another package is called {room!r}: use a virtual environment of Earmark's own"
        checks.append(Check(f"room {room}", ok, "its own" if ok else str(origin), step))
    return checks


def check_store(settings: Settings) -> list[Check]:
    """Look at the database, the disk and the queue."""
    checks = []
    nearest = next(folder for folder in (settings.data_dir, *settings.data_dir.parents) if folder.exists())
    free_bytes = shutil.disk_usage(nearest).free
    enough = free_bytes > LITTLE_SPACE_BYTES
    checks.append(Check("disk", enough, f"{free_bytes / 1e9:.1f} GB free", "" if enough else "Free some space"))
    if not (settings.data_dir / FILE_NAME).is_file():
        return [*checks, Check("catalogue", True, f"none yet in {settings.data_dir}", "Add something: earmark add LINK")]
    try:
        database = Database.in_folder(settings.data_dir, read_only=True)
        answer = database.read().execute("pragma quick_check").fetchone()[0]
    except EarmarkError as error:
        return [*checks, Check("catalogue", False, error.what, error.next_step)]
    checks.append(Check("catalogue", answer == "ok", str(answer), "" if answer == "ok" else "Restore a copy of the database"))
    counts = count_jobs(database)
    failed = sum(count for (_, state), count in counts.items() if state == "failed")
    waiting = sum(count for (_, state), count in counts.items() if state == "queued")
    stuck = [job for job in list_jobs(database, states=("running",)) if (job.lease_until or 0) < time.time()]
    found = f"{waiting} waiting, {failed} failed, {len(stuck)} whose worker is gone"
    step = "See why: earmark status" if failed else "Go on: earmark run" if waiting or stuck else ""
    checks.append(Check("queue", not failed and not stuck, found, step))
    return checks

"""Pauses between two requests to one host, also when several processes of this machine ask it.

Comes in: a host, and how long a site asked to be left alone. Goes out: the caller's turn, after the pause.
Does not know: what is asked. The turns are kept in a small file in the data folder, under a lock; without such a folder (or
without file locks) each process keeps its own.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import SourceBusy

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TURNS_FILE = "pauses.json"
LONGEST_WAIT_S = 20.0  # a job that has to wait longer goes back into the queue
_mutex = threading.Lock()
_own_turns: dict[str, float] = {}


class Pauses:
    """The turns of every host. Times are seconds since 1970, so that processes agree on them."""

    def __init__(self, folder: Path, pause_s: float) -> None:
        self._path = folder / TURNS_FILE
        self._pause_s = pause_s

    def wait(self, host: str, where: str = "") -> None:
        """Wait for this caller's turn. Raises `SourceBusy` where that is too far away, because the site asked for a long pause."""
        now = time.time()
        with self._turns() as turns:
            turn = max(turns.get(host, 0.0), now)
            if turn - now > LONGEST_WAIT_S:
                raise SourceBusy("the site asked for a pause", where=where, next_step="Try again later", retry_after_s=turn - now)
            if self._pause_s > 0:
                turns[host] = turn + self._pause_s
        time.sleep(max(turn - now, 0.0))

    def hold(self, host: str, seconds: float) -> None:
        """Leave a host alone for so long: it asked for it."""
        with self._turns() as turns:
            turns[host] = max(turns.get(host, 0.0), time.time() + seconds)

    @contextmanager
    def _turns(self) -> Iterator[dict[str, float]]:
        """Hand out the turns under a lock, and keep what the caller makes of them."""
        with _mutex:
            if fcntl is None or not self._path.parent.is_dir():
                yield _own_turns
                return
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                turns = _read(descriptor)
                before = dict(turns)
                yield turns
                if turns != before:
                    now = time.time()
                    kept = {host: turn for host, turn in turns.items() if turn > now}
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(kept).encode())
            finally:
                os.close(descriptor)


def _read(descriptor: int) -> dict[str, float]:
    """Read the turns; a file that a power cut tore is an empty one."""
    body = b""
    while block := os.read(descriptor, 1 << 16):
        body += block
    try:
        found = json.loads(body or b"{}")
        return {str(host): float(turn) for host, turn in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}

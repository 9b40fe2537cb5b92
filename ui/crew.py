"""Search processes beside the server: an interpreter does one thing at a time, so with a second one many visitors get more.

Comes in: a question. Goes out: its answer, from this process or from a helper, whichever has a seat free.
A helper is started when visitors first wait for each other, and gets work once it is ready; where it fails, this process answers.
Helpers end when the server's end of their pipe is closed, however that comes about.
Does not know: what a question or an answer is (`ui.answers`), HTTP.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any

from store.settings import Settings

SEATS_HERE = 2  # while there is no helper; then one: two in one interpreter cost each other a tenth of what all get
MOST_HIRED = 4  # times that helpers are started: what keeps dying is left alone
READY = "ready"

Work = Callable[[Any], dict[str, Any]]

log = logging.getLogger("earmark.search")


class Crew:
    """Seats for searches. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is started yet."""
        wanted = settings.search_processes
        self._size = wanted if wanted >= 0 else max(0, (os.cpu_count() or 1) - 1)
        if settings.qdrant and "://" not in settings.qdrant:
            self._size = 0  # Qdrant in a folder lets one process in
        self._settings = settings
        self._seats: LifoQueue[Helper | None] = LifoQueue()  # None is a seat here; the one used last is taken first: it is warm
        self._helpers: list[Helper] = []
        self._hired = 0
        self._here = SEATS_HERE
        self._lock = threading.Lock()
        for _ in range(SEATS_HERE):
            self._seats.put(None)

    def answer(self, ask: Any, here: Work) -> dict[str, Any]:
        """Answer `ask` where a seat is free; `here` does it in this process. Raises what `here` raises."""
        try:
            helper = self._seats.get_nowait()
        except Empty:
            self._hire()
            helper = self._seats.get()
        try:
            if helper is not None:
                found = helper.answer(ask)
                if found is not None:
                    return found
                if not helper.alive:
                    log.warning("a search process ended; the server goes on without it")
            return here(ask)
        finally:
            self._leave(helper)

    @property
    def helpers(self) -> int:
        """How many helpers are ready or starting."""
        return len(self._helpers)

    def close(self) -> None:
        """End the helpers."""
        with self._lock:
            self._size = 0
            for helper in self._helpers:
                helper.close()

    def _leave(self, helper: Helper | None) -> None:
        """Give a seat back; one of a dead helper is taken away, and here one is less while there are helpers."""
        with self._lock:
            if helper is None:
                if self._here > 1 and any(one.ready for one in self._helpers):
                    self._here -= 1
                    return
            elif not helper.alive:
                self._helpers.remove(helper)
                if self._here == SEATS_HERE or any(one.ready for one in self._helpers):
                    return
                self._here, helper = self._here + 1, None
        self._seats.put(helper)

    def _hire(self) -> None:
        with self._lock:
            while len(self._helpers) < self._size and self._hired < MOST_HIRED * self._size:
                helper = Helper(self._settings)
                self._helpers.append(helper)
                self._hired += 1
                threading.Thread(target=self._welcome, args=(helper,), name="earmark-crew", daemon=True).start()

    def _welcome(self, helper: Helper) -> None:
        if helper.wait_ready():
            helper.ready = True
            self._seats.put(helper)
        else:
            with self._lock:
                self._helpers.remove(helper)


class Helper:
    """One process that searches. Asked by one thread at a time: whoever holds its seat."""

    def __init__(self, settings: Settings) -> None:
        root = str(Path(__file__).parents[1])
        paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH", "")) if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ui.crew"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self.alive, self.ready = True, False
        self._say(settings)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def wait_ready(self) -> bool:
        """Wait until it has opened the catalogue; False if it ended instead."""
        return bool(self._hear() == READY)

    def answer(self, ask: Any) -> dict[str, Any] | None:
        """Return its answer, None where it has none: it failed, or it is no longer there (`alive`)."""
        self._say(ask)
        found: dict[str, Any] | None = self._hear() if self.alive else None
        return found

    def close(self) -> None:
        """Close the pipe: it ends by itself."""
        self.alive = False
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    log.debug("the pipe of a search process was broken")
        self._process.wait()

    def _say(self, value: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(value, self._process.stdin)
            self._process.stdin.flush()
        except (OSError, ValueError):
            self.alive = False

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            self.alive = False
            return None


def settle() -> None:
    """Take what was loaded so far out of the garbage collector's rounds: it stays until the end, and looking at it takes long."""
    gc.collect()
    gc.freeze()


def main() -> None:
    """Be a helper: settings and then questions come in on stdin, answers go out on stdout, until stdin is closed."""
    from store.errors import EarmarkError
    from ui.answers import Answers, Ask
    from ui.site import open_site

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server; its end ends us
    asked, answered = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints must not mix with answers
    answers = Answers(open_site(pickle.load(asked)))

    def say(value: Any) -> None:
        pickle.dump(value, answered)
        answered.flush()

    def found(ask: Ask) -> dict[str, Any] | None:
        try:
            return answers.found(ask)
        except EarmarkError:
            return None  # the server tries itself, and says what is wrong

    found(Ask("a first question"))
    settle()
    say(READY)
    while True:
        try:
            ask = pickle.load(asked)
        except EOFError:
            return
        say(found(ask))


if __name__ == "__main__":
    main()

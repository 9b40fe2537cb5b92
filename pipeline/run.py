"""`earmark run`: worker processes, and what a person sees of them.

Comes in: settings and the index stage that the door hands on. Goes out: how many jobs failed; progress on stderr.
A worker process that dies (killed, out of memory, crashed in native code) is started again; its jobs' leases run out and
their attempts count, so that a poison file cannot keep a run busy forever.
Does not know: what a worker does with a job (`pipeline.worker`).
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from pipeline.pace import Pace
from pipeline.transcribe import HUGE_PAGES, ONE_HEAP, can_use_huge_pages
from pipeline.worker import StageFactory, work
from store import jobs
from store.database import Database
from store.report import length

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar
    from rich.progress import TaskID

    from store.settings import Settings

PROGRESS_EVERY_S = 0.5
PLAIN_PROGRESS_EVERY_S = 30.0  # where stderr is a file
MAX_RESTARTS = 20  # of processes; jobs have their own limit


def run_workers(settings: Settings, database: Database, index_stage: StageFactory, *, forever: bool = False) -> int:
    """Run `settings.workers` processes until nothing is left to do (or for ever); return how many jobs failed meanwhile."""
    started_at = time.time()
    ask_for_huge_pages()
    _end_leases_of_the_dead(database)
    context = multiprocessing.get_context("spawn")
    display = _Display(database)
    crew: dict[Connection, BaseProcess] = {}
    restarts = 0

    def start() -> None:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(settings, index_stage, theirs, forever), name="earmark-worker")
        process.start()
        theirs.close()
        crew[ours] = process

    try:
        for _ in range(max(1, settings.workers)):
            start()
        while crew:
            for ready in wait(list(crew), timeout=PROGRESS_EVERY_S):
                assert isinstance(ready, Connection)
                try:
                    display.say(ready.recv())
                except EOFError:
                    process = crew.pop(ready)
                    process.join()
                    if process.exitcode and restarts < MAX_RESTARTS:
                        restarts += 1
                        display.say(f"a worker process died (exit code {process.exitcode}); starting another")
                        jobs.end_leases(database, f"{socket.gethostname()}:{process.pid}:%")
                        start()
            display.update()
    except KeyboardInterrupt:
        display.say("stopping: what is committed stays, `earmark run` goes on from there")
        for process in crew.values():
            process.join(timeout=15)
            if process.is_alive():
                process.terminate()
    finally:
        display.close()
    failed = [job for job in jobs.list_jobs(database, states=("failed",)) if job.updated_at >= started_at]
    done = [job for job in jobs.list_jobs(database, states=("done",)) if job.updated_at >= started_at and job.kind == "index"]
    seconds = length(time.time() - started_at)
    display.say(f"done in {seconds}: {len(done)} episodes" + (f"; {len(failed)} failed, see `earmark status`" if failed else ""))
    return len(failed)


def _end_leases_of_the_dead(database: Database) -> None:
    """Take back at once what workers of this machine held when they were killed; elsewhere a lease runs out by itself."""
    for owner in {job.lease_owner for job in jobs.list_jobs(database, states=("running",)) if job.lease_owner}:
        host, pid, _ = owner.rsplit(":", 2)
        if host == socket.gethostname() and not _is_alive(int(pid)):
            jobs.end_leases(database, owner)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def ask_for_huge_pages() -> None:
    """Let the processes that are started from here back their heaps with huge pages: glibc reads this when a process starts."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if can_use_huge_pages() and "glibc.malloc.hugetlb" not in tunables:
        os.environ["GLIBC_TUNABLES"] = ":".join(part for part in (tunables, HUGE_PAGES, ONE_HEAP) if part)


class _Display:
    """One bar with speed and time left on a terminal, a line now and then elsewhere."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._bar: ProgressBar | None = None
        self._task: TaskID | None = None
        self._spoken_at = time.monotonic()
        self._pace = Pace(time.monotonic(), jobs.read_progress(database).done_s)
        if sys.stderr.isatty():
            self._open_bar()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def update(self) -> None:
        """Draw the state that the store holds."""
        progress = jobs.read_progress(self._database)
        now = time.monotonic()
        self._pace.feed(now, progress.done_s)
        speed, left_s = self._pace.speed, self._pace.left_s(now, progress.total_s)
        text = f"{progress.episodes_done} of {progress.episodes} episodes, {length(progress.done_s)} of {length(progress.total_s)}"
        if speed is not None and left_s:
            text += f", {speed:.1f}x real time, {length(left_s)} left"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=max(progress.total_s, 1e-9), completed=progress.done_s, description=text)
        elif progress.done_s > 0 and now - self._spoken_at >= PLAIN_PROGRESS_EVERY_S:
            self._spoken_at = now
            self.say(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self.update()
            self._bar.stop()

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
        self._task = self._bar.add_task("starting", total=None)
        self._bar.start()

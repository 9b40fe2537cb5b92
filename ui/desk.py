"""What the admin page does: queue links and uploads, move jobs, tell how it goes and what the machine has.

Comes in: what somebody typed or pressed. Goes out: plain text, or rows of it. It only queues and moves jobs (`store.jobs`); a
worker (`earmark run`) does them. Does not know: widgets, or how any work is done.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from index.manifest import index_folder, read_manifest
from store import jobs
from store.database import Database
from store.episodes import get_episode, get_show, list_episodes, list_shows
from store.errors import EarmarkError
from store.files import sha256_of
from store.links import redact_text
from store.records import Episode, JobState, TranscriptHead
from store.report import length
from store.transcripts import read_head
from ui.site import Site, say

JOBS_SHOWN = 100
EPISODES_SHOWN = 300
UPLOADS = "uploads"
STATES: tuple[tuple[str, JobState], ...] = (  # the words that people read are texts: `admin.state.waiting` and so on
    ("waiting", "queued"),
    ("running", "running"),
    ("paused", "paused"),
    ("failed", "failed"),
    ("cancelled", "cancelled"),
    ("done", "done"),
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_WEB = re.compile(r"(https?|feed|pcast|itpc|podcast)://", re.IGNORECASE)


class Desk:
    """What the admin page does. Every method returns plain text or rows of it."""

    def __init__(self, site: Site, database: Database) -> None:
        self._site = site
        self._database = database
        self._first_seen: dict[
            tuple[int, int], tuple[float, float]
        ] = {}  # (job, attempt): when its progress was first looked at, and it

    @property
    def takes_folders(self) -> bool:
        """Whether a folder of this machine may be named: only where the gate lets nobody in from elsewhere."""
        return not self._site.settings.admin_password and "SPACE_ID" not in os.environ

    def add_link(self, link: str, limit: float | None, language: str) -> str:
        """Queue a source to be listed."""
        link = (link or "").strip().strip("'\"")
        if not link:
            return say("admin.link_missing")
        if not self.takes_folders and not _WEB.match(link):
            if _SCHEME.match(link) or link[0] in "/\\~." or ".." in link:
                return say("admin.link_not_web")
            link = f"https://{link}"  # never a path, whatever lies in the folder that the worker was started in
        options: dict[str, Any] = {"link": link, "limit": int(limit or 0) or None, "language": (language or "").strip() or None}
        return self._queue({name: value for name, value in options.items() if value is not None})

    def add_files(self, paths: Sequence[str] | None, language: str) -> str:
        """Keep uploaded files in the data folder, and queue that folder."""
        if not paths:
            return say("admin.no_file")
        folder = self._site.settings.data_dir / UPLOADS / time.strftime("%Y-%m-%d")
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            target = _free_place(folder, Path(path))
            if target is not None:
                part = target.with_name(target.name + ".part")
                shutil.copyfile(path, part)
                part.rename(target)
        options = {"link": str(folder)} | ({"language": language.strip()} if (language or "").strip() else {})
        return say("admin.uploaded", n=len(paths)) + " " + self._queue(options)

    def queue(self, state: str) -> list[list[str]]:
        """Return the rows of the queue, newest first. `state` is a name of `STATES`, or anything else for all."""
        found = jobs.list_jobs(self._database, states=[kept for name, kept in STATES if name == state], limit=JOBS_SHOWN)
        return [self._row(job) for job in found]

    def pause(self, number: str) -> str:
        """Hold jobs back."""
        return self._move(number, ("queued", "running"), jobs.pause, "admin.paused")

    def resume(self, number: str) -> str:
        """Let paused jobs go on."""
        return self._move(number, ("paused",), jobs.resume, "admin.resumed")

    def cancel(self, number: str) -> str:
        """Stop jobs."""
        return self._move(number, ("queued", "running", "paused"), jobs.cancel, "admin.cancelled")

    def retry(self, number: str) -> str:
        """Queue failed or cancelled jobs again."""
        return self._move(number, ("failed", "cancelled"), jobs.retry, "admin.requeued")

    def episodes(self, wanted: str) -> list[list[str]]:
        """Return the rows of the episodes, newest first."""
        wanted = (wanted or "").strip().lower()
        found = [e for e in list_episodes(self._database) if wanted in f"{e.title} {e.show} {e.id} {e.show_id}".lower()]
        return [
            [
                e.id,
                e.show,
                e.title,
                e.published[:10],
                length(e.duration_s),
                say("admin.readable" if e.transcript_id is not None else "admin.unread"),
            ]
            for e in found[:EPISODES_SHOWN]
        ]

    def delete(self, thing_id: str, certain: bool = False) -> tuple[str, bool]:
        """Queue the removal of an episode or of a whole show; unless `certain`, only say what would go. Unticks the box."""
        thing_id = (thing_id or "").strip()
        shows = {show.id: show.title for show in list_shows(self._database)}
        found = {
            episode.id: episode.title for episode in list_episodes(self._database, show_id=thing_id if thing_id in shows else None)
        }
        if thing_id not in shows and thing_id not in found:
            return say("admin.no_such_thing"), False
        if not certain:
            what = shows.get(thing_id) or found[thing_id]
            return say("admin.certain_first", what=what, n=len(found) if thing_id in shows else 1), False
        with self._database.write() as connection:
            if thing_id in shows:
                number = jobs.enqueue(connection, "remove", show_id=thing_id)
            else:
                number = jobs.enqueue(connection, "remove", episode_id=thing_id)
        return say("admin.will_remove", n=number) if number else say("admin.removal_waits"), False

    def sync(self, show_id: str) -> str:
        """Queue a look for new episodes of a show."""
        try:
            show = get_show(self._database, (show_id or "").strip())
        except EarmarkError as error:
            return error.sentence
        with self._database.write() as connection:
            number = jobs.enqueue(connection, "sync", show_id=show.id)
        return say("admin.will_sync", n=number, show=show.title) if number else say("admin.waits_already")

    def summary(self) -> str:
        """Return the state of the queue in two lines: what is left, how fast, how long it will take."""
        count = jobs.count_jobs(self._database)
        by_state = {name: sum(n for (_, s), n in count.items() if s == state) for name, state in STATES}
        line = ", ".join(f"{n} {say(f'admin.state.{name}')}" for name, n in by_state.items() if n) or say("admin.queue_empty")
        progress = jobs.read_progress(self._database)
        running = jobs.list_jobs(self._database, states=("running",))
        left_s = progress.total_s - progress.done_s
        done = say("admin.progress", done=length(progress.done_s), total=length(progress.total_s))
        second = done if progress.total_s else say("admin.progress_none")
        speed = self._speed()
        if left_s > 1 and speed:
            second += say("admin.speed", speed=f"{speed:.1f}", left=length(left_s / speed))
        if by_state["waiting"] and not running:
            second += say("admin.nobody_works")
        return f"{line}\n{second}"

    def machine(self) -> list[list[str]]:
        """Return what the machine has, what works on it and with what, and what the catalogue takes of it."""
        settings = self._site.settings
        disk = shutil.disk_usage(settings.data_dir)
        rows = [
            [say("admin.folder"), str(settings.data_dir)],
            [say("admin.disk"), say("admin.disk_free", free=_size(disk.free), total=_size(disk.total))],
        ]
        rows += [[f"  {path.name}", _size(_taken(path))] for path in sorted(settings.data_dir.iterdir())]
        rows.append([say("admin.workers"), self._workers()])
        last = self._last_engine()
        if last is not None:
            device = " ".join(str(last.options.get(name, "")) for name in ("device", "compute_type")).strip()
            rows += [
                [say("admin.engine_used"), last.engine],
                [say("admin.model_used"), last.model],
                [say("admin.device_used"), device],
            ]
        asked = ", ".join(f"{name} {getattr(settings, name)}" for name in ("engine", "model", "device"))
        rows += [[say("admin.asked"), asked], [say("admin.embedder"), settings.embedder]]
        try:
            manifest = read_manifest(index_folder(settings))
            rows.append([say("admin.index"), say("admin.index_is", windows=manifest.windows, model=manifest.embedder)])
        except EarmarkError as error:
            rows.append([say("admin.index"), error.sentence])
        return rows

    def _workers(self) -> str:
        """Tell who holds leases, and how many: workers write their host and process number into the queue."""
        held: dict[str, int] = {}
        for job in jobs.list_jobs(self._database, states=("running",)):
            if job.lease_owner and (job.lease_until or 0) > time.time():
                owner = job.lease_owner.rpartition(":")[0]
                held[owner] = held.get(owner, 0) + 1
        return ", ".join(say("admin.worker", owner=owner, n=count) for owner, count in held.items()) or say("admin.workers_none")

    def _last_engine(self) -> TranscriptHead | None:
        """Return the head of the newest transcript that an engine made: the engine, model and device that were really used."""
        ids = sorted({e.transcript_id for e in list_episodes(self._database, readable_only=True) if e.transcript_id}, reverse=True)
        heads = (read_head(self._database, transcript_id) for transcript_id in ids[:EPISODES_SHOWN])
        return next((head for head in heads if head.source == "engine"), None)

    def _queue(self, options: dict[str, Any]) -> str:
        with self._database.write() as connection:
            number = jobs.enqueue(connection, "list", options=options)
        return say("admin.link_waits") if number is None else say("admin.queued", n=number)

    def _speed(self) -> float:
        """Return audio seconds per second of the running transcriptions, judged by their own progress; 0 where nothing is known."""
        total = 0.0
        for job in jobs.list_jobs(self._database, states=("running",)):
            if job.kind == "transcribe" and job.episode_id and job.progress > 0:
                episode = self._episode(job.episode_id)
                began = self._first_seen.setdefault((job.id, job.attempt), (time.time(), job.progress))
                spent = time.time() - began[0]
                if episode is not None and episode.duration_s and spent > 1:
                    total += max(0.0, job.progress - began[1]) * episode.duration_s / spent
        return total

    def _move(self, number: str, states: Sequence[JobState], act: Any, done: str) -> str:
        number = (number or "").strip().lower()
        if number in ("all", say("admin.all")):
            ids = [job.id for job in jobs.list_jobs(self._database, states=states)]
        elif number.isdigit():
            ids = [int(number)]
        else:
            return say("admin.number_missing")
        with self._database.write() as connection:
            moved = sum(bool(act(connection, job_id)) for job_id in ids)
        return say(done, n=moved) if moved else say("admin.nothing_changed")

    def _row(self, job: jobs.Job) -> list[str]:
        title = ""
        if job.episode_id:
            episode = self._episode(job.episode_id)
            title = episode.title if episode is not None else job.episode_id
        elif job.show_id:
            title = next((show.title for show in list_shows(self._database) if show.id == job.show_id), job.show_id)
        at = time.strftime("%H:%M:%S", time.localtime(job.not_before))
        says = job.error or (say("admin.not_before", time=at) if job.not_before > time.time() else "")
        what = f"{say(f'admin.kind.{job.kind}')}: {title or redact_text(str(job.options.get('link', '')))}"
        state = next(say(f"admin.state.{name}") for name, kept in STATES if kept == job.state)
        return [str(job.id), what, state, f"{job.progress:.0%}", length(time.time() - job.updated_at), redact_text(says)]

    def _episode(self, episode_id: str) -> Episode | None:
        try:
            return get_episode(self._database, episode_id)
        except EarmarkError:
            return None  # removed since


def _free_place(folder: Path, upload: Path) -> Path | None:
    """Return where to put an upload; None where the same file lies there already. Another of the same name gets a number."""
    for number in range(1, 1000):
        target = folder / (upload.name if number == 1 else f"{upload.stem} ({number}){upload.suffix}")
        if not target.exists():
            return target
        if target.stat().st_size == upload.stat().st_size and sha256_of(target) == sha256_of(upload):
            return None
    return None


def _taken(path: Path) -> int:
    """Return how many bytes a file or folder takes; what goes away meanwhile takes none."""
    total = 0
    for file in path.rglob("*") if path.is_dir() else (path,):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue  # the index swapped its parts, a download was renamed
    return total


def _size(size_bytes: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"

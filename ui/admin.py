"""The admin page at /admin: add, watch the queue, stop and retry, look at space and devices. Gradio widgets, behind a login.

Comes in: a site and a store that may be written. Goes out: `gr.Blocks`. It only queues and moves jobs (`store.jobs`); a worker
(`earmark run`) does them. Every text from outside goes into cells as plain text, never as HTML.
Does not know: how any work is done.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store import jobs
from store.database import Database
from store.episodes import get_episode, get_show, list_episodes, list_shows
from store.errors import EarmarkError
from store.links import redact_text
from store.records import Episode, JobState
from store.report import length
from ui.site import Site

JOBS_SHOWN = 100
EPISODES_SHOWN = 300
REFRESH_S = 2.0
UPLOADS = "uploads"
QUEUE_HEAD = ["job", "what", "state", "done", "for", "says"]
EPISODE_HEAD = ["id", "show", "title", "published", "length", "state"]
STATES: dict[str, JobState] = {
    "waiting": "queued",
    "running": "running",
    "paused": "paused",
    "failed": "failed",
    "cancelled": "cancelled",
    "done": "done",
}


def admin_blocks(site: Site) -> Any:
    """Return the Blocks of the admin page."""
    import gradio as gr

    database = Database.in_folder(site.settings.data_dir)
    desk = Desk(site, database)
    with gr.Blocks(title="Earmark · admin", analytics_enabled=False) as blocks:
        gr.Markdown("# Catalogue")
        gr.Textbox(label="Now", value=desk.summary, every=REFRESH_S, interactive=False, lines=2, elem_id="summary")
        with gr.Tab("Add"):
            link = gr.Textbox(label="A feed, channel, playlist, page or media link, or a folder of this machine", elem_id="link")
            with gr.Row():
                limit = gr.Number(label="At most this many episodes, newest first (0 = all)", value=0, precision=0, minimum=0)
                language = gr.Textbox(label="Language code, if you know it", max_length=8)
            add = gr.Button("Add to the queue", variant="primary", elem_id="add")
            files = gr.UploadButton("Or upload recordings", file_count="multiple", type="filepath")
            told = gr.Textbox(label="What came of it", interactive=False, elem_id="told")
            add.click(desk.add_link, [link, limit, language], told, api_visibility="private")
            files.upload(desk.add_files, [files, language], told, api_visibility="private")
        with gr.Tab("Queue"):
            state = gr.Radio(["all", *STATES], value="all", label="Show")
            timer = gr.Timer(REFRESH_S)
            table = gr.Dataframe(headers=QUEUE_HEAD, datatype="str", interactive=False, wrap=True, elem_id="queue", label="Queue")
            with gr.Row():
                number = gr.Textbox(label="Job number, or `all`", elem_id="job")
                pause, resume, cancel, retry = (gr.Button(name) for name in ("Pause", "Resume", "Cancel", "Retry"))
            moved = gr.Textbox(label="What came of it", interactive=False)
            timer.tick(desk.queue, state, table, api_visibility="private", show_progress="hidden", trigger_mode="always_last")
            blocks.load(desk.queue, state, table, api_visibility="private", show_progress="hidden")
            state.change(desk.queue, state, table, api_visibility="private", show_progress="hidden", trigger_mode="always_last")
            for button, act in ((pause, desk.pause), (resume, desk.resume), (cancel, desk.cancel), (retry, desk.retry)):
                button.click(act, number, moved, api_visibility="private")
        with gr.Tab("Episodes"):
            wanted = gr.Textbox(label="Find in titles", elem_id="wanted")
            episodes = gr.Dataframe(headers=EPISODE_HEAD, datatype="str", interactive=False, wrap=True, label="Episodes")
            blocks.load(desk.episodes, wanted, episodes, api_visibility="private", show_progress="hidden")
            wanted.change(
                desk.episodes, wanted, episodes, api_visibility="private", show_progress="hidden", trigger_mode="always_last"
            )
            with gr.Row():
                gone_id = gr.Textbox(label="Id of an episode or a show")
                delete = gr.Button("Delete from everything", variant="stop")
                sync = gr.Button("Look for new episodes of this show")
            gone = gr.Textbox(label="What came of it", interactive=False)
            delete.click(desk.delete, gone_id, gone, api_visibility="private")
            sync.click(desk.sync, gone_id, gone, api_visibility="private")
        with gr.Tab("Machine"):
            machine = gr.Dataframe(headers=["what", "now"], datatype="str", interactive=False, label="Machine")
            blocks.load(desk.machine, None, machine, api_visibility="private", show_progress="hidden")
    return blocks


class Desk:
    """What the admin page does. Every method returns plain text or rows of it."""

    def __init__(self, site: Site, database: Database) -> None:
        self._site = site
        self._database = database
        self._first_seen: dict[
            tuple[int, int], tuple[float, float]
        ] = {}  # (job, attempt): when its progress was first looked at, and it

    def add_link(self, link: str, limit: float | None, language: str) -> str:
        """Queue a source to be listed."""
        link = (link or "").strip()
        if not link:
            return "Give a link first."
        options: dict[str, Any] = {"link": link, "limit": int(limit or 0) or None, "language": (language or "").strip() or None}
        return self._queue({name: value for name, value in options.items() if value is not None})

    def add_files(self, paths: Sequence[str] | None, language: str) -> str:
        """Keep uploaded files in the data folder, and queue that folder."""
        if not paths:
            return "No file came."
        folder = self._site.settings.data_dir / UPLOADS / time.strftime("%Y-%m-%d")
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            target = folder / Path(path).name
            if not target.exists():
                shutil.copyfile(path, target.with_suffix(target.suffix + ".part"))
                target.with_suffix(target.suffix + ".part").rename(target)
        options = {"link": str(folder)} | ({"language": language.strip()} if (language or "").strip() else {})
        return f"{len(paths)} files uploaded. " + self._queue(options)

    def queue(self, state: str) -> list[list[str]]:
        """Return the rows of the queue, newest first."""
        states = (STATES[state],) if state in STATES else ()
        found = jobs.list_jobs(self._database, states=states, limit=JOBS_SHOWN)
        return [self._row(job) for job in found]

    def pause(self, number: str) -> str:
        """Hold jobs back."""
        return self._move(number, ("queued", "running"), jobs.pause, "paused")

    def resume(self, number: str) -> str:
        """Let paused jobs go on."""
        return self._move(number, ("paused",), jobs.resume, "resumed")

    def cancel(self, number: str) -> str:
        """Stop jobs."""
        return self._move(number, ("queued", "running", "paused"), jobs.cancel, "cancelled")

    def retry(self, number: str) -> str:
        """Queue failed or cancelled jobs again."""
        return self._move(number, ("failed", "cancelled"), jobs.retry, "queued again")

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
                "readable" if e.transcript_id is not None else "no transcript yet",
            ]
            for e in found[:EPISODES_SHOWN]
        ]

    def delete(self, thing_id: str) -> str:
        """Queue the removal of an episode or of a whole show."""
        thing_id = (thing_id or "").strip()
        shows = {show.id for show in list_shows(self._database)}
        found = {episode.id for episode in list_episodes(self._database)}
        if thing_id not in shows | found:
            return "There is no such episode or show."
        with self._database.write() as connection:
            if thing_id in shows:
                number = jobs.enqueue(connection, "remove", show_id=thing_id)
            else:
                number = jobs.enqueue(connection, "remove", episode_id=thing_id)
        return f"Job {number} will remove it." if number else "Its removal is waiting already."

    def sync(self, show_id: str) -> str:
        """Queue a look for new episodes of a show."""
        try:
            show = get_show(self._database, (show_id or "").strip())
        except EarmarkError as error:
            return error.sentence
        with self._database.write() as connection:
            number = jobs.enqueue(connection, "sync", show_id=show.id)
        return f"Job {number} will look for new episodes of {show.title}." if number else "That is waiting already."

    def summary(self) -> str:
        """Return the state of the queue in two lines: what is left, how fast, how long it will take."""
        count = jobs.count_jobs(self._database)
        by_state = {name: sum(n for (_, s), n in count.items() if s == state) for name, state in STATES.items()}
        line = ", ".join(f"{n} {name}" for name, n in by_state.items() if n) or "The queue is empty"
        progress = jobs.read_progress(self._database)
        running = jobs.list_jobs(self._database, states=("running",))
        left_s = progress.total_s - progress.done_s
        second = (
            f"{length(progress.done_s)} of {length(progress.total_s)} transcribed"
            if progress.total_s
            else "Nothing was transcribed yet"
        )
        speed = self._speed()
        if left_s > 1 and speed:
            second += f", {speed:.1f}x real time, {length(left_s / speed)} left"
        if by_state["waiting"] and not running:
            second += ". Nobody works on it: start a worker with `earmark run`"
        return f"{line}\n{second}"

    def machine(self) -> list[list[str]]:
        """Return what the machine has and what the catalogue takes of it."""
        settings = self._site.settings
        disk = shutil.disk_usage(settings.data_dir)
        rows = [["Data folder", str(settings.data_dir)], ["Disk", f"{_size(disk.free)} free of {_size(disk.total)}"]]
        for name in sorted(path.name for path in settings.data_dir.iterdir()):
            path = settings.data_dir / name
            taken = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
            rows.append([f"  {name}", _size(taken)])
        rows += [
            ["Model", settings.model],
            ["Engine", settings.engine],
            ["Device", settings.device],
            ["Embedder", settings.embedder],
        ]
        return rows

    def _queue(self, options: dict[str, Any]) -> str:
        with self._database.write() as connection:
            number = jobs.enqueue(connection, "list", options=options)
        if number is None:
            return "This link is waiting in the queue already."
        return f"Job {number} is in the queue. A worker (`earmark run`) will read the link and queue its episodes."

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
        if number == "all":
            ids = [job.id for job in jobs.list_jobs(self._database, states=states)]
        elif number.isdigit():
            ids = [int(number)]
        else:
            return "Give the number of a job, or `all`."
        with self._database.write() as connection:
            moved = sum(bool(act(connection, job_id)) for job_id in ids)
        return f"{moved} {done}." if moved else "Nothing changed: the job is not in a state for that."

    def _row(self, job: jobs.Job) -> list[str]:
        title = ""
        if job.episode_id:
            episode = self._episode(job.episode_id)
            title = episode.title if episode is not None else job.episode_id
        elif job.show_id:
            title = next((show.title for show in list_shows(self._database) if show.id == job.show_id), job.show_id)
        says = job.error or (
            "not before " + time.strftime("%H:%M:%S", time.localtime(job.not_before)) if job.not_before > time.time() else ""
        )
        what = f"{job.kind}: {title or redact_text(str(job.options.get('link', '')))}"
        return [str(job.id), what, job.state, f"{job.progress:.0%}", length(time.time() - job.updated_at), redact_text(says)]

    def _episode(self, episode_id: str) -> Episode | None:
        try:
            return get_episode(self._database, episode_id)
        except EarmarkError:
            return None  # removed since


def _size(size_bytes: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"

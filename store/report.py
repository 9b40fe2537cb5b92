"""What is here, what waits, what failed: for `earmark status`, the admin page and `status --json`.

Comes in: the store. Goes out: a plain dictionary, and the same as text.
Does not know: how work is done.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from store.database import Database
from store.episodes import list_episodes, list_shows, totals
from store.jobs import count_jobs, list_jobs, read_progress
from store.links import redact

FAILED_SHOWN = 20


def catalogue_report(database: Database, *, with_episodes: bool = False) -> dict[str, Any]:
    """Return totals, shows, the queue by kind and state, progress in audio seconds, running and failed jobs."""
    titles = {episode.id: episode.title for episode in list_episodes(database)}
    report: dict[str, Any] = {
        "totals": asdict(totals(database)),
        "shows": [{"id": show.id, "title": show.title, "link": redact(show.link)} for show in list_shows(database)],
        "queue": {f"{kind}.{state}": count for (kind, state), count in sorted(count_jobs(database).items())},
        "progress": asdict(read_progress(database)),
        "running": [_job_row(job, titles) for job in list_jobs(database, states=("running",))],
        "failed": [_job_row(job, titles) for job in list_jobs(database, states=("failed",), limit=FAILED_SHOWN)],
    }
    if with_episodes:
        report["episodes"] = [
            {
                "id": episode.id,
                "show": episode.show,
                "title": episode.title,
                "published": episode.published,
                "duration_s": episode.duration_s,
                "readable": episode.transcript_id is not None,
                "warning": episode.warning,
            }
            for episode in list_episodes(database)
        ]
    return report


def report_text(report: dict[str, Any]) -> str:
    """Return a report as a person reads it."""
    counts = report["totals"]
    lines = [
        f"{counts['shows']} shows, {counts['episodes']} episodes, {counts['readable']} readable"
        f" ({length(counts['duration_s'])}), {counts['passages']} passages"
    ]
    lines += [f"  {show['id']}  {show['title']}" for show in report["shows"]]
    waiting = {name: count for name, count in report["queue"].items() if not name.endswith((".done", ".cancelled"))}
    if waiting:
        lines.append("Queue: " + ", ".join(f"{count} {name.replace('.', ' ')}" for name, count in waiting.items()))
    lines += [f"  running  {job['kind']} {job['title']} {job['progress']:.0%}" for job in report["running"]]
    lines += [f"  failed   {job['kind']} {job['title']}: {job['error']}" for job in report["failed"]]
    for episode in report.get("episodes", ()):
        state = "    " if episode["readable"] else "wait"
        warning = f"  ({episode['warning']})" if episode["warning"] else ""
        when, long = episode["published"][:10], length(episode["duration_s"])
        lines.append(f"  {state} {episode['id']}  {when:10}  {long:>8}  {episode['title']}{warning}")
    return "\n".join(lines)


def length(duration_s: float | None) -> str:
    """Return 1:02:03 or 2:03 for a duration; a question mark where it is unknown."""
    if duration_s is None:
        return "?"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _job_row(job: Any, titles: dict[str, str]) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "episode_id": job.episode_id,
        "title": titles.get(job.episode_id or "", redact(str(job.options.get("link", "")))),
        "attempt": job.attempt,
        "progress": job.progress,
        "error": job.error,
    }

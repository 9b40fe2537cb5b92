"""What a job was asked to do, and what becomes of it when it fails.

Comes in: a leased job and a function that does it. Goes out: the failure in plain words, in the store and to the person.
Does not know: what the function does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from store import episodes, jobs
from store.database import Database
from store.errors import DiskFull, EarmarkError, LeaseLost, SourceBusy
from store.jobs import Job
from store.links import redact
from store.records import Episode
from store.settings import Settings

log = logging.getLogger("earmark.jobs")


def settings_for(settings: Settings, job: Job) -> Settings:
    """Return the settings with what the job was asked to do: a retry does the same as the first try."""
    own: dict[str, Any] = {name: job.options[name] for name in ("language", "model", "engine", "captions") if job.options.get(name)}
    return replace(settings, **own)


def attempt(database: Database, job: Job, handler: Callable[[Job], None], say: Callable[[str], None]) -> None:
    """Call a handler; write its failure down in plain words. One bad episode never stops a run."""
    started = time.monotonic()
    about = {"stage": job.kind, "job": job.id, "episode": job.episode_id, "show": job.show_id}
    try:
        handler(job)
        log.info("%s, attempt %s", job.kind, job.attempt, extra={**about, "seconds": round(time.monotonic() - started, 3)})
    except LeaseLost:
        log.info("job %s was taken over or stopped", job.id)
    except Exception as error:
        fail_job(database, job, error, say)


def fail_job(database: Database, job: Job, error: Exception, say: Callable[[str], None]) -> None:
    """Commit a job's failure, unless the job is no longer ours."""
    if isinstance(error, EarmarkError):
        sentence, permanent = error.sentence, error.permanent
    else:
        log.exception("job %s (%s) failed", job.id, job.kind, exc_info=error)
        sentence, permanent = f"{type(error).__name__}: {error}", False
    log.warning("%s", sentence, extra={"stage": job.kind, "job": job.id, "episode": job.episode_id, "show": job.show_id})
    retry_after_s = error.retry_after_s if isinstance(error, (SourceBusy, DiskFull)) else None
    counts = not isinstance(error, DiskFull)
    try:
        with database.write() as connection:
            state = jobs.fail(connection, job, sentence, permanent=permanent, retry_after_s=retry_after_s, counts=counts)
    except LeaseLost:
        return
    say(f"{'failed' if state == 'failed' else 'will be tried again'}: {_title(database, job)}: {sentence}")


def _title(database: Database, job: Job) -> str:
    found: Iterable[Episode] = episodes.find_episodes(database, job.episode_id) if job.episode_id else ()
    return next((episode.title for episode in found), redact(str(job.options.get("link", f"job {job.id}"))))

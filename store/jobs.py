"""The durable queue: claim, lease, heartbeat, fence, finish.

Comes in: work to do, and workers that ask for it. Goes out: `Job`. A worker may die at any point: its lease runs out and
another takes the job; what the dead one still tries to write is refused by the fence (owner and attempt).
Does not know: what a job does.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.database import Database
from store.errors import LeaseLost
from store.records import JobKind, JobState

MAX_FAILURES = 5  # a job that fails or kills its worker this often without any progress is poison
LEASE_S = 60.0
BACK_OFF_S = 15.0  # doubled with each failure
BACK_OFF_MAX_S = 3600.0
_BACK_IN_LINE = "update job set state = 'queued', lease_owner = null, lease_until = null, updated_at = ?"
ACTIVE = ("queued", "running", "paused")


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work. `options` are its own: a retry does what the first try was asked to do."""

    id: int
    kind: JobKind
    show_id: str | None
    episode_id: str | None
    state: JobState
    attempt: int
    failures: int
    not_before: float  # Unix time, seconds
    lease_owner: str | None
    lease_until: float | None  # Unix time, seconds
    options: dict[str, Any]
    error: str
    progress: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Transcription so far: audio seconds and episodes."""

    total_s: float
    done_s: float
    episodes: int
    episodes_done: int


def enqueue(
    connection: sqlite3.Connection,
    kind: JobKind,
    *,
    show_id: str | None = None,
    episode_id: str | None = None,
    options: Mapping[str, Any] | None = None,
    not_before: float = 0.0,
) -> int | None:
    """Add a job and return its id; None where the same kind of work is already waiting or running for that show or episode."""
    now = time.time()
    cursor = connection.execute(
        "insert or ignore into job (kind, show_id, episode_id, options, not_before, created_at, updated_at)"
        " values (?, ?, ?, ?, ?, ?, ?)",
        (kind, show_id, episode_id, json.dumps(dict(options or {})), not_before, now, now),
    )
    return cursor.lastrowid if cursor.rowcount else None


def enqueue_sync(connection: sqlite3.Connection) -> int:
    """Queue a new reading of every show that can have news; return how many."""
    rows = connection.execute("select id from show where kind in ('feed', 'site', 'folder')").fetchall()
    return sum(enqueue(connection, "sync", show_id=row["id"]) is not None for row in rows)


def enqueue_unless_active(
    connection: sqlite3.Connection, kind: JobKind, *, episode_id: str, options: Mapping[str, Any] | None = None
) -> int | None:
    """Add a job for an episode that no job of any kind is waiting or running for; None where there is one."""
    marks = ",".join("?" * len(ACTIVE))
    row = connection.execute(f"select 1 from job where episode_id = ? and state in ({marks})", (episode_id, *ACTIVE)).fetchone()
    return None if row else enqueue(connection, kind, episode_id=episode_id, options=options)


def claim(
    database: Database, owner: str, kinds: Sequence[JobKind], *, limit: int = 1, lease_s: float = LEASE_S, now: float | None = None
) -> list[Job]:
    """Lease up to `limit` jobs that are due, in the order of `kinds`, then oldest first.

    A running job whose lease ran out counts as due: its worker died. One that did so too often fails for good.
    """
    now = time.time() if now is None else now
    marks = ",".join("?" * len(kinds))
    order = " ".join(f"when ? then {rank}" for rank in range(len(kinds)))
    with database.write() as connection:
        connection.execute(
            "update job set state = 'failed', lease_owner = null, lease_until = null, updated_at = ?,"
            " error = 'Its worker died again and again: it is left out from now on. Look at the file, then: earmark retry'"
            " where state = 'running' and lease_until < ? and failures + 1 >= ?",
            (now, now, MAX_FAILURES),
        )
        rows = connection.execute(
            f"select id from job where kind in ({marks}) and ((state = 'queued' and not_before <= ?)"
            f" or (state = 'running' and lease_until < ?)) order by case kind {order} end, not_before, id limit ?",
            (*kinds, now, now, *kinds, limit),
        ).fetchall()
        claimed = [
            connection.execute(
                "update job set failures = failures + (state = 'running'), state = 'running', attempt = attempt + 1,"
                " lease_owner = ?, lease_until = ?, updated_at = ? where id = ? returning *",
                (owner, now + lease_s, now, row["id"]),
            ).fetchone()
            for row in rows
        ]
    return [_job(row) for row in claimed]


def heartbeat(database: Database, job: Job, *, progress: float | None = None, lease_s: float = LEASE_S) -> None:
    """Renew a lease, or raise `LeaseLost`."""
    with database.write() as connection:
        fence(connection, job)
        connection.execute(
            "update job set lease_until = ?, progress = coalesce(?, progress), updated_at = ? where id = ?",
            (time.time() + lease_s, progress, time.time(), job.id),
        )


def set_progress(connection: sqlite3.Connection, job: Job, progress: float) -> None:
    """Write down how far a job is (0 to 1), inside the transaction that commits what was done. Earlier failures are forgiven."""
    connection.execute("update job set progress = ?, failures = 0, updated_at = ? where id = ?", (progress, time.time(), job.id))


def fence(connection: sqlite3.Connection, job: Job) -> None:
    """Raise `LeaseLost` unless this attempt still owns the job. Every write of a worker begins with it, in the same transaction."""
    row = connection.execute(
        "select 1 from job where id = ? and state = 'running' and lease_owner = ? and attempt = ?",
        (job.id, job.lease_owner, job.attempt),
    ).fetchone()
    if row is None:
        raise LeaseLost("the job was taken over or stopped", where=f"job {job.id}")


def finish(connection: sqlite3.Connection, job: Job) -> None:
    """Mark a job as done, inside the transaction that commits its result."""
    fence(connection, job)
    connection.execute(
        "update job set state = 'done', progress = 1, error = '', lease_owner = null, lease_until = null, updated_at = ?"
        " where id = ?",
        (time.time(), job.id),
    )


def fail(
    connection: sqlite3.Connection,
    job: Job,
    error: str,
    *,
    permanent: bool,
    retry_after_s: float | None = None,
    counts: bool = True,
) -> JobState:
    """Fail a job: for good, or queued again after a back-off. Returns its new state. One that does not count may fail for ever."""
    fence(connection, job)
    failures = job.failures + counts
    is_over = permanent or (counts and failures >= MAX_FAILURES)
    wait_s = min(BACK_OFF_S * 2 ** max(0, failures - 1), BACK_OFF_MAX_S) if retry_after_s is None else retry_after_s
    state: JobState = "failed" if is_over else "queued"
    connection.execute(
        "update job set state = ?, error = ?, failures = ?, not_before = ?, lease_owner = null, lease_until = null, updated_at = ?"
        " where id = ?",
        (state, error, failures, time.time() + wait_s, time.time(), job.id),
    )
    return state


def release(connection: sqlite3.Connection, job: Job) -> None:
    """Give a job back untouched, as on Ctrl-C: that is no failure."""
    fence(connection, job)
    connection.execute(
        f"{_BACK_IN_LINE} where id = ?",
        (time.time(), job.id),
    )


def release_all(database: Database, owner: str) -> int:
    """Give back everything that `owner` still holds; returns how many."""
    with database.write() as connection:
        cursor = connection.execute(
            f"{_BACK_IN_LINE} where state = 'running' and lease_owner = ?",
            (time.time(), owner),
        )
    return cursor.rowcount


def renew_all(database: Database, owner: str, *, lease_s: float = LEASE_S) -> None:
    """Renew every lease that `owner` holds."""
    with database.write() as connection:
        connection.execute(
            "update job set lease_until = ? where state = 'running' and lease_owner = ?", (time.time() + lease_s, owner)
        )


def end_leases(database: Database, owner_like: str) -> None:
    """Let the leases of a worker that is known to be dead run out now; that counts as a failure."""
    with database.write() as connection:
        connection.execute("update job set lease_until = 0 where state = 'running' and lease_owner like ?", (owner_like,))


def retry(connection: sqlite3.Connection, job_id: int) -> bool:
    """Queue a failed or cancelled job again, with its own options and a fresh count of failures."""
    cursor = connection.execute(
        "update or ignore job set state = 'queued', failures = 0, not_before = 0, error = '', progress = 0, updated_at = ?"
        " where id = ? and state in ('failed', 'cancelled')",
        (time.time(), job_id),
    )
    return cursor.rowcount == 1


def cancel(connection: sqlite3.Connection, job_id: int) -> bool:
    """Stop a job: a running worker finds its lease gone at its next write."""
    return _move(connection, job_id, ACTIVE, "cancelled")


def pause(connection: sqlite3.Connection, job_id: int) -> bool:
    """Hold a job back until `resume`; what was committed of it stays."""
    return _move(connection, job_id, ("queued", "running"), "paused")


def resume(connection: sqlite3.Connection, job_id: int) -> bool:
    """Let a paused job go on."""
    return _move(connection, job_id, ("paused",), "queued")


def list_jobs(
    database: Database, *, states: Sequence[JobState] = (), episode_id: str | None = None, limit: int | None = None
) -> list[Job]:
    """Return jobs, newest first."""
    marks = ",".join("?" * len(states))
    where = f"state in ({marks})" if states else "1"
    rows = database.read().execute(
        f"select * from job where {where} and (? is null or episode_id = ?) order by updated_at desc, id desc limit ?",
        (*states, episode_id, episode_id, -1 if limit is None else limit),
    )
    return [_job(row) for row in rows]


def count_jobs(database: Database, *, since_id: int = 0) -> dict[tuple[str, str], int]:
    """Return how many jobs there are by (kind, state)."""
    rows = database.read().execute("select kind, state, count(*) as n from job where id > ? group by kind, state", (since_id,))
    return {(row["kind"], row["state"]): row["n"] for row in rows}


def read_progress(database: Database) -> Progress:
    """Return how far the transcription of everything that is queued, running or done in this queue has come, in audio seconds."""
    row = (
        database.read()
        .execute(
            "select coalesce(sum(e.duration_s), 0) as total_s, coalesce(sum(e.duration_s * j.progress), 0) as done_s,"
            " count(*) as episodes, coalesce(sum(j.state = 'done'), 0) as done"
            " from job j join episode e on e.id = j.episode_id"
            " where j.kind = 'transcribe' and j.state in ('queued', 'running', 'done')"
        )
        .fetchone()
    )
    return Progress(row["total_s"], row["done_s"], row["episodes"], row["done"])


def next_due_at(database: Database, kinds: Sequence[JobKind]) -> float | None:
    """Return the Unix time at which the next job of `kinds` can be claimed; None where nothing waits or runs."""
    marks = ",".join("?" * len(kinds))
    row = (
        database.read()
        .execute(
            "select min(case state when 'queued' then not_before else lease_until end) as due from job"
            f" where state in ('queued', 'running') and kind in ({marks})",
            tuple(kinds),
        )
        .fetchone()
    )
    return None if row["due"] is None else float(row["due"])


def _move(connection: sqlite3.Connection, job_id: int, states: Sequence[str], to: JobState) -> bool:
    marks = ",".join("?" * len(states))
    cursor = connection.execute(
        f"update job set state = ?, lease_owner = null, lease_until = null, updated_at = ? where id = ? and state in ({marks})",
        (to, time.time(), job_id, *states),
    )
    return cursor.rowcount == 1


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        show_id=row["show_id"],
        episode_id=row["episode_id"],
        state=row["state"],
        attempt=row["attempt"],
        failures=row["failures"],
        not_before=row["not_before"],
        lease_owner=row["lease_owner"],
        lease_until=row["lease_until"],
        options=json.loads(row["options"]),
        error=row["error"],
        progress=row["progress"],
        updated_at=row["updated_at"],
    )

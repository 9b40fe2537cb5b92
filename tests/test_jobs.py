"""Jobs: leases, fences, back-off, poison. A dead worker's late writes never count."""

from __future__ import annotations

import threading
import time

import pytest

from store import episodes, jobs
from store.database import Database
from store.errors import LeaseLost
from tests.catalogue import listing


@pytest.fixture
def episode_ids(database: Database) -> list[str]:
    show = listing("a", "b", "c")
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        ids = [episodes.save_episode(connection, show_id, item)[0] for item in show.episodes]
        for episode_id in ids:
            jobs.enqueue(connection, "fetch", episode_id=episode_id, options={"language": "de"})
    return ids


def test_the_same_work_is_queued_once(database: Database, episode_ids: list[str]) -> None:
    with database.write() as connection:
        assert jobs.enqueue(connection, "fetch", episode_id=episode_ids[0]) is None
        assert jobs.enqueue(connection, "index", episode_id=episode_ids[0]) is not None
        assert jobs.enqueue(connection, "list", options={"link": "https://a.example"}) is not None
        assert jobs.enqueue(connection, "list", options={"link": "https://b.example"}) is not None
        assert jobs.enqueue(connection, "list", options={"link": "https://a.example"}) is None


def test_two_workers_never_hold_one_job(database: Database, episode_ids: list[str]) -> None:
    held: list[int] = []

    def work() -> None:
        while claimed := jobs.claim(database, threading.current_thread().name, ("fetch",)):
            held.extend(job.id for job in claimed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(held) == sorted(set(held)) and len(held) == len(episode_ids)


def test_a_retry_keeps_its_options(database: Database, episode_ids: list[str]) -> None:
    (job,) = jobs.claim(database, "me", ("fetch",))
    with database.write() as connection:
        assert jobs.fail(connection, job, "no audio", permanent=True) == "failed"
        assert jobs.retry(connection, job.id)
    again = next(job_ for job_ in jobs.claim(database, "me", ("fetch",), limit=3) if job_.id == job.id)
    assert again.options == {"language": "de"} and again.failures == 0


def test_a_dead_workers_write_is_refused(database: Database, episode_ids: list[str]) -> None:
    (dead,) = jobs.claim(database, "dead", ("fetch",), lease_s=-1)
    (alive,) = [job for job in jobs.claim(database, "alive", ("fetch",), limit=3) if job.id == dead.id]
    assert alive.attempt == 2
    with pytest.raises(LeaseLost), database.write() as connection:
        jobs.finish(connection, dead)
    with database.write() as connection:
        jobs.finish(connection, alive)
    assert jobs.list_jobs(database, states=("done",))[0].id == dead.id


def test_a_heartbeat_keeps_the_lease(database: Database, episode_ids: list[str]) -> None:
    (job,) = jobs.claim(database, "me", ("fetch",), lease_s=-1)
    jobs.heartbeat(database, job, progress=0.5)
    assert job.id not in [other.id for other in jobs.claim(database, "other", ("fetch",), limit=3)]


def test_temporary_failures_back_off_and_end(database: Database, episode_ids: list[str]) -> None:
    with database.write() as connection:
        connection.execute("update job set state = 'done' where episode_id <> ?", (episode_ids[0],))
    now, waits = time.time(), []
    for attempt in range(1, jobs.MAX_FAILURES + 1):
        (job,) = jobs.claim(database, "me", ("fetch",), now=now)
        assert job.attempt == attempt
        with database.write() as connection:
            state = jobs.fail(connection, job, "timed out", permanent=False)
        due = database.read().execute("select not_before from job where id = ?", (job.id,)).fetchone()[0]
        waits.append(due - time.time())
        assert jobs.claim(database, "me", ("fetch",), now=due - 1) == []
        now = due + 1
    assert state == "failed"
    assert waits[:-1] == sorted(waits[:-1]) and waits[1] > 1.5 * waits[0] > 0


def test_a_job_that_kills_its_workers_is_poison(database: Database, episode_ids: list[str]) -> None:
    poison = episode_ids[0]
    with database.write() as connection:
        connection.execute("update job set state = 'done' where episode_id <> ?", (poison,))
    for _ in range(jobs.MAX_FAILURES):
        assert len(jobs.claim(database, "victim", ("fetch",), lease_s=-1)) == 1
    assert jobs.claim(database, "next", ("fetch",)) == []
    (failed,) = jobs.list_jobs(database, states=("failed",))
    assert "died again and again" in failed.error and "earmark retry" in failed.error


def test_progress_forgives_earlier_deaths(database: Database, episode_ids: list[str]) -> None:
    for _ in range(3 * jobs.MAX_FAILURES):
        (job, *_) = jobs.claim(database, "victim", ("fetch",), lease_s=-1)
        with database.write() as connection:
            jobs.set_progress(connection, job, 0.5)
    assert not jobs.list_jobs(database, states=("failed",))


def test_a_released_job_has_not_failed(database: Database, episode_ids: list[str]) -> None:
    jobs.claim(database, "me", ("fetch",), limit=3)
    assert jobs.release_all(database, "me") == 3
    assert {job.failures for job in jobs.claim(database, "me", ("fetch",), limit=3)} == {0}


def test_cancel_pause_resume(database: Database, episode_ids: list[str]) -> None:
    first, second, third = jobs.list_jobs(database)
    (running,) = jobs.claim(database, "me", ("fetch",))
    with database.write() as connection:
        assert jobs.cancel(connection, running.id)
        with pytest.raises(LeaseLost):
            jobs.fence(connection, running)
        others = [job.id for job in (first, second, third) if job.id != running.id]
        assert jobs.pause(connection, others[0]) and jobs.pause(connection, others[1])
    assert jobs.claim(database, "me", ("fetch",)) == []
    with database.write() as connection:
        assert jobs.resume(connection, others[0])
    assert [job.id for job in jobs.claim(database, "me", ("fetch",))] == [others[0]]

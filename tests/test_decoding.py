"""Several episodes at once, with a real engine (tiny.en): batches mix them, a lost lease or a bad chunk hurts nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.decoding import Decoding
from pipeline.speech import Chunk
from pipeline.transcribe import Engine
from store import episodes, jobs, transcripts
from store.database import Database
from store.errors import EngineError
from store.files import sha256_of
from store.records import Segment
from store.settings import Settings, load_settings
from tests.catalogue import listing


@pytest.fixture
def settings(database: Database) -> Settings:
    return load_settings(database.folder, {"model": "tiny.en", "offline": True, "threads": 2, "batch_size": 4}, {})


@pytest.fixture
def talks(samples: Path) -> list[Path]:
    return sorted(samples.glob("*.mp3"), key=lambda path: path.stat().st_size)[:2]


def queue(database: Database, talks: Sequence[Path]) -> list[str]:
    show = listing(*(path.stem for path in talks))
    ids = []
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        for path, item in zip(talks, show.episodes, strict=True):
            episode_id, _ = episodes.save_episode(connection, show_id, item)
            recording_id = episodes.save_recording(connection, sha256_of(path), str(path), path.stat().st_size, None)
            episodes.set_recording(connection, episode_id, recording_id)
            jobs.enqueue(connection, "transcribe", episode_id=episode_id)
            ids.append(episode_id)
    return ids


def prepared(settings: Settings, database: Database, owner: str = "me") -> Decoding:
    decoding = Decoding(settings, database, owner, lambda text: None)
    for job in jobs.claim(database, owner, ("transcribe",), limit=9):
        decoding.prepare(job)
    return decoding


def text_of(database: Database, episode_id: str) -> str:
    transcript_id = episodes.get_episode(database, episode_id).transcript_id
    assert transcript_id is not None
    return " ".join(segment.text for segment in transcripts.read_segments(database, transcript_id))


class Watching:
    """An engine that counts, and can be told to fail on some chunks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.batches: list[list[tuple[float, float]]] = []
        self.bad: set[tuple[float, float]] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def transcribe(self, chunks: Sequence[Chunk]) -> Iterator[list[Segment]]:
        self.batches.append([chunk.spans[0] for chunk in chunks])
        if any(chunk.spans[0] in self.bad for chunk in chunks):
            raise EngineError("the engine failed")
        return self._engine.transcribe(chunks)


def watch(decoding: Decoding) -> Watching:
    ((key, engine),) = decoding._engines.items()
    watching = Watching(engine)
    decoding._engines[key] = watching  # type: ignore[assignment]
    return watching


def test_two_talks_share_batches_and_both_are_whole(settings: Settings, database: Database, talks: list[Path]) -> None:
    ids = queue(database, talks)
    decoding = prepared(settings, database)
    watching = watch(decoding)
    while decoding.step():
        pass
    for episode_id, path in zip(ids, talks, strict=True):
        said, true = text_of(database, episode_id).lower().split(), path.with_suffix(".txt").read_text().lower().split()
        assert 0.85 < len(said) / len(true) < 1.15
        assert len(set(said) & set(true)) > 0.6 * len(set(true))
    assert len(watching.batches) < sum(len(batch) for batch in watching.batches)
    assert database.read().execute("select count(*) from chunk").fetchone()[0] == 0
    assert {(job.kind, job.state) for job in jobs.list_jobs(database)} == {("transcribe", "done"), ("index", "queued")}


def test_lanes_share_the_work_and_decode_nothing_twice(settings: Settings, database: Database, talks: list[Path]) -> None:
    ids = queue(database, talks)
    decoding = prepared(settings, database)
    watching = watch(decoding)
    engine = next(iter(decoding._engines.values()))
    assert engine.lanes == 2
    chunks = sum(len(take.pending) for take in decoding._takes)
    together: list[int] = []

    def lane() -> None:
        while decoding.step() or any(take.pending for take in decoding._takes):
            together.append(decoding._lanes_busy)

    lanes = [threading.Thread(target=lane) for _ in range(2)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join(timeout=120)
    assert max(together) == 1  # one lane was busy when the other came back with its batch
    assert sum(map(len, watching.batches)) == chunks
    for episode_id, path in zip(ids, talks, strict=True):
        said, true = text_of(database, episode_id).lower().split(), path.with_suffix(".txt").read_text().lower().split()
        assert 0.85 < len(said) / len(true) < 1.15
    assert not decoding._in_hand
    assert database.read().execute("select count(*) from chunk").fetchone()[0] == 0


def test_a_resumed_talk_repeats_nothing(settings: Settings, database: Database, talks: list[Path]) -> None:
    queue(database, talks[:1])
    first = prepared(settings, database)
    seen = watch(first)
    assert first.step()
    first.close()  # as if killed: the lease is still there
    jobs.end_leases(database, "me")
    second = prepared(settings, database, "other")
    rest = watch(second)
    while second.step():
        pass
    before, after = ({span for batch in engine.batches for span in batch} for engine in (seen, rest))
    assert before and after and not before & after
    assert jobs.list_jobs(database, states=("done",))


def test_a_lost_lease_costs_only_its_own_chunks(settings: Settings, database: Database, talks: list[Path]) -> None:
    lost, kept = queue(database, talks)
    decoding = prepared(settings, database)
    with database.write() as connection:
        (job,) = [job for job in jobs.list_jobs(database, states=("running",)) if job.episode_id == lost]
        jobs.cancel(connection, job.id)
    while decoding.step():
        pass
    assert episodes.get_episode(database, lost).transcript_id is None
    assert database.read().execute("select count(*) from chunk where segments is not null").fetchone()[0] == 0
    assert text_of(database, kept)


def test_only_the_culprit_fails(settings: Settings, database: Database, talks: list[Path]) -> None:
    bad, good = queue(database, talks)
    decoding = prepared(settings, database)
    watching = watch(decoding)
    (take,) = [take for take in decoding._takes if take.job.episode_id == bad]
    watching.bad = {take.pending[0][0]}
    while decoding.step():
        pass
    states = {job.episode_id: (job.state, job.error) for job in jobs.list_jobs(database) if job.kind == "transcribe"}
    assert states[good] == ("done", "")
    assert states[bad][0] == "queued" and "engine failed" in states[bad][1]  # it backs off and is tried again


def test_the_same_recording_is_transcribed_once(settings: Settings, database: Database, talks: list[Path]) -> None:
    first, second = queue(database, talks)
    with database.write() as connection:  # the second episode turns out to be the first one's recording
        recording_id = episodes.get_episode(database, first).recording_id
        assert recording_id is not None
        episodes.set_recording(connection, second, recording_id)
        connection.execute("update job set not_before = 1e12 where episode_id = ?", (second,))
    decoding = prepared(settings, database)
    while decoding.step():
        pass
    with database.write() as connection:
        connection.execute("update job set not_before = 0")
    again = prepared(settings, database)
    assert not again._takes
    assert episodes.get_episode(database, first).transcript_id == episodes.get_episode(database, second).transcript_id

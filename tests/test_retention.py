"""Fetched recordings are kept, made smaller or dropped; what the user pointed to is never touched; an undoing is possible."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.intake import take_again
from pipeline.recording import SAMPLE_RATE_HZ, blocks
from pipeline.retention import compress, keep_only_what_is_wanted
from store import episodes, jobs, transcripts
from store.database import Database
from store.files import sha256_of
from store.records import Recording, Segment, TranscriptHead
from tests.catalogue import listing
from tests.test_transcribe import write_wave


def recorded(database: Database, path: Path) -> tuple[str, Recording]:
    show = listing("talk")
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        episode_id, _ = episodes.save_episode(connection, show_id, show.episodes[0])
        inside = path.is_relative_to(database.folder)
        name = str(path.relative_to(database.folder)) if inside else str(path)
        recording_id = episodes.save_recording(connection, sha256_of(path), name, path.stat().st_size, 10.0)
        episodes.set_recording(connection, episode_id, recording_id)
    return episode_id, episodes.get_recording(database, recording_id)


@pytest.fixture
def tone() -> np.ndarray:
    seconds = np.arange(10 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 300 * seconds) * (seconds % 2 < 1)).astype(np.float32)


def test_a_fetched_recording_is_made_smaller_and_sounds_the_same(database: Database, tone: np.ndarray) -> None:
    path = database.folder / "recordings" / "talk.wav"
    path.parent.mkdir(parents=True)
    write_wave(path, tone)
    before = path.stat().st_size
    _, recording = recorded(database, path)
    keep_only_what_is_wanted("compress", database, recording, print)
    kept = Path(episodes.get_recording(database, recording.id).path)
    assert kept.suffix == ".opus" and kept.stat().st_size < before / 5
    assert list(path.parent.iterdir()) == [kept]
    heard = np.concatenate(list(blocks(kept)))
    assert len(heard) / SAMPLE_RATE_HZ == pytest.approx(10.0, abs=0.1)
    loud = np.abs(heard[: 10 * SAMPLE_RATE_HZ - 4000]).reshape(-1, 2000).mean(axis=1) > 0.05
    assert 0.4 < loud.mean() < 0.6  # tone and silence lie where they were: the transcript's times still hold
    keep_only_what_is_wanted("compress", database, episodes.get_recording(database, recording.id), print)  # once is enough
    assert kept.exists()


def test_dropping_and_the_user_s_own_files(database: Database, tone: np.ndarray, tmp_path: Path) -> None:
    own = tmp_path / "own" / "mine.wav"
    own.parent.mkdir()
    write_wave(own, tone)
    _, recording = recorded(database, own)
    for wanted in ("compress", "drop"):
        keep_only_what_is_wanted(wanted, database, recording, print)
        assert own.exists() and episodes.get_recording(database, recording.id).path == str(own)
    fetched = database.folder / "recordings" / "talk.wav"
    fetched.parent.mkdir(parents=True)
    write_wave(fetched, tone * 0.5)
    _, ours = recorded(database, fetched)
    keep_only_what_is_wanted("drop", database, ours, print)
    assert not fetched.exists() and episodes.get_recording(database, ours.id).path == ""


def test_what_cannot_be_made_smaller_is_kept_and_told(database: Database, samples: Path, tmp_path: Path) -> None:
    small = shutil.copy(min(samples.glob("*.mp3")), tmp_path / "talk.mp3")
    once = compress(Path(small))
    assert compress(once) == once
    broken = database.folder / "recordings" / "broken.wav"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no sound in here" * 100)
    _, recording = recorded(database, broken)
    said: list[str] = []
    keep_only_what_is_wanted("compress", database, recording, said.append)
    assert broken.exists() and "broken.wav" in said[0]


def test_a_publisher_s_transcript_is_made_again_from_the_sound(database: Database, tone: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    write_wave(path, tone)
    episode_id, _ = recorded(database, path)
    with database.write() as connection:
        head = TranscriptHead("publisher", language="en")
        episodes.set_transcript(
            connection, episode_id, transcripts.save_transcript(connection, head, [Segment(0.0, 1.0, "Hello.", ())], None)
        )
    chosen = episodes.with_publishers_transcript(database)
    assert [episode.id for episode in chosen] == [episode_id]
    with database.write() as connection:
        assert take_again(connection, chosen, {"model": "tiny.en"}) == 1
        assert take_again(connection, chosen, {"model": "tiny.en"}) == 0  # it is queued already
    (job,) = jobs.list_jobs(database)
    assert (job.kind, job.options) == ("transcribe", {"model": "tiny.en", "captions": "ignore"})
    assert episodes.get_episode(database, episode_id).transcript_id is not None  # until the new one is there

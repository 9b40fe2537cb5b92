"""Real recordings to transcripts with the real base model; what is silent stays silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.transcription import errors_between, words_of
from pipeline.guard import plain
from pipeline.recording import SAMPLE_RATE_HZ, Spool
from pipeline.run import ask_for_huge_pages
from pipeline.transcribe import (
    HUGE_PAGES,
    ONE_HEAP,
    Engine,
    can_use_huge_pages,
    cut_chunk,
    open_engine,
    plan_recording,
    transcribe_file,
    transcribe_files,
)
from store.errors import RecordingError, SettingsError, WeightsError
from store.records import Segment
from store.settings import Settings


@pytest.fixture(scope="module")
def engine() -> Engine:
    try:
        return open_engine(Settings(offline=True, model="base", device="cpu", threads=2), lambda line: None)
    except WeightsError as error:
        pytest.skip(f"no weights: {error}")


@pytest.fixture(scope="module")
def rows(shared: Path) -> dict[str, dict[str, object]]:
    lines = (shared / "speech" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def text_of(segments: Sequence[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def test_a_talk_is_read_back(engine: Engine, shared: Path, rows: dict[str, dict[str, object]]) -> None:
    row = rows["ls-chapter-1688"]
    head, segments = transcribe_file(shared / "speech" / str(row["path"]), engine)
    assert (head.source, head.language, head.model, head.warnings) == ("engine", "en", "base@d01c3014", ())
    reference, heard = words_of(str(row["reference_text"]), "en"), words_of(text_of(segments), "en")
    assert errors_between(reference, heard) / len(reference) < 0.08
    assert all(segment.language == "en" for segment in segments)
    assert max(segment.end_s - segment.start_s for segment in segments) < 20
    words = [word for segment in segments for word in segment.words]
    assert all(word.start_s <= word.end_s for word in words)
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)
    for item in row["segments"]:  # type: ignore[attr-defined]
        first = plain(item["text"]).split()[0]
        near = [word for word in words if abs(word.start_s - item["start"]) < 0.7]
        assert any(plain(word.text) == first for word in near) or first in ("there's", "anon"), item


def test_silence_and_noise_have_no_words(engine: Engine, shared: Path, rows: dict[str, dict[str, object]]) -> None:
    silent = [row for row in rows.values() if row.get("expect_words") == "none" and not row["expect_error"]]
    assert silent
    for path, head, segments in transcribe_files([shared / "speech" / str(row["path"]) for row in silent], engine):
        assert not isinstance(head, Exception)
        assert segments == [], path


def test_a_phrase_said_twenty_times_is_written_about_twenty_times(
    engine: Engine, shared: Path, rows: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    with Spool(shared / "speech" / str(rows["asterisk-en-agent-pass"]["path"])) as spool:
        once = spool.read(0, spool.duration_s)
    path = tmp_path / "twenty.wav"
    write_wave(path, np.tile(once, 20))
    _, segments = transcribe_file(path, engine, language="en")
    assert 17 <= plain(text_of(segments)).count("pound key") <= 22


def test_one_bad_file_does_not_stop_the_others(
    engine: Engine, shared: Path, rows: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not audio")
    good = shared / "speech" / str(rows["asterisk-en-agent-pass"]["path"])
    found = list(transcribe_files([bad, good], engine, folder=tmp_path / "spool"))
    assert isinstance(found[0][1], RecordingError)
    assert "password" in text_of(found[1][2])
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_plan_gives_the_same_chunks_again(shared: Path, rows: dict[str, dict[str, object]]) -> None:
    path = shared / "speech" / str(rows["ls-chapter-1688"]["path"])
    with Spool(path) as spool:
        plan = plan_recording(spool)
        kept = json.loads(json.dumps(plan.chunks))
        first = [cut_chunk(spool, spans, "en") for spans in plan.chunks]
    with Spool(path) as spool:
        assert plan_recording(spool) == plan
        again = [cut_chunk(spool, spans, "en") for spans in kept]
    assert all(np.array_equal(one.audio, other.audio) and one.spans == other.spans for one, other in zip(first, again, strict=True))


def test_languages_are_detected(engine: Engine, shared: Path, rows: dict[str, dict[str, object]]) -> None:
    chosen = {str(row["language"]): row for row in rows.values() if row["kind"] == "prompt_session_concat"}
    if not chosen:
        pytest.skip("no recordings in other languages here")
    for language, row in chosen.items():
        with Spool(shared / "speech" / str(row["path"])) as spool:
            from pipeline.transcribe import language_of

            assert language_of(spool, plan_recording(spool).chunks, engine) == language


def test_a_language_that_whisper_does_not_know_is_a_wrong_setting(
    engine: Engine, shared: Path, rows: dict[str, dict[str, object]]
) -> None:
    path = shared / "speech" / str(rows["asterisk-en-agent-pass"]["path"])
    with pytest.raises(SettingsError, match="no such language"):
        transcribe_file(path, engine, language="klingon")


def test_worker_processes_start_with_huge_pages_and_one_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_use_huge_pages():
        pytest.skip("this system has no transparent huge pages for malloc")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=7")
    ask_for_huge_pages()
    assert os.environ["GLIBC_TUNABLES"].split(":") == ["glibc.malloc.tcache_count=7", HUGE_PAGES, ONE_HEAP]
    ask_for_huge_pages()  # once is enough
    assert os.environ["GLIBC_TUNABLES"].count("hugetlb") == 1
    subprocess.run([sys.executable, "-c", "pass"], check=True)  # and such a process starts


def write_wave(path: Path, sound: np.ndarray) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((sound * 32767).astype(np.int16).tobytes())

"""A large catalogue for measuring the page: real talks with their transcripts, and one of 30,000 words that can be played.

Comes in: ../shared/retrieval (or any folder of that format), a number of passages. Goes out: a data folder with its index, and the
id of the long episode. A folder that was finished before is used as it is.
The vectors are perturbed copies of real ones (some hundred passages are really embedded), so that 100,000 passages take minutes
and the index has its true size and shape. Does not know: what is measured on it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sqlite3
import sys
import time
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.build import rebuild_index
from index.embed import open_embedder
from index.passages import cut_passages
from store import episodes, passages, transcripts
from store.database import Database
from store.records import EpisodeListing, Passage, Segment, ShowListing, TranscriptHead, Word
from store.settings import Settings

NOTE = "bench-web.json"  # lies in a finished catalogue
EMBEDDED = 400  # really embedded; the others are these, perturbed
NOISE = 0.35  # length of the perturbation against a vector of length 1
LONG_WORDS = 30_000
WORD_S = 0.36
TALKS_AT_ONCE = 50  # in one transaction
MONTHS = 60  # that the talks are spread over
SILENCE_HZ = 3000  # of the long episode's recording; its samples are a hole in the file

Vectors = npt.NDArray[np.float32]
Talk = tuple[str, str, list[Segment]]


def open_catalogue(data: Path, settings: Settings, count: int) -> str:
    """Return the id of the long episode of the catalogue in the settings' folder; make it first where it is not finished.

    Raises `SystemExit` where the folder holds a catalogue of another size.
    """
    note = settings.data_dir / NOTE
    if note.is_file():
        about = json.loads(note.read_text(encoding="utf-8"))
        if about["passages"] != count:
            sys.exit(f"{settings.data_dir} holds {about['passages']} passages, not {count}: name another --catalogue")
        return str(about["long_id"])
    began = time.monotonic()
    long_id = _fill(data, settings, count)
    filled = time.monotonic()
    report = rebuild_index(Database.in_folder(settings.data_dir), settings)
    took = {"fill_s": round(filled - began, 1), "index_s": round(time.monotonic() - filled, 1)}
    note.write_text(json.dumps({"passages": count, "long_id": long_id, **took}), encoding="utf-8")
    print(f"\n{report}; filled in {took['fill_s']} s, indexed in {took['index_s']} s", file=sys.stderr)
    return long_id


def _fill(data: Path, settings: Settings, count: int) -> str:
    database = Database.in_folder(settings.data_dir)
    embedder = open_embedder(settings)
    source = _talks(data)
    made, number = 0, 0
    pool = np.zeros((0, 0), dtype=np.float32)
    noise = np.random.default_rng(0)
    long_segments: list[Segment] = []
    while made < count:
        batch = [next(source) for _ in range(TALKS_AT_ONCE)]
        with database.write() as connection:
            for show, title, segments in batch:
                if made >= count:
                    break
                if sum(len(segment.text.split()) for segment in long_segments) < LONG_WORDS:
                    long_segments += segments
                number += 1
                day = f"{2021 + number % MONTHS // 12}-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
                _, cut = _put(connection, show, f"{title} ({number})", day, segments)
                if not len(pool):
                    taken = [passage.text for passage in cut][:EMBEDDED]
                    pool = np.asarray(embedder.embed_passages(taken), dtype=np.float32)
                passages.save_vectors(connection, embedder.name, _vectors(cut, pool, noise))
                made += len(cut)
        print(f"\r{made} passages", end="", file=sys.stderr)
    with database.write() as connection:
        rows = _worded(long_segments)
        audio = _silence(settings.data_dir / "three-hours.wav", rows[-1].end_s)
        long_id, cut = _put(connection, "Long talks", "Three hours", "2026-01-01", rows, audio)
        passages.save_vectors(connection, embedder.name, _vectors(cut, pool, noise))
    return long_id


def _vectors(cut: Sequence[Passage], pool: Vectors, noise: np.random.Generator) -> dict[str, Vectors]:
    picked = pool[noise.integers(0, len(pool), len(cut))]
    moved = picked + noise.standard_normal(picked.shape).astype(np.float32) * np.float32(NOISE / pool.shape[1] ** 0.5)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return {passage.text_hash: vector for passage, vector in zip(cut, moved, strict=True)}


def _worded(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments one after the other, each word with a time of its own."""
    rows, at_s = [], 0.0
    for segment in segments:
        pieces = segment.text.split()
        words = tuple(Word(f" {piece}", at_s + WORD_S * n, at_s + WORD_S * n + 0.3) for n, piece in enumerate(pieces))
        rows.append(Segment(at_s, words[-1].end_s, " ".join(pieces), words, segment.speaker, "en"))
        at_s = words[-1].end_s + 0.1
    return rows


def _silence(path: Path, duration_s: float) -> Path:
    """Write a recording of silence: its header, and a hole as long as its samples."""
    size_bytes = round(duration_s) * SILENCE_HZ * 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SILENCE_HZ)
        file.setnframes(size_bytes // 2)
        file.writeframesraw(b"\0\0")
    header = bytearray(path.read_bytes()[:44])
    header[4:8] = (36 + size_bytes).to_bytes(4, "little")
    header[40:44] = size_bytes.to_bytes(4, "little")
    with path.open("wb") as raw:
        raw.write(header)
        raw.truncate(44 + size_bytes)
    return path


def _talks(data: Path) -> Iterator[Talk]:
    """Yield (show, title, segments), again and again with a number added to each sentence, so that the texts differ."""
    turn = 0
    while True:
        for name in ("episodes.dev.jsonl.gz", "distractors.changelog.jsonl.gz"):
            with gzip.open(data / name, "rt", encoding="utf-8") as file:
                for line in file:
                    talk = json.loads(line)
                    segments = []
                    for item in talk["segments"]:
                        text = re.sub(r"\[\d+:\d\d(?::\d\d)?\]", " ", item["text"]).strip()
                        if text:
                            text = f"{text} {turn}" if turn else text
                            segments.append(Segment(item["start"], item["end"], text, (), item.get("speaker") or None, "en"))
                    if segments:
                        yield talk["show"], talk["title"], segments
        turn += 1


def _put(
    connection: sqlite3.Connection, show: str, title: str, day: str, segments: list[Segment], audio: Path | None = None
) -> tuple[str, list[Passage]]:
    item = EpisodeListing(
        guid=title,
        title=title,
        media_url=str(audio or ""),
        published=day,
        duration_s=segments[-1].end_s,
        media_type="audio/wav" if audio else "",
        language="en",
    )
    listing = ShowListing(link=f"https://example.org/{show}", kind="feed", title=show, episodes=(item,), language="en")
    show_id = episodes.save_show(connection, listing)
    episode_id, _ = episodes.save_episode(connection, show_id, item)
    recording_id = None
    if audio is not None:
        recording_id = episodes.save_recording(
            connection, hashlib.sha256(str(audio).encode()).hexdigest(), str(audio), audio.stat().st_size, segments[-1].end_s
        )
        episodes.set_recording(connection, episode_id, recording_id)
    head = TranscriptHead("publisher", language="en")
    transcript_id = transcripts.save_transcript(connection, head, segments, recording_id)
    episodes.set_transcript(connection, episode_id, transcript_id)
    cut = cut_passages(episode_id, segments, "en")
    passages.replace_passages(connection, episode_id, cut)
    return episode_id, cut

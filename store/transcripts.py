"""Transcripts, and the chunks of one that is still being made.

Comes in: segments from an engine or a publisher. Goes out: the same in order.
Does not know: which episode reads a transcript (`store.episodes`), how a chunk is cut or decoded.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.database import Database
from store.errors import StoreError
from store.records import Segment, TranscriptHead, Word

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """One chunk of a plan: the speech it packs (start_s, end_s) and, once decoded, its segments."""

    ordinal: int
    spans: tuple[Span, ...]
    segments: tuple[Segment, ...] | None


def save_transcript(
    connection: sqlite3.Connection, head: TranscriptHead, segments: Sequence[Segment], recording_id: int | None
) -> int:
    """Keep a transcript with all its segments; return its id."""
    cursor = connection.execute(
        "insert into transcript (recording_id, source, engine, model, language, options, warnings, created_at)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            recording_id,
            head.source,
            head.engine,
            head.model,
            head.language,
            json.dumps(head.options, sort_keys=True),
            json.dumps(head.warnings, ensure_ascii=False),
            time.time(),
        ),
    )
    transcript_id = cursor.lastrowid
    assert transcript_id is not None
    connection.executemany(
        "insert into segment (transcript_id, ordinal, start_s, end_s, text, speaker, language, flags, words)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                transcript_id,
                ordinal,
                segment.start_s,
                segment.end_s,
                segment.text,
                segment.speaker,
                segment.language,
                json.dumps(segment.flags),
                _words_to_json(segment.words),
            )
            for ordinal, segment in enumerate(segments)
        ],
    )
    return transcript_id


def read_head(database: Database, transcript_id: int) -> TranscriptHead:
    """Return what is known of a transcript besides its segments, or raise `StoreError`."""
    row = database.read().execute("select * from transcript where id = ?", (transcript_id,)).fetchone()
    if row is None:
        raise StoreError("there is no such transcript", where=str(transcript_id))
    return TranscriptHead(
        source=row["source"],
        engine=row["engine"],
        model=row["model"],
        language=row["language"],
        options=json.loads(row["options"]),
        warnings=tuple(json.loads(row["warnings"])),
    )


def read_segments(database: Database, transcript_id: int) -> list[Segment]:
    """Return a transcript's segments in order."""
    rows = database.read().execute("select * from segment where transcript_id = ? order by ordinal", (transcript_id,))
    return [
        Segment(
            start_s=row["start_s"],
            end_s=row["end_s"],
            text=row["text"],
            words=_words_from_json(row["words"]),
            speaker=row["speaker"],
            language=row["language"],
            flags=tuple(json.loads(row["flags"])),
        )
        for row in rows
    ]


def transcript_of_recording(
    database: Database, recording_id: int, engine: str, model: str, options: Mapping[str, object]
) -> int | None:
    """Return the transcript that the same engine, model and options made of this recording before, if any."""
    row = (
        database.read()
        .execute(
            "select id from transcript where recording_id = ? and engine = ? and model = ? and options = ? order by id desc",
            (recording_id, engine, model, json.dumps(options, sort_keys=True)),
        )
        .fetchone()
    )
    return None if row is None else int(row["id"])


def save_plan(connection: sqlite3.Connection, recording_id: int, plan: str, chunks: Sequence[Sequence[Span]]) -> None:
    """Keep how a recording is cut, so that a resumed one is cut as before. A plan that is there already stays."""
    connection.executemany(
        "insert or ignore into chunk (recording_id, plan, ordinal, spans) values (?, ?, ?, ?)",
        [(recording_id, plan, ordinal, json.dumps(spans)) for ordinal, spans in enumerate(chunks)],
    )


def save_chunk(connection: sqlite3.Connection, recording_id: int, plan: str, ordinal: int, segments: Sequence[Segment]) -> None:
    """Keep what a chunk was decoded to."""
    connection.execute(
        "update chunk set segments = ? where recording_id = ? and plan = ? and ordinal = ?",
        (json.dumps([_segment_to_list(segment) for segment in segments], ensure_ascii=False), recording_id, plan, ordinal),
    )


def read_chunks(database: Database, recording_id: int, plan: str) -> list[StoredChunk]:
    """Return the chunks of a plan in order; an empty list where nothing was planned."""
    rows = database.read().execute("select * from chunk where recording_id = ? and plan = ? order by ordinal", (recording_id, plan))
    return [
        StoredChunk(
            ordinal=row["ordinal"],
            spans=tuple((start, end) for start, end in json.loads(row["spans"])),
            segments=None if row["segments"] is None else tuple(map(_segment_from_list, json.loads(row["segments"]))),
        )
        for row in rows
    ]


def delete_chunks(connection: sqlite3.Connection, recording_id: int) -> None:
    """Forget the chunks of a recording whose transcript is whole."""
    connection.execute("delete from chunk where recording_id = ?", (recording_id,))


def _words_to_json(words: Sequence[Word]) -> str:
    return json.dumps(
        [[w.text, round(w.start_s, 3), round(w.end_s, 3), round(w.probability, 3)] for w in words], ensure_ascii=False
    )


def _words_from_json(text: str) -> tuple[Word, ...]:
    return tuple(Word(*fields) for fields in json.loads(text))


def _segment_to_list(segment: Segment) -> list[object]:
    words = json.loads(_words_to_json(segment.words))
    return [segment.start_s, segment.end_s, segment.text, words, segment.speaker, segment.language, segment.flags]


def _segment_from_list(fields: list[object]) -> Segment:
    start_s, end_s, text, words, speaker, language, flags = fields
    return Segment(start_s, end_s, text, tuple(Word(*w) for w in words), speaker, language, tuple(flags))  # type: ignore[arg-type, attr-defined]

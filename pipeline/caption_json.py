"""Captions in JSON: Podcasting 2.0, YouTube (json3), Whisper and its kin.

Comes in: a JSON document. Goes out: cues as written, with word times where it has them.
Does not know: what becomes of the cues.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pipeline.caption_marks import CLOCK, clean, clock_s
from pipeline.cues import Cue, words_of
from pipeline.plaintext import line


def read_json(text: str) -> Any:
    """Return a JSON document, or the objects of a file with one a line; None if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        rows = []
        for item in text.splitlines():  # one object a line
            try:
                rows.append(json.loads(item))
            except (ValueError, RecursionError):
                continue
        return rows or None


def json_cues(document: Any) -> Iterator[Cue]:
    """Return the cues of a document, whoever wrote it."""
    if isinstance(document, dict) and isinstance(document.get("events"), list):
        yield from _youtube(document["events"])
        return
    rows = document
    for name in ("segments", "cues", "captions", "transcript", "results", "monologues", "utterances", "entries"):
        if isinstance(rows, dict) and isinstance(rows.get(name), (list, dict)):
            rows = rows[name]
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        start = number(row, "startTime", "start", "start_s", "startTimeSeconds", "begin", "offset")
        if start is None:
            continue
        end = number(row, "endTime", "end", "end_s", "endTimeSeconds")
        length = number(row, "duration", "dur")
        end = start + length if end is None and length is not None else end
        written = next((row[name] for name in ("body", "text", "content", "line", "word") if isinstance(row.get(name), str)), "")
        speaker = next(
            (line(str(row[name])) for name in ("speaker", "speakerName", "speaker_name") if row.get(name) not in (None, "")), ""
        )
        times = _word_starts(row.get("words"), written)
        yield Cue(start, end, clean(written), speaker or None, times)


def _word_starts(rows: Any, written: str) -> tuple[float, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return ()
    starts = [number(row, "start", "startTime", "start_s") for row in rows]
    found = [start for start in starts if start is not None]
    rising = all(before <= after for before, after in pairwise(found))
    return tuple(found) if rising and len(found) == len(starts) == len(words_of(clean(written))) else ()


def _youtube(events: list[Any]) -> Iterator[Cue]:
    """YouTube's json3: events with pieces, each with an offset in milliseconds."""
    for event in events:
        pieces = event.get("segs") if isinstance(event, dict) else None
        start = number(event, "tStartMs") if pieces else None
        if start is None or not isinstance(pieces, list):
            continue
        length = number(event, "dDurationMs")
        words: list[str] = []
        times: list[float] = []
        for piece in pieces:
            text = str(piece.get("utf8", "")) if isinstance(piece, dict) else ""
            found = words_of(clean(text))
            if words and found and not text[:1].isspace():  # the piece goes on where the one before ended
                found[0] = found[0].lstrip()
                if not found[0][0].isalnum():  # a comma
                    words[-1] += found.pop(0)
            words += found
            times += [(start + (number(piece, "tOffsetMs") or 0.0)) / 1000.0] * len(found)
        if words:
            timed = len(pieces) > 1 and len(times) == len(words_of("".join(words)))
            end = None if length is None else (start + length) / 1000.0
            yield Cue(start / 1000.0, end, "".join(words).strip(), None, tuple(times) if timed else ())


def number(row: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of the named fields that is a number or a clock, in its own unit."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str):
            match = re.fullmatch(rf"\s*{CLOCK}\s*", value)
            if match:
                return clock_s(*match.groups())
        try:
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if math.isfinite(found):
            return found
    return None

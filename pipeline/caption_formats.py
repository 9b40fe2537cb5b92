"""Caption files, read: WebVTT, SRT, SBV, JSON (Podcasting 2.0, YouTube, Whisper), TTML, HTML, text with or without times.

Comes in: bytes, a media type and a name, all of which may lie. Goes out: cues as written.
Does not know: what becomes of the cues. The content decides what a file is; the strict readers of these formats give up on files
that players show every day, so this reader takes every line with a time on it and skips what it does not understand.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from itertools import pairwise

from pipeline.caption_json import json_cues, number, read_json
from pipeline.caption_marks import CLOCK, INLINE, clean, clock_s
from pipeline.cues import CHARACTERS_PER_S, Cue, words_of
from pipeline.plaintext import line, paragraphs

MAX_CUES = 200_000
ANCHORED_CHARACTERS = 5_000  # about six minutes of speech: a text with fewer times than that counts as one without

_ARROW = re.compile(rf"^\s*{CLOCK}\s*-{{1,2}}>\s*{CLOCK}(?:\s.*)?$")
_SBV = re.compile(rf"^\s*{CLOCK},{CLOCK}\s*$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_STAMP = re.compile(rf"^\W{{0,3}}{CLOCK}[\])}}]?(?:\s*(?:-|–|—|-->)\s*{CLOCK}[\])}}]?)?\s*[-–—:|]?\s*(.*)$")
_NAMED_STAMP = re.compile(rf"^(?P<name>[^\d\[(:]{{2,60}}?):?\s*[\[(]?{CLOCK}[\])]?\s*:?\s*(?P<rest>.*)$")


def read_cues(data: bytes, media_type: str, name: str, duration_s: float | None = None) -> tuple[list[Cue], bool]:
    """Return the cues of a caption file, and whether their times are real (a text without any is spread over `duration_s`)."""
    text = _decode(data, media_type)
    start = text.lstrip()[:2048]
    if start[:1] in "{[" and start:
        document = read_json(text)
        if document is not None:
            return list(json_cues(document))[:MAX_CUES], True
    lines = text.splitlines()
    if any(_ARROW.match(item) for item in lines[:2000]):
        return _timed(lines, _ARROW, is_vtt=start.startswith("WEBVTT"))[:MAX_CUES], True
    if any(_SBV.match(item) for item in lines[:2000]):
        return _timed(lines, _SBV, is_vtt=True)[:MAX_CUES], True
    if re.search(r"<tt[\s:>]", start):
        return list(_ttml(text))[:MAX_CUES], True
    if start.startswith("WEBVTT") or name.lower().endswith((".vtt", ".srt", ".sbv")):
        return [], True
    if re.search(r"<(?:html|body|p|cite|time|div|br|span)\b", start, re.IGNORECASE):
        lines = _html_lines(text)
    return _plain(lines, duration_s)


def _decode(data: bytes, media_type: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").replace("\0", "")
    named = re.search(r"charset=\"?([\w-]+)", media_type, re.IGNORECASE)
    for encoding in ("utf-8-sig", named.group(1) if named else "cp1252", "cp1252"):
        try:
            return data.decode(encoding).replace("\0", "")
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("latin-1").replace("\0", "")


# --- lines with times: WebVTT, SRT, SBV -------------------------------------------------------------------------------


def _timed(lines: list[str], pattern: re.Pattern[str], *, is_vtt: bool) -> list[Cue]:
    """Read every line with a time on it and the text that follows it."""
    cues: list[Cue] = []
    places = [place for place, item in enumerate(lines) if pattern.match(item)]
    for place, following in zip(places, [*places[1:], len(lines)], strict=True):
        match = pattern.match(lines[place])
        assert match is not None
        body = _body(lines[place + 1 : following], is_vtt=is_vtt, is_last=following == len(lines))
        groups = match.groups()
        start, end = clock_s(*groups[:3]), clock_s(*groups[3:6])
        if body:
            cues += _voices(start, end, "\n".join(body))
    return cues


def _body(lines: list[str], *, is_vtt: bool, is_last: bool) -> list[str]:
    """Return a cue's own lines: up to the first empty one; a number just before the next time is that cue's name."""
    if not is_last:
        while lines and not lines[-1].strip():
            lines = lines[:-1]
        if lines and lines[-1].strip().isdigit() and (len(lines) == 1 or not lines[-2].strip() or not is_vtt):
            lines = lines[:-1]
    body: list[str] = []
    for place, item in enumerate(lines):
        empty = item == "" if is_vtt else not item.strip()  # a line of one space is text in WebVTT: rolling captions use it
        if empty:
            rest = [text for text in lines[place:] if text.strip()]
            if not is_vtt and body and rest and not rest[0].strip().isdigit():
                body += rest  # an empty line inside an SRT text
            break
        body.append(item)
    return [item for item in body if item.strip()]


def _voices(start: float, end: float, text: str) -> Iterator[Cue]:
    """Split a cue at its voice tags; times are shared by length."""
    pieces = _VOICE.split(text)
    parts = [(None, pieces[0])] + [(pieces[place], pieces[place + 1]) for place in range(1, len(pieces), 2)]
    spoken = [(speaker, part) for speaker, part in parts if clean(part)]
    length = sum(len(clean(part)) for _, part in spoken)
    at = start
    for speaker, part in spoken:
        until = end if len(spoken) == 1 else at + (end - start) * len(clean(part)) / length
        yield _with_word_times(at, until, part, line(speaker) or None if speaker else None)
        at = until


def _with_word_times(start: float, end: float, text: str, speaker: str | None) -> Cue:
    pieces = INLINE.split(text)  # text, hours, minutes, seconds, text, ...
    if len(pieces) == 1:
        return Cue(start, end, clean(text), speaker)
    marks = [(start, clean(pieces[0]))]
    marks += [(clock_s(*pieces[place : place + 3]), clean(pieces[place + 3])) for place in range(1, len(pieces), 4)]
    shown = words_of(clean(pieces[0].rpartition("\n")[0]))  # lines above the first time are old: they stand there at once
    times = [start] * len(shown)
    if shown:
        marks[0] = (start, clean(pieces[0].rpartition("\n")[2]))
    for place, (at, part) in enumerate(marks):
        words = words_of(part)
        until = marks[place + 1][0] if place + 1 < len(marks) else end
        times += [at + max(until - at, 0.0) * number / max(len(words), 1) for number in range(len(words))]
    joined = "".join(shown) + "".join(f" {part}" for _, part in marks if part)
    rising = all(before <= after for before, after in pairwise(times))
    return Cue(start, end, joined.strip(), speaker, tuple(times) if rising and len(times) == len(words_of(joined)) else ())


# --- documents: JSON, TTML, HTML --------------------------------------------------------------------------------------


def _ttml(text: str) -> Iterator[Cue]:
    for match in re.finditer(r"<(?:\w+:)?p\b([^>]*)>(.*?)</(?:\w+:)?p>", text, re.DOTALL):
        attributes = dict(re.findall(r'([\w:]+)="([^"]*)"', match.group(1)))
        start, end = (
            number({"at": attributes.get("begin", "").rstrip("s")}, "at"),
            number({"at": attributes.get("end", "").rstrip("s")}, "at"),
        )
        body = clean(re.sub(r"<(?:\w+:)?br\s*/?>", "\n", match.group(2)).replace(":br", ""))
        if start is not None and body:
            yield Cue(start, end, body)


class _Html(HTMLParser):
    """Marks names (<cite>) and times (<time>) so that they can be told from text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._inside = ""
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "head"):
            self._silent += 1
        elif tag in ("p", "div", "br", "li", "h1", "h2", "h3", "cite", "time", "tr", "dt", "dd", "section", "article"):
            self.lines.append("\x02" if tag == "cite" else "\x01" if tag == "time" else "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "head"):
            self._silent = max(0, self._silent - 1)
        elif tag in ("p", "div", "cite", "time", "li", "dt", "dd"):
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.lines[-1] += re.sub(r"\s+", " ", data)


def _html_lines(text: str) -> list[str]:
    reader = _Html()
    with suppress(AssertionError):  # html.parser gives up on a broken "<![": what came before is kept
        reader.feed(text)
        reader.close()
    lines = []
    for item in reader.lines:
        if item.startswith("\x02"):
            name = item[1:].strip().rstrip(":")
            lines.append(f"{name}:" if name else "")
        else:
            lines.append(item.lstrip("\x01").strip())
    return lines


# --- text, with times here and there or nowhere -----------------------------------------------------------------------


def _plain(lines: list[str], duration_s: float | None) -> tuple[list[Cue], bool]:
    """Read paragraphs; a time at the start of a line, or after a name, starts a cue that lasts until the next one."""
    blocks: list[tuple[float | None, str | None, list[str]]] = [(None, None, [])]
    pending: str | None = None
    for raw in lines:
        item = _unmarked(paragraphs(raw) if "&" in raw else raw)
        if not item:
            continue
        label = re.fullmatch(r"([^\d:<>]{2,60}):", item)
        stamp, named = _STAMP.match(item), _NAMED_STAMP.match(item)
        if label:
            pending = line(label.group(1))
            blocks.append((None, pending, []))
        elif stamp:
            groups = stamp.groups()
            speaker = pending if not blocks[-1][2] else None
            blocks.append((clock_s(*groups[:3]), speaker, [groups[6]] if groups[6].strip() else []))
        elif named and len(named.group("name").split()) <= 5:
            groups = named.groups()
            blocks.append((clock_s(*groups[1:4]), line(named.group("name")), [named.group("rest")] if named.group("rest") else []))
        else:
            blocks[-1][2].append(item)
    return _spread(blocks, duration_s)


def _spread(blocks: list[tuple[float | None, str | None, list[str]]], duration_s: float | None) -> tuple[list[Cue], bool]:
    """Give every paragraph its time: the times that are there are anchors, text in between gets its share by length."""
    anchors: list[tuple[int, float]] = []  # characters before, seconds
    texts: list[tuple[int, str | None, str]] = []
    length = 0
    for start, speaker, block in blocks:
        if start is not None and (not anchors or start >= anchors[-1][1]):
            anchors.append((length, start))
        for text in filter(None, map(_unmarked, block)):
            texts.append((length, speaker, text))
            length += len(text)
    has_times = bool(anchors) and length / len(anchors) <= ANCHORED_CHARACTERS
    if not anchors or anchors[0][0] > 0:
        anchors.insert(0, (0, 0.0))
    (last, last_s), first = anchors[-1], anchors[0]
    rate = (last_s - first[1]) / (last - first[0]) if last > first[0] and last_s > first[1] else 1 / CHARACTERS_PER_S
    end = last_s + (length - last) * rate
    anchors.append((length, duration_s if duration_s and duration_s > last_s else end))
    cues = []
    for place, speaker, text in texts:
        cues.append(Cue(_at(anchors, place), _at(anchors, place + len(text)), text, speaker))
    return cues, has_times


def _at(anchors: list[tuple[int, float]], place: int) -> float:
    """Return the time of a character between its anchors."""
    right = min(bisect_right(anchors, (place, math.inf)), len(anchors) - 1)
    (before, before_s), (after, after_s) = anchors[max(right - 1, 0)], anchors[right]
    return before_s + (after_s - before_s) * (place - before) / max(after - before, 1)


def _unmarked(text: str) -> str:
    return re.sub(r"\\([\[\]*_.])", r"\1", re.sub(r"\*\*(.+?)\*\*", r"\1", text)).strip()

"""A publisher's transcript becomes segments, without Whisper.

Comes in: the bytes of a caption file. Goes out: sentence-like segments with words, as an engine would give them.
Does not know: where the file came from; how its syntax is read (`caption_formats`), how its cues are put in order (`cues`).
Most captions time a whole line: the words inside it get their share by length, and the segment says so (`INTERPOLATED`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.caption_formats import read_cues
from pipeline.cues import Cue, in_order, unrolled, words_of
from store.errors import SourceError
from store.links import redact
from store.records import INTERPOLATED, UNTIMED, Segment, Word

MAX_GAP_S = 1.5  # silence that ends a segment
SOFT_GAP_S = 0.6  # silence that ends a segment of at least SOFT_WORDS words, where nobody wrote punctuation
SOFT_WORDS = 8
MAX_WORDS = 60
MAX_SEGMENT_S = 30.0
WORD_CUES_SHARE = 0.8  # of the cues hold one word: their times are word times
_SENTENCE_END = re.compile(r"[.!?…。？！][\"'”’»)\]]*$")
_NOT_AN_END = re.compile(
    r"^\W*(?:(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|sr|jr|inc|approx|dept|fig|z\.b|bzw)\.|[A-Za-z]\.|\d+\.)$", re.IGNORECASE
)
_NOISE = re.compile(r"^\W*(?:\[[^\[\]]*\]|\([^()]*\))(?:\W*(?:\[[^\[\]]*\]|\([^()]*\)))*\W*$")
_PREFIX = re.compile(r"^\s*(?:[-–—]\s*)?(?:>{1,3}\s*)?\[?([A-ZÀ-ÖØ-ÞЀ-Я][^\s:\[\]]*(?:\s[^\s:\[\]]+){0,3})\]?\s*:\s+(?=\S)")
_NOT_NAMES = frozenset(
    {"note", "warning", "question", "answer", "tip", "example", "ps", "fact", "part", "chapter", "step", "http", "https"}
)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """One word of the whole file, with what is known of its cue."""

    word: Word
    speaker: str | None
    measured: bool
    opens_cue: bool


def parse_captions(data: bytes, media_type: str, name: str, *, duration_s: float | None = None) -> list[Segment]:
    """Return the segments of a caption file in order. `media_type` and `name` only help where the content leaves a doubt.

    Segments of a text without any times carry the flag `UNTIMED`: their times are a guess over `duration_s`.
    Raises `SourceError` where nothing can be read.
    """
    cues, has_times = read_cues(data, media_type, name, duration_s)
    cues = [cue for cue in cues if not _NOISE.match(cue.text)]
    cues = _with_speakers(unrolled(in_order(cues, duration_s)))
    if not cues:
        where = redact(name) or "captions"
        raise SourceError(
            "it holds no captions that can be read", where=where, next_step="Check the file, or use --captions ignore"
        )
    flags = () if has_times else (UNTIMED,)
    return [replace(segment, flags=(*segment.flags, *flags)) for segment in _segments(_spoken(cues))]


def _with_speakers(cues: Sequence[Cue]) -> list[Cue]:
    """Take names written before the text ("Ann: Hello") into the speaker field, where they are used like names throughout."""
    names = Counter(match.group(1) for cue in cues if cue.speaker is None and (match := _PREFIX.match(cue.text)))
    accepted = {name for name, count in names.items() if name.casefold() not in _NOT_NAMES and (count >= 2 or _is_full_name(name))}
    if len(names) > len(cues) * 0.5 and len(accepted) < 2:  # titles of a list, not people
        accepted = set()
    result, current = [], None
    for cue in cues:
        match = _PREFIX.match(cue.text) if cue.speaker is None else None
        text, times = cue.text, cue.times
        if match and match.group(1) in accepted:
            current = match.group(1)
            times = times[len(words_of(text[: match.end()])) :]
            text = text[match.end() :]
        elif text.startswith(">>"):  # somebody else speaks, nobody says who
            current = None
            text = text.lstrip("> ")
            times = () if len(times) != len(words_of(text)) else times
        elif cue.speaker is not None:
            current = None
        result.append(replace(cue, text=text, times=times, speaker=cue.speaker or current))
    return result


def _is_full_name(name: str) -> bool:
    parts = name.split()
    return (
        2 <= len(parts) <= 3
        and all(part[:1].isupper() for part in parts)
        and not any(part.isupper() and len(part) > 3 for part in parts)
    )


def _spoken(cues: Sequence[Cue]) -> list[_Spoken]:
    """Return every word with its time: as the file gives it, else its share of the cue by length."""
    single = sum(len(words_of(cue.text)) == 1 for cue in cues)
    cues_are_words = len(cues) > 4 and single >= WORD_CUES_SHARE * len(cues)
    spoken: list[_Spoken] = []
    for cue in cues:
        words = words_of(cue.text)
        end = cue.end_s if cue.end_s is not None else cue.start_s
        measured = len(cue.times) == len(words) or (cues_are_words and len(words) == 1)
        if len(cue.times) == len(words):
            starts = [min(max(time, cue.start_s), end) for time in cue.times]
        else:
            starts = _shares(words, cue.start_s, end)
        for place, word in enumerate(words):
            until = starts[place + 1] if place + 1 < len(words) else end
            timed = Word(word, round(starts[place], 3), round(max(until, starts[place]), 3))
            spoken.append(_Spoken(timed, cue.speaker, measured, opens_cue=place == 0))
    return spoken


def _shares(words: Sequence[str], start_s: float, end_s: float) -> list[float]:
    total = sum(len(word) for word in words)
    starts, at = [], start_s
    for word in words:
        starts.append(at)
        at += (end_s - start_s) * len(word) / total
    return starts


def _segments(spoken: Sequence[_Spoken]) -> list[Segment]:
    """Cut the stream of words at ends of sentences, at silences and where somebody else speaks."""
    segments: list[Segment] = []
    held: list[_Spoken] = []
    for item in spoken:
        if held and _cut_before(held, item):
            segments.append(_segment(held))
            held = []
        held.append(item)
    if held:
        segments.append(_segment(held))
    return segments


def _cut_before(held: Sequence[_Spoken], item: _Spoken) -> bool:
    last = held[-1].word
    if item.speaker != held[-1].speaker or item.word.start_s - last.end_s > MAX_GAP_S:
        return True
    if _SENTENCE_END.search(last.text) and not _NOT_AN_END.match(last.text.strip()):
        return True
    too_long = len(held) >= MAX_WORDS or item.word.end_s - held[0].word.start_s > MAX_SEGMENT_S
    pause = item.word.start_s - last.end_s > SOFT_GAP_S and len(held) >= SOFT_WORDS
    return pause or (too_long and (item.opens_cue or len(held) >= 2 * MAX_WORDS))


def _segment(held: Sequence[_Spoken]) -> Segment:
    words = tuple(item.word for item in held)
    text = "".join(word.text for word in words).strip()
    flags = () if all(item.measured for item in held) else (INTERPOLATED,)
    return Segment(words[0].start_s, max(words[-1].end_s, words[0].start_s), text, words, held[0].speaker, None, flags)

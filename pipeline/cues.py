"""Cues: what a caption file shows from one second to another, put in order.

Comes in: cues as written, in any order, overlapping, with absurd times, with lines repeated as rolling captions do.
Goes out: cues in order that do not overlap, each text once.
Does not know: the file format, nor what a sentence is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

MAX_TIME_S = 100 * 3600.0  # later than this is no time
CHARACTERS_PER_S = 15.0  # of English speech, for cues without an end
SLOWEST_PER_S = 5.0  # a cue that stays longer than its text takes at this rate shows text that was said before
LINGER_S = 2.0
ROLLING_SHARE = 0.25  # of the cues repeat the end of the one before: the file rolls
MIN_OVERLAP = 3  # words; two may repeat by chance


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue. `times` has the start of each word of `text` where the file gives it, else it is empty. `end_s` None = not given."""

    start_s: float
    end_s: float | None
    text: str
    speaker: str | None = None
    times: tuple[float, ...] = ()


def words_of(text: str) -> list[str]:
    """Split a text into words with the white space before them; a script without spaces gives its characters."""
    return [match.group() for match in _WORD.finditer(" " + " ".join(text.split()))] if text.strip() else []


_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f" ?[{_UNSPACED}][^\\s\\w{_UNSPACED}]*| ?[^\\s{_UNSPACED}]+")


def in_order(cues: Sequence[Cue], duration_s: float | None = None) -> list[Cue]:
    """Return the cues sorted, with ends, without overlaps and without what lies outside any recording."""
    kept = [cue for cue in cues if 0 <= cue.start_s <= MAX_TIME_S and cue.text.strip()]
    kept.sort(key=lambda cue: cue.start_s)
    kept = _shifted(kept, duration_s)
    ordered: list[Cue] = []
    following: float | None = None
    next_starts: list[float | None] = []
    for place in range(len(kept) - 1, -1, -1):  # the next later start of each cue
        if place + 1 < len(kept) and kept[place + 1].start_s > kept[place].start_s:
            following = kept[place + 1].start_s
        next_starts.append(following)
    for cue, following in zip(kept, reversed(next_starts), strict=True):
        longest = cue.start_s + LINGER_S + len(cue.text) / SLOWEST_PER_S
        end = cue.end_s if cue.end_s is not None and cue.end_s > cue.start_s else cue.start_s + len(cue.text) / CHARACTERS_PER_S
        end = min(end, longest, following if following is not None else end)
        same = [earlier for earlier in ordered[-4:] if earlier.start_s == cue.start_s]
        if same and any(earlier.text == cue.text for earlier in same):
            continue
        ordered.append(replace(cue, end_s=max(end, cue.start_s + 0.01)))
    return _side_by_side(ordered)


def _shifted(cues: list[Cue], duration_s: float | None) -> list[Cue]:
    """Broadcast captions often start at hour 1 or 10: move them back if they lie wholly after the recording."""
    if not cues or not duration_s or cues[0].start_s < max(duration_s, 3600.0):
        return cues
    hours = cues[0].start_s // 3600 * 3600
    return [
        replace(cue, start_s=cue.start_s - hours, end_s=None if cue.end_s is None else cue.end_s - hours,
                times=tuple(time - hours for time in cue.times))
        for cue in cues
    ]  # fmt: skip


def _side_by_side(cues: list[Cue]) -> list[Cue]:
    """Cues that start at the same moment (two people at once) share the time one after the other."""
    result: list[Cue] = []
    place = 0
    while place < len(cues):
        group = [cue for cue in cues[place : place + 8] if cue.start_s == cues[place].start_s]
        start, end = group[0].start_s, max(cue.end_s or 0.0 for cue in group)
        length = sum(len(cue.text) for cue in group)
        for cue in group:
            share = (end - start) * len(cue.text) / length if len(group) > 1 else end - start
            result.append(replace(cue, start_s=start, end_s=start + share, times=cue.times if len(group) == 1 else ()))
            start += share
            length, end = length, end
        place += len(group)
    return _rising(result)


def _rising(cues: list[Cue]) -> list[Cue]:
    """After sharing, make sure that no cue starts before the one before it."""
    latest = 0.0
    result = []
    for cue in cues:
        start = max(cue.start_s, latest)
        latest = start
        result.append(cue if start == cue.start_s else replace(cue, start_s=start, end_s=max(cue.end_s or start, start + 0.01)))
    return result


def unrolled(cues: Sequence[Cue]) -> list[Cue]:
    """Return each text once, where a file shows every line again above the next one, as automatic captions do."""
    split = [words_of(cue.text) for cue in cues]
    repeated = [_overlap(before, now) for before, now in pairwise(split)]
    telling = [count for count, before, now in zip(repeated, split, split[1:], strict=False) if _tells(count, before, now)]
    if len(cues) < 2 or len(telling) < max(1, ROLLING_SHARE * (len(cues) - 1)):
        return list(cues)
    result = [cues[0]]
    for cue, words, count in zip(cues[1:], split[1:], repeated, strict=True):
        rest = words[count:]
        if rest:
            result.append(replace(cue, text="".join(rest).strip(), times=cue.times[count:]))
    return result


def _overlap(before: list[str], now: list[str]) -> int:
    """Return how many words at the end of one cue stand again at the beginning of the next."""
    left, right = [_bare(word) for word in before], [_bare(word) for word in now]
    for count in range(min(len(left), len(right)), 0, -1):
        if left[-count:] == right[:count]:
            return count
    return 0


def _tells(count: int, before: list[str], now: list[str]) -> bool:
    return count >= MIN_OVERLAP or (count > 0 and count == len(before) and len(now) > count)


def _bare(word: str) -> str:
    return word.strip().casefold()

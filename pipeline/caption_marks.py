"""Marks inside captions: clocks, and tags that are no text.

Comes in: a piece of a caption file. Goes out: seconds; text.
Does not know: the format around it.
"""

from __future__ import annotations

import html
import re

CLOCK = r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:[.,]\d{1,9})?)"
INLINE = re.compile(rf"<{CLOCK}>")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>|\{\\[^}]*\}")  # WebVTT and SubStation marks


def clock_s(hours: str | None, minutes: str, seconds: str) -> float:
    """Return the seconds of a matched clock."""
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))


def clean(text: str) -> str:
    """Return a cue's text without marks; a dash that opens a line of dialogue goes too."""
    text = html.unescape(_TAG.sub("", INLINE.sub(" ", text))).replace("\u200b", "").replace("♪", " ").replace("♫", " ")
    return " ".join(re.sub(r"^\s*[-–—]\s+", "", item) for item in text.splitlines()).strip()

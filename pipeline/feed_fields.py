"""Fields of a feed, read one by one: durations, times, languages, addresses; and fields that are not what they should be.

Comes in: text as feeds write it, values as feedparser gives them. Goes out: the value, or nothing where it says nothing.
Does not know: which field it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit


def duration_s(text: str) -> float | None:
    """Read a duration as feeds write it: "3723", "62:03", "1:02:03", "1:02:03.5". None if it says nothing."""
    parts = text.strip().split(":")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"\d{1,7}(?:\.\d+)?", part.strip()) for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return seconds if 0 < seconds < 1e6 else None


def clock_s(text: str) -> float | None:
    """Read a point in time as chapter marks write it: seconds, "8:26", "00:03:07.250". None if it is none."""
    match = re.fullmatch(r"\s*(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:[.,]\d+)?)\s*", text)
    if not match:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds.replace(",", "."))


def language_code(text: object) -> str | None:
    """Return the language of a tag such as "en-US" as the speech models write it ("en"), None if there is none."""
    match = re.match(r"\s*([A-Za-z]{2,3})(?:[-_]|\s*$)", str(text or ""))
    return match.group(1).lower() if match else None


def web_link(base: str, address: object) -> str:
    """Return an absolute web address, "" for everything that is none."""
    text = str(address or "").strip()
    if not text:
        return ""
    try:
        joined = urljoin(base, "".join(text.split("\n")).replace(" ", "%20"))
        parts = urlsplit(joined)
        return joined if parts.scheme.lower() in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def first_text(entry: Mapping[str, Any], *names: str) -> str:
    """Return the first of the named fields that is text, "" if none is."""
    for name in names:
        value = entry.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def longest(*texts: object) -> str:
    """Return the longest of some fields."""
    return max((text for text in texts if isinstance(text, str)), key=len, default="")


def mapping(value: object) -> Mapping[str, Any]:
    """Return a field that should be a mapping; feedparser gives text for some that are written oddly."""
    return value if isinstance(value, Mapping) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return a field that should be a list of mappings, without what is none."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []

"""Chapter marks that a publisher keeps in a file of their own (Podcasting 2.0, JSON).

Comes in: an episode, or the bytes of such a file. Goes out: chapters in order.
Does not know: chapters inside a feed (`feeds`) or of a site (`sites`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from pipeline.netguard import Netguard
from pipeline.plaintext import line
from store.errors import EarmarkError
from store.records import Chapter, Episode
from store.settings import Settings

MAX_CHAPTERS_BYTES = 4 << 20
MAX_CHAPTERS = 2_000


def fetch_chapters(episode: Episode, settings: Settings) -> tuple[Chapter, ...]:
    """Return the chapters of an episode: those it has, else those at its `chapters_url`. Empty where that fails."""
    link = episode.chapters_url
    if episode.chapters or not link:
        return episode.chapters
    try:
        if "://" in link:
            body = Netguard(settings).get(link, max_bytes=MAX_CHAPTERS_BYTES, total_s=60).body
        else:
            body = Path(link).read_bytes()[:MAX_CHAPTERS_BYTES]
    except (EarmarkError, OSError):
        return ()
    return read_chapters(body)


def read_chapters(body: bytes) -> tuple[Chapter, ...]:
    """Read a chapters file; what is not a chapter is left out."""
    try:
        document = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return ()
    marks = document.get("chapters") if isinstance(document, dict) else document
    found: dict[float, str] = {}
    for mark in marks[:MAX_CHAPTERS] if isinstance(marks, list) else ():
        if not isinstance(mark, dict) or mark.get("toc") is False:  # a silent mark: only changes the picture
            continue
        title = line(mark["title"]) if isinstance(mark.get("title"), str) else ""
        try:
            start_s = float(mark.get("startTime"))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if title and math.isfinite(start_s) and start_s >= 0:
            found.setdefault(start_s, title)
    return tuple(Chapter(start_s, title) for start_s, title in sorted(found.items()))

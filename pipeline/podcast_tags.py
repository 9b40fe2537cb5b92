"""The Podcasting 2.0 tags, taught to feedparser.

Comes in: feedparser's parser classes. Goes out: entries that carry `podcast_transcripts`, `podcast_persons` and
`podcast_chapters`; without this, feedparser keeps only the last of several equal tags.
Does not know: what the tags mean. A test fails should a new feedparser no longer call these handlers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

NAMESPACES = (
    "https://podcastindex.org/namespace/1.0",
    "http://podcastindex.org/namespace/1.0",
    "https://github.com/podcastindex-org/podcast-namespace/blob/main/docs/1.0.md",
)


def _start_transcript(self: Any, attributes: dict[str, str]) -> None:
    self._get_context().setdefault("podcast_transcripts", []).append(dict(attributes))


def _start_person(self: Any, attributes: dict[str, str]) -> None:
    self.podcast_person = dict(attributes)
    self.push("podcast_person", 1)


def _end_person(self: Any) -> None:
    name = self.pop("podcast_person")
    person = getattr(self, "podcast_person", None)
    if person is not None and name:
        self._get_context().setdefault("podcast_persons", []).append({**person, "name": name})
    self.podcast_person = None


@lru_cache(maxsize=1)
def teach() -> None:
    """Add the handlers to feedparser, once."""
    from feedparser import api

    for parser in (api.StrictFeedParser, api.LooseFeedParser):
        for address in NAMESPACES:
            parser.namespaces[address] = "podcast"
            if parser._matchnamespaces:  # filled from `namespaces` by the first parser, and only while it is empty
                parser._matchnamespaces[address] = "podcast"
        parser._start_podcast_transcript = _start_transcript
        parser._start_podcast_person = _start_person
        parser._end_podcast_person = _end_person

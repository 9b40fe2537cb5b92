"""The records that flow from stage to stage.

Comes in: nothing. Goes out: frozen dataclasses, in the order in which the data flows:
listing -> episode -> recording -> chunk -> segment -> passage -> moment.
Does not know: where a record is kept (`store.schema`) or who makes it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

JobKind = Literal["list", "sync", "fetch", "transcribe", "index", "remove"]
JobState = Literal["queued", "running", "done", "failed", "paused", "cancelled"]
ShowKind = Literal["feed", "site", "folder", "file", "link"]
TranscriptSource = Literal["engine", "publisher", "site", "site-automatic", "sidecar"]

INTERPOLATED = "interpolated"  # segment flag: word times were spread evenly, nobody measured them
UNTIMED = "untimed"  # segment flag: its source has no times at all, they are an estimate over the whole recording
SUSPECT = "suspect"  # segment flag: a check of `pipeline.guard` still failed after decoding again


# --- sources ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody named by the publisher. `role` as published (host, guest, ...)."""

    name: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A publisher's chapter mark."""

    start_s: float
    title: str


@dataclass(frozen=True, slots=True)
class TranscriptLink:
    """A transcript that the publisher offers: a web address, or a path for local media."""

    url: str
    media_type: str
    language: str | None = None
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class EpisodeListing:
    """One talk as its source lists it, before anything was fetched. `guid` is unique inside its show."""

    guid: str
    title: str
    media_url: str  # web address or absolute path; "" when only the page is known
    page_url: str = ""
    description: str = ""  # plain text
    published: str = ""  # ISO 8601 date or date-time, "" unknown
    duration_s: float | None = None
    media_type: str = ""
    size_bytes: int | None = None
    image_url: str = ""
    language: str | None = None
    people: tuple[Person, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    chapters_url: str = ""
    transcripts: tuple[TranscriptLink, ...] = ()


@dataclass(frozen=True, slots=True)
class ShowListing:
    """A show as its source lists it. `link` is the canonical address that the show is known by."""

    link: str
    kind: ShowKind
    title: str
    episodes: tuple[EpisodeListing, ...]
    description: str = ""
    author: str = ""
    language: str | None = None
    image_url: str = ""
    page_url: str = ""
    etag: str = ""
    last_modified: str = ""
    next_page: str = ""
    warnings: tuple[str, ...] = ()
    unchanged: bool = False  # the source says that nothing is new since `etag` or `last_modified`; `episodes` is empty then


@dataclass(frozen=True, slots=True)
class Show:
    """A stored show."""

    id: str
    link: str
    kind: ShowKind
    title: str
    description: str
    author: str
    language: str | None
    image_url: str
    page_url: str


@dataclass(frozen=True, slots=True)
class Episode:
    """A stored episode. `transcript_id` is None until it can be read."""

    id: str
    show_id: str
    show: str
    guid: str
    title: str
    description: str
    published: str
    page_url: str
    media_url: str
    media_type: str
    image_url: str
    language: str | None
    duration_s: float | None
    people: tuple[Person, ...]
    chapters: tuple[Chapter, ...]
    transcripts: tuple[TranscriptLink, ...]
    recording_id: int | None
    transcript_id: int | None
    warning: str
    chapters_url: str = ""


# --- recording and transcript -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recording:
    """An episode's audio, known by its content. `path` is absolute; "" once retention dropped the file."""

    id: int
    sha256: str
    path: str
    size_bytes: int
    duration_s: float | None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `text` keeps its leading space where the language writes one: joined, words give the segment's text."""

    text: str
    start_s: float
    end_s: float
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence-like piece of a transcript. `text` is stripped; times count from the start of the recording."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    language: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptHead:
    """What is known of a transcript besides its segments."""

    source: TranscriptSource
    engine: str = ""  # "faster-whisper 1.2.1", or the caption's format
    model: str = ""  # "base@sha256:d01c3014", or the caption's address
    language: str | None = None
    options: dict[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


# --- index ------------------------------------------------------------------------------------------------------------


class Sentence(NamedTuple):
    """Where a sentence lies inside its passage's text (`start_char`) and in the recording. A plain tuple: searches read many."""

    start_char: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Passage:
    """About 80 words of whole sentences. `id` is 0 until stored, then never reused; a window is known by its first passage."""

    episode_id: str
    ordinal: int
    start_s: float
    end_s: float
    text: str
    text_hash: str
    sentences: tuple[Sentence, ...]
    speakers: tuple[str, ...] = ()
    language: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A search result: an episode and the second to start at. The field order is the order in the JSON answer."""

    episode_id: str
    show_id: str
    show: str
    title: str
    published: str
    start_s: float
    end_s: float
    speaker: str | None
    text: str
    score: float
    play_url: str  # what the player opens: /media/ID for local files, else the publisher's address
    page_url: str  # /e/ID?t=SECONDS on our own page


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search returns. `degraded` names the side that answered alone because the other failed or was late.

    `understood`: the query as it was read, where it was read otherwise than it was typed.
    """

    query: str
    took_ms: float
    degraded: Literal["lexical", "dense"] | None
    moments: tuple[Moment, ...]
    understood: str = ""


def public_id(*parts: str) -> str:
    """Return a short, stable, URL-safe id (12 characters, 60 bits) for a show (its link) or an episode (link, guid)."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.b32encode(digest[:8]).decode().lower()[:12]


def text_hash(text: str) -> str:
    """Return the key under which the vector of a text is kept (32 hexadecimal characters)."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]

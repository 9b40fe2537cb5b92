"""Answers as JSON: the one model that the API, the page, the embed, the Gradio API and MCP share.

Comes in: what somebody asked. Goes out: dictionaries of plain values.
Does not know: HTTP. Offsets inside texts count UTF-16 code units, as JavaScript does.
"""

from __future__ import annotations

import os
import re
import threading
import time
from bisect import bisect_left
from calendar import monthrange
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

from index.search import Filters
from store.database import Database
from store.episodes import get_episode
from store.errors import StoreError
from store.overview import Overview, read_overview
from store.passages import last_change_id, passages_of
from store.records import Episode, Moment, Segment, TranscriptHead
from store.shelf import Shelf
from store.transcripts import read_head, read_segments
from ui.crew import Crew
from ui.marks import marks_of
from ui.metrics import SearchMeter
from ui.site import Site, media_kind, page_path, play_url, web_address

QUERY_CHARACTERS = 400
LIKE_WORDS = 60  # of a passage, enough to say what it is about
ANSWERS_KEPT = 512
ANSWER_AGE_S = 20.0
SEARCHES_AT_ONCE = (os.cpu_count() or 1) + 1  # as many as `ui.crew` has seats
TRANSCRIPTS_KEPT = 8
QUESTIONS = 6
MOMENT_FIELDS = tuple(field.name for field in fields(Moment))
_SENTENCE = re.compile(r"[^.!?…。！？]+[.!?…。！？]*[\"'”’)]*\s*")


@dataclass(frozen=True, slots=True)
class Ask:
    """One search as an address says it. `like` is `EPISODE@SECONDS`: find what resembles that moment."""

    query: str = ""
    shows: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    episodes: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    sort: str = "best"
    like: str = ""
    limit: int = 20
    explain: bool = False


class Answers:
    """Searches with a short memory: typing sends the same question again and again."""

    def __init__(self, site: Site, meter: SearchMeter | None = None) -> None:
        self._site = site
        self._meter = meter or SearchMeter(site.database)
        self._kept: OrderedDict[tuple[int, Ask], tuple[float, dict[str, Any]]] = OrderedDict()
        self._overview: Overview | None = None
        self._questions: tuple[int, list[str]] = (-1, [])
        self._lock = threading.Lock()
        self._crew = Crew(site.settings)
        self._shelf = Shelf(site.database)

    def search(self, ask: Ask) -> dict[str, Any]:
        """Return the search answer of the API, with `highlights` and `best` beside the moments."""
        key = (last_change_id(self._site.database), ask)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < ANSWER_AGE_S:
            self._meter.kept()
            return kept[1]
        with self._meter.search():
            answer = self._crew.answer(ask, self.found)
        self._meter.answered(degraded=answer["degraded"] is not None)
        with self._lock:
            self._kept[key] = (time.monotonic(), answer)
            while len(self._kept) > ANSWERS_KEPT:
                self._kept.popitem(last=False)
        return answer

    def overview(self) -> Overview:
        """Return the catalogue in numbers, counted again when it changed."""
        version = last_change_id(self._site.database)
        if self._overview is None or self._overview.version != version:
            self._overview = read_overview(self._site.database)
        return self._overview

    def questions(self) -> list[str]:
        """Return a few questions that were really asked in the catalogue, to try the search with."""
        version = last_change_id(self._site.database)
        if self._questions[0] != version:
            from ui.subjects import asked_questions

            self._questions = (version, asked_questions(self._site.database, QUESTIONS))
        return self._questions[1]

    def close(self) -> None:
        """End the processes that search beside this one."""
        self._crew.close()

    def found(self, ask: Ask) -> dict[str, Any]:
        """Return the answer to a search, worked out in this process."""
        query, leave_out = ask.query, None
        if ask.like:
            query, leave_out = self._alike(ask.like)
        filters = Filters(
            show_ids=ask.shows,
            episode_ids=ask.episodes,
            speakers=ask.speakers,
            languages=ask.languages,
            since=whole_day(ask.since, at_end=False),
            until=whole_day(ask.until, at_end=True),
        )
        limit = ask.limit + (leave_out is not None)
        if ask.explain:
            found, why = self._site.searcher.explain(query, limit=limit, filters=filters, sort=ask.sort)
        else:
            found, why = self._site.searcher.search(query, limit=limit, filters=filters, sort=ask.sort), None
        episodes = {moment.episode_id: self._shelf.episode(moment.episode_id) for moment in found.moments}
        kept = [
            (place, moment, _plain(moment, play_url(episode)))
            for place, moment in enumerate(found.moments)
            if (episode := episodes[moment.episode_id]) is not None and not _is_at(moment, leave_out)
        ][: ask.limit]
        marks = [[] if ask.like else marked(query, moment.text, _language(episodes[moment.episode_id])) for _, moment, _ in kept]
        answer = {
            "query": ask.query,
            "took_ms": round(found.took_ms, 2),
            "degraded": found.degraded,
            "moments": [plain for _, _, plain in kept],
            "highlights": marks,
            "best": [best_sentence(moment.text, ranges) for (_, moment, _), ranges in zip(kept, marks, strict=True)],
            "episodes": {key: brief(episode) for key, episode in episodes.items() if episode is not None},
        }
        if why is not None:
            answer["explain"] = asdict(replace(why, moments=tuple(why.moments[place] for place, _, _ in kept)))
        return answer

    def _alike(self, like: str) -> tuple[str, tuple[str, float]]:
        episode_id, _, time_text = like.partition("@")
        try:
            at_s = float(time_text)
        except ValueError:
            raise StoreError("this is no moment", where=like[:80], next_step="Write EPISODE@SECONDS") from None
        near = [passage for passage in passages_of(self._site.database, episode_id) if passage.end_s >= at_s]
        if not near:
            raise StoreError("there is no such moment", where=like[:80])
        words = near[0].text.replace('"', " ").split()
        return " ".join(words[:LIKE_WORDS])[:QUERY_CHARACTERS], (episode_id, at_s)


def _plain(moment: Moment, playing: str) -> dict[str, Any]:
    """Return a moment as the API says it, with the addresses of this site."""
    plain = {name: getattr(moment, name) for name in MOMENT_FIELDS}
    plain["play_url"], plain["page_url"] = playing, page_path(moment.episode_id, moment.start_s)
    return plain


def marked(query: str, text: str, language: str | None) -> list[list[int]]:
    """Return the ranges [start, end] of `text` to mark, in UTF-16 code units."""
    found = marks_of(query, language).ranges(text)
    return [[start, end] for start, end in found] if _is_plain(text) else [[utf16(text, a), utf16(text, b)] for a, b in found]


def best_sentence(text: str, ranges: Sequence[Sequence[int]]) -> list[int]:
    """Return where the sentence lies that has most of the marked words; the first where none has any (the moment begins there)."""
    best, best_marks, plain = [0, utf16(text, len(text))], -1, _is_plain(text)
    starts = [start for start, _ in ranges]
    for match in _SENTENCE.finditer(text):
        start, end = match.start(), match.start() + len(match.group().rstrip())
        if not plain:
            start, end = utf16(text, start), utf16(text, end)
        marks = bisect_left(starts, end) - bisect_left(starts, start)  # no word lies across the end of a sentence
        if end > start and marks > best_marks:
            best, best_marks = [start, end], marks
    return best


def utf16(text: str, offset: int) -> int:
    """Return a code point offset in UTF-16 code units."""
    return offset if _is_plain(text) else offset + sum(ord(char) > 0xFFFF for char in text[:offset])


def _is_plain(text: str) -> bool:
    """Tell whether every character is one UTF-16 code unit."""
    return text.isascii() or max(text) <= "\uffff"


def whole_day(day: str, *, at_end: bool) -> str:
    """Return the first or the last day of a year, month or day as an ISO date; "" stays."""
    year, month, date = (*day.split("-"), "", "")[:3]
    if not year or date:
        return day
    month = month or ("12" if at_end else "01")
    last = monthrange(max(1, int(year)), min(12, max(1, int(month))))[1]
    return f"{year}-{month}-{last if at_end else 1:02d}"


def brief(episode: Episode) -> dict[str, Any]:
    """Return what a list shows of an episode."""
    return {
        "id": episode.id,
        "show_id": episode.show_id,
        "show": episode.show,
        "title": episode.title,
        "published": episode.published,
        "duration_s": episode.duration_s,
        "language": episode.language,
        "play_url": play_url(episode),
        "media_kind": media_kind(episode),
        "page_url": page_path(episode.id),
        "picture_url": f"/picture/{episode.id}",
        "readable": episode.transcript_id is not None,
    }


def whole(site: Site, episode: Episode) -> tuple[dict[str, Any], list[Segment], TranscriptHead | None]:
    """Return all that is public of an episode, and its transcript."""
    head, segments = _transcript(site.database, episode.transcript_id) if episode.transcript_id is not None else (None, [])
    detail = brief(episode) | {
        "description": episode.description,
        "source_url": web_address(episode.page_url),
        "people": [asdict(person) for person in episode.people],
        "chapters": [asdict(chapter) for chapter in episode.chapters],
        "warning": episode.warning,
        "transcript": None
        if head is None
        else {"source": head.source, "engine": head.engine, "model": head.model.partition("@")[0], "language": head.language},
    }
    return detail, segments, head


def find_episode(site: Site, episode_id: str) -> Episode:
    """Return an episode, or raise `StoreError`. The id comes from an address: nothing but an id gets as far as the store."""
    if not re.fullmatch(r"[a-z2-7]{6,32}", episode_id):
        raise StoreError("there is no such episode", where=episode_id[:40])
    return get_episode(site.database, episode_id)


@lru_cache(maxsize=TRANSCRIPTS_KEPT)
def _transcript(database: Database, transcript_id: int) -> tuple[TranscriptHead, list[Segment]]:
    """Read a transcript; one is never changed, only replaced by another, so the last few are kept."""
    return read_head(database, transcript_id), read_segments(database, transcript_id)


def _language(episode: Episode | None) -> str | None:
    return episode.language if episode is not None else None


def _is_at(moment: Moment, place: tuple[str, float] | None) -> bool:
    return place is not None and moment.episode_id == place[0] and moment.start_s - 1 <= place[1] <= moment.end_s + 1

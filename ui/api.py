"""The public API: /api/*, /healthz.

Comes in: questions in the address. Goes out: JSON. Failures are `{"error": one sentence}` with a fitting status.
Does not know: how an answer is found (`ui.answers`) or shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import anyio
import anyio.to_thread
import orjson
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from store.episodes import list_episodes
from store.errors import EarmarkError, IndexUnavailable, StoreError
from store.records import INTERPOLATED, Segment
from ui.answers import QUERY_CHARACTERS, SEARCHES_AT_ONCE, Answers, Ask, brief, find_episode, whole
from ui.site import Site, say
from ui.subjects import heat

MOMENTS_MOST = 100
EPISODES_MOST = 200
HEATS_MOST = 20
FILTERS_MOST = 50
GONE = 499  # as nginx says it: nobody is there to read the answer
SHORT = "public, max-age=15"
LONGER = "public, max-age=60"
Many = Annotated[Sequence[str], Query(max_length=FILTERS_MOST)]
Day = Annotated[str, Query(pattern=r"^(\d{4}(-\d{2}(-\d{2})?)?)?$", description="A day, month or year: 2026-03-01, 2026-03, 2026")]


def add_api(app: FastAPI, site: Site, answers: Answers) -> None:
    """Add the JSON routes to `app`."""
    rooms: list[anyio.CapacityLimiter] = []  # made by the first search: it belongs to the running event loop

    @app.get("/api/search", tags=["search"])
    async def search(
        request: Request,
        q: Annotated[str, Query(max_length=QUERY_CHARACTERS, description="A question, words, or a phrase in quotes")] = "",
        show: Many = (),
        speaker: Many = (),
        language: Many = (),
        episode: Many = (),
        since: Day = "",
        until: Day = "",
        sort: Annotated[str, Query(pattern="^(best|recent|newest)$")] = "best",
        like: Annotated[str, Query(max_length=80, description="EPISODE@SECONDS: moments that resemble this one")] = "",
        limit: Annotated[int, Query(ge=1, le=MOMENTS_MOST)] = 20,
        explain: Annotated[bool, Query(description="Say what matched by word, by meaning, and what decided the order")] = False,
    ) -> Response:
        """Find the moments that answer a question."""
        ask = Ask(q.strip(), tuple(show), tuple(speaker), tuple(language), tuple(episode), since, until, sort, like, limit, explain)
        if not ask.query and not ask.like:
            return reply(
                {"query": "", "took_ms": 0.0, "degraded": None, "moments": [], "highlights": [], "best": [], "episodes": {}}
            )
        if not rooms:
            rooms.append(anyio.CapacityLimiter(SEARCHES_AT_ONCE))
        await request.body()  # after it the next message can only be the end of the connection
        async with rooms[0]:
            if await request.is_disconnected():  # typed on meanwhile: the newer question shall not wait for this one
                return Response(status_code=GONE)
            return await anyio.to_thread.run_sync(lambda: reply(answers.search(ask), request, SHORT))

    @app.get("/api/episodes", tags=["catalogue"])
    def episodes(
        request: Request,
        show: Annotated[str, Query(max_length=40)] = "",
        limit: Annotated[int, Query(ge=1, le=EPISODES_MOST)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """List the episodes that can be read, newest first."""
        found = list_episodes(site.database, show_id=show or None, readable_only=True, limit=limit, offset=offset)
        return reply({"episodes": [brief(episode) for episode in found], "offset": offset}, request, LONGER)

    @app.get("/api/episode/{episode_id}", tags=["catalogue"])
    def episode(episode_id: str, request: Request) -> Response:
        """Return one episode with its transcript, sentence by sentence."""
        detail, segments, _ = whole(site, find_episode(site, episode_id))
        lines = [
            {"start_s": s.start_s, "end_s": s.end_s, "text": s.text, "speaker": s.speaker, "language": s.language, "flags": s.flags}
            for s in segments
        ]
        return reply(detail | {"segments": lines}, request, LONGER)

    @app.get("/api/words/{episode_id}", tags=["catalogue"])
    def words(episode_id: str, request: Request) -> Response:
        """Return when each word is said: for each segment a list of [characters, start in 10 ms, end in 10 ms]."""
        _, segments, _ = whole(site, find_episode(site, episode_id))
        estimated = any(INTERPOLATED in segment.flags or not segment.words for segment in segments)
        return reply({"estimated": estimated, "segments": [word_times(segment) for segment in segments]}, request, LONGER)

    @app.get("/api/heat", tags=["search"])
    def heats(
        request: Request,
        q: Annotated[str, Query(max_length=QUERY_CHARACTERS)],
        episode: Annotated[list[str], Query(max_length=HEATS_MOST)],
    ) -> Response:
        """Return the heat of a question along several episodes."""
        return reply({"heat": _heat(episode, q)}, request, LONGER)

    @app.get("/api/heat/{episode_id}", tags=["search"])
    def one_heat(request: Request, episode_id: str, q: Annotated[str, Query(max_length=QUERY_CHARACTERS)] = "") -> Response:
        """Return how much each part of an episode has to do with a question, 0 to 1."""
        return reply({"episode_id": episode_id, "query": q, "heat": _heat([episode_id], q)[episode_id]}, request, LONGER)

    @app.get("/api/stats", tags=["catalogue"])
    def stats(request: Request) -> Response:
        """Return what the catalogue holds, and questions to try."""
        return reply(asdict(answers.overview()) | {"questions": answers.questions()}, request, LONGER)

    @app.get("/healthz", tags=["health"])
    def healthz() -> Response:
        """Tell that the app answers and can read its store."""
        view = answers.overview()
        return reply({"ok": True, "episodes": view.episodes, "passages": view.passages})

    @app.exception_handler(EarmarkError)
    def say_error(_: Request, error: Exception) -> Response:
        status = 503 if isinstance(error, IndexUnavailable) else 404 if isinstance(error, StoreError) else 500
        sentence = error.sentence if isinstance(error, EarmarkError) else str(error)
        return _failure(sentence, status)

    @app.exception_handler(HTTPException)
    def say_refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _failure(str(error.detail), error.status_code)

    @app.exception_handler(RequestValidationError)
    def say_bad_value(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        names = ", ".join(dict.fromkeys(str(one["loc"][-1]) for one in error.errors()))
        return _failure(say("error.bad_value", names=names), 422)

    def _heat(episode_ids: Sequence[str], query: str) -> dict[str, list[float]]:
        return heat(site.database, site.searcher, [find_episode(site, key) for key in dict.fromkeys(episode_ids)], query)


def _failure(sentence: str, status: int) -> Response:
    return Response(orjson.dumps({"error": sentence}), status, {"cache-control": "no-store"}, "application/json")


def word_times(segment: Segment) -> list[list[int]]:
    """Return [length of the word in UTF-16 units with its leading space, start, end] by word, in hundredths of a second.

    The lengths cover the segment's text. Where nobody measured words, the segment's time is shared out by length.
    """
    if segment.words:
        spoken = [w.text.lstrip() if index == 0 else w.text for index, w in enumerate(segment.words)]
        return [
            [len(text.encode("utf-16-le")) // 2, round(w.start_s * 100), round(w.end_s * 100)]
            for text, w in zip(spoken, segment.words, strict=True)
        ]
    pieces = segment.text.split(" ")
    total, at, rows = max(1, len(segment.text)), segment.start_s, []
    for index, piece in enumerate(pieces):
        text = piece if index == 0 else f" {piece}"
        end = at + (segment.end_s - segment.start_s) * len(text) / total
        rows.append([len(text.encode("utf-16-le")) // 2, round(at * 100), round(end * 100)])
        at = end
    return rows


def reply(value: Any, request: Request | None = None, caching: str = "no-store") -> Response:
    """Return JSON; with a request, a browser that has the same answer already gets 304."""
    body = orjson.dumps(value)
    headers = {"cache-control": caching}
    if request is not None:
        headers["etag"] = f'"{hashlib.blake2b(body, digest_size=8).hexdigest()}"'
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")

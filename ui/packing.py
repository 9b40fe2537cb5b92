"""Compression: text goes out as Brotli, or gzip; scripts and styles are packed once and kept.

Comes in: ASGI responses. Goes out: the same, packed where the browser takes it. Does not know: what they hold. Sound, pictures,
ranges and event streams pass untouched.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import brotli  # type: ignore[import-untyped]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LEAST_BYTES = 600
MOST_BYTES = 8 << 20  # larger answers are passed on piece by piece
QUALITY = 4  # of Brotli, for answers made for one visitor
QUALITY_KEPT = 10  # for files that never change under their name or ETag
KEPT_BYTES = 16 << 20
KEPT_PATHS = ("/assets/", "/static/", "/theme.css")
TYPES = (b"text/", b"application/json", b"application/javascript", b"image/svg+xml", b"application/xml", b"application/ld+json")


class Packing:
    """ASGI middleware that packs text."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._kept: OrderedDict[tuple[bytes, str, bytes, int], bytes] = OrderedDict()
        self._kept_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and pack what comes back."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        asked = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
        coding = b"br" if b"br" in asked else b"gzip" if b"gzip" in asked else b""
        if not coding:
            await self._app(scope, receive, send)
            return
        # what lies below sends plain text: packing twice would be work for nothing
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app(scope, receive, _Packed(self, scope["path"], coding, send))

    def pack(self, path: str, coding: bytes, etag: bytes, body: bytes) -> bytes:
        """Return `body` packed; files are packed well, once."""
        if not path.startswith(KEPT_PATHS):
            return _packed(body, coding, QUALITY)
        key = (coding, path, etag, len(body))
        if key not in self._kept:
            self._kept[key] = _packed(body, coding, QUALITY_KEPT)
            self._kept_bytes += len(self._kept[key])
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return self._kept[key]


class _Packed:
    """The sending end of one response: holds the head back until the whole body is there, or passes everything on."""

    def __init__(self, packing: Packing, path: str, coding: bytes, send: Send) -> None:
        self._packing, self._path, self._coding, self._send = packing, path, coding, send
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            length = int(headers.get(b"content-length", b"0"))
            fits = headers.get(b"content-type", b"").startswith(TYPES) and b"event-stream" not in headers.get(b"content-type", b"")
            if fits and message["status"] == 200 and b"content-encoding" not in headers and length <= MOST_BYTES:
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False) and len(self._body) <= MOST_BYTES:
                return
            start, self._start = self._start, None
            if message.get("more_body", False) or len(self._body) < LEAST_BYTES:
                await self._send(start)
                await self._send({**message, "body": bytes(self._body)})
                return
            await self._send_packed(start)
            return
        await self._send(message)

    async def _send_packed(self, start: Message) -> None:
        headers = [(name.lower(), value) for name, value in start["headers"]]
        etag = next((value for name, value in headers if name == b"etag"), b"")
        body = self._packing.pack(self._path, self._coding, etag, bytes(self._body))
        kept = [(name, value) for name, value in headers if name not in (b"content-length", b"accept-ranges")]
        more = [(b"content-encoding", self._coding), (b"content-length", str(len(body)).encode()), (b"vary", b"accept-encoding")]
        await self._send({**start, "headers": kept + more})
        await self._send({"type": "http.response.body", "body": body})


def _packed(body: bytes, coding: bytes, quality: int) -> bytes:
    if coding == b"gzip":
        return gzip.compress(body, 6)
    packed: bytes = brotli.compress(body, quality=quality)
    return packed

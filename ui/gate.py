"""The gate that every request passes: sizes, rates, who may see /admin, and the headers that keep a page safe.

Comes in: ASGI requests. Goes out: the same, or a short refusal in plain words; responses with their policy.
Does not know: what a page holds. Pure ASGI: one dictionary look-up a request, no task, no copy of a body.
"""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from store.settings import Settings
from ui.site import say

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES = 64 * 1024  # the public part takes questions, not files
ADDRESS_BYTES = 8 * 1024
ADDRESSES_KEPT = 20_000
LOOPBACK = ("127.0.0.1", "::1")
FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"forwarded")
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
METRICS = "/metrics"
LOGIN = "/admin/login"
LOGINS_PER_MINUTE = 12  # of one address: nobody types a password faster
RATED = ("/api/", "/gradio_api/queue/join", "/gradio_api/call/", "/gradio_api/run/", "/gradio_api/mcp")
CLOSED = ("/gradio_api/upload", "/gradio_api/component_server", "/gradio_api/proxy=", "/gradio_api/deep_link", "/monitoring")
STRICT = ("/e/", "/embed", "/explore", "/docs", "/api/", "/media/", "/picture/", "/card/", "/static/")
PLAYERS = "https://www.youtube-nocookie.com https://player.vimeo.com"
SPACES = "https://huggingface.co https://*.hf.space"
STRICT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    f"media-src 'self' https: http:; frame-src {PLAYERS}; form-action 'self'; base-uri 'none'; frame-ancestors "
)
GRADIO_POLICY = (  # Gradio compiles its templates in the browser: 'unsafe-eval' cannot be avoided on its own pages
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    f"media-src 'self' https: http: blob:; frame-src {PLAYERS}; "
    "worker-src 'self' blob:; object-src 'none'; form-action 'self'; base-uri 'self'; frame-ancestors "
)


class Bucket:
    """Requests that one address may still make: refilled steadily, full at the start so that fast typing is no offence."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Count one request of `address`. Returns 0, or the seconds to wait where it made too many."""
        if self._per_minute <= 0:
            return 0.0
        left = self.left(address)
        self._left.pop(address, None)
        self._left[address] = (left - 1 if left >= 1 else left, time.monotonic())
        while len(self._left) > ADDRESSES_KEPT:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) * 60 / self._per_minute

    def left(self, address: str) -> float:
        """Return how many requests `address` may make now."""
        now = time.monotonic()
        left, before = self._left.get(address, (float(self._per_minute), now))
        return min(float(self._per_minute), left + (now - before) * self._per_minute / 60)


class Gate:
    """ASGI middleware around the whole app."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._bucket = Bucket(settings.rate_limit_per_minute)
        self._logins = Bucket(LOGINS_PER_MINUTE)
        self._in_space = "SPACE_ID" in os.environ
        origins = " ".join(settings.embed_origins)
        self._frame_ancestors = {
            "embed": origins.encode(),
            "other": f"'self' {SPACES}".encode(),
            "admin": f"'self' {SPACES}".encode(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        refusal = self._refusal(scope, path, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        limit = self._settings.max_download_mb << 20 if _is_below(path, "/admin") else BODY_BYTES
        policy = self._policy(path)

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *policy]
            await send(message)

        await self._app(scope, _limited(receive, limit), guarded_send)

    def _refusal(self, scope: Scope, path: str, headers: dict[bytes, bytes]) -> tuple[int, str, float] | None:
        if len(scope.get("query_string", b"")) + len(path) > ADDRESS_BYTES:
            return 414, say("gate.address_long"), 0
        if path.startswith(CLOSED):
            return 404, say("gate.nothing"), 0
        is_admin = _is_below(path, "/admin")
        length = headers.get(b"content-length", b"0")
        limit = self._settings.max_download_mb << 20 if is_admin else BODY_BYTES
        if not length.isdigit() or int(length) > limit:
            return 413, say("gate.too_large", n=limit), 0
        if path == LOGIN and scope["method"] == "POST" and (wait_s := self._logins.take(self.client(scope, headers))) > 0:
            return 429, say("gate.too_many_tries", n=round(wait_s)), max(1.0, wait_s)
        if is_admin:
            return self._admin_refusal(scope, headers)
        if path == METRICS:
            return self._metrics_refusal(scope, headers)
        if path.startswith(RATED):
            wait_s = self._bucket.take(self.client(scope, headers))
            if wait_s > 0:
                return 429, say("gate.too_many", n=round(wait_s)), max(1.0, wait_s)
        return None

    def _admin_refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str, float] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc != host and scope["method"] not in ("GET", "HEAD"):
            return 403, say("gate.other_site"), 0
        if self._settings.admin_password or self._is_local(scope, headers):
            return None
        return 403, say("gate.admin_closed"), 0

    def _metrics_refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str, float] | None:
        """Let this machine read the figures, and whoever sends the admin's name and password (HTTP Basic)."""
        if self._is_local(scope, headers):
            return None
        if not self._settings.admin_password:
            return 403, say("gate.metrics_closed"), 0
        address = self.client(scope, headers)
        given = headers.get(b"authorization", b"")
        if given and self._logins.left(address) < 1:  # the right password is not tried either: else guessing would go on
            return 429, say("gate.too_many_tries", n=60), 60.0
        pair = f"{self._settings.admin_user}:{self._settings.admin_password}".encode()
        if hmac.compare_digest(given, b"Basic " + base64.b64encode(pair)):
            return None
        if given:
            self._logins.take(address)
        return 401, say("gate.metrics_login"), 0

    def _is_local(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Tell whether a request comes from this machine, by its own name, and through no proxy."""
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        is_near = (scope.get("client") or ("",))[0] in LOOPBACK and name in LOCAL_NAMES
        return is_near and not self._in_space and not any(forwarded in headers for forwarded in FORWARDED)

    def client(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        """Return the visitor's address. Inside a Space every request comes through one proxy, which appends the true address."""
        if self._in_space and b"x-forwarded-for" in headers:
            return headers[b"x-forwarded-for"].decode("latin-1").rpartition(",")[2].strip()
        return str((scope.get("client") or ("",))[0])

    def _policy(self, path: str) -> list[tuple[bytes, bytes]]:
        rules = STRICT_POLICY if path == "/" or path.startswith(STRICT) else GRADIO_POLICY
        who = "embed" if _is_below(path, "/embed") else "admin" if _is_below(path, "/admin") else "other"
        headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"strict-origin-when-cross-origin"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=()"),
        ]
        return [*headers, (b"content-security-policy", rules.encode() + self._frame_ancestors[who])]


_READ = frozenset((b"authorization", b"content-length", b"host", b"origin", *FORWARDED))


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def _limited(receive: Receive, limit: int) -> Receive:
    """Cut a body off that is longer than it said it was: the rest counts as a lost connection."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                return {"type": "http.disconnect"}
        return message

    return limited


async def _answer(send: Send, status: int, text: str, wait_s: float) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="Earmark", charset="UTF-8"'))
    if wait_s:
        headers.append((b"retry-after", str(round(wait_s)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

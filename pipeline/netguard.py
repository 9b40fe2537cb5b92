"""Every request that leaves this machine goes through here.

Comes in: a link and limits. Goes out: an answer whose every hop led to a public address (or an allowed host), whose size and
time were bounded, or an error in plain words in which no credential appears.
Does not know: what an answer means. A name is resolved once, every address it has is checked, and the connection goes to the
checked address itself, so that a name which changes its address in between (DNS rebinding) gains nothing. Proxies from the
environment are not used: behind one, nobody could tell where a request ends.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx

from pipeline.addresses import AllowList, is_public
from pipeline.connections import Pinned
from pipeline.inflate import Inflater
from pipeline.pauses import Pauses
from pipeline.refusals import broken, refusal, too_large
from store.errors import BlockedAddress, SourceBusy, SourceError
from store.links import redact as redact  # part of this room's door
from store.settings import Settings

USER_AGENT = "Earmark/0.1 (transcribes talks; reads feeds and media only when its user asks)"
MAX_REDIRECTS = 10
MAX_PAGE_BYTES = 32 << 20  # feeds, pages, captions; recordings have `max_download_mb`
MAX_PAGE_S = 120.0
MAX_ADDRESSES = 8  # of one name that are tried
CONNECT_S = 15.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PERMANENT_REDIRECTS = frozenset({301, 308})

# httpcore's debug log prints answer headers, and those carry cookies and signed addresses
logging.getLogger("httpcore").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer. `link` is where it came from after all redirects, `permanent_link` after the leading permanent ones."""

    link: str
    permanent_link: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is still on the wire. `blocks` may be read once; it raises `SourceBusy` when the line breaks."""

    link: str
    permanent_link: str
    status: int
    headers: httpx.Headers
    blocks: Iterator[bytes]


class Netguard:
    """Opens links. One object may be used by several threads; each request has a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = AllowList(settings.allow_hosts)
        self._silence_s = settings.timeout_s
        self._pauses = Pauses(settings.data_dir, settings.pause_s)

    def wait_for(self, link: str) -> None:
        """Wait until the host of `link` may be asked again: for requests that others make."""
        self._pauses.wait("{}:{}".format(*self._target(link)), redact(link))

    def check_url(self, link: str) -> None:
        """Raise `BlockedAddress` if `link` has another scheme than http(s) or leads to an address that is not public.

        Raises `SourceBusy` or `SourceError` if its name cannot be resolved.
        """
        host, port = self._target(link)
        self._addresses(host, port, where=redact(link))

    def get(
        self,
        link: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_PAGE_BYTES,
        total_s: float = MAX_PAGE_S,
        accept: Iterable[int] = (200,),
    ) -> Page:
        """Fetch `link` whole into memory. `accept` lists the statuses that are no error (304 after a conditional request).

        Raises `BlockedAddress`, `SourceError` (gone, refused, too large) or `SourceBusy` (slow, cut off, 429, 5xx).
        """
        with self.stream(link, headers=headers, max_bytes=max_bytes, total_s=total_s, accept=accept) as answer:
            body = b"".join(answer.blocks)
            return Page(answer.link, answer.permanent_link, answer.status, answer.headers, body)

    @contextmanager
    def stream(
        self,
        link: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_PAGE_BYTES,
        total_s: float = MAX_PAGE_S,
        accept: Iterable[int] = (200,),
        compressed: bool = True,
    ) -> Iterator[Answer]:
        """Open `link`, follow its redirects, and yield the answer with its body unread. Bounds and errors as in `get`."""
        sent = httpx.Headers({"User-Agent": USER_AGENT, "Accept": "*/*"})
        sent["Accept-Encoding"] = "gzip, deflate" if compressed else "identity"
        sent.update(headers or {})
        self.wait_for(link)
        deadline = time.monotonic() + total_s
        pool, response, current, permanent = self._follow(link, sent, deadline)
        try:  # what the caller raises while it reads is the caller's: nothing is translated here
            received = httpx.Headers(response.headers)
            if response.status not in frozenset(accept):
                error = refusal(response.status, received, redact(current))
                if isinstance(error, SourceBusy) and error.retry_after_s:
                    self._pauses.hold("{}:{}".format(*self._target(current)), error.retry_after_s)
                raise error
            blocks = self._blocks(response, received, max_bytes, redact(current))
            yield Answer(_without_fragment(current), permanent, response.status, received, blocks)
        finally:
            pool.close()

    def _follow(
        self, link: str, headers: httpx.Headers, deadline: float
    ) -> tuple[httpcore.ConnectionPool, httpcore.Response, str, str]:
        """Open `link` and what it redirects to. Returns pool, answer, its link, and the link after leading permanent redirects."""
        current = permanent = link
        only_permanent, credentials = True, None
        for _ in range(MAX_REDIRECTS + 1):
            self._target(current)
            credentials = _credentials(current) or credentials
            where = redact(current)
            backend = Pinned(partial(self._addresses, where=where), where, deadline)
            pool = httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend)
            try:
                response = self._send(pool, current, headers, credentials)
            except _HTTP_ERRORS as error:
                pool.close()
                raise broken(error, redact(current)) from error
            except BaseException:
                pool.close()
                raise
            location = httpx.Headers(response.headers).get("location")
            if response.status not in REDIRECTS or not location:
                return pool, response, current, _without_fragment(permanent)
            pool.close()
            following = _joined(current, location)
            self._target(following)
            if not same_site(current, following):
                credentials = None
                headers.pop("Authorization", None)
                headers.pop("Cookie", None)
            current = following
            only_permanent = only_permanent and response.status in PERMANENT_REDIRECTS
            permanent = following if only_permanent else permanent
        raise SourceError(f"it redirects more than {MAX_REDIRECTS} times", where=redact(link), next_step="Open it in a browser")

    def _send(
        self, pool: httpcore.ConnectionPool, link: str, headers: httpx.Headers, credentials: tuple[str, str] | None
    ) -> httpcore.Response:
        try:
            request = httpx.Request("GET", _bare(link), headers=headers)
            if credentials and "Authorization" not in headers:
                request = next(httpx.BasicAuth(*credentials).auth_flow(request))
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise SourceError("this is no valid web address", where=redact(link), next_step="Check it") from error
        silence = self._silence_s
        limits = {"connect": min(silence, CONNECT_S), "read": silence, "write": silence, "pool": silence}
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        return pool.handle_request(httpcore.Request("GET", url, headers=request.headers.raw, extensions={"timeout": limits}))

    def _blocks(self, response: httpcore.Response, headers: httpx.Headers, max_bytes: int, where: str) -> Iterator[bytes]:
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            raise too_large(max_bytes, where)

        def read() -> Iterator[bytes]:
            inflater = Inflater(headers.get("content-encoding", ""), where)
            raw = given = 0
            try:
                for block in response.iter_stream():
                    raw += len(block)
                    if raw > max_bytes:
                        raise too_large(max_bytes, where)
                    for piece in inflater.feed(block):
                        given += len(piece)
                        if given > max_bytes:
                            raise too_large(max_bytes, where)
                        yield piece
            except _HTTP_ERRORS as error:
                raise broken(error, where) from error
            inflater.close()

        return read()

    def _target(self, link: str) -> tuple[str, int]:
        """Return host and port of a link."""
        try:
            parts = urlsplit(link)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise SourceError("this is no valid web address", where=redact(link), next_step="Check it") from error
        if parts.scheme.lower() not in ("http", "https"):
            what = f"only http and https are fetched, not {parts.scheme or 'an address without a scheme'}"
            raise BlockedAddress(what, where=redact(link), next_step="Give a web address")
        if not host:
            raise SourceError("this web address names no host", where=redact(link), next_step="Check it")
        return host, port or (443 if parts.scheme.lower() == "https" else 80)

    def _addresses(self, host: str, port: int, where: str) -> list[str]:
        """Resolve `host` and return its addresses, all of them checked."""
        try:
            found = socket.getaddrinfo(host.encode("idna").decode() if not host.isascii() else host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                raise SourceError(f"there is no host named {host}", where=where, next_step="Check the spelling") from error
            raise SourceBusy(f"the name {host} cannot be looked up now", where=where, next_step="Check the connection") from error
        except UnicodeError as error:
            raise SourceError("this is no valid host name", where=where, next_step="Check the address") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._allowed.names(host, port):
            for address in addresses:
                if not is_public(address) and not self._allowed.names(address, port):
                    raise BlockedAddress(
                        f"{host} leads to {address}, which is not a public address",
                        where=where,
                        next_step="If it is a server of your own, name it in the setting allow_hosts",
                    )
        return addresses[:MAX_ADDRESSES]


_HTTP_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    OSError,
)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _credentials(link: str) -> tuple[str, str] | None:
    parts = urlsplit(link)
    return (unquote(parts.username or ""), unquote(parts.password or "")) if parts.username or parts.password else None


def _bare(link: str) -> str:
    """Return the link without user name, password and fragment: they are never sent as part of an address."""
    parts = urlsplit(link)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _joined(link: str, location: str) -> str:
    try:
        return _without_fragment(urljoin(link, location))
    except ValueError as error:
        raise SourceError(
            "it redirects to an address that is none", where=redact(link), next_step="Open it in a browser"
        ) from error


def _without_fragment(link: str) -> str:
    return link.split("#", 1)[0]


def same_site(one: str, other: str) -> bool:
    """Tell whether credentials may follow: same host and port, or the same host moving up from http to https."""
    left, right = urlsplit(one), urlsplit(other)
    if (left.hostname or "").lower() != (right.hostname or "").lower():
        return False
    default = {"http": 80, "https": 443}
    ports = (left.port or default.get(left.scheme), right.port or default.get(right.scheme))
    return (left.scheme == right.scheme and ports[0] == ports[1]) or (
        (left.scheme, right.scheme) == ("http", "https") and ports == (80, 443)
    )

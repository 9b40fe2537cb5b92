"""Connections that go to checked addresses only, and end at a deadline.

Comes in: a host and port, from httpcore. Goes out: a stream.
Does not know: which addresses are allowed; the caller resolves and checks.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable

import httpcore

from store.errors import BlockedAddress


class Pinned(httpcore.NetworkBackend):
    """Connects to checked addresses only, and ends every wait at the deadline."""

    def __init__(self, resolve: Callable[[str, int], list[str]], where: str, deadline: float) -> None:
        self._resolve = resolve  # host and port to checked addresses
        self._where = where
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first checked address that answers."""
        failure: Exception | None = None
        for address in self._resolve(host, port):
            try:
                left = _left(timeout, self._deadline, httpcore.ConnectTimeout)
                stream = self._plain.connect_tcp(address, port, left, local_address, socket_options)
                return _Timed(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:  # the next address may do
                failure = error
        raise failure or httpcore.ConnectError("no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        """Refuse."""
        raise BlockedAddress("local sockets are never opened", where=self._where)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class _Timed(httpcore.NetworkStream):
    """A stream whose reads and writes end at the deadline, however slowly the other side drips."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, until the deadline at the longest."""
        return self._stream.read(max_bytes, _left(timeout, self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, until the deadline at the longest."""
        self._stream.write(buffer, _left(timeout, self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS; the name that is checked is the host's, not the address."""
        left = _left(timeout, self._deadline, httpcore.ConnectTimeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> object:
        """Hand on."""
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, deadline: float, error: type[Exception]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the time for this request is over")
    return left if timeout is None else min(timeout, left)

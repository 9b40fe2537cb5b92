"""A web server on 127.0.0.1 for tests: pages by path, and answers that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from store.settings import Settings


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.seen.append((path, dict(self.headers.items())))
        answer = self.server.pages.get(path)
        if answer is None:
            self.send(b"nothing here", "text/plain", 404)
        elif callable(answer):
            answer(self)
        else:
            self.send(*answer)

    def send(self, body: bytes, media_type: str = "text/html", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def move(self, link: str, status: int = 302) -> None:
        self.send(b"", "text/plain", status, Location=link)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Web(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, tuple[bytes, str] | tuple[bytes, str, int] | Callable[[Handler], None]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def link(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are what these tests are about


@contextmanager
def serve() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.shutdown()
        web.server_close()


def settings_for(*webs: Web, **values: object) -> Settings:
    """Settings that may fetch from these servers, without pauses."""
    values = {"timeout_s": 5.0, "pause_s": 0.0, "data_dir": Path("no-such-folder"), **values}
    return Settings(allow_hosts=tuple(web.host for web in webs), **values)  # type: ignore[arg-type]

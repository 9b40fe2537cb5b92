"""Where the web app listens: a taken port is one sentence and exit code 1, and a server that nobody visits rests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from store.errors import SettingsError
from store.settings import load_settings
from tests.web_site import free_port, running_site
from ui.port import check_port

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [("cli.py", "serve"), ("app.py",)], ids=["earmark serve", "app.py"])
def test_a_taken_port_is_one_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        environ = os.environ | {"EARMARK_PORT": str(port), "EARMARK_DATA": str(tmp_path), "EARMARK_WORK": "1"}
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()
    assert len(told) == 1 and f"127.0.0.1:{port}: another program listens on this port" in told[0] and "--port" in told[0]
    assert not done.stdout and not list(tmp_path.iterdir())  # nothing was begun


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [("127.0.0.1", 80_000, "from 1 to 65535"), ("192.0.2.7", 7999, "no such address"), ("no..name", 7999, "no address")],
)
def test_an_address_that_cannot_be(tmp_path: Path, host: str, port: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_port(load_settings(tmp_path, {"host": host, "port": port}, {}))


def test_a_free_port_is_free(tmp_path: Path) -> None:
    check_port(load_settings(tmp_path, {"port": free_port()}, {}))


def test_a_server_that_nobody_visits_rests() -> None:
    app = running_site().app
    queues = [app.get_blocks()._queue] + [
        route.app.get_blocks()._queue for route in app.routes if hasattr(getattr(route, "app", None), "get_blocks")
    ]
    assert len(queues) == 3
    assert all(queue.sleep_when_free >= 0.05 and queue.progress_update_sleep_when_free >= 0.1 for queue in queues)

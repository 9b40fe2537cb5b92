"""Door: the web app. `python app.py` serves the catalogue of the data folder; a Space, Docker and `earmark serve` come in here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from store.errors import EarmarkError
from store.settings import Settings, load_settings

ANYWHERE = "0.0.0.0"


def door_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; inside a Space the app listens on all addresses, and works, unless told otherwise."""
    settings = load_settings(environ=environ)
    if "SPACE_ID" not in environ:
        return settings
    host = settings.host if "EARMARK_HOST" in environ else ANYWHERE
    return replace(settings, host=host, work=settings.work or "EARMARK_WORK" not in environ)


@contextmanager
def worker_beside(settings: Settings) -> Iterator[None]:
    """Run `earmark run --forever` while the app serves, if it shall work."""
    if not settings.work:
        yield
        return
    command = [sys.executable, str(Path(__file__).with_name("cli.py")), "run", "--forever", "--data", str(settings.data_dir)]
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # how Docker stops us: the worker is stopped too
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)  # it gives its leases back
        process.wait(timeout=30)


def main() -> None:
    """Serve until stopped."""
    from ui.port import check_port
    from ui.web import serve

    try:
        settings = door_settings()
        check_port(settings)  # before a worker is started beside an app that cannot be
        shown = "localhost" if settings.host in (ANYWHERE, "127.0.0.1") else settings.host
        print(f"Earmark serves {settings.data_dir} on http://{shown}:{settings.port}", file=sys.stderr, flush=True)
        with worker_beside(settings):
            serve(settings)
    except EarmarkError as error:
        sys.exit(f"earmark: {error.sentence}")


if __name__ == "__main__":
    main()

"""Door: the web app. `python app.py` serves the catalogue of the data folder; a Space, Docker and `earmark serve` come in here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from store.errors import EarmarkError
from store.settings import Settings, load_settings

ANYWHERE = "0.0.0.0"


def door_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; inside a Space the app listens on all addresses unless EARMARK_HOST says otherwise."""
    settings = load_settings(environ=environ)
    return replace(settings, host=ANYWHERE) if "SPACE_ID" in environ and "EARMARK_HOST" not in environ else settings


def main() -> None:
    """Serve until stopped."""
    from ui.web import serve

    try:
        settings = door_settings()
        shown = "localhost" if settings.host in (ANYWHERE, "127.0.0.1") else settings.host
        print(f"Earmark serves {settings.data_dir} on http://{shown}:{settings.port}", file=sys.stderr, flush=True)
        serve(settings)
    except EarmarkError as error:
        sys.exit(f"earmark: {error.sentence}")


if __name__ == "__main__":
    main()

"""An empty catalogue offers the samples: one press of a button queues the project's own talks.

Comes in: a site. Goes out: `POST /api/samples` and `GET /api/samples`. It only queues; the worker beside the app does the rest.
Does not know: how a feed is read. Where no worker runs beside the app (`EARMARK_WORK`), the page names the command instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from store.database import Database
from store.episodes import list_shows
from store.errors import StoreError
from store.jobs import count_jobs, enqueue
from ui.api import reply
from ui.site import Site, say

if TYPE_CHECKING:
    from fastapi import FastAPI

FOLDER = Path(__file__).parents[1] / "samples"


def add_samples(app: FastAPI, site: Site) -> None:
    """Add the routes to the app."""

    @app.get("/api/samples", tags=["catalogue"])
    def samples(request: Request) -> Response:
        """Tell whether the samples can be loaded, and whether that is under way."""
        return reply({"offered": offered(site), "under_way": bool(_open_jobs(site))}, request)

    @app.post("/api/samples", tags=["catalogue"])
    def load(request: Request) -> Response:
        """Queue the samples, into an empty catalogue only."""
        if not offered(site):
            raise StoreError(say("error.samples"), next_step=say("error.samples_next"))
        with Database.in_folder(site.settings.data_dir).write() as connection:  # the page's own store is for reading
            for feed in sorted(FOLDER.glob("*.xml")):
                enqueue(connection, "list", options={"link": str(feed)})
        return reply({"offered": False, "under_way": True}, request)


def offered(site: Site) -> bool:
    """Say whether nothing is here yet, a worker runs beside the app, and the samples are on this machine."""
    return site.settings.work and not list_shows(site.database) and not _open_jobs(site) and any(FOLDER.glob("*.xml"))


def _open_jobs(site: Site) -> int:
    return sum(count for (_, state), count in count_jobs(site.database).items() if state in ("queued", "running"))

"""Files: local recordings with HTTP Range, and the page's own scripts and styles.

Comes in: an episode's id or the name of a file of ours. Goes out: bytes.
Does not know: paths that a visitor names; only files that the store or this package knows are ever opened.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse

from store.errors import StoreError
from ui.site import STATIC, Site, local_recording, say

STATIC_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".woff2": "font/woff2",
}
PLAYED_TYPES = ("audio/", "video/")
CHECK_AGAIN = "no-cache"  # answered from the browser's copy after a check by ETag: a new version shows at once


def add_media(app: FastAPI, site: Site) -> None:
    """Add /media/{episode_id}, /static/{name} and /logo."""

    @app.api_route("/media/{episode_id}", methods=["GET", "HEAD"], tags=["media"])
    def media(episode_id: str) -> Response:
        """Send the recording of a local episode, whole or a range of it. Other episodes are played from their publisher."""
        try:
            recording = local_recording(site.database, episode_id)
        except StoreError:
            recording = None
        if recording is None:
            raise HTTPException(404, say("error.no_recording"))
        guessed = mimetypes.guess_type(recording.path)[0] or ""
        media_type = guessed if guessed.startswith(PLAYED_TYPES) else "application/octet-stream"
        return FileResponse(recording.path, media_type=media_type, headers={"cache-control": "public, max-age=3600"})

    @app.api_route("/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    def static(name: str, request: Request) -> Response:
        """Send a script, style or picture of the page's own."""
        path = STATIC / name
        if "/" in name or "\\" in name or path.suffix not in STATIC_TYPES or not path.is_file():
            raise HTTPException(404, say("error.no_file"))
        return _checked(path, STATIC_TYPES[path.suffix], request)

    @app.api_route("/logo", methods=["GET", "HEAD"], include_in_schema=False)
    def logo(request: Request) -> Response:
        """Send the brand's picture."""
        if site.logo_path is None:
            raise HTTPException(404, say("error.no_logo"))
        return _checked(site.logo_path, mimetypes.guess_type(site.logo_path.name)[0] or "image/png", request)


def _checked(path: Path, media_type: str, request: Request) -> Response:
    response = FileResponse(path, media_type=media_type, stat_result=path.stat(), headers={"cache-control": CHECK_AGAIN})
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return Response(status_code=304, headers={"etag": response.headers["etag"], "cache-control": CHECK_AGAIN})
    return response

"""Take away: a transcript as SRT, VTT, TXT, JSON or Markdown, and all of a show's in a ZIP.

Comes in: ids. Goes out: files. Does not know: the formats (`store.export`).
"""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Response

from store.episodes import get_show, list_episodes
from store.errors import StoreError
from store.export import to_json, to_markdown, to_srt, to_txt, to_vtt
from store.records import Episode, Segment
from ui.answers import find_episode, whole
from ui.site import Site, say

Maker = Callable[[Episode, Sequence[Segment]], str]
FORMATS: dict[str, tuple[Maker, str]] = {
    "srt": (to_srt, "application/x-subrip"),
    "vtt": (to_vtt, "text/vtt"),
    "txt": (to_txt, "text/plain"),
    "json": (to_json, "application/json"),
    "md": (to_markdown, "text/markdown"),
}
NAME_CHARACTERS = 80
EPISODES_MOST = 2000  # in one ZIP; it is made in memory


def add_downloads(app: FastAPI, site: Site) -> None:
    """Add /e/{id}.{format} and /show/{id}.zip. They go before the episode page, whose path would take them too."""

    @app.get("/e/{episode_id}.{suffix}", tags=["take away"])
    def transcript(episode_id: str, suffix: str) -> Response:
        """Return a transcript as srt, vtt, txt, json (Podcasting 2.0) or md."""
        if suffix not in FORMATS:
            raise HTTPException(404, say("error.no_format", name=suffix[:10], known=", ".join(FORMATS)))
        episode = find_episode(site, episode_id)
        _, segments, _ = whole(site, episode)
        if not segments:
            raise StoreError(say("error.no_transcript"), where=episode.title)
        make, media_type = FORMATS[suffix]
        return _file(make(episode, segments).encode(), f"{file_name(episode)}.{suffix}", f"{media_type}; charset=utf-8")

    @app.get("/show/{show_id}.zip", tags=["take away"])
    def archive(show_id: str) -> Response:
        """Return all transcripts of a show, each in every format."""
        show = get_show(site.database, show_id)
        out, taken = io.BytesIO(), set()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for episode in list_episodes(site.database, show_id=show_id, readable_only=True, limit=EPISODES_MOST):
                _, segments, _ = whole(site, episode)
                name = file_name(episode)
                name = f"{name} {episode.id}" if name in taken else name
                taken.add(name)
                for suffix, (make, _) in FORMATS.items():
                    archive.writestr(f"{suffix}/{name}.{suffix}", make(episode, segments))
        return _file(out.getvalue(), f"{safe_name(show.title)}.zip", "application/zip")


def file_name(episode: Episode) -> str:
    """Return a file name without suffix: the day and the title."""
    return safe_name(" ".join(part for part in (episode.published[:10], episode.title) if part))


def safe_name(text: str) -> str:
    """Return text as a file name: no path, no control or direction characters, not too long."""
    kept = "".join(
        " " if char in '/\\:*?"<>|' else char for char in text if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")
    )
    return re.sub(r"\s+", " ", kept).strip(" .")[:NAME_CHARACTERS].strip() or "transcript"


def _file(body: bytes, name: str, media_type: str) -> Response:
    plain = name.encode("ascii", "ignore").decode() or "transcript"
    headers = {
        "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
        "cache-control": "public, max-age=60",
    }
    return Response(body, media_type=media_type, headers=headers)

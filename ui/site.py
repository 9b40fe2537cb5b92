"""What every page and answer of the web app is made from.

Comes in: settings. Goes out: `Site`: the store, the searcher, the texts, the brand, and the addresses of things.
Does not know: HTTP. A media address that carries a key, or a path of this machine, never leaves this module.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

from index.explain import Explanation
from index.search import Filters, Searcher
from store.database import Database
from store.episodes import get_episode, get_recording
from store.links import has_secret
from store.records import Episode, Moment, Recording, SearchAnswer
from store.settings import Settings

STATIC = Path(__file__).parent / "static"
VIDEO_HOSTS = {"youtube.com": "youtube", "youtube-nocookie.com": "youtube", "youtu.be": "youtube", "vimeo.com": "vimeo"}
EPISODES_KEPT = 2000  # whose addresses were worked out
_COLOUR = re.compile(r"#[0-9a-fA-F]{3}(?:[0-9a-fA-F]{3})?")


class Finder(Protocol):
    """What the pages need of a searcher."""

    def search(self, query: str, *, limit: int, filters: Filters, sort: str) -> SearchAnswer:
        """Return the moments that answer `query`."""
        ...

    def explain(self, query: str, *, limit: int, filters: Filters, sort: str) -> tuple[SearchAnswer, Explanation | None]:
        """Return the same, and why; None where nothing was asked."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """One web app. Built once by `ui.web.create_app`, read by every request; its members are safe to share between threads."""

    settings: Settings
    database: Database
    searcher: Finder

    @property
    def accent(self) -> str:
        """The brand's colour, or "" for Earmark's own."""
        return self.settings.accent if _COLOUR.fullmatch(self.settings.accent) else ""

    def brand(self) -> dict[str, Any]:
        """Return what settings say about the look, for the page's script."""
        return {
            "name": self.settings.site_name,
            "tagline": self.settings.tagline,
            "accent": self.accent,
            "logo": "/logo" if self.logo_path is not None else "",
            "links": [{"label": label, "url": url} for label, url in self.footer_links()],
        }

    @property
    def logo_path(self) -> Path | None:
        """The brand's picture, if settings name one that is there."""
        path = Path(self.settings.logo).expanduser() if self.settings.logo else None
        return path if path is not None and path.is_file() else None

    def footer_links(self) -> list[tuple[str, str]]:
        """Return (label, web address) pairs; what is no web address is left out."""
        pairs = (link.partition("=") for link in self.settings.footer_links)
        return [(label.strip(), url.strip()) for label, _, url in pairs if web_address(url.strip())]


def open_site(settings: Settings) -> Site:
    """Open the data folder, creating an empty store where there is none."""
    Database.in_folder(settings.data_dir)
    database = Database.in_folder(settings.data_dir, read_only=True)
    return Site(settings, database, cast(Finder, Searcher(settings, database)))


@lru_cache(maxsize=1)
def texts() -> Mapping[str, str]:
    """Return every text that people see on the pages, by key. To translate Earmark, translate this one file."""
    found: dict[str, str] = json.loads((STATIC / "texts.en.json").read_text(encoding="utf-8"))
    return found


def say(key: str, **values: object) -> str:
    """Return a text with its `{names}` filled in."""
    text = texts()[key]
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def web_address(url: str) -> str:
    """Return `url` if it is http or https and carries no key, else ""."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc and not has_secret(url) else ""


@lru_cache(maxsize=EPISODES_KEPT)
def play_url(episode: Episode) -> str:
    """Return what the player opens: the publisher's own address, our /media for a local file, "" where there is neither."""
    for url in (episode.page_url, episode.media_url):
        if video_of(url) is not None:
            return web_address(url)
    if urlsplit(episode.media_url).scheme in ("http", "https"):
        return web_address(episode.media_url)
    return f"/media/{episode.id}" if episode.recording_id is not None else ""


def video_of(url: str) -> tuple[str, str] | None:
    """Return (site, video id) where `url` is a page of a site whose player can be framed, else None."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = (parts.hostname or "").removeprefix("www.").removeprefix("m.").removeprefix("player.").removeprefix("music.")
    site = VIDEO_HOSTS.get(host)
    tail = parts.path.rstrip("/").rpartition("/")[2]
    if site == "youtube":
        video_id = parse_qs(parts.query).get("v", [tail])[0]
        return (site, video_id) if re.fullmatch(r"[\w-]{6,20}", video_id) else None
    return (site, tail) if site == "vimeo" and tail.isdigit() else None


@lru_cache(maxsize=EPISODES_KEPT)
def media_kind(episode: Episode) -> str:
    """Return `audio`, `video`, `youtube`, `vimeo`, or "" where nothing can be played."""
    url = play_url(episode)
    framed = video_of(url)
    if framed is not None:
        return framed[0]
    guessed = episode.media_type or mimetypes.guess_type(urlsplit(episode.media_url).path)[0] or ""
    return ("video" if guessed.startswith("video/") else "audio") if url else ""


def local_recording(database: Database, episode_id: str) -> Recording | None:
    """Return the recording that /media may serve: of a local episode, its file still there. None otherwise; raises `StoreError`."""
    episode = get_episode(database, episode_id)
    if episode.recording_id is None or play_url(episode) != f"/media/{episode_id}":
        return None
    recording = get_recording(database, episode.recording_id)
    return recording if recording.path and Path(recording.path).is_file() else None


def seconds(time_s: float) -> str:
    """Return a time for an address: whole seconds without a point."""
    return f"{max(0.0, time_s):.1f}".removesuffix(".0")


def page_path(episode_id: str, start_s: float | None = None) -> str:
    """Return the path of an episode's page, at a second."""
    return f"/e/{episode_id}" + ("" if start_s is None else f"?t={seconds(start_s)}")


def group_by_episode(moments: Sequence[Moment]) -> list[list[Moment]]:
    """Group moments by episode, in the order of each episode's best."""
    groups: dict[str, list[Moment]] = {}
    for moment in moments:
        groups.setdefault(moment.episode_id, []).append(moment)
    return list(groups.values())

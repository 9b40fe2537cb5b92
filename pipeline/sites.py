"""Pages that yt-dlp knows: videos, playlists, channels, and any page with a player in it.

Comes in: a link. Goes out: a `ShowListing` (flat: one request a page of the list), captions, or a fetched file.
Does not know: yt-dlp itself, which works in a process of its own (`site_process`), guarded and with a total time.
"""

from __future__ import annotations

import base64
import glob
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.addresses import AllowList
from pipeline.feed_fields import language_code
from pipeline.media_types import is_media_name, media_type_of
from pipeline.netguard import Netguard, redact
from pipeline.plaintext import line, paragraphs
from pipeline.site_reasons import explain
from store.errors import SourceBusy, SourceError
from store.links import redact_text
from store.records import Chapter, EpisodeListing, Person, ShowListing
from store.settings import Settings

LIST_S = 900.0  # a channel of some thousand videos takes a minute or two
CAPTIONS_S = 180.0
FETCH_S = 6 * 3600.0
SILENCE_S = 300.0  # without a line of progress
JS_RUNTIMES = ("deno", "node", "bun", "qjs")

# Sites that only yt-dlp reads: their pages are not worth a request of our own
_SITES = re.compile(
    r"^https?://(?:[\w-]+\.)*(?:youtube\.com|youtu\.be|youtube-nocookie\.com|vimeo\.com|dailymotion\.com|twitch\.tv|soundcloud\.com|"
    r"ted\.com/talks|bilibili\.com|rumble\.com|odysee\.com|tiktok\.com|facebook\.com|x\.com|twitter\.com)(?:/|$)",
    re.IGNORECASE,
)
_FEED_OF_SITE = re.compile(r"^https?://feeds\.|/feeds/|/rss/?$|\.(?:xml|rss)(?:$|\?)", re.IGNORECASE)

# A page that was just opened for its captions and had none: fetching its recording need not open it again
_opened: dict[str, Any] = {}

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class SiteCaptions:
    """Captions as a site serves them. `automatic` says that no person wrote them."""

    body: bytes
    ext: str
    language: str | None
    automatic: bool


def list_site(link: str, settings: Settings, *, limit: int | None = None, known_only: bool = False) -> ShowListing | None:
    """List a page. With `known_only`, None for a page that only yt-dlp's generic reader would try.

    Raises `SourceError` or `SourceBusy` with the site's reason in plain words.
    """
    answer = _ask({"do": "list", "link": link, "limit": limit, "known_only": known_only}, link, settings, LIST_S)
    if answer.get("generic"):
        return None
    show, entries = answer["show"], answer["entries"]
    episodes = {episode.guid: episode for episode in map(_episode, entries) if episode is not None}
    if not episodes:
        raise SourceError("no recording was found on this page", where=redact(link), next_step="Give the page of a talk or a feed")
    warnings = tuple(redact_text(line(text))[:300] for text in answer.get("warnings", ()) if "Falling back on" not in text)
    owner = line(show.get("channel") or show.get("uploader"))
    site = urlsplit(link).hostname or link
    if answer["single"]:
        return ShowListing(
            link=show.get("channel_url") or show.get("uploader_url") or f"{urlsplit(link).scheme}://{urlsplit(link).netloc}/",
            kind="link",
            title=owner or site,
            episodes=tuple(episodes.values()),
            author=owner,
            warnings=warnings,
        )
    return ShowListing(
        link=show.get("webpage_url") or link,
        kind="site",
        title=line(show.get("title")) or owner or site,
        episodes=tuple(episodes.values()),
        description=paragraphs(show.get("description")),
        author=owner,
        image_url=show.get("thumbnail") or "",
        page_url=show.get("webpage_url") or link,
        warnings=warnings,
    )


def fetch_from_site(
    page_url: str, folder: Path, name: str, settings: Settings, progress: Progress | None = None
) -> tuple[Path, EpisodeListing | None]:
    """Fetch the recording of one page into `folder`, and return its path and what the page says of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob(f"{glob.escape(name)}.*"):  # yt-dlp would take any whole file for what was asked
        if earlier.suffix not in (".part", ".ytdl"):
            earlier.unlink()
    max_bytes = settings.max_download_mb * 1_000_000
    request: dict[str, Any] = {"do": "fetch", "link": page_url, "folder": str(folder), "name": name, "max_bytes": max_bytes}
    request["info"] = _opened.pop(page_url, None)
    answer = _ask(request, page_url, settings, FETCH_S, progress)
    return Path(answer["path"]), _episode(answer["episode"])


def captions_of_site(
    page_url: str, settings: Settings, languages: Sequence[str] = (), automatic: bool = False
) -> tuple[SiteCaptions | None, EpisodeListing | None]:
    """Return the captions that people wrote for a page (automatic ones only on request), and what the page says of itself."""
    request = {"do": "captions", "link": page_url, "languages": list(languages), "automatic": automatic}
    answer = _ask(request, page_url, settings, CAPTIONS_S)
    found = answer["captions"]
    captions = None
    _opened.clear()
    if answer["info"] is not None:
        _opened[page_url] = answer["info"]
    if found is not None:
        body = base64.b64decode(found["body"])
        captions = SiteCaptions(body, found["ext"], language_code(found["language"]), bool(found["automatic"]))
    return captions, _episode(answer["episode"])


def is_site(link: str) -> bool:
    """Tell whether a link belongs to a site that only yt-dlp reads. For others, ask `list_site` with `known_only`."""
    return bool(_SITES.match(link)) and not is_media_name(link) and not _FEED_OF_SITE.search(link)


def _ask(
    request: dict[str, Any], link: str, settings: Settings, total_s: float, progress: Progress | None = None
) -> dict[str, Any]:
    """Ask a process of its own, and end it after `total_s` or when it falls silent."""
    guard = Netguard(settings)
    guard.check_url(link)
    guard.wait_for(link)
    request |= {
        "allowed": sorted(AllowList(settings.allow_hosts).resolved(), key=str),
        "timeout_s": settings.timeout_s,
        "cookies": settings.cookies,
        "cookies_from_browser": settings.cookies_from_browser,
        "js_runtimes": [{"qjs": "quickjs"}.get(name, name) for name in JS_RUNTIMES if shutil.which(name)],
    }
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.site_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        encoding="utf-8",
    )
    assert child.stdin is not None and child.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    deadline = time.monotonic() + total_s
    try:
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        while True:
            try:
                said = lines.get(timeout=max(0.0, min(SILENCE_S, deadline - time.monotonic())))
            except queue.Empty:
                raise SourceBusy("the site took too long", where=redact(link), next_step="Try again later") from None
            if said is None:
                raise SourceBusy("yt-dlp ended without an answer", where=redact(link), next_step="Try again, or update yt-dlp")
            message = json.loads(said)
            if "progress" in message and progress is not None:
                progress(float(message["progress"]))
            elif "error" in message:
                raise explain(message["error"], link)
            elif "result" in message:
                result: dict[str, Any] = message["result"]
                return result
    except BrokenPipeError:
        raise SourceBusy("yt-dlp could not be started", where=redact(link), next_step="Try again, or reinstall yt-dlp") from None
    finally:
        child.kill()
        child.wait()
        reader.join(5)  # the pipe ends with the child
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()


def _read(stream: Any, lines: queue.Queue[str | None]) -> None:
    for said in stream:
        lines.put(said)
    lines.put(None)


def _episode(info: Mapping[str, Any]) -> EpisodeListing | None:
    """Read what yt-dlp knows of one recording. Its guid is the same in a playlist, in a channel and alone."""
    flat = info.get("_type") in ("url", "url_transparent")
    page = info.get("webpage_url") or (info.get("url") if flat else "") or info.get("original_url")
    if not page or not str(page).lower().startswith(("http://", "https://")):
        return None
    media = str(info.get("media") or "")  # a plain player in a page: the recording can be fetched like any other link
    title = line(info.get("title"))
    title = title.removesuffix(" (1)") if media else title
    if title in ("[Private video]", "[Deleted video]") or info.get("live_status") == "is_upcoming":
        return None
    key = str(info.get("ie_key") or info.get("extractor_key") or "site").lower()
    owner = line(info.get("channel") or info.get("uploader"))
    names = [line(name) for name in info.get("creators") or ()] or ([owner] if owner else [])
    chapters = tuple(
        Chapter(float(mark["start_time"]), line(mark.get("title")))
        for mark in info.get("chapters") or ()
        if mark.get("start_time") is not None and line(mark.get("title"))
    )
    return EpisodeListing(
        guid=media or str(page) if "media" in info else f"{key}:{info['id']}" if info.get("id") else str(page),
        title=title or "Untitled",
        media_url=media,
        page_url=str(page),
        description=paragraphs(info.get("description")),
        published=_date(info),
        duration_s=float(info["duration"]) if info.get("duration") else None,
        media_type=media_type_of(media) if media else "",
        image_url=str(info.get("thumbnail") or ""),
        language=language_code(info.get("language")),
        people=tuple(Person(name, "author") for name in names),
        chapters=chapters,
    )


def _date(info: Mapping[str, Any]) -> str:
    for name in ("timestamp", "release_timestamp"):
        if info.get(name):
            return datetime.fromtimestamp(float(info[name]), timezone.utc).isoformat()
    for name in ("upload_date", "release_date"):
        match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", str(info.get(name) or ""))
        if match:
            return "-".join(match.groups())
    return ""

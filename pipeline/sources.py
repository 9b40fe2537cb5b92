"""From a link to episodes, and from an episode to its recording, captions and chapters.

Comes in: whatever a person types: a file, a folder, a feed, a link to a recording, a page. Goes out: a `ShowListing`; for one
episode a local file, or the publisher's transcript.
Does not know: the store and the queue. How each kind of source is read is known by `folders`, `feeds`, `sites`, `downloads`.

Several single files of a folder, several links of one web folder, several videos of one channel share a show (kinds "file" and
"link", which are never read again); feeds, folders and playlists are shows that can be read again for what is new.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from pipeline.captions import parse_captions
from pipeline.chapters import fetch_chapters as fetch_chapters  # part of this room's door
from pipeline.downloads import download
from pipeline.folders import list_path
from pipeline.media_types import media_type_of, suffix_of
from pipeline.netguard import Netguard, redact
from pipeline.sites import captions_of_site, fetch_from_site, is_site
from pipeline.wanted import Wanted
from pipeline.web_pages import list_web
from store.errors import EarmarkError, SourceError
from store.files import sha256_of
from store.records import UNTIMED, Episode, EpisodeListing, Segment, ShowListing, TranscriptHead, TranscriptLink
from store.settings import Settings

MAX_CAPTION_BYTES = 16 << 20
MIN_COVERAGE = 0.5  # captions that end before half of the talk are an excerpt
_CAPTION_ORDER = ("json", "vtt", "webvtt", "srt", "subrip", "sbv", "html", "plain")  # word times first, none last
_FEED_SCHEMES = {"feed": "http", "pcast": "https", "itpc": "http", "podcast": "https", "rss": "https"}
_HOST = re.compile(r"^(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:/|$|\?)", re.IGNORECASE)

Progress = Callable[[float], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A recording on this machine. `is_ours` tells a file that was fetched from one that is used where it lies.

    `details` is what a page said about itself when it was opened: more than its line in a list had.
    """

    path: Path
    sha256: str
    size_bytes: int
    media_type: str
    is_ours: bool
    warning: str = ""
    details: EpisodeListing | None = None


def list_source(
    link: str,
    settings: Settings,
    *,
    limit: int | None = None,
    since: str | None = None,
    match: str | None = None,
    etag: str = "",
    last_modified: str = "",
) -> ShowListing:
    """List what a link, path or feed offers, in its own order.

    `since` is a date (YYYY-MM-DD), `match` a pattern or plain text in the title, `limit` keeps the newest. With the `etag` and
    `last_modified` of an earlier listing, a feed without news gives a listing with `unchanged` set and no episodes. The
    listing's `link` is the address that the show is known by: after permanent redirects it is another than was asked.
    Raises `SourceError` (for good), `BlockedAddress` (not public), `SourceBusy` (may work later).
    """
    wanted = Wanted(limit, since, match)
    link = link.strip().strip("'\"")
    local, web = _where(link)
    if local is not None:
        return wanted.of(list_path(local))
    return wanted.of(list_web(web, settings, wanted, etag=etag, last_modified=last_modified))


def fetch_media(episode: Episode, folder: Path, settings: Settings, progress: Progress | None = None) -> Fetched:
    """Bring an episode's recording to this machine: local files are used in place, links are fetched into `folder`.

    `progress` gets the share done (0 to 1). A broken download goes on where it was, also at the next call.
    Raises `SourceError` or `SourceBusy` with the reason in plain words.
    """
    if episode.media_url and not _is_web(episode.media_url):
        path = Path(episode.media_url)
        if not path.is_file():
            raise SourceError("the file is no longer there", where=str(path), next_step="Put it back, or remove the episode")
        return Fetched(path, sha256_of(path), path.stat().st_size, episode.media_type or media_type_of(path.name), is_ours=False)
    details = None
    if episode.media_url and suffix_of(episode.media_url) not in (".m3u8", ".mpd") and not is_site(episode.media_url):
        fetched = download(episode.media_url, folder, episode.id, settings, progress)
        path, media_type = fetched.path, fetched.media_type
    elif episode.media_url or episode.page_url:
        path, details = fetch_from_site(episode.media_url or episode.page_url, folder, episode.id, settings, progress)
        media_type = media_type_of(path.name)
    else:
        raise SourceError("it names no recording", where=episode.title, next_step="Add the recording itself")
    if progress is not None:
        progress(1.0)
    return Fetched(path, sha256_of(path), path.stat().st_size, media_type, is_ours=True, details=details)


def fetch_captions(episode: Episode, settings: Settings) -> tuple[TranscriptHead, list[Segment]] | None:
    """Return the publisher's transcript, None where there is none that can be used.

    Written by people before automatic, with word times before without, in the language of the talk. A text without any times
    is only taken when captions are all that is wanted (`--captions only`). One that cannot be fetched or read is passed over.
    """
    wanted = episode.language or settings.language or None
    for link in _ranked(episode.transcripts, wanted, settings.automatic_captions):
        try:
            segments = _read_captions(link, episode, settings)
        except (EarmarkError, OSError) as error:
            log.warning("%s: its transcript is passed over: %s", episode.title, error)
            continue
        if not _usable(segments, episode, settings):
            continue
        is_web = _is_web(link.url)
        source = "site-automatic" if link.automatic else "publisher" if is_web else "sidecar"
        name = redact(link.url) if is_web else Path(link.url).name
        return TranscriptHead(source, _format(link), name, link.language or wanted), segments  # type: ignore[arg-type]
    if episode.page_url and (not episode.media_url or is_site(episode.media_url)):
        return _captions_of_page(episode, settings, wanted)
    return None


def _captions_of_page(episode: Episode, settings: Settings, wanted: str | None) -> tuple[TranscriptHead, list[Segment]] | None:
    try:
        found, _ = captions_of_site(episode.page_url, settings, [wanted] if wanted else [], settings.automatic_captions)
        if found is None:
            return None
        segments = parse_captions(found.body, "", f"captions.{found.ext}", duration_s=episode.duration_s)
    except EarmarkError as error:
        log.warning("%s: its captions are passed over: %s", episode.title, error)
        return None
    if not _usable(segments, episode, settings):
        return None
    source = "site-automatic" if found.automatic else "site"
    return TranscriptHead(source, found.ext, redact(episode.page_url), found.language or wanted), segments  # type: ignore[arg-type]


def _read_captions(link: TranscriptLink, episode: Episode, settings: Settings) -> list[Segment]:
    if _is_web(link.url):
        page = Netguard(settings).get(link.url, max_bytes=MAX_CAPTION_BYTES, total_s=120)
        body, media_type = page.body, link.media_type or page.headers.get("content-type", "")
    else:
        with Path(link.url).open("rb") as file:
            body, media_type = file.read(MAX_CAPTION_BYTES), link.media_type
    return parse_captions(
        body, media_type, urlsplit(link.url).path if _is_web(link.url) else link.url, duration_s=episode.duration_s
    )


def _ranked(links: tuple[TranscriptLink, ...], wanted: str | None, automatic: bool) -> list[TranscriptLink]:
    """Return the links worth a try, the best first."""
    fitting = [link for link in links if (automatic or not link.automatic) and (not wanted or link.language in (None, "", wanted))]
    return sorted(fitting, key=lambda link: (link.automatic, link.language != wanted, _format_rank(link)))


def _format(link: TranscriptLink) -> str:
    return link.media_type.rpartition("/")[2].removeprefix("x-") or suffix_of(link.url).removeprefix(".")


def _format_rank(link: TranscriptLink) -> int:
    kind = f"{link.media_type} {suffix_of(link.url)}"
    return next((place for place, name in enumerate(_CAPTION_ORDER) if name in kind), len(_CAPTION_ORDER))


def _usable(segments: list[Segment], episode: Episode, settings: Settings) -> bool:
    if not segments:
        return False
    if any(UNTIMED in segment.flags for segment in segments):
        return settings.captions == "only"
    if episode.duration_s and episode.duration_s > 120 and segments[-1].end_s < episode.duration_s * MIN_COVERAGE:
        log.warning(
            "%s: its transcript ends at %.0f of %.0f s and is passed over", episode.title, segments[-1].end_s, episode.duration_s
        )
        return False
    return True


def _is_web(link: str) -> bool:
    return link.lower().startswith(("http://", "https://"))


def _where(link: str) -> tuple[Path | None, str]:
    """Tell a path from a web address: (path, "") or (None, address)."""
    if not link:
        raise SourceError("nothing was given", where="add", next_step="Give a file, a folder, a feed or a link")
    scheme, colon, rest = link.partition(":")
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        return None, link
    if scheme == "file" and colon:
        return Path(unquote(urlsplit(link).path)), ""
    if scheme in _FEED_SCHEMES and colon:
        inner = rest.removeprefix("//")
        return None, inner if _is_web(inner) else f"{_FEED_SCHEMES[scheme]}://{inner}"
    path = Path(link).expanduser()
    if path.exists() or not _HOST.match(link):
        return path, ""
    return None, urljoin("https:", f"//{link}")

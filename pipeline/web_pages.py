"""What a web address turns out to be: a feed, a recording, a page that links a feed, or a page for yt-dlp.

Comes in: a web address. Goes out: a `ShowListing`.
Does not know: how a feed or a site is read in detail.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx

from pipeline.feeds import Feed, parse_feed
from pipeline.media_types import is_media_name, is_media_type, media_type_of, sniff
from pipeline.netguard import MAX_PAGE_BYTES, Netguard, Page, redact, same_site
from pipeline.plaintext import line
from pipeline.refusals import refusal
from pipeline.sites import is_site, list_site
from pipeline.wanted import Wanted
from store.errors import SourceBusy, SourceError
from store.links import has_secret
from store.records import EpisodeListing, ShowListing
from store.settings import Settings

MAX_PAGES = 200  # of a paged feed
PAGES_S = 300.0
CLOSED = frozenset({403, 405, 406})  # what pages answer that only speak to browsers
_HEAD_BYTES = 2_048
_FEED_NAME = re.compile(r"\.(?:xml|rss|atom)(?:$|\?)|/(?:feed|rss)/?$", re.IGNORECASE)
_FEED_TYPES = re.compile(r"^(?:application/(?:rss|atom|rdf)\+xml|application/xml|text/xml|application/feed\+json)")


def list_web(link: str, settings: Settings, wanted: Wanted, *, etag: str = "", last_modified: str = "") -> ShowListing:
    """List a web address. Raises `SourceError`, `BlockedAddress` or `SourceBusy`."""
    if is_site(link):
        return _site(link, settings, wanted)
    guard = Netguard(settings)
    conditions = {"If-None-Match": etag} if etag else {}
    if last_modified:
        conditions["If-Modified-Since"] = last_modified
    page = _open(guard, link, conditions)
    if page.status in CLOSED:  # some sites only open to yt-dlp
        listing = None if _FEED_NAME.search(link) else list_site(link, settings, limit=_flat_limit(wanted), known_only=True)
        if listing is None:
            raise refusal(page.status, httpx.Headers(dict(page.headers)), redact(page.link))
        return listing
    if page.status == 304:
        return ShowListing(link, "feed", "", (), etag=etag, last_modified=last_modified, unchanged=True)
    kind = sniff(page.body)
    content_type = page.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "xml" or _looks_like_feed(page.body):
        return _feed(guard, _as_asked(link, page), page, wanted)
    if kind not in ("text/html", "playlist") and (kind or is_media_type(content_type) or _is_media_link(page.link, content_type)):
        return _recording(page, content_type if is_media_type(content_type) else kind)
    return _html(guard, link, page, settings, wanted)


def _open(guard: Netguard, link: str, headers: Mapping[str, str]) -> Page:
    """Fetch a page or feed whole, of a recording only the beginning."""
    with guard.stream(link, headers=headers, accept=(200, 304, *CLOSED), max_bytes=1 << 50) as answer:
        body = b""
        for block in answer.blocks:
            body += block
            if len(body) >= _HEAD_BYTES and not _is_text(body, answer.headers):
                break
            if len(body) > MAX_PAGE_BYTES:
                limit = MAX_PAGE_BYTES >> 20
                raise SourceError(
                    f"this page is larger than {limit} MB", where=redact(link), next_step="Give a feed or a recording"
                )
        return Page(answer.link, answer.permanent_link, answer.status, answer.headers, body)


def _is_text(head: bytes, headers: Mapping[str, str]) -> bool:
    kind = sniff(head[:_HEAD_BYTES])
    if kind:
        return kind in ("xml", "text/html", "playlist")
    return not is_media_type(headers.get("content-type", "").split(";")[0].strip().lower()) and b"\0" not in head[:_HEAD_BYTES]


def _looks_like_feed(body: bytes) -> bool:
    return re.search(rb"<(?:rss|feed|rdf:RDF|channel)[\s>]", body[:4096]) is not None and sniff(body) != "text/html"


def _is_media_link(link: str, content_type: str) -> bool:
    return is_media_name(link) and content_type in (
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/force-download",
    )


def _as_asked(link: str, page: Page) -> str:
    """Return the address that a show is known by: as asked, or where permanent redirects lead."""
    return _carry(page.permanent_link, link)


def _feed(guard: Netguard, link: str, page: Page, wanted: Wanted) -> ShowListing:
    feed = parse_feed(page.body, page.link, page.headers)
    feed, page, link = _moved(guard, feed, page, link)
    listing = _with_credentials(replace(feed.listing, link=link), link)
    episodes = {episode.guid: episode for episode in listing.episodes}
    warnings = list(listing.warnings)
    seen = {link, page.link}
    following, stop_at = listing.next_page, time.monotonic() + PAGES_S
    while following and following not in seen and len(seen) < MAX_PAGES and not wanted.enough(list(episodes.values())):
        seen.add(following)
        try:
            if time.monotonic() > stop_at:
                raise SourceBusy("it takes too long", where=redact(following), next_step="Use --limit or --since")
            more = guard.get(_carry(following, link))
            part = parse_feed(more.body, more.link, more.headers).listing
        except SourceError as error:
            warnings.append(f"the feed has more pages that could not be read: {error.what}")
            break
        part = _with_credentials(part, link)
        before = len(episodes)
        for episode in part.episodes:
            episodes.setdefault(episode.guid, episode)
        following = part.next_page if len(episodes) > before else ""
    return replace(
        listing,
        episodes=tuple(episodes.values()),
        etag=page.headers.get("etag", ""),
        last_modified=page.headers.get("last-modified", ""),
        next_page=following,
        warnings=tuple(warnings),
    )


def _moved(guard: Netguard, feed: Feed, page: Page, link: str) -> tuple[Feed, Page, str]:
    """Follow a feed that says that it lives elsewhere now, as long as there is a feed with episodes."""
    for _ in range(3):
        if not feed.moved_to or feed.moved_to in (link, page.link):
            break
        try:
            there = guard.get(feed.moved_to)
            moved = parse_feed(there.body, there.link, there.headers)
        except SourceError:
            break  # a stale note: what we have is what there is
        if not moved.listing.episodes and feed.listing.episodes:
            break
        feed, page, link = moved, there, there.permanent_link
    return feed, page, link


def _with_credentials(listing: ShowListing, link: str) -> ShowListing:
    """Hand a feed's user name and password on to the recordings and transcripts on the same host, which need them too."""
    if "@" not in urlsplit(link).netloc:
        return listing
    return replace(
        listing,
        episodes=tuple(
            replace(
                episode,
                media_url=_carry(episode.media_url, link),
                chapters_url=_carry(episode.chapters_url, link),
                transcripts=tuple(replace(item, url=_carry(item.url, link)) for item in episode.transcripts),
            )
            for episode in listing.episodes
        ),
    )


def _carry(link: str, source: str) -> str:
    there = urlsplit(link)
    user = urlsplit(source).netloc.rpartition("@")[0]
    if not user or not link or "@" in there.netloc or not same_site(source, link):
        return link
    return there._replace(netloc=f"{user}@{there.netloc}").geturl()


def _recording(page: Page, media_type: str) -> ShowListing:
    """A link to one recording: an episode of a show that all recordings of that web folder share."""
    link = page.permanent_link
    parts = urlsplit(link)
    folder, _, name = parts.path.rpartition("/")
    named = re.search(r"filename\*?=(?:UTF-8'')?\"?([^\";]+)", page.headers.get("content-disposition", ""), re.IGNORECASE)
    title = line(PurePosixPath(unquote(named.group(1) if named else name)).stem.replace("_", " "))
    host = parts.netloc.rpartition("@")[2]
    last = unquote(folder.rpartition("/")[2])
    length = page.headers.get("content-length", "")
    episode = EpisodeListing(
        guid=hashlib.sha256(link.encode()).hexdigest()[:32] if has_secret(link) else link,
        title=title or host,
        media_url=link,
        media_type=media_type_of(page.link, media_type),
        size_bytes=int(length) if length.isdigit() and int(length) else None,
    )
    return ShowListing(
        link=redact(f"{parts.scheme}://{host}{quote(unquote(folder))}/"),
        kind="link",
        title=f"{host}: {last}" if last and not has_secret(f"{parts.scheme}://{host}{folder}/") else host,
        episodes=(episode,),
    )


def _html(guard: Netguard, link: str, page: Page, settings: Settings, wanted: Wanted) -> ShowListing:
    """A web page: a site that yt-dlp knows, else the feed that it links, else whatever player yt-dlp finds in it."""
    feeds = _linked_feeds(page)
    if not feeds:
        return _site(link, settings, wanted)
    listing = list_site(link, settings, limit=_flat_limit(wanted), known_only=True)
    if listing is not None:
        return listing
    for address in feeds[:3]:
        try:
            found = guard.get(address)
            show = _feed(guard, found.permanent_link, found, wanted)
        except SourceError:
            continue
        own = [episode for episode in show.episodes if episode.page_url and _plain(episode.page_url) == _plain(page.link)]
        if own:  # the page of one episode: that one is meant
            note = f"this is the page of one episode; add {redact(show.link)} for the whole show"
            return replace(show, kind="link", episodes=tuple(own), warnings=(note,))
        if show.episodes:
            return replace(show, warnings=(*show.warnings, f"the page links a feed, which was read: {redact(show.link)}"))
    return _site(link, settings, wanted)


def _plain(link: str) -> str:
    parts = urlsplit(link)
    return f"{(parts.hostname or '').removeprefix('www.')}{parts.path.rstrip('/')}?{parts.query}".rstrip("?")


def _linked_feeds(page: Page) -> list[str]:
    reader = _Links()
    with suppress(AssertionError):  # html.parser gives up on a broken "<!["
        reader.feed(page.body[: 1 << 20].decode("utf-8", "replace"))
    found = [urljoin(page.link, address) for title, address in reader.feeds if "comment" not in title.lower()]
    return [address for address in dict.fromkeys(found) if "/comments/" not in address]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.feeds: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        is_feed = tag == "link" and "alternate" in values.get("rel", "").lower().split()
        if is_feed and _FEED_TYPES.match(values.get("type", "").lower()) and values.get("href"):
            self.feeds.append((values.get("title", ""), values["href"].strip()))


def _site(link: str, settings: Settings, wanted: Wanted) -> ShowListing:
    listing = list_site(link, settings, limit=_flat_limit(wanted))
    assert listing is not None  # only `known_only` answers None
    return listing


def _flat_limit(wanted: Wanted) -> int | None:
    """A site lists from new to old, so a bare limit spares the rest; with other wishes the whole list is needed."""
    return wanted.limit if wanted.limit is not None and wanted.is_bare_limit else None

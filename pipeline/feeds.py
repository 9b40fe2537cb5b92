"""A feed, read: RSS, Atom, Podcasting 2.0.

Comes in: the bytes of a feed and the link it came from. Goes out: a `ShowListing` with its episodes in the feed's order.
Does not know: how the bytes came here, nor whether anything in them exists. feedparser reads the syntax; what a field means is
read here. A feed names web addresses only; where a local feed may name files, the caller passes its own `resolve`.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline import podcast_tags
from pipeline.feed_fields import clock_s, duration_s, first_text, language_code, longest, mapping, rows, web_link
from pipeline.media_types import is_media_name, is_media_type, media_rank, media_type_of
from pipeline.plaintext import line, paragraphs
from store.errors import SourceError
from store.links import redact
from store.records import Chapter, EpisodeListing, Person, ShowListing, TranscriptLink

Resolve = Callable[[str], str]  # an address as the feed writes it -> a web address or path; "" where it may not be used

MAX_EPISODES = 50_000
# Video pages that a feed may list without an enclosure: yt-dlp fetches them one by one
_VIDEO_PAGE = re.compile(
    r"^https?://(?:(?:www\.|m\.)?youtube\.com/(?:watch\?|shorts/|live/)|youtu\.be/[\w-]{6}|(?:player\.)?vimeo\.com/(?:video/)?\d|"
    r"(?:www\.)?dailymotion\.com/video/|(?:www\.)?twitch\.tv/videos/|(?:www\.)?ted\.com/talks/|[^/]+/videos/watch/[0-9a-f-]{36}|"
    r"[^/]+/w/[0-9A-Za-z]{22}$)",
    re.IGNORECASE,
)


# Characters that there are not, bases that are no addresses, chapters without a start
_STUMBLES = re.compile(
    rb"&#(?:x[0-9a-fA-F]{6,}|\d{7,});|xml:base=(?:\"[^\"]*\"|'[^']*')|</?psc:[^>]*>|<\?xml[^>]*\?>|</?media:(?:rating|category)[^>]*>"
)
_ENTITY = re.compile(rb"<!ENTITY(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as read. `moved_to` is where it says that it lives now, "" if it says nothing."""

    listing: ShowListing
    moved_to: str = ""


def read_feed(body: bytes, link: str, headers: Mapping[str, str] | None = None, resolve: Resolve | None = None) -> ShowListing:
    """Return the show that a feed lists. Raises `SourceError` if `body` is no feed; broken feeds give what can be read."""
    return parse_feed(body, link, headers, resolve).listing


def parse_feed(body: bytes, link: str, headers: Mapping[str, str] | None = None, resolve: Resolve | None = None) -> Feed:
    """Return the show that a feed lists and where the feed has moved to, if it says so. Errors as in `read_feed`."""
    if not body.strip():
        raise _no_feed(link)
    content_type = {name.lower(): value for name, value in (headers or {}).items()}.get("content-type", "")
    parsed = _parsed(_without_entities(body), content_type, link)
    feed = parsed.feed
    moved_to = web_link(link, first_text(feed, "itunes_new-feed-url", "newlocation", "redirect_newlocation"))
    if not (parsed.version or parsed.entries or feed.get("title") or moved_to):
        raise _no_feed(link)
    reader = _Items(link, resolve or (lambda address: web_link(link, address)), feed)
    episodes = tuple(reader.episodes(parsed.entries[:MAX_EPISODES]))
    warnings = list(reader.warnings)
    if parsed.get("bozo") and type(parsed.get("bozo_exception")).__name__ != "CharacterEncodingOverride":
        warnings.append("the feed is not well-formed: some of it may be missing")
    pages = [item for item in rows(feed.get("links")) if item.get("rel") == "next"]
    listing = ShowListing(
        link=link,
        kind="feed",
        title=line(feed.get("title")) or _host(link),
        episodes=episodes,
        description=paragraphs(longest(feed.get("summary"), feed.get("subtitle"))),
        author=line(first_text(feed, "author", "publisher")),
        language=language_code(feed.get("language")),
        image_url=reader.resolve(_image(feed) or ""),
        page_url=web_link(link, _alternate(feed)),
        etag="",
        last_modified="",
        next_page=web_link(link, pages[0].get("href")) if pages else "",
        warnings=tuple(warnings),
    )
    return Feed(listing, moved_to if moved_to != link else "")


def _parsed(body: bytes, content_type: str, link: str) -> Any:
    """Let feedparser read the syntax; what it stumbles over is taken out, and it tries again."""
    import feedparser

    podcast_tags.teach()
    headers = {"content-type": content_type} if content_type else {}
    for attempt in (body, _STUMBLES.sub(b" ", body.decode("utf-8", "replace").encode())):
        try:
            # a str or bytes would be taken for an address or a file name first
            return feedparser.parse(io.BytesIO(attempt), response_headers=headers, sanitize_html=False, resolve_relative_uris=False)
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError, RecursionError):
            headers = {"content-type": "application/xml; charset=utf-8"}
    raise SourceError("this feed is too broken to be read", where=redact(link), next_step="Tell its owner")


class _Items:
    """Reads the items of one feed."""

    def __init__(self, link: str, resolve: Resolve, feed: Mapping[str, Any]) -> None:
        self._link = link
        self.resolve = resolve
        self._people = _people(feed)
        self.warnings: list[str] = []

    def episodes(self, entries: Iterable[Mapping[str, Any]]) -> Iterable[EpisodeListing]:
        seen: set[str] = set()
        without = refused = 0
        for entry in entries:
            media, named = self._media(entry)
            page = web_link(self._link, _alternate(entry))
            if media is None and not _VIDEO_PAGE.match(page):
                without, refused = (without, refused + 1) if named else (without + 1, refused)
                continue
            episode = self._episode(entry, media or {}, page)
            if episode.guid in seen:  # the same item listed twice
                continue
            seen.add(episode.guid)
            yield episode
        if refused:
            self.warnings.append(f"{refused} items name a recording that may not be fetched from here")
        if without:
            self.warnings.append(f"{without} items carry no recording")

    def _episode(self, entry: Mapping[str, Any], media: Mapping[str, Any], page: str) -> EpisodeListing:
        address = str(media.get("href", ""))
        title = line(entry.get("title")) or line(first_text(entry, "media_title"))
        published = _date(entry)
        contents = [item.get("value") for item in rows(entry.get("content")) if "html" in str(item.get("type", ""))]
        size = str(media.get("length") or media.get("filesize") or "")
        chapters_url = entry.get("podcast_chapters")
        return EpisodeListing(
            guid=_guid(entry, address, page, title, published),
            title=title or _name(address) or "Untitled",
            media_url=address,
            page_url=page,
            description=paragraphs(contents[0] if contents else entry.get("summary")),
            published=published,
            duration_s=duration_s(first_text(entry, "itunes_duration")) or duration_s(str(media.get("duration", ""))),
            media_type=media_type_of(address, str(media.get("type", ""))) if address else "",
            size_bytes=int(size) if size.isdigit() and 0 < int(size) < 1 << 43 else None,
            image_url=self.resolve(_image(entry) or ""),
            language=language_code(mapping(entry.get("title_detail")).get("language")),
            people=_people(entry) or self._people,
            chapters=_chapters(entry),
            chapters_url=self.resolve(chapters_url.get("url", "")) if isinstance(chapters_url, Mapping) else "",
            transcripts=self._transcripts(entry),
        )

    def _media(self, entry: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the best recording of an item with its address resolved, and whether the item names any at all."""
        offers = [dict(item) for item in rows(entry.get("links")) if item.get("rel") == "enclosure"]
        offers += [{**item, "href": item.get("url"), "alternative": True} for item in rows(entry.get("media_content"))]
        best: tuple[int, int, dict[str, Any]] | None = None
        named = False
        for place, offer in enumerate(offers):
            written = str(offer.get("href") or offer.get("url") or "").strip()
            media_type = str(offer.get("type") or "").split(";")[0].strip().lower()
            says_nothing = not media_type and not offer.get("alternative")  # an enclosure without a type may be a recording
            is_media = is_media_type(media_type) or is_media_name(written) or offer.get("medium") in ("audio", "video")
            if not written or not (is_media or says_nothing):
                continue  # a picture, a document
            named = True
            address = self.resolve(written)
            if not address:
                continue
            rank = media_rank(media_type_of(address, media_type))
            if best is None or (rank, place) < best[:2]:
                best = (rank, place, {**offer, "href": address, "type": media_type})
        return (best[2] if best else None), named

    def _transcripts(self, entry: Mapping[str, Any]) -> tuple[TranscriptLink, ...]:
        links = []
        for item in rows(entry.get("podcast_transcripts")):
            address = self.resolve(str(item.get("url") or "").strip())
            if address:
                media_type = str(item.get("type") or "").split(";")[0].strip().lower()
                links.append(TranscriptLink(address, media_type, language_code(item.get("language"))))
        return tuple(dict.fromkeys(links))


def _without_entities(body: bytes) -> bytes:
    """Leave out what a feed declares of its own entities: none needs them, and nested ones unfold without end."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") and b"!\0E\0N\0T" in body:
        body = re.sub(r"(<\?xml[^>]*?) encoding=\S+?(?=[\s?])", r"\1", body.decode("utf-16", "replace")).encode()
    return _ENTITY.sub(b"", body) if b"<!ENTITY" in body else body


def _no_feed(link: str) -> SourceError:
    return SourceError("this is no feed", where=redact(link), next_step="Give the address of an RSS or Atom feed")


def _alternate(entry: Mapping[str, Any]) -> str:
    for item in rows(entry.get("links")):
        if item.get("rel", "alternate") == "alternate" and "html" in str(item.get("type", "html")) and item.get("href"):
            return str(item["href"])
    link = str(entry.get("link", ""))
    enclosures = [item.get("href") for item in rows(entry.get("links")) if item.get("rel") == "enclosure"]
    return "" if link in enclosures else link


def _image(entry: Mapping[str, Any]) -> str:
    image = entry.get("image")
    if isinstance(image, Mapping) and (image.get("href") or image.get("url")):
        return str(image.get("href") or image.get("url"))
    podcast_image = entry.get("podcast_image")
    if isinstance(podcast_image, Mapping) and podcast_image.get("href"):
        return str(podcast_image["href"])
    for thumbnail in rows(entry.get("media_thumbnail")):
        if thumbnail.get("url"):
            return str(thumbnail["url"])
    return ""


def _people(entry: Mapping[str, Any]) -> tuple[Person, ...]:
    """The named people; where none are named, the author."""
    named = [
        Person(line(item["name"]), line(item.get("role")).lower() or "host")
        for item in rows(entry.get("podcast_persons"))
        if line(item.get("name"))
    ]
    author = line(mapping(entry.get("author_detail")).get("name") or "")
    if not named and author and "@" not in author:
        named = [Person(author, "author")]
    return tuple(dict.fromkeys(named))


def _chapters(entry: Mapping[str, Any]) -> tuple[Chapter, ...]:
    marks = rows(mapping(entry.get("psc_chapters")).get("chapters"))
    found = [(clock_s(str(mark.get("start", ""))), line(mark.get("title"))) for mark in marks]
    chapters = {Chapter(start, title) for start, title in found if start is not None and title}
    return tuple(sorted(chapters, key=lambda mark: mark.start_s))


def _date(entry: Mapping[str, Any]) -> str:
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        value = dict.get(entry, name) if isinstance(entry, dict) else None  # feedparser's own `get` passes one date off as another
        if value:
            try:
                return datetime(*tuple(value)[:6]).replace(tzinfo=timezone.utc).isoformat()
            except (TypeError, ValueError):  # a day that no calendar has
                continue
    return ""


def _guid(entry: Mapping[str, Any], media: str, page: str, title: str, published: str) -> str:
    written = first_text(entry, "id")
    if written or media or page:
        return written or redact(media) or page  # a token in an address changes, the episode does not
    return hashlib.sha256(f"{title}\0{published}".encode()).hexdigest()[:32]


def _name(address: str) -> str:
    """A title made of a file's name."""
    stem = PurePosixPath(unquote(urlsplit(address).path)).stem
    return " ".join(stem.replace("_", " ").split())


def _host(link: str) -> str:
    return urlsplit(link).hostname or PurePosixPath(link).stem or "Feed"

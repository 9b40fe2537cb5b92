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
from urllib.parse import unquote, urljoin, urlsplit

from pipeline import podcast_tags
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
    import feedparser

    podcast_tags.teach()
    if not body.strip():
        raise _no_feed(link)
    content_type = {name.lower(): value for name, value in (headers or {}).items()}.get("content-type", "")
    parsed = feedparser.parse(
        io.BytesIO(_without_entities(body)),  # a str or bytes would be taken for an address or a file name first
        response_headers={"content-type": content_type} if content_type else {},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    feed = parsed.feed
    moved_to = _web_link(link, _text(feed, "itunes_new-feed-url", "newlocation", "redirect_newlocation"))
    if not (parsed.version or parsed.entries or feed.get("title") or moved_to):
        raise _no_feed(link)
    reader = _Items(link, resolve or (lambda address: _web_link(link, address)), feed)
    episodes = tuple(reader.episodes(parsed.entries[:MAX_EPISODES]))
    warnings = list(reader.warnings)
    if parsed.get("bozo") and not isinstance(parsed.get("bozo_exception"), feedparser.CharacterEncodingOverride):
        warnings.append("the feed is not well-formed: some of it may be missing")
    pages = [item for item in feed.get("links", ()) if item.get("rel") == "next"]
    listing = ShowListing(
        link=link,
        kind="feed",
        title=line(feed.get("title")) or _host(link),
        episodes=episodes,
        description=paragraphs(_longest(feed.get("summary"), feed.get("subtitle"))),
        author=line(_text(feed, "author", "publisher")),
        language=language_code(feed.get("language")),
        image_url=_web_link(link, _image(feed)),
        page_url=_web_link(link, _alternate(feed)),
        etag="",
        last_modified="",
        next_page=_web_link(link, pages[0].get("href")) if pages else "",
        warnings=tuple(warnings),
    )
    return Feed(listing, moved_to if moved_to != link else "")


class _Items:
    """Reads the items of one feed."""

    def __init__(self, link: str, resolve: Resolve, feed: Mapping[str, Any]) -> None:
        self._link = link
        self._resolve = resolve
        self._people = _people(feed)
        self.warnings: list[str] = []

    def episodes(self, entries: Iterable[Mapping[str, Any]]) -> Iterable[EpisodeListing]:
        seen: set[str] = set()
        without = refused = 0
        for entry in entries:
            media, named = self._media(entry)
            page = _web_link(self._link, _alternate(entry))
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
        title = line(entry.get("title")) or line(_text(entry, "media_title"))
        published = _date(entry)
        contents = [item.get("value") for item in entry.get("content", ()) if "html" in item.get("type", "text")]
        size = str(media.get("length") or media.get("filesize") or "")
        chapters_url = entry.get("podcast_chapters")
        return EpisodeListing(
            guid=_guid(entry, address, page, title, published),
            title=title or _name(address) or "Untitled",
            media_url=address,
            page_url=page,
            description=paragraphs(contents[0] if contents else entry.get("summary")),
            published=published,
            duration_s=duration_s(_text(entry, "itunes_duration")) or duration_s(str(media.get("duration", ""))),
            media_type=media_type_of(address, str(media.get("type", ""))) if address else "",
            size_bytes=int(size) if size.isdigit() and 0 < int(size) < 1 << 43 else None,
            image_url=_web_link(self._link, _image(entry)),
            language=language_code((entry.get("title_detail") or {}).get("language")),
            people=_people(entry) or self._people,
            chapters=_chapters(entry),
            chapters_url=self._resolve(chapters_url.get("url", "")) if isinstance(chapters_url, Mapping) else "",
            transcripts=self._transcripts(entry),
        )

    def _media(self, entry: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        """Return the best recording of an item with its address resolved, and whether the item names any at all."""
        offers = [dict(item) for item in entry.get("enclosures", ())]
        offers += [{**item, "href": item.get("url"), "alternative": True} for item in entry.get("media_content", ())]
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
            address = self._resolve(written)
            if not address:
                continue
            rank = media_rank(media_type_of(address, media_type))
            if best is None or (rank, place) < best[:2]:
                best = (rank, place, {**offer, "href": address, "type": media_type})
        return (best[2] if best else None), named

    def _transcripts(self, entry: Mapping[str, Any]) -> tuple[TranscriptLink, ...]:
        links = []
        for item in entry.get("podcast_transcripts", ()):
            address = self._resolve(str(item.get("url") or "").strip())
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


def duration_s(text: str) -> float | None:
    """Read a duration as feeds write it: "3723", "62:03", "1:02:03", "1:02:03.5". None if it says nothing."""
    parts = text.strip().split(":")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"\d{1,7}(?:\.\d+)?", part.strip()) for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return seconds if 0 < seconds < 1e6 else None


def clock_s(text: str) -> float | None:
    """Read a point in time as chapter marks write it: seconds, "8:26", "00:03:07.250". None if it is none."""
    match = re.fullmatch(r"\s*(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:[.,]\d+)?)\s*", text)
    if not match:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds.replace(",", "."))


def language_code(text: object) -> str | None:
    """Return the language of a tag such as "en-US" as the speech models write it ("en"), None if there is none."""
    match = re.match(r"\s*([A-Za-z]{2,3})(?:[-_]|\s*$)", str(text or ""))
    return match.group(1).lower() if match else None


def _web_link(base: str, address: object) -> str:
    """Return an absolute web address, "" for everything that is none."""
    text = str(address or "").strip()
    if not text:
        return ""
    try:
        joined = urljoin(base, "".join(text.split("\n")).replace(" ", "%20"))
        parts = urlsplit(joined)
        return joined if parts.scheme.lower() in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def _text(entry: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = entry.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _longest(*texts: object) -> str:
    return max((text for text in texts if isinstance(text, str)), key=len, default="")


def _alternate(entry: Mapping[str, Any]) -> str:
    for item in entry.get("links", ()):
        if item.get("rel", "alternate") == "alternate" and "html" in item.get("type", "html") and item.get("href"):
            return str(item["href"])
    link = str(entry.get("link", ""))
    enclosures = [item.get("href") for item in entry.get("links", ()) if item.get("rel") == "enclosure"]
    return "" if link in enclosures else link


def _image(entry: Mapping[str, Any]) -> str:
    image = entry.get("image")
    if isinstance(image, Mapping) and (image.get("href") or image.get("url")):
        return str(image.get("href") or image.get("url"))
    podcast_image = entry.get("podcast_image")
    if isinstance(podcast_image, Mapping) and podcast_image.get("href"):
        return str(podcast_image["href"])
    for thumbnail in entry.get("media_thumbnail", ()):
        if thumbnail.get("url"):
            return str(thumbnail["url"])
    return ""


def _people(entry: Mapping[str, Any]) -> tuple[Person, ...]:
    """The named people; where none are named, the author."""
    named = [
        Person(line(item["name"]), line(item.get("role")).lower() or "host")
        for item in entry.get("podcast_persons", ())
        if line(item.get("name"))
    ]
    author = line((entry.get("author_detail") or {}).get("name") or "")
    if not named and author and "@" not in author:
        named = [Person(author, "author")]
    return tuple(dict.fromkeys(named))


def _chapters(entry: Mapping[str, Any]) -> tuple[Chapter, ...]:
    marks = (entry.get("psc_chapters") or {}).get("chapters", ())
    found = [(clock_s(str(mark.get("start", ""))), line(mark.get("title"))) for mark in marks]
    chapters = {Chapter(start, title) for start, title in found if start is not None and title}
    return tuple(sorted(chapters, key=lambda mark: mark.start_s))


def _date(entry: Mapping[str, Any]) -> str:
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        value = entry.get(name)
        if value:
            try:
                return datetime(*tuple(value)[:6]).replace(tzinfo=timezone.utc).isoformat()
            except (TypeError, ValueError):  # a day that no calendar has
                continue
    return ""


def _guid(entry: Mapping[str, Any], media: str, page: str, title: str, published: str) -> str:
    written = _text(entry, "id")
    if written or media or page:
        return written or redact(media) or page  # a token in an address changes, the episode does not
    return hashlib.sha256(f"{title}\0{published}".encode()).hexdigest()[:32]


def _name(address: str) -> str:
    """A title made of a file's name."""
    stem = PurePosixPath(unquote(urlsplit(address).path)).stem
    return " ".join(stem.replace("_", " ").split())


def _host(link: str) -> str:
    return urlsplit(link).hostname or PurePosixPath(link).stem or "Feed"

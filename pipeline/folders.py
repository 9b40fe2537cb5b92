"""Recordings on this machine: a file, a folder, a feed that lies beside its recordings.

Comes in: a path. Goes out: a `ShowListing` whose media addresses are absolute paths.
Does not know: what is inside a recording. A file is used where it lies and never copied.

A single file belongs to the show of its folder, with its name as guid; so several files of one folder share a show, and adding
the whole folder later adds only what is new.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.feeds import parse_feed
from pipeline.media_types import SUFFIXES, is_media_name, media_type_of
from pipeline.netguard import MAX_PAGE_BYTES
from store.errors import SourceError
from store.records import EpisodeListing, ShowListing, TranscriptLink

FEED_SUFFIXES = (".xml", ".rss", ".atom")
CAPTION_TYPES = {
    ".vtt": "text/vtt",
    ".srt": "application/x-subrip",
    ".json": "application/json",
    ".html": "text/html",
    ".sbv": "text/x-sbv",
    ".txt": "text/plain",
}
_NOT_CAPTIONS = (".info.json", ".chapters.json")
_LANGUAGE = re.compile(r"\.([a-z]{2,3})(?:-[A-Za-z0-9]{2,8})?$")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")


def list_path(path: Path) -> ShowListing:
    """Return the show that a file or folder stands for. Raises `SourceError` if there is no recording."""
    path = path.expanduser()
    try:
        path = path.resolve(strict=True)
        if path.is_dir():
            return _folder(path)
        if path.suffix.lower() in FEED_SUFFIXES:
            return _feed(path)
        return _file(path)
    except FileNotFoundError as error:
        raise SourceError("there is no such file or folder", where=str(path), next_step="Check the path") from error
    except PermissionError as error:
        raise SourceError("it may not be read", where=str(path), next_step="Check its permissions") from error


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts "talk 2" before "talk 10"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _file(path: Path) -> ShowListing:
    if not path.is_file():
        raise SourceError("this is neither a file nor a folder", where=str(path), next_step="Give a recording or a folder")
    folder = path.parent
    title = folder.name or "Files"
    return ShowListing(link=str(folder), kind="file", title=title, episodes=(_episode(path, folder, _names(folder)),))


def _folder(folder: Path) -> ShowListing:
    names: dict[Path, dict[str, list[Path]]] = {}
    found = []
    for path in _recordings(folder):
        if path.parent not in names:
            names[path.parent] = _names(path.parent)
        found.append(_episode(path, folder, names[path.parent]))
    if not found:
        raise SourceError(
            "there is no recording in this folder", where=str(folder), next_step=f"Known endings are {', '.join(sorted(SUFFIXES))}"
        )
    found.sort(key=lambda episode: [natural(part) for part in episode.guid.split("/")])
    return ShowListing(link=str(folder), kind="folder", title=folder.name or str(folder), episodes=tuple(found))


def _recordings(folder: Path) -> Iterator[Path]:
    """Walk a folder; hidden files and folders, and links that lead out of it or in circles, are left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(parent, name)
            if is_media_name(name) and not name.startswith(".") and not name.endswith(".part") and path.is_file():
                yield path


def _episode(path: Path, folder: Path, names: dict[str, list[Path]]) -> EpisodeListing:
    guid = path.relative_to(folder).as_posix()
    dated = _DATE.search(path.stem)
    title = " ".join(path.stem.replace("_", " ").split())
    image = next((str(picture) for picture in names.get(path.stem, ()) if picture.suffix.lower() in (".jpg", ".jpeg", ".png")), "")
    return EpisodeListing(
        guid=guid,
        title=title or path.name,
        media_url=str(path),
        published="-".join(dated.groups()) if dated else "",
        media_type=media_type_of(path.name),
        size_bytes=path.stat().st_size,
        image_url=image,
        transcripts=_sidecars(path, names),
    )


def _names(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder by every stem they could stand beside: `talk.en.vtt` under `talk.en` and `talk`."""
    names: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        stem = path.name
        while "." in stem.lstrip("."):
            stem = stem.rpartition(".")[0]
            names.setdefault(stem, []).append(path)
    return names


def _sidecars(media: Path, names: dict[str, list[Path]]) -> tuple[TranscriptLink, ...]:
    """Return the transcripts beside a recording: `talk.vtt`, `talk.en.srt`, `talk.mp3.json`."""
    links = []
    for path in [*names.get(media.stem, ()), *names.get(media.name, ())]:
        media_type = CAPTION_TYPES.get(path.suffix.lower())
        between = path.name[len(media.stem) : -len(path.suffix)].removeprefix(media.suffix)
        language = _LANGUAGE.fullmatch(between)
        if media_type is None or path.name.lower().endswith(_NOT_CAPTIONS) or not path.is_file() or not (between == "" or language):
            continue
        links.append(TranscriptLink(str(path), media_type, language.group(1) if language else None))
    return tuple(dict.fromkeys(links))


def _feed(path: Path) -> ShowListing:
    """Read a feed file; its relative addresses name files beside it, and only inside its folder."""
    folder = path.parent
    if path.stat().st_size > MAX_PAGE_BYTES:
        raise SourceError("this is too large for a feed", where=str(path), next_step="Give a feed or a recording")

    def resolve(address: str) -> str:
        parts = urlsplit(address.strip())
        if parts.scheme.lower() in ("http", "https"):
            return address.strip() if parts.hostname else ""
        if parts.scheme.lower() not in ("", "file") or (parts.netloc not in ("", "localhost")):
            return ""
        try:
            inside = (folder / unquote(parts.path)).resolve()
            return str(inside) if inside.is_relative_to(folder) and inside.is_file() else ""
        except (OSError, ValueError):
            return ""

    listing = parse_feed(path.read_bytes(), str(path), resolve=resolve).listing
    title = listing.title if listing.title != path.stem else folder.name or path.stem
    return ShowListing(
        link=str(path),
        kind="feed",
        title=title,
        episodes=listing.episodes,
        description=listing.description,
        author=listing.author,
        language=listing.language,
        image_url=listing.image_url,
        page_url=listing.page_url,
        warnings=listing.warnings,
    )

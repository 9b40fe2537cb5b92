"""One recording from a direct link to a file.

Comes in: a link, a folder, a name. Goes out: the path of a whole file; a cut connection goes on where it broke off, now or at
the next try, as long as the server still has the same file.
Does not know: the episode; whether the file can be decoded.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.media_types import ending_for, is_media_type, media_type_of, sniff
from pipeline.netguard import Answer, Netguard, redact
from store.errors import DiskFull, SourceBusy, SourceError
from store.files import sync_folder, write_atomic
from store.settings import Settings

TOTAL_S = 6 * 3600.0
RESUMES = 8  # broken connections in one call, as long as each brought something
SLOW_AFTER_S = 120.0
SLOW_BYTES_PER_S = 2_000  # slower than this in the long run is a server that only holds the line
HEAD_BYTES = 512

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Download:
    """A fetched file."""

    path: Path
    size_bytes: int
    media_type: str


@dataclass(slots=True)
class _Part:
    """What is on disk so far, and how the server named that version (an ETag or a date, "" if it did not)."""

    path: Path
    version: str = ""
    media_type: str = ""

    @property
    def notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def recall(self, link: str) -> None:
        try:
            notes = json.loads(self.notes.read_bytes())
            if notes["link"] == redact(link):
                self.version, self.media_type = str(notes["version"]), str(notes["media_type"])
                return
        except (OSError, ValueError, KeyError, TypeError):
            self.version = ""
        self.drop()

    def remember(self, link: str) -> None:
        notes = {"link": redact(link), "version": self.version, "media_type": self.media_type}
        write_atomic(self.notes, json.dumps(notes).encode())

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def download(link: str, folder: Path, name: str, settings: Settings, progress: Progress | None = None) -> Download:
    """Fetch `link` to `folder`/`name` + the ending that fits. `progress` is called with the share done, at most once a second.

    Raises `SourceError` (gone, refused, a web page, too large, empty), `SourceBusy` (cut off too often, slow, 429, 5xx) and
    `DiskFull`.
    """
    try:
        return _download(link, folder, name, settings, progress)
    except OSError as error:
        what = f"the recording cannot be written ({error.strerror or error})"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kind: type[SourceBusy | DiskFull] = DiskFull if full else SourceBusy
        raise kind(what, where=str(folder), next_step="Make room for it, or see who may write there") from error


def _download(link: str, folder: Path, name: str, settings: Settings, progress: Progress | None) -> Download:
    folder.mkdir(parents=True, exist_ok=True)
    part = _Part(folder / f"{name}.part")
    part.recall(link)
    guard = Netguard(settings)
    stop_at = time.monotonic() + TOTAL_S
    for attempt in range(RESUMES + 1):
        before = part.size_bytes
        try:
            _receive(guard, link, part, settings, stop_at, progress)
            break
        except SourceBusy as error:
            gained = part.size_bytes - before
            if error.retry_after_s is not None or gained <= 0 or not part.version or attempt == RESUMES:
                raise
    return _finish(part, link, folder, name)


def _receive(guard: Netguard, link: str, part: _Part, settings: Settings, stop_at: float, progress: Progress | None) -> None:
    """Append to the part what the server still has of it."""
    have = part.size_bytes if part.version else 0
    headers = {"Range": f"bytes={have}-", "If-Range": part.version} if have else {}
    max_bytes = settings.max_download_mb * 1_000_000
    with guard.stream(
        link,
        headers=headers,
        max_bytes=max_bytes - have,
        total_s=stop_at - time.monotonic(),
        accept=(200, 206, 416),
        compressed=False,
    ) as answer:
        span = _span(answer.headers.get("content-range", ""))
        if answer.status == 416:
            if span is not None and span[2] == have:
                return  # everything was here already
            part.drop()
            raise SourceBusy("the server changed the file meanwhile", where=redact(link), next_step="Try again")
        if answer.status == 206 and not (have and span is not None and span[0] == have):
            part.drop()
            raise SourceBusy("the server sent another piece than asked for", where=redact(link), next_step="Try again")
        if answer.status == 200:
            have = 0
        total = _total(answer, span)
        version = _version(answer.headers)
        if not have:
            part.drop()
            part.version = version
            part.media_type = answer.headers.get("content-type", "")
            if version:
                part.remember(link)
        _write(answer, link, part, have, total, progress)


def _write(answer: Answer, link: str, part: _Part, have: int, total: int | None, progress: Progress | None) -> None:
    began = told = time.monotonic()
    done, head = have, b"" if have == 0 else None
    with part.path.open("ab" if have else "wb") as file:
        try:
            for block in answer.blocks:
                if head is not None:
                    head += block[:HEAD_BYTES]
                    if len(head) >= HEAD_BYTES:
                        _check_head(head, answer.headers, link)
                        head = None
                file.write(block)
                done += len(block)
                now = time.monotonic()
                if progress is not None and total and now - told >= 1.0:
                    told = now
                    progress(min(done / total, 1.0))
                if now - began > SLOW_AFTER_S and (done - have) / (now - began) < SLOW_BYTES_PER_S:
                    raise SourceBusy("the server sends too slowly", where=redact(link), next_step="Try again later")
        finally:
            file.flush()
            os.fsync(file.fileno())
    if head is not None:
        _check_head(head, answer.headers, link)
    if total is not None and done < total:
        raise SourceBusy("the connection broke off before the end", where=redact(link), next_step="Try again")


def _check_head(head: bytes, headers: Mapping[str, str], link: str) -> None:
    """Tell a web page, a playlist and nothing at all from a recording, before much of it is fetched."""
    where = redact(link)
    content_type = headers.get("content-type", "").split(";")[0].strip().lower()
    kind = sniff(head)
    if not head:
        raise SourceError("the address answered with nothing", where=where, next_step="Check it in a browser")
    if any(name.lower().startswith("icy-") for name in headers):
        raise SourceError("this is a radio station, which never ends", where=where, next_step="Add its recordings instead")
    if kind == "text/html" or (content_type == "text/html" and not kind):
        step = "It may need a login or have moved: open it in a browser"
        raise SourceError("the address answered with a web page, not audio", where=where, next_step=step)
    if kind == "playlist":
        step = "Add the page that it is played on instead"
        raise SourceError("the address answered with a playlist, not audio", where=where, next_step=step)
    is_text = content_type.startswith("text/") or content_type in ("application/json", "application/xml")
    if kind == "xml" or (is_text and not kind and not is_media_type(media_type_of(link))):
        raise SourceError(f"the address answered with text ({content_type or 'XML'}), not audio", where=where, next_step="Check it")


def _finish(part: _Part, link: str, folder: Path, name: str) -> Download:
    with part.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        part.drop()
        raise SourceError("the address answered with nothing", where=redact(link), next_step="Check it in a browser")
    declared = media_type_of("", part.media_type)
    media_type = declared if is_media_type(declared) else (sniff(head) or media_type_of(link))
    path = folder / f"{name}{ending_for(media_type, link)}"
    part.path.replace(path)
    part.notes.unlink(missing_ok=True)
    sync_folder(folder)
    return Download(path, path.stat().st_size, media_type)


def _span(value: str) -> tuple[int, int, int] | None:
    """Read a Content-Range header: first byte, last byte, size of the whole (-1 unknown)."""
    match = re.fullmatch(r"\s*bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)\s*", value)
    if not match:
        return None
    first, last, size = match.groups()
    return int(first or 0), int(last or 0), -1 if size == "*" else int(size)


def _total(answer: Answer, span: tuple[int, int, int] | None) -> int | None:
    if answer.status == 206:
        return span[2] if span is not None and span[2] >= 0 else None
    length = answer.headers.get("content-length", "")
    return int(length) if length.isdigit() and not answer.headers.get("content-encoding") else None


def _version(headers: Mapping[str, str]) -> str:
    """Return what If-Range may be asked with: a strong ETag, else the date of the last change; "" if pieces are not served."""
    if headers.get("accept-ranges", "").lower() == "none" or headers.get("content-encoding"):
        return ""
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') else headers.get("last-modified", "")

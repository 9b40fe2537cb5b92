"""A generation of the index: a manifest that lists immutable parts with their checksums, swapped as one file.

Comes in: the index folder. Goes out: the manifest, parts checked against it, and the lock that lets one builder at a time.
Does not know: what is inside a part.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.errors import IndexUnavailable
from store.files import sha256_of, sync_folder, write_atomic
from store.settings import Settings

FORMAT = 2  # raised when a part's files change their meaning: an older index is then built again from the database
MANIFEST_NAME, PARTS_NAME, LOCK_NAME = "manifest.json", "parts", "builder.lock"
LOCK_RETRY_S = 0.05


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One part: the passages with ids `first_id..last_id` that existed when it was made. `files`: path -> (size, SHA-256)."""

    name: str
    first_id: int
    last_id: int
    passages: int
    windows: int
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation. `change_id` is how far it followed the store's log; `removed` are ranges of passage ids, ends included.

    `embedder` stamps the model by its content, `source` is the setting that opens it ("" in an older index).
    `collection` names the Qdrant collection that finds its windows; "" if its own parts do.
    """

    generation: int
    change_id: int
    embedder: str
    dim: int
    parts: tuple[PartEntry, ...] = ()
    removed: tuple[tuple[int, int], ...] = ()
    collection: str = ""
    source: str = ""

    @property
    def windows(self) -> int:
        """Windows in all parts, removed ones included."""
        return sum(part.windows for part in self.parts)


def index_folder(settings: Settings) -> Path:
    """Return the folder of the index: everything in it can be made again from the database."""
    return settings.data_dir / "index"


def read_manifest(folder: Path) -> Manifest:
    """Return the current generation. Raises `IndexUnavailable` if there is none, or one of another format."""
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise IndexUnavailable(
                "the index is of another version of Earmark", where=str(folder), next_step="Run: earmark reindex"
            )
        parts = tuple(_entry(part) for part in content.pop("parts"))
        removed = tuple((int(first), int(last)) for first, last in content.pop("removed"))
        return Manifest(**content, parts=parts, removed=removed)
    except FileNotFoundError as error:
        raise IndexUnavailable(
            "there is no index yet", where=str(folder), next_step="Run: earmark run, or earmark reindex"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IndexUnavailable(
            f"the index's manifest is damaged ({error})", where=str(path), next_step="Run: earmark reindex"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make `manifest` the current generation: readers see the old one or the new one."""
    write_atomic(folder / MANIFEST_NAME, json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode())


def describe_part(folder: Path, first_id: int, last_id: int, passages: int, windows: int) -> PartEntry:
    """Flush a part's files to disk and return its entry with their checksums."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = (path.stat().st_size, sha256_of(path))
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        sync_folder(inner)
    return PartEntry(folder.name, first_id, last_id, passages, windows, files)


def check_part(folder: Path, part: PartEntry, *, contents: bool) -> None:
    """Hold a part's files against the manifest: their sizes, and with `contents` their checksums.

    Raises `IndexUnavailable` naming the first file that differs.
    """
    for name, (size, digest) in part.files.items():
        path = folder / PARTS_NAME / part.name / name
        found = path.stat().st_size if path.is_file() else -1
        if found != size:
            what = (
                f"a file of the index is missing or cut short ({found} of {size} bytes)"
                if found >= 0
                else "a file of the index is missing"
            )
            raise IndexUnavailable(what, where=str(path), next_step="Run: earmark reindex")
        if contents and sha256_of(path) != digest:
            raise IndexUnavailable(
                "a file of the index is damaged: its checksum differs", where=str(path), next_step="Run: earmark reindex"
            )


def sweep_parts(folder: Path, *kept: Manifest) -> None:
    """Delete the parts that none of `kept` lists; a reader that still maps one keeps what it mapped."""
    names = {part.name for manifest in kept for part in manifest.parts}
    home = folder / PARTS_NAME
    for path in home.iterdir() if home.is_dir() else ():
        if path.name not in names:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def builder_lock(folder: Path, *, name: str = LOCK_NAME, wait_s: float = 600.0) -> Iterator[None]:
    """Let one builder at a time into `folder`; the lock goes when its process does. Raises `IndexUnavailable` after `wait_s`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+b") as file:
        deadline = time.monotonic() + wait_s
        while not _locked(file):
            if time.monotonic() > deadline:
                raise IndexUnavailable("another process is building the index", where=str(folder), next_step="Wait for it to end")
            time.sleep(LOCK_RETRY_S)
        yield  # closing the file gives the lock back


def _locked(file: Any) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _entry(content: dict[str, Any]) -> PartEntry:
    files = {name: (int(size), str(digest)) for name, (size, digest) in content.pop("files").items()}
    return PartEntry(**content, files=files)

"""The index as readers hold it: one generation, its parts checked, mapped and ready.

Comes in: the index folder. Goes out: `Generation`; a newer one shares the parts that stayed.
Does not know: queries beyond their filters, vectors' makers, the database.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from pathlib import Path

from index.columns import Mask
from index.language import stem, stemmer_name
from index.manifest import MANIFEST_NAME, PARTS_NAME, Manifest, PartEntry, check_part, read_manifest
from index.part import Part
from index.query import Filters
from store.errors import EarmarkError, IndexUnavailable

CHECKED_AT_ONCE_BYTES = 64 << 20  # larger parts are checked in the background, so that opening stays quick
KEPT_MASKS = 64  # filters whose masks stay in memory
MOST_LANGUAGES = 6  # whose stems a word of a query is looked up under
OPEN_TRIES = 3  # a builder may sweep a part away between reading the manifest and mapping it

log = logging.getLogger("earmark.index")


class Generation:
    """One opened generation. Safe to use from many threads at once."""

    def __init__(self, manifest: Manifest, parts: dict[str, Part]) -> None:
        """Take the manifest and its opened parts by name."""
        self.manifest = manifest
        self.by_name = parts
        self.parts = [parts[entry.name] for entry in manifest.parts]
        languages = [language for part in self.parts for language in part.columns.languages]
        by_stemmer = {stemmer_name(language): language for language in reversed(languages)}
        self._languages = list(by_stemmer.values())[:MOST_LANGUAGES] or ["en"]
        self._masks: OrderedDict[Filters, list[Mask | None]] = OrderedDict()
        self._lock = threading.Lock()

    def stems(self, word: str) -> tuple[str, ...]:
        """Return a folded word's stems, one for each way the catalogue's languages stem it."""
        return tuple(dict.fromkeys(stem(word, language) for language in self._languages))

    def masks(self, filters: Filters) -> list[Mask | None]:
        """Return for each part which windows may be found: filters and removed episodes. None = all of them."""
        with self._lock:
            kept = self._masks.get(filters)
        if kept is None:
            kept = [part.columns.mask(filters, self.manifest.removed) for part in self.parts]
            with self._lock:
                self._masks[filters] = kept
                if len(self._masks) > KEPT_MASKS:
                    self._masks.popitem(last=False)
        return kept


class Readers:
    """Hands out the current generation and notices a new one. Safe between threads; those who hold an old one keep it."""

    def __init__(self, folder: Path) -> None:
        """Watch an index folder; nothing is opened yet."""
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._generation: Generation | None = None

    def current(self) -> Generation:
        """Return the current generation. Raises `IndexUnavailable` if there is none that can be opened."""
        seen = self._stamp()
        generation = self._generation
        if generation is not None and seen == self._seen:
            return generation
        if generation is not None and not self._lock.acquire(blocking=False):
            return generation  # somebody is opening the new one: the old one answers meanwhile
        if generation is None:
            self._lock.acquire()
        try:
            if self._generation is None or self._stamp() != self._seen:
                seen = self._stamp()
                self._generation = _opened(self._folder, self._generation)
                self._seen = seen
            return self._generation
        except IndexUnavailable:
            if self._generation is None:
                raise
            log.exception("the new index cannot be opened; the old one goes on answering")
            self._seen = seen
            return self._generation
        finally:
            self._lock.release()

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            facts = (self._folder / MANIFEST_NAME).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _opened(folder: Path, old: Generation | None) -> Generation:
    for attempt in range(OPEN_TRIES):
        manifest = read_manifest(folder)
        try:
            parts = {}
            for entry in manifest.parts:
                known = old.by_name.get(entry.name) if old else None
                parts[entry.name] = known or _open_part(folder, entry)
            return Generation(manifest, parts)
        except (IndexUnavailable, OSError, ValueError) as error:
            swept = read_manifest(folder).generation != manifest.generation
            if swept and attempt + 1 < OPEN_TRIES:
                continue
            if isinstance(error, IndexUnavailable):
                raise
            raise IndexUnavailable(
                f"the index cannot be opened ({error})", where=str(folder), next_step="Run: earmark reindex"
            ) from error
    raise IndexUnavailable("the index changes faster than it can be opened", where=str(folder), next_step="Try again")


def _open_part(folder: Path, entry: PartEntry) -> Part:
    small = sum(size for size, _ in entry.files.values()) <= CHECKED_AT_ONCE_BYTES
    check_part(folder, entry, contents=small)
    if not small:
        threading.Thread(target=_check_later, args=(folder, entry), name="earmark-checksums", daemon=True).start()
    return Part(folder / PARTS_NAME / entry.name)


def _check_later(folder: Path, entry: PartEntry) -> None:
    try:
        check_part(folder, entry, contents=True)
    except (EarmarkError, OSError) as error:
        if (folder / PARTS_NAME / entry.name).is_dir():  # else it was merged away meanwhile
            log.error("%s", error)

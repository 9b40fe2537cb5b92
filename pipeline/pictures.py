"""Publishers' pictures, fetched once and kept small, so that a page of ours never sends anybody to a publisher.

Comes in: addresses of pictures. Goes out: files in the data folder's `pictures/`, as `store.pictures` names them. A picture that
cannot be had is a line in the log and never a failed job: a cover is drawn in its place.
Does not know: whose picture it is, or where it is shown.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from urllib.parse import urlsplit

from pipeline.netguard import Netguard, redact
from store.database import Database
from store.episodes import list_episodes, list_shows
from store.errors import EarmarkError
from store.files import write_atomic
from store.pictures import FOLDER, picture_name, small_picture
from store.settings import Settings

MAX_BYTES = 12 << 20  # covers of podcasts are at most 3000 x 3000
MAX_S = 20.0

log = logging.getLogger("earmark.pictures")


class Pictures:
    """Fetches pictures of one data folder. An address that failed is not asked again in this process."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is opened."""
        self._settings = settings
        self._folder = settings.data_dir / FOLDER
        self._failed: set[str] = set()
        self._due: list[str] | None = None  # what the store names and is not here; None: nobody has looked yet

    def fetch(self, addresses: Iterable[str]) -> int:
        """Fetch what is not here yet; return how many came. Never raises for what a publisher does."""
        return sum(self._fetch(address) for address in dict.fromkeys(addresses))

    @property
    def caught_up(self) -> bool:
        """Say whether every picture that the store names is here, or was asked for."""
        return self._due == []

    def look_again(self) -> None:
        """Look through the store again: a source was read."""
        self._due = None

    def fetch_next(self, database: Database) -> bool:
        """Fetch a picture that the store names and that is not here; say whether one was asked for.

        Talks that came before pictures were kept, or while their publisher was away, get theirs so, whenever a worker is idle.
        """
        if self._due is None:
            self._due = list(filter(self._is_missing, _named(database)))
            random.shuffle(self._due)  # several workers rarely ask for the same one
        while self._due:
            address = self._due.pop()
            if self._is_missing(address):
                self._fetch(address)
                return True
        return False

    def _is_missing(self, address: str) -> bool:
        is_web = urlsplit(address).scheme in ("http", "https")
        return is_web and address not in self._failed and not (self._folder / picture_name(address)).is_file()

    def _fetch(self, address: str) -> bool:
        if not self._is_missing(address):
            return False
        path = self._folder / picture_name(address)
        try:
            answer = Netguard(self._settings).get(address, max_bytes=MAX_BYTES, total_s=MAX_S)
            write_atomic(path, small_picture(answer.body))
        except (EarmarkError, OSError) as error:
            self._failed.add(address)
            reason = error.sentence if isinstance(error, EarmarkError) else str(error)
            log.warning("no picture from %s: %s", redact(address), reason, extra={"stage": "picture"})
            return False
        return True

    def sweep(self, database: Database) -> int:
        """Delete the pictures that no show and no episode names any more; return how many."""
        named = {picture_name(address) for address in _named(database)}
        gone = [path for path in self._folder.glob("*.webp") if path.name not in named]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


def _named(database: Database) -> set[str]:
    """Return the addresses of all pictures that shows and episodes name."""
    return {show.image_url for show in list_shows(database)} | {episode.image_url for episode in list_episodes(database)}

"""Publishers' pictures, fetched once and kept small, so that a page of ours never sends anybody to a publisher.

Comes in: addresses of pictures. Goes out: files in the data folder's `pictures/`, as `store.pictures` names them. A picture that
cannot be had is a line in the log and never a failed job: a cover is drawn in its place.
Does not know: whose picture it is, or where it is shown.
"""

from __future__ import annotations

import logging
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

    def fetch(self, addresses: Iterable[str]) -> int:
        """Fetch what is not here yet; return how many came. Never raises for what a publisher does."""
        return sum(self._fetch(address) for address in dict.fromkeys(addresses))

    def _fetch(self, address: str) -> bool:
        path = self._folder / picture_name(address)
        if urlsplit(address).scheme not in ("http", "https") or address in self._failed or path.is_file():
            return False
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
        addresses = {show.image_url for show in list_shows(database)} | {episode.image_url for episode in list_episodes(database)}
        named = {picture_name(address) for address in addresses}
        gone = [path for path in self._folder.glob("*.webp") if path.name not in named]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

"""The episodes asked for last, kept for a few seconds: a page of answers names the same ones again and again.

Comes in: an episode's id. Goes out: the episode as it was at most `AGE_S` ago.
Does not know: who asks. What must be exact (queues, transcripts) asks `store.episodes` itself.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from store.database import Database
from store.episodes import get_episode
from store.errors import StoreError
from store.records import Episode

KEPT = 1000
AGE_S = 20.0


class Shelf:
    """A short memory of episodes. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Take the store to read from."""
        self._database = database
        self._kept: OrderedDict[str, tuple[float, Episode]] = OrderedDict()
        self._lock = threading.Lock()

    def episode(self, episode_id: str) -> Episode | None:
        """Return an episode, None if it is gone."""
        kept = self._kept.get(episode_id)
        if kept is not None and time.monotonic() - kept[0] < AGE_S:
            return kept[1]
        try:
            episode = get_episode(self._database, episode_id)
        except StoreError:
            return None
        with self._lock:
            self._kept[episode_id] = (time.monotonic(), episode)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return episode

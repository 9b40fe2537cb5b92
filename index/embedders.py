"""Which embedder for which index: the one that the settings name, and the one that made the index in hand, while those differ.

Comes in: settings, a generation's manifest. Goes out: the embedder whose vectors are in that generation.
After a change of the setting the old index goes on answering with its own model until the new one is made: vectors of two models
are never compared.
Does not know: when the new index is made (`index.swap`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace

from index.embed import Embedder, open_embedder
from index.manifest import Manifest
from store.errors import IndexUnavailable, WeightsError
from store.settings import Settings

log = logging.getLogger("earmark.search")


class Embedders:
    """The embedders of one searcher, each opened once, beside whatever else goes on. Safe to use from many threads at once."""

    def __init__(self, settings: Settings, embedder: Embedder | None, pool: Executor, first: Callable[[], None]) -> None:
        """Begin to open the settings' embedder, unless it is given; `first` is done before."""
        self._settings, self._pool = settings, pool
        self._lock = threading.Lock()
        self.opening: Future[Embedder] = pool.submit(_opened, settings, embedder, first)
        self._others: dict[str, Future[Embedder]] = {}

    def of(self, manifest: Manifest) -> Embedder:
        """Return the embedder that made an index. Waits until it is open.

        Raises `IndexUnavailable` if it cannot be had any more.
        """
        wanted: Embedder | None = None
        try:
            wanted = self.opening.result()
        except WeightsError:
            if not manifest.source or manifest.source == self._settings.embedder:
                raise
            log.exception("the embedder cannot be opened; the index goes on with the one that made it")
        if wanted is not None and (not manifest.parts or manifest.embedder == wanted.name):
            return wanted
        other = self._other(manifest.source).result() if manifest.source else None
        if other is None or other.name != manifest.embedder:
            named = f", not with {wanted.name}" if wanted else ""
            raise IndexUnavailable(f"the index was made with {manifest.embedder}{named}", next_step="Run: earmark reindex")
        return other

    def _other(self, source: str) -> Future[Embedder]:
        with self._lock:
            if source not in self._others:
                self._others[source] = self._pool.submit(_opened, replace(self._settings, embedder=source), None, lambda: None)
            return self._others[source]


def _opened(settings: Settings, embedder: Embedder | None, first: Callable[[], None]) -> Embedder:
    first()
    if embedder is None:
        embedder = open_embedder(settings, threads=1)
        embedder.embed_query("ready")  # loads what queries need before the first one comes
    return embedder

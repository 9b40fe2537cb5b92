"""Changing the model of a catalogue that is in use: everything is embedded anew in the background, then the index is swapped.

Comes in: the store, the index, the embedder that is wanted. Goes out: vectors, batch by batch; which embedder the next generation
is made with. Until the last vector is there the index goes on with its old model, new episodes included; a stop loses one batch.
Does not know: readers (`index.embedders`), or how a generation is built (`index.build`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from index.embed import Embedder, open_embedder
from index.manifest import Manifest, builder_lock, read_manifest
from store.database import Database
from store.errors import IndexUnavailable, WeightsError
from store.passages import count_without_vector, hashes_without_vector, save_vectors
from store.settings import Settings

EMBED_AT_ONCE = 256  # passages; what a stop loses at most
AT_ONCE = 1024  # passages: so few are embedded on the spot
LOCK_NAME = "embedding.lock"


def embedder_for(database: Database, settings: Settings, folder: Path, wanted: Embedder) -> tuple[Embedder, str]:
    """Return the embedder for the next generation, and the name under which it is opened again.

    It is the `wanted` one, unless too much would have to be embedded first and the index's own model can still be had.
    """
    old = _manifest(folder)
    if old is None or old.embedder == wanted.name or not old.source or not old.parts:
        return wanted, settings.embedder
    if count_without_vector(database, wanted.name, AT_ONCE + 1) <= AT_ONCE:
        return wanted, settings.embedder
    try:
        before = _opened(replace(settings, embedder=old.source))
    except WeightsError:
        return wanted, settings.embedder
    return (before, old.source) if before.name == old.embedder else (wanted, settings.embedder)


def is_due(settings: Settings, folder: Path) -> bool:
    """Tell, at no cost, whether the index may be of another model than the settings name."""
    old = _manifest(folder)
    return old is not None and old.source not in ("", settings.embedder)


def embed_some(database: Database, folder: Path, wanted: Embedder) -> int | None:
    """Embed one batch of what `wanted` has not seen; return how many passages are left, None if another process is at it."""
    try:
        with builder_lock(folder, name=LOCK_NAME, wait_s=0):
            missing = hashes_without_vector(database, wanted.name, EMBED_AT_ONCE)
            if not missing:
                return 0
            made = wanted.embed_passages([text for _, text in missing])
            with database.write() as connection:
                save_vectors(connection, wanted.name, {key: vector for (key, _), vector in zip(missing, made, strict=True)})
    except IndexUnavailable:
        return None
    return count_without_vector(database, wanted.name)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except IndexUnavailable:
        return None


@lru_cache(maxsize=2)
def _opened(settings: Settings) -> Embedder:
    return open_embedder(settings)

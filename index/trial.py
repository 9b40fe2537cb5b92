"""The catalogue indexed once more with another embedder, beside its own index, to see what that would find.

Comes in: the store, opened for reading, and an embedder. Goes out: an index in a folder of its own, that a searcher can open.
The catalogue's index and its vectors stay as they are. Vectors of the other embedder are kept in a small store of their own below
the data folder (`cache/eval`), so that a run that was stopped goes on; that folder may be deleted at any time.
Does not know: questions, or what is compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from index.columns import EpisodeFacts
from index.embed import Embedder, Vectors
from index.manifest import PARTS_NAME, Manifest, describe_part, index_folder, write_manifest
from index.part import write_part
from store.database import Database
from store.episodes import list_episodes
from store.errors import EarmarkError
from store.passages import last_change_id, passages_after, save_vectors, vectors_by_hash
from store.records import Passage
from store.settings import Settings

CACHE = Path("cache") / "eval"  # below the data folder
READ_AT_ONCE = 20_000  # passages
EMBED_AT_ONCE = 128  # passages; a run that is stopped loses no more than these
TELL_EVERY_S = 10.0


def build_trial(settings: Settings, database: Database, embedder: Embedder, folder: Path, tell: Callable[[str], None]) -> Settings:
    """Index all passages with `embedder` below `folder`; return settings with which a `Searcher` opens that index.

    Raises `EarmarkError` if there is nothing to index.
    """
    change_id = last_change_id(database)  # before reading: what comes meanwhile is not in it
    facts = {e.id: EpisodeFacts(e.id, e.show_id, e.published, e.title, e.show) for e in list_episodes(database)}
    passages: list[Passage] = []
    while found := passages_after(database, passages[-1].id if passages else 0, READ_AT_ONCE):
        passages += found
    passages = [passage for passage in passages if passage.episode_id in facts]
    if not passages:
        raise EarmarkError("there is nothing to search yet", where=str(database.folder), next_step="Run: earmark run")
    vectors = _vectors(settings, database, embedder, passages, tell)
    apart = replace(settings, data_dir=folder)
    home = index_folder(apart) / PARTS_NAME / "trial"
    windows = write_part(home, passages, vectors, facts, threads=settings.threads or 1)
    part = describe_part(home, passages[0].id, passages[-1].id, len(passages), windows)
    write_manifest(index_folder(apart), Manifest(1, change_id, embedder.name, embedder.dim, (part,)))
    return apart


def _vectors(
    settings: Settings, database: Database, embedder: Embedder, passages: Sequence[Passage], tell: Callable[[str], None]
) -> Vectors:
    """Return the vectors of all passages, float32, shape (n, d); what is missing is embedded."""
    texts = {passage.text_hash: passage.text for passage in passages}
    known = vectors_by_hash(database, embedder.name, texts)
    if len(known) < len(texts):
        cache = Database.in_folder(settings.data_dir / CACHE)
        known |= vectors_by_hash(cache, embedder.name, (key for key in texts if key not in known))
        missing = [key for key in texts if key not in known]
        if missing:
            tell(f"{embedder.name}: {len(missing)} of {len(texts)} passages to embed; the vectors are kept in {cache.folder}")
            _embed(cache, embedder, {key: texts[key] for key in missing}, tell)
            known |= vectors_by_hash(cache, embedder.name, missing)  # as they are kept, in half precision
        cache.close()
    matrix: Vectors = np.stack([known[passage.text_hash] for passage in passages])
    return matrix


def _embed(cache: Database, embedder: Embedder, texts: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Embed texts by hash into the cache, and tell how long it still takes."""
    keys = list(texts)
    started = told_at = time.monotonic()
    for start in range(0, len(keys), EMBED_AT_ONCE):
        some = keys[start : start + EMBED_AT_ONCE]
        made = embedder.embed_passages([texts[key] for key in some])
        with cache.write() as connection:
            save_vectors(connection, embedder.name, dict(zip(some, made, strict=True)))
        done, now = start + len(some), time.monotonic()
        if now - told_at > TELL_EVERY_S or done == len(keys):
            told_at = now
            tell(f"embedded {done} of {len(keys)} passages, {(now - started) / done * (len(keys) - done) / 60:.1f} min left")

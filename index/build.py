"""Keeps the index in step with the store: follows its change log, adds parts, masks what was removed, merges.

Comes in: the store's passages, vectors and change log. Goes out: a new generation in the index folder.
A crash at any point leaves the old generation: parts are written first, the manifest is swapped last, and what no manifest
lists is swept away by the next builder.
Does not know: how an episode was transcribed, or who searches.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from index.columns import Columns, EpisodeFacts
from index.embed import Embedder, Vectors, open_embedder
from index.manifest import (
    PARTS_NAME,
    Manifest,
    PartEntry,
    builder_lock,
    describe_part,
    index_folder,
    read_manifest,
    sweep_parts,
    write_manifest,
)
from index.part import write_part
from index.passages import cut_passages
from index.qdrant import Collection, collection_name
from index.swap import embed_some, embedder_for, is_due
from store.database import Database
from store.episodes import get_episode, list_episodes
from store.errors import IndexUnavailable, StoreError
from store.passages import (
    LAST_ID,
    Vector,
    changes_after,
    hashes_without_vector,
    last_change_id,
    passages_after,
    save_vectors,
    vectors_by_hash,
)
from store.records import Passage, Segment
from store.settings import Settings

EMBED_AT_ONCE = 256  # passages; what a crash loses at most
READ_AT_ONCE = 20_000  # passages
MANY_PARTS = 8  # more small parts than this are merged into one
FEW_EPISODES = 200  # up to here they are read one by one
PIECE = 250_000  # passages of a part where Qdrant finds, so that any number of them fits in the builder's memory
FULL_SHARE = 0.5  # of a piece: such a part is left alone
STALE_SHARE = 0.25  # of the base: with more than this in small parts or removed, everything is merged


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What an update did."""

    generation: int
    added_windows: int
    removed_ranges: int
    parts: int
    windows: int
    merged: bool

    def __str__(self) -> str:
        return f"generation {self.generation}, {self.windows} windows in {self.parts} part{'s' if self.parts != 1 else ''}"


class IndexStage:
    """What a worker needs of the index: cutting and embedding an episode, and making committed episodes searchable."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Take the settings; the embedder is opened when it is first needed."""
        self._settings, self._database = settings, database
        self._embedder: Embedder | None = None

    @property
    def embedder(self) -> Embedder:
        """The embedder that the settings name."""
        if self._embedder is None:
            self._embedder = open_embedder(self._settings)
        return self._embedder

    @property
    def model(self) -> str:
        """The embedder's stamp, under which vectors are kept."""
        return self.embedder.name

    def prepare(
        self, episode_id: str, segments: Sequence[Segment], language: str | None
    ) -> tuple[list[Passage], dict[str, Vector]]:
        """Cut and embed an episode: passages without ids, and the vectors that the store lacks, by text hash."""
        passages = cut_passages(episode_id, segments, language)
        known = vectors_by_hash(self._database, self.model, [passage.text_hash for passage in passages])
        return passages, _embedded(passages, self.embedder, known)

    def publish(self) -> BuildReport:
        """Make everything that was committed searchable."""
        return update_index(self._database, self._settings, self.embedder)

    def catch_up(self) -> str:
        """Do a little of what a change of the model asks for; return what was done, "" if there is nothing to do."""
        folder = index_folder(self._settings)
        if not is_due(self._settings, folder) or read_manifest(folder).embedder == self.model:
            return ""
        left = embed_some(self._database, folder, self.embedder)
        if left is None:
            return ""
        if left:
            return f"embedding everything with {self.model}: {left} passages left"
        return f"the index is swapped: {self.publish()}, made with {self.model}"


def prepare_episode(
    episode_id: str, segments: Sequence[Segment], language: str | None, embedder: Embedder, known: Mapping[str, Vector]
) -> tuple[list[Passage], dict[str, Vector]]:
    """Cut an episode and embed what `known` (vectors by text hash) lacks: passages without ids, and the new vectors."""
    passages = cut_passages(episode_id, segments, language)
    return passages, _embedded(passages, embedder, known)


def embed_missing(database: Database, embedder: Embedder, first_id: int = 0, last_id: int = LAST_ID) -> int:
    """Embed the passages `first_id..last_id` that `embedder` has not seen yet, batch by batch; return how many."""
    done = 0
    while missing := hashes_without_vector(database, embedder.name, EMBED_AT_ONCE, first_id, last_id):
        made = embedder.embed_passages([text for _, text in missing])
        with database.write() as connection:
            save_vectors(connection, embedder.name, {key: vector for (key, _), vector in zip(missing, made, strict=True)})
        done += len(missing)
    return done


def update_index(database: Database, settings: Settings, embedder: Embedder) -> BuildReport:
    """Follow the change log from where the current generation stopped. Doing it twice does nothing the second time.

    Without an index, after a change of the model, or with a damaged manifest, everything is built anew from the store.
    While much is still to be embedded with a new model, the index goes on with the old one (`index.swap`).
    """
    folder = index_folder(settings)
    with builder_lock(folder):
        embedder, source = embedder_for(database, settings, folder, embedder)
        collection = _collection(database, settings, embedder)
        old = _current(folder, embedder, collection)
        if old is None:
            return rebuild(database, folder, embedder, _threads(settings), collection, source)
        changes = changes_after(database, old.change_id)
        if not changes:
            return _report(old, 0, 0, merged=False)
        added = [change for change in changes if change.action == "add"]
        gone = [(change.first_passage_id, change.last_passage_id) for change in changes if change.action == "remove"]
        removed = tuple(dict.fromkeys((*old.removed, *(span for span in gone if _inside(span, old.parts)))))
        next_generation = replace(old, generation=old.generation + 1, change_id=changes[-1].id, removed=removed)
        builder = _Builder(database, folder, embedder, _threads(settings), collection)
        parts = list(old.parts)
        if added:
            first, last = min(change.first_passage_id for change in added), max(change.last_passage_id for change in added)
            embed_missing(database, embedder, first, last)  # of all passages the look alone would take seconds at a million
            parts += builder.part(first, last, new=True)
        if collection is not None:
            collection.drop(gone)  # before the manifest: a crash here does it again
        new_windows = sum(part.windows for part in parts) - old.windows
        parts, merged = builder.merged(parts, removed)
        left = tuple(span for span in removed if _inside(span, [part for part in parts if part in old.parts]))
        manifest = replace(next_generation, parts=tuple(parts), removed=left, source=source)
        write_manifest(folder, manifest)
        sweep_parts(folder, manifest, old)
        return _report(manifest, new_windows, len(gone), merged=merged)


def rebuild_index(database: Database, settings: Settings) -> BuildReport:
    """Build everything anew from the store, after the folder was lost. Vectors are read from the store, not made again.

    Only where some are missing (a change of the model) the embedder is asked.
    """
    folder = index_folder(settings)
    with builder_lock(folder):
        embedder = open_embedder(settings)
        return rebuild(database, folder, embedder, _threads(settings), _collection(database, settings, embedder), settings.embedder)


class _Builder:
    """Writes parts from the store, and puts new windows into the collection if there is one."""

    def __init__(
        self, database: Database, folder: Path, embedder: Embedder, threads: int, collection: Collection | None = None
    ) -> None:
        self._database, self._folder, self._model, self._threads = database, folder, embedder.name, threads
        self._collection = collection

    def part(self, first_id: int, last_id: int, *, new: bool = False) -> list[PartEntry]:
        """Write the passages `first_id..last_id` that still exist: as one part, or as pieces where Qdrant finds.

        `new`: their windows may not be in the collection yet.
        """
        if self._collection is None:
            return self._piece(list(self._passages(first_id, last_id)), first_id, last_id)
        return [
            entry
            for piece in _pieces(self._passages(first_id, last_id))
            for entry in self._piece(piece, piece[0].id, piece[-1].id, new)
        ]

    def merged(self, parts: list[PartEntry], removed: Sequence[tuple[int, int]]) -> tuple[list[PartEntry], bool]:
        """Merge small parts when there are many; merge all when the base went stale. Returns the parts, and whether any were.

        Where Qdrant finds, full pieces stay as they are until much of one was removed; what comes after the last is merged.
        """
        settled = max((n for n, part in enumerate(parts, 1) if part.passages >= FULL_SHARE * PIECE), default=0)
        if self._collection is None or not settled:
            return self._merged(parts, removed)
        kept: list[PartEntry] = []
        for part in parts[:settled]:
            stale = _gone([part], removed) > STALE_SHARE * part.passages
            kept += self.part(part.first_id, part.last_id) if stale else [part]
        rest, merged = self._merged(parts[settled:], removed)
        return [*kept, *rest], merged or kept != parts[:settled]

    def _merged(self, parts: list[PartEntry], removed: Sequence[tuple[int, int]]) -> tuple[list[PartEntry], bool]:
        if len(parts) < 2 and not removed:
            return parts, False
        base = max(parts, key=lambda part: part.windows, default=None)
        if base is None:
            return parts, False
        small = [part for part in parts if part is not base]
        if len(small) > MANY_PARTS and sum(part.windows for part in small) <= STALE_SHARE * base.windows:
            fresh = [part for part in parts if part.first_id > base.last_id]
            if len(fresh) > 1:
                return [part for part in parts if part not in fresh] + self.part(fresh[0].first_id, fresh[-1].last_id), True
        if len(small) > MANY_PARTS or _gone(parts, removed) > STALE_SHARE * sum(part.passages for part in parts):
            return self.part(parts[0].first_id, parts[-1].last_id), True
        return parts, False

    def _passages(self, first_id: int, last_id: int) -> Iterator[Passage]:
        after = first_id - 1
        while found := [passage for passage in passages_after(self._database, after, READ_AT_ONCE) if passage.id <= last_id]:
            yield from found
            after = found[-1].id

    def _piece(self, passages: list[Passage], first_id: int, last_id: int, new: bool = True) -> list[PartEntry]:
        """Write one part of these passages, whole episodes."""
        wanted = self._collection is None or new
        hashes = [passage.text_hash for passage in passages] if wanted else []
        vectors = vectors_by_hash(self._database, self._model, hashes)
        facts = _episode_facts(self._database, {passage.episode_id for passage in passages})
        gone = {passage.episode_id for passage in passages if passage.episode_id not in facts}
        if wanted:
            gone |= {passage.episode_id for passage in passages if passage.text_hash not in vectors}
        passages = [
            passage for passage in passages if passage.episode_id not in gone
        ]  # went while we read: the log says so next time
        if not passages:
            return []
        matrix: Vectors = np.stack([vectors[passage.text_hash] for passage in passages]) if wanted else np.zeros((0, 0), np.float32)
        vectors.clear()
        home = self._folder / PARTS_NAME / f"{first_id}-{last_id}-{secrets.token_hex(4)}"
        windows = write_part(home, passages, matrix, facts, threads=self._threads, findable=self._collection is None)
        if new and self._collection is not None:
            self._collection.put(passages, matrix, facts)
        return [describe_part(home, first_id, last_id, len(passages), windows)]


def _pieces(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    """Cut passages into lists of about `PIECE`, whole episodes each."""
    piece: list[Passage] = []
    for passage in passages:
        if len(piece) >= PIECE and passage.episode_id != piece[-1].episode_id:
            yield piece
            piece = []
        piece.append(passage)
    if piece:
        yield piece


def _gone(parts: Sequence[PartEntry], removed: Sequence[tuple[int, int]]) -> int:
    """Return how many ids of these parts were removed."""
    return sum(
        min(last, part.last_id) - max(first, part.first_id) + 1
        for first, last in removed
        for part in parts
        if _inside((first, last), [part])
    )


def rebuild(
    database: Database, folder: Path, embedder: Embedder, threads: int, collection: Collection | None, source: str = ""
) -> BuildReport:
    """Build everything anew into `folder`, whose lock the caller holds. `source` is the setting that opens `embedder`."""
    old: Manifest | None = None
    with suppress(IndexUnavailable):
        old = read_manifest(folder)
    if collection is not None:
        collection.make(embedder.dim)
    change_id = last_change_id(database)  # before reading passages: what comes meanwhile is followed again, harmlessly
    found = [change for change in changes_after(database, 0) if change.action == "add" and change.id <= change_id]
    embed_missing(database, embedder)
    builder = _Builder(database, folder, embedder, threads, collection)
    parts = builder.part(1, max((change.last_passage_id for change in found), default=0), new=True)
    manifest = Manifest(
        generation=old.generation + 1 if old else 1,
        change_id=change_id,
        embedder=embedder.name,
        dim=embedder.dim,
        parts=tuple(parts),
        collection=collection.name if collection else "",
        source=source,
    )
    if collection is not None:
        made = [Columns(folder / PARTS_NAME / part.name) for part in parts]
        collection.keep_only(np.concatenate([np.zeros(0, dtype=np.int64), *(columns.ids[columns.window_row] for columns in made)]))
    write_manifest(folder, manifest)
    sweep_parts(folder, manifest)
    if collection is not None and old is not None and old.collection not in ("", collection.name):
        collection.named(old.collection).delete()  # another model's
    return _report(manifest, manifest.windows, 0, merged=True)


def _collection(database: Database, settings: Settings, embedder: Embedder) -> Collection | None:
    return Collection(settings, collection_name(database.mark(), embedder.name)) if settings.qdrant else None


def _current(folder: Path, embedder: Embedder, collection: Collection | None) -> Manifest | None:
    """Return the current generation if it can be followed on."""
    try:
        manifest = read_manifest(folder)
    except IndexUnavailable:
        return None
    if (manifest.embedder, manifest.dim) != (embedder.name, embedder.dim):
        return None  # old and new vectors never mix
    if manifest.collection != (collection.name if collection else "") or (collection is not None and not collection.is_there()):
        return None
    there = all((folder / PARTS_NAME / part.name).is_dir() for part in manifest.parts)
    return manifest if there else None


def _embedded(passages: Sequence[Passage], embedder: Embedder, known: Mapping[str, Vector]) -> dict[str, Vector]:
    texts = {passage.text_hash: passage.text for passage in passages if passage.text_hash not in known}
    made = embedder.embed_passages(list(texts.values()))
    return dict(zip(texts, made, strict=True))


def _episode_facts(database: Database, wanted: set[str]) -> dict[str, EpisodeFacts]:
    if len(wanted) > FEW_EPISODES:
        found = [episode for episode in list_episodes(database) if episode.id in wanted]
    else:
        found = []
        for episode_id in wanted:
            with suppress(StoreError):  # removed a moment ago
                found.append(get_episode(database, episode_id))
    return {e.id: EpisodeFacts(e.id, e.show_id, e.published, e.title, e.show) for e in found}


def _inside(span: tuple[int, int], parts: Sequence[PartEntry]) -> bool:
    return any(span[0] <= part.last_id and span[1] >= part.first_id for part in parts)


def _threads(settings: Settings) -> int:
    return settings.threads or 1


def _report(manifest: Manifest, added: int, gone: int, *, merged: bool) -> BuildReport:
    return BuildReport(manifest.generation, added, gone, len(manifest.parts), manifest.windows, merged)

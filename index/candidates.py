"""Who finds candidates: windows that say the query's words, windows that mean the same. Two small protocols, two who keep them.

Comes in: a generation, stems or a vector, filters. Goes out: windows by place, with the score that picked them.
What both promise (a contract test): filters are obeyed exactly, what was removed is never found, what was added is.
Does not know: how candidates are scored and put in order (`index.ranker`), or how Qdrant is asked (`index.qdrant`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np
import numpy.typing as npt

from index.columns import Mask
from index.embed import Vectors
from index.generation import Generation
from index.language import stem_hash
from index.lexical import LexicalQuery
from index.qdrant import Collection, check_qdrant
from index.qdrant_door import open_door
from index.query import Filters
from index.ranker import Counts, Place
from store.errors import IndexUnavailable
from store.settings import Settings

SPARE = 2  # times as many as wanted are asked for: who finds by words has an order of its own, which only picks
MORE = 4  # times as many are asked for again where too many of them were removed

Ids = npt.NDArray[np.int64]
Scores = dict[Place, float]


class FindsWords(Protocol):
    """Who finds windows by words."""

    def by_words(self, generation: Generation, asked: LexicalQuery, counts: Counts, filters: Filters, limit: int) -> list[Place]:
        """Return windows that say any of the words and every phrase: the best `limit` at least, if there are as many."""
        ...


class FindsMeaning(Protocol):
    """Who finds windows by meaning."""

    def by_meaning(
        self, generation: Generation, vector: Vectors, filters: Filters, limit: int, among: Sequence[Place] | None = None
    ) -> Scores:
        """Return the windows nearest to `vector` (float32, shape (d,)) with their cosines: the best `limit` at least.

        `among`: only these, whatever the filters say.
        """
        ...


class Finder(FindsWords, FindsMeaning, Protocol):
    """Who finds both."""


class Finders:
    """Says who finds the windows of a generation: its parts, or the collection that its manifest names."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings. Raises `SettingsError` if they ask for Qdrant and its client is not installed."""
        check_qdrant(settings)
        self._settings = settings
        self._of_collection: dict[str, Finder] = {}

    def warm(self) -> None:
        """Load what asking Qdrant needs, if it is asked, before the first question comes."""
        if self._settings.qdrant:
            with suppress(IndexUnavailable):  # the first question tells it
                open_door(self._settings)

    def of(self, generation: Generation) -> Finder:
        """Return who finds this generation's windows."""
        name = generation.manifest.collection
        if not name:
            return PARTS
        if not self._settings.qdrant:
            raise IndexUnavailable(
                "the index's windows are in Qdrant, and no Qdrant is named",
                where="EARMARK_QDRANT",
                next_step="Set it, or bring the windows back: earmark reindex",
            )
        if name not in self._of_collection:
            self._of_collection[name] = QdrantFinder(Collection(self._settings, name))
        return self._of_collection[name]


class PartsFinder:
    """Finds windows in the generation's own parts: tantivy for words, FAISS for meaning."""

    def by_words(self, generation: Generation, asked: LexicalQuery, counts: Counts, filters: Filters, limit: int) -> list[Place]:
        """Ask every part, and leave out what was removed."""
        places: list[Place] = []
        removed = generation.masks(Filters()) if generation.manifest.removed else [None] * len(generation.parts)
        for number, (part, mask) in enumerate(zip(generation.parts, removed, strict=True)):
            wanted = SPARE * limit
            while True:
                positions, _ = part.lexical.search(asked, wanted, filters)
                kept = positions if mask is None else positions[mask[positions]]
                if len(kept) >= limit or len(positions) < wanted:
                    break
                wanted *= MORE
            places.extend((number, position) for position in kept.tolist())
        return places

    def by_meaning(
        self, generation: Generation, vector: Vectors, filters: Filters, limit: int, among: Sequence[Place] | None = None
    ) -> Scores:
        """Ask every part; what may be found is a mask."""
        masks = generation.masks(filters) if among is None else _only(generation, among)
        found: Scores = {}
        for number, (part, mask) in enumerate(zip(generation.parts, masks, strict=True)):
            positions, scores = part.dense.search(vector, limit, mask)
            found.update(((number, position), score) for position, score in zip(positions.tolist(), scores.tolist(), strict=True))
        return found


def _only(generation: Generation, places: Sequence[Place]) -> list[Mask | None]:
    masks = [np.zeros(part.columns.windows, dtype=bool) for part in generation.parts]
    for number, position in places:
        masks[number][position] = True
    return list(masks)


class QdrantFinder:
    """Finds windows in a Qdrant collection; the generation says where they are and which of them count."""

    def __init__(self, collection: Collection) -> None:
        """Take the collection that the generation's manifest names."""
        self._collection = collection

    def by_words(self, generation: Generation, asked: LexicalQuery, counts: Counts, filters: Filters, limit: int) -> list[Place]:
        """Ask for the stems, each with its weight in the whole catalogue."""
        wanted_keys = {stem_hash(stem) for group in asked.terms for stem in group}
        weights: dict[int, float] = {}
        for group, weight in zip(counts.terms, counts.idf, strict=True):
            for key in wanted_keys.intersection(group):
                weights[key] = max(weight, weights.get(key, 0.0))
        for form in asked.forms:  # a sparse vector knows no order: the score looks at it later
            for word in form:
                weights.setdefault(stem_hash(generation.stems(word)[0]), max(counts.idf) / len(form))
        found = self._enough(
            generation, SPARE * limit, lambda wanted: self._collection.by_stems(weights, asked.phrases, filters, wanted)
        )
        return list(found)

    def by_meaning(
        self, generation: Generation, vector: Vectors, filters: Filters, limit: int, among: Sequence[Place] | None = None
    ) -> Scores:
        """Ask for the nearest."""
        if among is not None:
            of_part = [part.columns for part in generation.parts]
            ids = [int(of_part[part].ids[of_part[part].window_row[position]]) for part, position in among]
            return self._enough(generation, limit, lambda wanted: self._collection.by_vector(vector, Filters(), wanted, among=ids))
        return self._enough(generation, limit, lambda wanted: self._collection.by_vector(vector, filters, wanted))

    def _enough(self, generation: Generation, limit: int, ask: Callable[[int], tuple[Ids, npt.NDArray[np.float32]]]) -> Scores:
        """Ask for more until `limit` of them are known to the generation and not removed, or there are no more."""
        wanted = limit
        while True:
            ids, scores = ask(wanted)
            found = {place: score for place, score in zip(places_of(generation, ids), scores.tolist(), strict=True) if place}
            if len(found) >= limit or len(ids) < wanted:
                return found
            wanted *= MORE


def places_of(generation: Generation, ids: Ids) -> list[Place | None]:
    """Return where windows are, by the ids of their first passages; None for one that is not of this generation, or removed."""
    places: list[Place | None] = [None] * len(ids)
    gone = np.zeros(len(ids), dtype=bool)
    for first, last in generation.manifest.removed:
        gone |= (ids >= first) & (ids <= last)
    for number, part in enumerate(generation.parts):
        columns = part.columns
        if not columns.windows:
            continue
        rows = np.minimum(np.searchsorted(columns.ids, ids), len(columns.ids) - 1)
        positions = np.minimum(np.searchsorted(columns.window_row, rows), columns.windows - 1)
        here = ~gone & (columns.ids[rows] == ids) & (columns.window_row[positions] == rows)
        for index in np.flatnonzero(here).tolist():
            places[index] = (number, int(positions[index]))
    return places


PARTS = PartsFinder()

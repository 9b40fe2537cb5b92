"""A catalogue's windows in Qdrant: one collection for each catalogue and model, in which windows are found by words and by meaning.

Comes in: passages with ids and their vectors; later, stems, a vector, filters. Goes out: ids of windows, best first.
A point is a window; its number is the id of the window's first passage, which is never used again, so whatever is written twice is
the same. It has a dense vector, a sparse one (BM25's share of each stem: a query brings the weights) and what filters need.
Does not know: parts, generations, what a found window is worth (`index.ranker`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from index.columns import NO_DAY, EpisodeFacts, day_of, window_rows
from index.dense import window_vectors
from index.language import stem_hash, stems, words
from index.qdrant_door import Door, open_door
from index.query import Filters, fold_name
from index.ranker import K1, B
from store.errors import SettingsError
from store.records import Passage
from store.settings import Settings

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
Spans = Sequence[tuple[int, int]]

FORMAT = 1  # raised when a point changes its meaning: points of both kinds never share a collection
MEANING, WORDS = "meaning", "words"  # the two vectors of a point
PUT_AT_ONCE = 256  # points: about 1.5 MB of JSON
DROPPED_AT_ONCE = 5_000
LISTED_AT_ONCE = 10_000
USUAL_LENGTH = 160  # stems of a window. Only picks candidates: `index.ranker` scores them with the catalogue's own mean
DIGITS = 6  # of a vector's numbers as they travel
BEAM = 256  # how widely the graph of neighbours is searched (hnsw_ef)
COMPARED_AGAIN = 2.0  # times as many windows by 8-bit numbers, then by the vectors themselves
APOSTROPHE = "ʼ"  # a letter to every tokenizer, so that a word stays one


def is_installed() -> bool:
    """Tell whether the extra is there."""
    return find_spec("qdrant_client") is not None


def check_qdrant(settings: Settings) -> None:
    """Raise `SettingsError` where Qdrant is asked for and its client is not installed."""
    if settings.qdrant and not is_installed():
        raise SettingsError(
            "Qdrant's client is not installed",
            where="EARMARK_QDRANT",
            next_step="Run: pip install 'earmark[qdrant]', or leave it empty",
        )


def collection_name(catalogue: str, model: str) -> str:
    """Return the collection of a catalogue (`Database.mark`) and a model's stamp: old and new vectors never share one."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"earmark-{FORMAT}-{catalogue}-{model}").strip("-")


class Collection:
    """One collection. Nothing is asked before it is needed. Safe to use from many threads at once."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Take the place and the name."""
        check_qdrant(settings)
        self.name = name
        self._settings = settings

    # --- filling it ---------------------------------------------------------------------------------------------------

    def is_there(self) -> bool:
        """Tell whether it was made."""
        with self._door() as door:
            return bool(door.client.collection_exists(self.name))

    def make(self, dim: int) -> None:
        """Make it if it is not there: vectors on disk beside 8-bit copies in memory, postings and fields of filters in memory.

        Fields are asked for every time: a crash may have come before them, and asked for twice they are one.
        """
        from qdrant_client import models

        small = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True))
        dense = models.VectorParams(size=dim, distance=models.Distance.DOT, on_disk=True, quantization_config=small)
        with self._door(writes=True) as door:
            if not door.client.collection_exists(self.name):
                door.client.create_collection(
                    self.name,
                    vectors_config={MEANING: dense},
                    sparse_vectors_config={WORDS: models.SparseVectorParams()},
                    on_disk_payload=True,
                )
            if door.is_folder:
                return  # the client's own search reads every point and keeps no fields
            text = models.TextIndexParams(
                type=models.TextIndexType.TEXT,
                tokenizer=models.TokenizerType.WHITESPACE,
                phrase_matching=True,
                on_disk=True,
            )
            kinds: dict[str, Any] = dict.fromkeys(("show", "episode", "speaker", "language"), models.PayloadSchemaType.KEYWORD)
            for field, kind in {**kinds, "day": models.PayloadSchemaType.INTEGER, "said": text}.items():
                door.client.create_payload_index(self.name, field, field_schema=kind)

    def put(self, passages: Sequence[Passage], vectors: Vectors, episodes: Mapping[str, EpisodeFacts]) -> None:
        """Put the windows of `passages` (in id order, whole episodes; vectors of shape (n, d)) there; those that are, again."""
        points = points_of(passages, vectors, episodes)
        while batch := list(islice(points, PUT_AT_ONCE)):
            with self._door(writes=True) as door:
                door.client.upsert(self.name, batch, wait=True)

    def drop(self, spans: Spans) -> None:
        """Take the windows of these ranges of passage ids (both ends included) away."""
        self._drop_ids(key for first, last in spans for key in range(first, last + 1))

    def keep_only(self, ids: Ids) -> None:
        """Take every window away whose id is not among `ids`."""
        self._drop_ids(iter(np.setdiff1d(self.ids(), ids).tolist()))

    def ids(self) -> Ids:
        """Return the ids of all windows that are there."""
        found: list[int] = []
        offset: Any = None
        while True:
            with self._door(writes=True) as door:
                records, offset = door.client.scroll(
                    self.name, limit=LISTED_AT_ONCE, offset=offset, with_payload=False, with_vectors=False
                )
            found += [int(record.id) for record in records]
            if offset is None:
                return np.array(found, dtype=np.int64)

    def count(self) -> int:
        """Return how many windows are there."""
        with self._door() as door:
            return int(door.client.count(self.name, exact=True).count)

    def delete(self) -> None:
        """Delete the whole collection."""
        with self._door(writes=True) as door:
            door.client.delete_collection(self.name)

    def named(self, name: str) -> Collection:
        """Return another collection of the same Qdrant."""
        return Collection(self._settings, name)

    def _drop_ids(self, ids: Iterator[int]) -> None:
        from qdrant_client import models

        while batch := list(islice(ids, DROPPED_AT_ONCE)):
            with self._door(writes=True) as door:
                door.client.delete(self.name, points_selector=models.PointIdsList(points=batch), wait=True)

    # --- asking it ----------------------------------------------------------------------------------------------------

    def by_stems(
        self, weights: Mapping[int, float], phrases: Sequence[Sequence[str]], filters: Filters, limit: int
    ) -> tuple[Ids, Scores]:
        """Return up to `limit` windows that say any of the stems (by hash, with their weights) and every phrase, best first."""
        from qdrant_client import models

        if not weights:
            return _nothing()
        query = models.SparseVector(indices=list(weights), values=list(weights.values()))
        said = [models.FieldCondition(key="said", match=models.MatchPhrase(phrase=spoken_form(phrase))) for phrase in phrases]
        return self._found(WORDS, query, [*_conditions(filters), *said], limit)

    def by_vector(self, vector: Vectors, filters: Filters, limit: int, among: Sequence[int] | None = None) -> tuple[Ids, Scores]:
        """Return up to `limit` windows whose vectors are nearest, and their cosines; with `among`, of these ids only."""
        from qdrant_client import models

        conditions = _conditions(filters)
        if among is not None:
            conditions.append(models.HasIdCondition(has_id=list(among)))
        params = models.SearchParams(
            hnsw_ef=BEAM, quantization=models.QuantizationSearchParams(rescore=True, oversampling=COMPARED_AGAIN)
        )
        return self._found(MEANING, vector.tolist(), conditions, limit, params)

    def _found(self, using: str, query: Any, conditions: list[Any], limit: int, params: Any = None) -> tuple[Ids, Scores]:
        from qdrant_client import models

        with self._door() as door:
            points = door.client.query_points(
                self.name,
                query=query,
                using=using,
                query_filter=models.Filter(must=conditions) if conditions else None,
                search_params=None if door.is_folder else params,
                limit=limit,
                with_payload=False,
            ).points
        if not points:
            return _nothing()
        return np.array([point.id for point in points], dtype=np.int64), np.array([p.score for p in points], dtype=np.float32)

    def _door(self, *, writes: bool = False) -> Door:
        return open_door(self._settings, writes=writes)


def points_of(passages: Sequence[Passage], vectors: Vectors, episodes: Mapping[str, EpisodeFacts]) -> Iterator[Any]:
    """Yield a point for each window of `passages` (in id order, whole episodes; vectors of shape (n, d))."""
    from qdrant_client import models

    windows = window_rows(passages)
    for (row, count), vector in zip(windows, window_vectors(vectors, windows), strict=True):
        spoken = passages[row : row + count]
        weights = _weights(spoken)
        words_vector = models.SparseVector(indices=list(weights), values=list(weights.values()))
        yield models.PointStruct(
            id=passages[row].id,
            vector={MEANING: np.round(vector.astype(np.float64), DIGITS).tolist(), WORDS: words_vector},
            payload=_fields(spoken, episodes[passages[row].episode_id]),
        )


def _weights(spoken: Sequence[Passage]) -> dict[int, float]:
    """Return BM25's share of each stem in a window, by hash: how often it is said, held back by the window's length."""
    said = Counter(stem_hash(stem) for passage in spoken for stem in stems(passage.text, passage.language))
    norm = K1 * (1 - B + B * said.total() / USUAL_LENGTH)
    return {key: round(count * (K1 + 1) / (count + norm), 4) for key, count in sorted(said.items())}


def _fields(spoken: Sequence[Passage], facts: EpisodeFacts) -> dict[str, Any]:
    """Return what filters and phrases look at, as `index.columns` and `index.lexical` do."""
    fields: dict[str, Any] = {
        "show": facts.show_id,
        "episode": facts.id,
        "speaker": list(dict.fromkeys(fold_name(name) for passage in spoken for name in passage.speakers)),
        "language": (spoken[0].language or "").lower(),
        "said": " ".join(spoken_form(words(passage.text)) for passage in spoken),
    }
    day = day_of(facts.published)
    return fields if day == NO_DAY else {**fields, "day": day}


def _conditions(filters: Filters) -> list[Any]:
    from qdrant_client import models

    wanted = {
        "episode": list(filters.episode_ids),
        "show": list(filters.show_ids),
        "speaker": [fold_name(name) for name in filters.speakers],
        "language": [language.lower() for language in filters.languages],
    }
    conditions: list[Any] = [
        models.FieldCondition(key=field, match=models.MatchAny(any=values)) for field, values in wanted.items() if values
    ]
    if filters.since or filters.until:
        first = day_of(filters.since) if filters.since else None
        last = day_of(filters.until) if filters.until else None
        conditions.append(models.FieldCondition(key="day", range=models.Range(gte=first, lte=last)))
    return conditions


def spoken_form(said: Sequence[str]) -> str:
    """Return words as phrases are looked for: folded, a blank between them."""
    return " ".join(said).replace("'", APOSTROPHE)


def _nothing() -> tuple[Ids, Scores]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)

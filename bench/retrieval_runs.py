"""The runs of the retrieval benchmark: the set in a real store and index, asked by the product and by the yardsticks.

Comes in: talks cut into passages, their vectors. Goes out: for a query each run's windows, best first, with the words they cover.
Does not know: which window is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bench.retrieval_data import Talk
from index.build import update_index
from index.embed import Embedder
from index.moments import starts_of
from index.passages import window_text
from index.query import parse_query
from index.ranker import Place, fuse
from index.search import Searcher, Sides
from store.database import Database
from store.episodes import save_episode, save_show
from store.passages import passages_of, replace_passages, save_vectors
from store.records import EpisodeListing, ShowListing
from store.settings import Settings

RUNS = ("bm25", "lexical", "dense", "fused", "rrf60")
PLAYED = 3  # of a ranking, only the first are ever played
RRF_K = 60  # the usual constant of reciprocal rank fusion


@dataclass(frozen=True, slots=True)
class Hit:
    """A window in a ranking: words `first_word` to `last_word` (excluded) of its talk, to be played from `start_word`."""

    talk_id: str
    first_word: int
    last_word: int
    start_word: int


class Yardstick(Protocol):
    """A ranker of plain texts."""

    def search(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Return up to `limit` (row, score) pairs, best first."""
        ...


class Catalogue:
    """The set, indexed."""

    def __init__(
        self,
        settings: Settings,
        talks: Sequence[Talk],
        embedder: Embedder,
        vectors: Mapping[str, npt.NDArray[np.float32]],
        yardstick: Callable[[Sequence[str]], Yardstick] | None,
    ) -> None:
        """Store and index `talks`; `settings` names an empty folder."""
        self._lexical_weight = settings.lexical_weight
        settings = replace(settings, search_budget_ms=60_000.0)  # quality is measured here, however busy the machine is
        database = Database.in_folder(settings.data_dir)
        self._talk_of_passage: dict[int, tuple[Talk, int]] = {}
        for talk in talks:
            self._store(database, talk, embedder.name, vectors)
        update_index(database, settings, embedder)
        self._searcher = Searcher(settings, database, embedder)
        self._windows: list[int] = []
        texts = []
        for key, (talk, ordinal) in self._talk_of_passage.items():
            if ordinal + 1 < len(talk.passages):
                texts.append(window_text(talk.passages[ordinal], talk.passages[ordinal + 1]))
                self._windows.append(key)
            elif len(talk.passages) == 1:
                texts.append(talk.passages[0].text)
                self._windows.append(key)
        self._yardstick = yardstick(texts) if yardstick else None
        self._places: dict[int, Place] = {}

    def answer(self, query: str, runs: Sequence[str], depth: int) -> dict[str, list[Hit]]:
        """Return each run's ranking of windows, before any are merged into moments."""
        sides = self._searcher.sides(parse_query(query), depth=depth)
        self._learn_places(sides)
        assert self._yardstick is not None, "this catalogue was made without a yardstick"
        bm25 = [self._places[self._windows[row]] for row, _ in self._yardstick.search(query, depth)]
        dense = sorted(sides.dense, key=lambda place: -sides.dense[place])
        made: dict[str, Callable[[], list[Place]]] = {
            "bm25": lambda: bm25,
            "lexical": lambda: sorted(sides.lexical, key=lambda place: -sides.lexical[place]),
            "dense": lambda: dense,
            "fused": lambda: [one.place for one in self._searcher.rank(sides)],
            "rrf60": lambda: reciprocal(bm25, dense),
        }
        return {run: self._hits(made[run]()[:depth], sides) for run in runs}

    def describe(self, query: str, depth: int) -> tuple[npt.NDArray[np.float64], list[Hit]]:
        """Return the features of a query's candidates and the windows themselves, each with where it would be played from."""
        sides = self._searcher.sides(parse_query(query), depth=depth)
        places, features = self._searcher.describe(sides, fuse(sides.lexical, sides.dense, self._lexical_weight))
        return features, self._hits(places, sides, played=len(places))

    def _store(self, database: Database, talk: Talk, model: str, vectors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        show = ShowListing(link=talk.show, kind="feed", title=talk.show, episodes=())
        listing = EpisodeListing(guid=talk.id, title=talk.title, media_url="", published=talk.date)
        with database.write() as connection:
            episode_id, _ = save_episode(connection, save_show(connection, show), listing)
            save_vectors(connection, model, {passage.text_hash: vectors[passage.text_hash] for passage in talk.passages})
            replace_passages(connection, episode_id, [replace(passage, episode_id=episode_id) for passage in talk.passages])
        for passage in passages_of(database, episode_id):
            self._talk_of_passage[passage.id] = (talk, passage.ordinal)

    def _learn_places(self, sides: Sides) -> None:
        if self._places:
            return
        for number, part in enumerate(sides.generation.parts):
            keys = part.columns.ids[part.columns.window_row]
            self._places.update((int(key), (number, position)) for position, key in enumerate(keys.tolist()))

    def _hits(self, places: Sequence[Place], sides: Sides, played: int = PLAYED) -> list[Hit]:
        hits = []
        starts = starts_of(sides.generation.parts, places[:played], sides.counts)
        for rank, (place, key) in enumerate(zip(places, sides.window_ids(places), strict=True)):
            talk, ordinal = self._talk_of_passage[key]
            last = min(ordinal + 2, len(talk.passages))
            start = talk.word_starts[ordinal]
            if rank < played:
                row, sentence = starts[rank]
                part = sides.generation.parts[place[0]]
                passage = talk.passages[ordinal + row - int(part.columns.window_row[place[1]])]
                before = passage.text[: passage.sentences[sentence].start_char]
                start = talk.word_starts[passage.ordinal] + len(before.split())
            hits.append(Hit(talk.id, talk.word_starts[ordinal], talk.word_starts[last], start))
        return hits


def reciprocal(*rankings: Sequence[Place]) -> list[Place]:
    """Fuse rankings as small tools do: 1 / (60 + rank), added."""
    scores: dict[Place, float] = {}
    for ranking in rankings:
        for rank, place in enumerate(ranking, 1):
            scores[place] = scores.get(place, 0.0) + 1 / (RRF_K + rank)
    return sorted(scores, key=lambda place: -scores[place])

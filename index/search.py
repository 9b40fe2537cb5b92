"""Search: a question in, moments out.

Comes in: what somebody typed, filters. Goes out: `SearchAnswer`. What words and meaning find (`index.lookup`) is put in one
order and made moments.
Does not know: HTTP, terminals, how the index was built.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from index.embed import Embedder, Vectors
from index.explain import Evidence, Explanation, explain
from index.features import Numbers as Features
from index.features import describe
from index.generation import Generation
from index.highlight import highlights
from index.judge import Judge
from index.lookup import Lookup, Sides
from index.moments import Found, find_moments
from index.query import Filters, ParsedQuery, parse_query
from index.ranker import Place, Ranked, Ranking, coverage, fuse, scaled
from index.recency import faded
from index.speakers import favoured
from index.trees import learned_scores, open_trees
from store.database import Database
from store.links import has_secret
from store.passages import passages_by_id
from store.records import Episode, Moment, Passage, SearchAnswer
from store.settings import Settings
from store.shelf import Shelf

__all__ = ["Filters", "Searcher", "Sides", "highlights"]

DEPTH = 100  # windows that each side hands on
NEWEST_SHARE = 0.4  # sorted by date, what scores less than this share of the best is left out
NEWEST_DEPTH = 50
LEARNED = 64  # windows, best by score first, that the learned order may move; with all 170 candidates it gains nothing more
AT_ONCE = max(2, os.cpu_count() or 2)  # searches; more only pass the interpreter around: 16 on 2 cores answer half as many a second
TAIL = 0.2  # the best score of a window that it does not see
SHOWN = 10
SAID_SHARE = 0.5  # of the question's weight: with more of it in one window, that window fits


@dataclass(frozen=True, slots=True)
class Looked:
    """A search as it went: what both sides found, the order, and the windows that became moments."""

    sides: Sides
    ranking: Ranking
    found: tuple[Found, ...]


class Searcher:
    """Searches one catalogue. Safe to use from many threads at once; a new generation is noticed by itself."""

    def __init__(self, settings: Settings, database: Database, embedder: Embedder | None = None) -> None:
        """Take the catalogue. Without `embedder` the settings' one is opened, beside whatever the caller does meanwhile.

        Raises `SettingsError` if the settings ask for Qdrant and its client is not installed.
        """
        self._settings, self._database, self._shelf = settings, database, Shelf(database)
        self._lookup = Lookup(settings, database, embedder)
        self._judge = Judge(settings, self._lookup.pool)
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def search(self, query: str, *, limit: int = 10, filters: Filters = Filters(), sort: str = "best") -> SearchAnswer:
        """Return the moments that answer `query`, `limit` at most. An empty query finds nothing.

        `sort`: `best`; `recent`, where the best fade with age; `newest`, where only the date counts among what fits.

        Raises `IndexUnavailable` if there is no index, or if neither side can answer.
        """
        return self._ask(query, limit, filters, sort)[0]

    def explain(
        self, query: str, *, limit: int = 10, filters: Filters = Filters(), sort: str = "best"
    ) -> tuple[SearchAnswer, Explanation | None]:
        """Return what `search` returns, and why; None where nothing was asked. Raises `IndexUnavailable` likewise."""
        answer, looked = self._ask(query, limit, filters, sort)
        if looked is None:
            return answer, None
        by_score = fuse(looked.sides.lexical, looked.sides.dense, self._settings.lexical_weight)
        trees = open_trees() if not looked.sides.degraded else None
        places, features = self.describe(looked.sides, by_score) if trees else ([], np.zeros((0, 0)))
        sides = looked.sides
        evidence = Evidence(
            sides.generation.parts, sides.counts, sides.lexical, sides.dense, by_score, looked.ranking, places, features
        )
        return answer, explain(sides.parsed, evidence, looked.found, trees, sides.speakers)

    def _ask(self, query: str, limit: int, filters: Filters, sort: str) -> tuple[SearchAnswer, Looked | None]:
        started = time.perf_counter()
        parsed = parse_query(query)
        if not parsed or limit < 1:
            return SearchAnswer(query, _ms_since(started), None, ()), None
        with self._room:
            sides = self.sides(parsed, filters)
            ranking = self.rank(sides)
            moments: list[tuple[Found, Moment]] = []
            if parsed.phrases or not self._nothing_fits(sides, ranking):
                ranking = favoured(sides.generation.parts, ranking, sides.speakers)
                ranking = faded(sides.generation.parts, ranking) if sort == "recent" else ranking
                moments = self._best(sides, ranking, limit) if sort != "newest" else self._newest(sides, ranking, limit)
            shown = tuple(moment for _, moment in moments)
            answer = SearchAnswer(query, _ms_since(started), sides.degraded, shown, sides.parsed.understood)
        return answer, Looked(sides, ranking, tuple(found for found, _ in moments))

    def _best(self, sides: Sides, ranking: Ranking, limit: int) -> list[tuple[Found, Moment]]:
        return self._moments(sides.generation, find_moments(sides.generation.parts, ranking, sides.counts, limit))

    def _newest(self, sides: Sides, ranking: Ranking, limit: int) -> list[tuple[Found, Moment]]:
        moments = self._best(sides, ranking, max(limit, NEWEST_DEPTH))
        moments = [(found, moment) for found, moment in moments if found.score >= NEWEST_SHARE * moments[0][0].score]
        return sorted(moments, key=lambda pair: pair[1].published, reverse=True)[:limit]

    def sides(self, parsed: ParsedQuery, filters: Filters = Filters(), depth: int = DEPTH) -> Sides:
        """Return what words and meaning find, `depth` windows each, within the settings' time budget."""
        return self._lookup.sides(parsed, filters, depth)

    def embed(self, parsed: ParsedQuery) -> Vectors:
        """Return the query's vector, float32, shape (d,)."""
        return self._lookup.embedders.of(self._lookup.readers.current().manifest).embed_query(parsed.meaning)

    def rank(self, sides: Sides) -> Ranking:
        """Return both sides' windows in one order, best first: the learned one if the program brings a ranker, else by score."""
        ranking = fuse(sides.lexical, sides.dense, self._settings.lexical_weight)
        trees = open_trees()
        if trees is None or not ranking or sides.degraded:
            return ranking
        places, features = self.describe(sides, ranking)
        learned = dict(zip(places, scaled(learned_scores(trees, features)).tolist(), strict=True))
        first = [Ranked(place, TAIL + (1 - TAIL) * learned[place]) for place, _ in ranking[:LEARNED]]
        first.sort(key=lambda one: (-one.score, one.place))
        ranking = [*first, *(Ranked(place, TAIL * score) for place, score in ranking[LEARNED:])]
        return self._judge.order(sides.parsed.meaning, ranking, lambda places: self._texts(sides.generation, places))

    def describe(self, sides: Sides, ranking: Ranking) -> tuple[list[Place], Features]:
        """Return the windows that the learned order may move, and what tells them apart, shape (windows, len(FEATURES))."""
        fused = {one.place: one.score for one in ranking[:LEARNED]}
        return describe(sides.generation.parts, sides.counts, sides.lexical, sides.dense, fused)

    def _nothing_fits(self, sides: Sides, ranking: Ranking) -> bool:
        """Tell whether the best that there is has nothing to do with the question: far in meaning, and most of its words unsaid."""
        if sides.degraded or not ranking:
            return False
        nearest = max(sides.dense.values(), default=0.0)
        if nearest >= self._lookup.embedders.of(sides.generation.manifest).unrelated:
            return False
        said = coverage(sides.generation.parts, [one.place for one in ranking[:SHOWN]], sides.counts)
        return float(said.max()) < SAID_SHARE

    def _moments(self, generation: Generation, found: Sequence[Found]) -> list[tuple[Found, Moment]]:
        """Read the moments' texts and episodes from the store; what was removed a moment ago is left out."""
        rows = {one: generation.parts[one.place[0]].columns.ids[one.row : one.last_row + 1].tolist() for one in found}
        passages = passages_by_id(self._database, {key for ids in rows.values() for key in ids})
        moments = []
        for one in found:
            spoken = [passages[key] for key in rows[one] if key in passages]
            if len(spoken) < len(rows[one]):
                continue
            episode = self._shelf.episode(spoken[0].episode_id)
            if episode is not None:
                moments.append((one, self._moment(one, spoken, episode)))
        return moments

    def _texts(self, generation: Generation, places: Sequence[Place]) -> list[str]:
        """Return what is said in windows."""
        of_part = [part.columns for part in generation.parts]
        spans = [(of_part[part], int(of_part[part].window_row[at]), int(of_part[part].window_rows[at])) for part, at in places]
        ids = [columns.ids[row : row + count].tolist() for columns, row, count in spans]
        passages = passages_by_id(self._database, [key for keys in ids for key in keys])
        return [" ".join(passages[key].text for key in keys if key in passages) for keys in ids]

    def _moment(self, found: Found, spoken: Sequence[Passage], episode: Episode) -> Moment:
        first = spoken[0]
        sentence = first.sentences[found.sentence] if found.sentence < len(first.sentences) else None
        start_s = sentence.start_s if sentence else first.start_s
        text = " ".join([first.text[sentence.start_char if sentence else 0 :], *(passage.text for passage in spoken[1:])])
        speaker = first.speakers[0] if len(first.speakers) == 1 or (first.speakers and found.sentence == 0) else None
        return Moment(
            episode_id=episode.id,
            show_id=episode.show_id,
            show=episode.show,
            title=episode.title,
            published=episode.published,
            start_s=round(start_s, 2),
            end_s=round(spoken[-1].end_s, 2),
            speaker=speaker,
            text=text,
            score=round(found.score, 4),
            play_url=_play_url(episode),
            page_url=f"{self._settings.base_url.rstrip('/')}/e/{episode.id}?t={start_s:.0f}",
        )


def _play_url(episode: Episode) -> str:
    """Return what a player opens: the publisher's address, or our own where we hold the file. Addresses with a key stay here."""
    if urlsplit(episode.media_url).scheme in ("http", "https"):
        return "" if has_secret(episode.media_url) else episode.media_url
    return f"/media/{episode.id}" if episode.recording_id is not None else ""


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)

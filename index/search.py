"""Search: a question in, moments out.

Comes in: what somebody typed, filters. Goes out: `SearchAnswer`. Words and meaning are looked up side by side; if one fails or is
late, the other answers and the answer says so.
Does not know: HTTP, terminals, how the index was built.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from index.candidates import PARTS, Finder, Finders
from index.embed import Embedder, Vectors
from index.embedders import Embedders
from index.explain import Evidence, Explanation, explain
from index.features import Numbers as Features
from index.features import describe
from index.generation import Generation, Readers
from index.highlight import highlights
from index.judge import Judge
from index.language import words
from index.lexical import LexicalQuery
from index.manifest import index_folder
from index.moments import Found, find_moments
from index.query import MAX_WORDS, Filters, ParsedQuery, parse_query
from index.ranker import Counts, Place, Ranked, Ranking, count_terms, coverage, fuse, lexical_scores, scaled
from index.recency import faded
from index.spelling import Spelling
from index.trees import learned_scores, open_trees
from index.wording import Form, other_forms
from store.database import Database
from store.errors import EarmarkError, IndexUnavailable
from store.links import has_secret
from store.passages import passages_by_id
from store.records import Episode, Moment, Passage, SearchAnswer
from store.settings import Settings
from store.shelf import Shelf

__all__ = ["Filters", "Searcher", "highlights"]

DEPTH = 100  # windows that each side hands on
PHRASE_DEPTH = 2000  # windows with a quoted phrase that meaning may still put in order
OPENING_S = 30.0  # that the first search waits for the encoder
OVERDUE = 10  # times the budget after which a search without any side's answer is given up
NEWEST_SHARE = 0.5  # sorted by date, what scores less than this share of the best is left out
NEWEST_DEPTH = 50
LEARNED = 64  # windows, best by score first, that the learned order may move; with all 170 candidates it gains nothing more
AT_ONCE = max(2, os.cpu_count() or 2)  # searches; more only pass the interpreter around: 16 on 2 cores answer half as many a second
TAIL = 0.2  # the best score of a window that it does not see
SHOWN = 10
COMMON_IDF = math.log(2)  # of a word that half of the windows say
FEWEST_TERMS = 2
SAID_SHARE = 0.5  # of the question's weight: with more of it in one window, that window fits

Side = Literal["lexical", "dense"]
Scores = dict[Place, float]

log = logging.getLogger("earmark.search")


@dataclass(frozen=True, slots=True)
class Sides:
    """What both sides found, before anything is merged: BM25 and cosine by window."""

    generation: Generation
    parsed: ParsedQuery
    counts: Counts
    lexical: Scores
    dense: Scores
    degraded: Side | None

    def window_ids(self, places: Sequence[Place]) -> list[int]:
        """Return the windows' ids: those of their first passages."""
        parts = self.generation.parts
        return [int(parts[part].columns.ids[parts[part].columns.window_row[position]]) for part, position in places]


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
        self._readers, self._spelling = Readers(index_folder(settings)), Spelling(database)
        self._finders = Finders(settings)
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(max_workers=4 * (os.cpu_count() or 2), thread_name_prefix="earmark-search")
        self._embedders = Embedders(settings, embedder, self._pool, self._finders.warm)
        self._judge = Judge(settings, self._pool)

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
        return answer, explain(sides.parsed, evidence, looked.found, trees)

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
        generation = self._readers.current()
        wait([self._embedders.opening], timeout=OPENING_S)  # only the first search waits here; the budget is for searching
        parsed, asked, counts = self._read(generation, parsed)
        finder = self._finders.of(generation)
        if parsed.phrases:  # only what holds the phrases may be found, so words go first and meaning orders
            lexical = self._pool.submit(_by_phrases, finder, generation, asked, filters, counts, parsed.only_phrases)
            dense = self._pool.submit(self._by_meaning, finder, generation, parsed, filters, depth, lexical)
        else:
            dense = self._pool.submit(self._by_meaning, finder, generation, parsed, filters, depth)
            asked = replace(asked, terms=_telling(asked.terms, counts))
            do = _done if finder is PARTS else self._pool.submit  # what asks another machine must not be waited for
            lexical = do(_by_words, finder, generation, asked, filters, counts, depth)
        found, degraded = self._in_time({"lexical": lexical, "dense": dense})
        return Sides(generation, parsed, counts, _first(found["lexical"], depth), found["dense"], degraded)

    def _read(self, generation: Generation, parsed: ParsedQuery) -> tuple[ParsedQuery, LexicalQuery, Counts]:
        """Return the query with the words that were meant, what to look for, and how often it is said."""
        forms = other_forms(words(parsed.text)[:MAX_WORDS])
        terms, several = _with_forms(generation, parsed, forms)
        counts = count_terms(generation.parts, terms, several)
        unknown = [
            word for word in parsed.loose_words if not forms.get(word) and _is_unknown(generation, counts, parsed.words.index(word))
        ]
        typing = parsed.words[-1] if parsed.is_typing else ""
        meant = {word: self._spelling.meant(generation, word, typing=word == typing) for word in unknown}
        if read_as := {word: other for word, other in meant.items() if other}:
            parsed = parsed.reading(read_as)
            terms, several = _with_forms(generation, parsed, forms)
            counts = count_terms(generation.parts, terms, several)
        spoken = tuple(dict.fromkeys(form for group in forms.values() for form in group if len(form) > 1))
        return parsed, LexicalQuery(terms, parsed.phrases, spoken), counts

    def embed(self, parsed: ParsedQuery) -> Vectors:
        """Return the query's vector, float32, shape (d,)."""
        return self._embedders.of(self._readers.current().manifest).embed_query(parsed.meaning)

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
        if nearest >= self._embedders.of(sides.generation.manifest).unrelated:
            return False
        said = coverage(sides.generation.parts, [one.place for one in ranking[:SHOWN]], sides.counts)
        return float(said.max()) < SAID_SHARE

    def _in_time(self, asked: dict[Side, Future[Scores]]) -> tuple[dict[Side, Scores], Side | None]:
        """Wait for both sides as long as the budget lasts, then for the first one that answers."""
        budget_s = self._settings.search_budget_ms / 1000
        deadline = time.monotonic() + OVERDUE * max(budget_s, 0.1)
        wait(asked.values(), timeout=budget_s)
        errors: dict[Side, Exception] = {}
        while True:
            found: dict[Side, Scores] = {}
            for side, future in asked.items():
                if not future.done():
                    continue
                if error := future.exception():
                    if not isinstance(error, Exception):
                        raise error
                    errors[side] = error
                else:
                    found[side] = future.result()
            if found:
                break
            running = [future for future in asked.values() if not future.done()]
            if not running or time.monotonic() > deadline:
                cause = next(iter(errors.values()), None)
                what = f"the search failed ({cause})" if cause else "the search took too long"
                raise IndexUnavailable(what, next_step="Look at the log, or run: earmark doctor") from cause
            wait(running, timeout=budget_s, return_when=FIRST_COMPLETED)
        for side, failed in errors.items():
            told = str(failed) if isinstance(failed, EarmarkError) else repr(failed)
            log.warning("the %s side of a search failed: %s", side, told)
        alone: Side | None = next(iter(found)) if len(found) == 1 else None
        return {"lexical": found.get("lexical", {}), "dense": found.get("dense", {})}, alone

    def _by_meaning(
        self,
        finder: Finder,
        generation: Generation,
        parsed: ParsedQuery,
        filters: Filters,
        depth: int,
        among: Future[Scores] | None = None,
    ) -> Scores:
        vector = self._embedders.of(generation.manifest).embed_query(parsed.meaning)
        chosen = list(among.result()) if among is not None else None
        return _first(finder.by_meaning(generation, vector, filters, depth, chosen), depth)

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


def _done(work: Callable[..., Scores], *given: Any) -> Future[Scores]:
    """Do it here: a thread of its own for a millisecond of words would cost more than it saves when many search at once."""
    future: Future[Scores] = Future()
    try:
        future.set_result(work(*given))
    except Exception as error:
        future.set_exception(error)
    return future


def _by_words(finder: Finder, generation: Generation, asked: LexicalQuery, filters: Filters, counts: Counts, depth: int) -> Scores:
    """Have candidates picked, and score them with the whole catalogue's counts."""
    places = finder.by_words(generation, asked, counts, filters, depth)
    scores = lexical_scores(generation.parts, places, counts)
    return _first(dict(zip(places, scores.tolist(), strict=True)), depth)


def _is_unknown(generation: Generation, counts: Counts, word: int) -> bool:
    """Tell whether neither a window nor a title says a word (by its number in the query)."""
    if counts.windows[word]:
        return False
    return not any(part.titles.weights((counts.terms[word],), (1.0,)).any() for part in generation.parts)


def _with_forms(
    generation: Generation, parsed: ParsedQuery, forms: Mapping[str, Sequence[Form]]
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[Form, ...], ...]]:
    """Return for each word its stems, those of its forms in one word included, and the stems of its forms in several."""
    meant = dict(parsed.read_as)
    terms, several = [], []
    for word in parsed.words:
        others = forms.get(word, ())
        single = [form[0] for form in others if len(form) == 1] + ([meant[word]] if word in meant else [])
        terms.append(tuple(dict.fromkeys(stem for one in (word, *single) for stem in generation.stems(one))))
        several.append(tuple(tuple(generation.stems(part)[0] for part in form) for form in others if len(form) > 1))
    return tuple(terms), tuple(several)


def _telling(terms: tuple[tuple[str, ...], ...], counts: Counts) -> tuple[tuple[str, ...], ...]:
    """Leave out the words that most windows say, where two others are left: they pick no candidate, and take half of the time."""
    rare = tuple(group for group, idf in zip(terms, counts.idf, strict=True) if idf >= COMMON_IDF)
    return rare if len(rare) >= FEWEST_TERMS else terms


def _by_phrases(
    finder: Finder, generation: Generation, asked: LexicalQuery, filters: Filters, counts: Counts, strictly: bool
) -> Scores:
    """Find what holds the phrases. Nothing does, and there are other words beside them: then the words alone count."""
    found = _by_words(finder, generation, asked, filters, counts, PHRASE_DEPTH)
    if found or strictly:
        return found
    return _by_words(finder, generation, LexicalQuery(asked.terms), filters, counts, PHRASE_DEPTH)


def _first(scores: Scores, depth: int) -> Scores:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:depth])


def _play_url(episode: Episode) -> str:
    """Return what a player opens: the publisher's address, or our own where we hold the file. Addresses with a key stay here."""
    if urlsplit(episode.media_url).scheme in ("http", "https"):
        return "" if has_secret(episode.media_url) else episode.media_url
    return f"/media/{episode.id}" if episode.recording_id is not None else ""


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)

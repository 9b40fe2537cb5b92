"""Words and meaning looked up side by side: two lists of windows from one question.

Comes in: a question that was read, filters. Goes out: `Sides`. If one side fails or is late, the other answers
alone, and that is told.
Does not know: how the two are put together (`index.search`), or who finds windows (`index.candidates`).
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Literal

from index.candidates import PARTS, Finder, Finders
from index.embed import Embedder
from index.embedders import Embedders
from index.generation import Generation, Readers
from index.language import words
from index.lexical import LexicalQuery
from index.manifest import index_folder
from index.query import MAX_WORDS, Filters, ParsedQuery
from index.ranker import Counts, Place, count_terms, lexical_scores
from index.speakers import Names, named_in
from index.spelling import Spelling
from index.wording import Form, other_forms
from store.database import Database
from store.errors import EarmarkError, IndexUnavailable
from store.settings import Settings

PHRASE_DEPTH = 2000  # windows with a quoted phrase that meaning may still put in order
OPENING_S = 30.0  # that the first search waits for the encoder
OVERDUE = 10  # times the budget after which a search without any side's answer is given up
COMMON_IDF = math.log(2)  # of a word that half of the windows say
FEWEST_TERMS = 2

Side = Literal["lexical", "dense"]
Scores = dict[Place, float]

log = logging.getLogger("earmark.search")


@dataclass(frozen=True, slots=True)
class Sides:
    """What both sides found, before anything is merged: BM25 and cosine by window."""

    generation: Generation
    parsed: ParsedQuery
    speakers: Names
    counts: Counts
    lexical: Scores
    dense: Scores
    degraded: Side | None

    def window_ids(self, places: Sequence[Place]) -> list[int]:
        """Return the windows' ids: those of their first passages."""
        parts = self.generation.parts
        return [int(parts[part].columns.ids[parts[part].columns.window_row[position]]) for part, position in places]


class Lookup:
    """Both sides of one catalogue. Safe to use from many threads at once; a new generation is noticed by itself."""

    def __init__(self, settings: Settings, database: Database, embedder: Embedder | None) -> None:
        """Take the catalogue. Without `embedder` the settings' one is opened, beside whatever the caller does meanwhile.

        Raises `SettingsError` if the settings ask for Qdrant and its client is not installed.
        """
        self._settings = settings
        self.readers = Readers(index_folder(settings))
        self._spelling = Spelling(database)
        self._finders = Finders(settings)
        self.pool = ThreadPoolExecutor(max_workers=4 * (os.cpu_count() or 2), thread_name_prefix="earmark-search")
        self.embedders = Embedders(settings, embedder, self.pool, self._finders.warm)

    def sides(self, parsed: ParsedQuery, filters: Filters, depth: int) -> Sides:
        """Return what words and meaning find, `depth` windows each, within the settings' time budget."""
        generation = self.readers.current()
        wait([self.embedders.opening], timeout=OPENING_S)  # only the first search waits here; the budget is for searching
        speakers = named_in(parsed.text, generation.parts)
        parsed, asked, counts = self._read(generation, parsed, speakers)
        finder = self._finders.of(generation)
        if parsed.phrases:  # only what holds the phrases may be found, so words go first and meaning orders
            lexical = self.pool.submit(_by_phrases, finder, generation, asked, filters, counts, parsed.only_phrases)
            dense = self.pool.submit(self._by_meaning, finder, generation, parsed, filters, depth, lexical)
        else:
            dense = self.pool.submit(self._by_meaning, finder, generation, parsed, filters, depth)
            asked = replace(asked, terms=_telling(asked.terms, counts))
            do = _done if finder is PARTS else self.pool.submit  # what asks another machine must not be waited for
            lexical = do(_by_words, finder, generation, asked, filters, counts, depth)
        found, degraded = self._in_time({"lexical": lexical, "dense": dense})
        return Sides(generation, parsed, speakers, counts, _first(found["lexical"], depth), found["dense"], degraded)

    def _read(self, generation: Generation, parsed: ParsedQuery, speakers: Names) -> tuple[ParsedQuery, LexicalQuery, Counts]:
        """Return the query with the words that were meant, what to look for, and how often it is said. Speakers are known."""
        forms = other_forms(words(parsed.text)[:MAX_WORDS])
        terms, several = _with_forms(generation, parsed, forms)
        counts = count_terms(generation.parts, terms, several)
        known = {*forms, *(word for name in speakers for word in words(name))}
        unknown = [
            word for word in parsed.loose_words if word not in known and _is_unknown(generation, counts, parsed.words.index(word))
        ]
        typing = parsed.words[-1] if parsed.is_typing else ""
        meant = {word: self._spelling.meant(generation, word, typing=word == typing) for word in unknown}
        if read_as := {word: other for word, other in meant.items() if other}:
            parsed = parsed.reading(read_as)
            terms, several = _with_forms(generation, parsed, forms)
            counts = count_terms(generation.parts, terms, several)
        spoken = tuple(dict.fromkeys(form for group in forms.values() for form in group if len(form) > 1))
        return parsed, LexicalQuery(terms, parsed.phrases, spoken), counts

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
        vector = self.embedders.of(generation.manifest).embed_query(parsed.meaning)
        chosen = list(among.result()) if among is not None else None
        return _first(finder.by_meaning(generation, vector, filters, depth, chosen), depth)


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

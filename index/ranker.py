"""What a candidate is worth: BM25 over the whole catalogue, cosine, and the two put together.

Comes in: candidates of both sides, by part and position. Goes out: a `Ranking`, best first.
Does not know: where candidates come from, or how windows become moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from index.language import stem_hash
from index.part import Part

K1 = 0.9  # how soon a repeated word stops counting; bench.retrieval: .7 to 1.2 differ by less than .002
TITLE_WEIGHT = 0.3  # of a word in the title or the show's name: +.004 strict nDCG@10 on 200 talks, more in .5 costs titles
B = 0.75  # how much a long window is held back

Numbers = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]
Place = tuple[int, int]  # a window: (which part, position in it)


@dataclass(frozen=True, slots=True)
class Counts:
    """The whole catalogue's numbers that a score needs. `idf` has one weight for each word of the query.

    `forms`: for each word of the query its other forms of several words, as hashes of stems; empty if no word has any.
    """

    terms: tuple[tuple[int, ...], ...]  # for each word of the query the hashes of its stems
    idf: tuple[float, ...]
    mean_length: float  # of a window, in words
    windows: tuple[int, ...]  # for each word, how many say it
    forms: tuple[tuple[tuple[int, ...], ...], ...] = ()


class Ranked(NamedTuple):
    """A window and what it is worth. A plain tuple: a search makes hundreds."""

    place: Place
    score: float


Ranking = list[Ranked]


def count_terms(
    parts: Sequence[Part], terms: Sequence[tuple[str, ...]], forms: Sequence[tuple[tuple[str, ...], ...]] = ()
) -> Counts:
    """Count the query's words (each with its stems) in all parts. `forms`: stems of the words' forms of several words."""
    windows = max(sum(part.columns.windows for part in parts), 1)
    rows = max(sum(len(part.columns.ids) for part in parts), 1)
    total = sum(part.terms.total for part in parts)
    found = tuple(min(windows, sum(part.count(stem) for part in parts for stem in group)) for group in terms)
    idf = tuple(float(np.log1p((windows - count + 0.5) / (count + 0.5))) for count in found)
    hashes = tuple(tuple(map(stem_hash, group)) for group in terms)
    others = tuple(tuple(tuple(map(stem_hash, form)) for form in group) for group in forms) if any(forms) else ()
    return Counts(hashes, idf, max(2 * total / rows, 1.0), found, others)


def bm25(parts: Sequence[Part], places: Sequence[Place], counts: Counts, *, k1: float = K1, b: float = B) -> Numbers:
    """Return the BM25 score of each window, with the catalogue's counts."""
    scores: Numbers = np.zeros(len(places))
    if not places or not counts.terms:
        return scores
    for number, here, positions in by_part(places):
        columns = parts[number].columns
        hashes, starts = parts[number].terms.of_spans(columns.window_row[positions], columns.window_rows[positions])
        frequencies = count_in(hashes, starts, counts)
        norm = k1 * (1 - b + b * np.diff(starts) / counts.mean_length)
        scores[here] = (frequencies * (k1 + 1) / (frequencies + norm[:, None])) @ np.array(counts.idf)
    return scores


def lexical_scores(parts: Sequence[Part], places: Sequence[Place], counts: Counts) -> Numbers:
    """Return what the words are worth: BM25 of the window, and a little for words of the episode's title and show."""
    scores = bm25(parts, places, counts)
    for number, here, positions in by_part(places):
        columns = parts[number].columns
        episodes = columns.episode[columns.window_row[positions]]
        scores[here] += TITLE_WEIGHT * title_weights(parts[number], episodes, counts)
    return scores


def coverage(parts: Sequence[Part], places: Sequence[Place], counts: Counts) -> Numbers:
    """Return which share of the query's weight each window says."""
    idf = np.array(counts.idf)
    shares: Numbers = said_in(parts, places, counts) @ idf / idf.sum() if idf.sum() else np.zeros(len(places))
    return shares


def said_in(parts: Sequence[Part], places: Sequence[Place], counts: Counts) -> npt.NDArray[np.bool_]:
    """Tell which words of the query each window says, shape (windows, words)."""
    said = np.zeros((len(places), len(counts.terms)), dtype=bool)
    for number, here, positions in by_part(places):
        columns = parts[number].columns
        hashes, starts = parts[number].terms.of_spans(columns.window_row[positions], columns.window_rows[positions])
        said[here] = count_in(hashes, starts, counts) > 0
    return said


def by_part(places: Sequence[Place]) -> Iterator[tuple[int, Integers, Integers]]:
    """Yield for each part its number, which of `places` are in it, and their positions there."""
    table = np.array(places, dtype=np.int64).reshape(-1, 2)
    for number in np.unique(table[:, 0]).tolist():
        here = np.flatnonzero(table[:, 0] == number)
        yield number, here, table[here, 1]


def title_weights(part: Part, episodes: npt.NDArray[np.int64], counts: Counts) -> Numbers:
    """Return for each episode (by its number in the part) the weight of the query's words in its title and show."""
    weights: Numbers = part.titles.weights(counts.terms, counts.idf)[episodes]
    return weights


def count_in(hashes: Hashes, starts: Integers, counts: Counts) -> Numbers:
    """Return how often each word of the query stands in each span, shape (spans, words). `starts` has one more entry, the end."""
    spans = len(starts) - 1
    frequencies = np.zeros((spans, len(counts.terms)))
    for column in range(len(counts.terms)):
        places = places_in(hashes, counts, column)
        if len(places):
            owner = np.searchsorted(starts, places, side="right") - 1
            frequencies[:, column] = np.bincount(owner, minlength=spans)
    return frequencies


def places_in(hashes: Hashes, counts: Counts, word: int) -> Integers:
    """Return where a word of the query (by its number) begins among stems, in whatever form."""
    first, *others = counts.terms[word]
    hits = hashes == first
    for other in others:
        hits |= hashes == other
    for form in counts.forms[word] if counts.forms else ():
        last = len(hashes) - len(form) + 1
        if last > 0:
            run = hashes[:last] == form[0]
            for step, stem in enumerate(form[1:], 1):
                run &= hashes[step : last + step] == stem
            hits[:last] |= run
    return np.flatnonzero(hits)


def scaled(scores: Numbers) -> Numbers:
    """Stretch scores to [0, 1]; equal scores are all 1."""
    if not len(scores):
        return scores
    low, high = float(scores.min()), float(scores.max())
    return np.ones_like(scores) if high <= low else (scores - low) / (high - low)


def fuse(lexical: Mapping[Place, float], dense: Mapping[Place, float], lexical_weight: float) -> Ranking:
    """Put both sides together: each side's scores stretched to [0, 1] and added by weight. Best first; ties by place."""
    by_words = dict(zip(lexical, scaled(np.array(list(lexical.values()))).tolist(), strict=True))
    by_meaning = dict(zip(dense, scaled(np.array(list(dense.values()))).tolist(), strict=True))
    if not by_words or not by_meaning:
        lexical_weight = 1.0 if by_words else 0.0
    scores = {place: lexical_weight * score for place, score in by_words.items()}
    for place, score in by_meaning.items():
        scores[place] = scores.get(place, 0.0) + (1 - lexical_weight) * score
    ordered = sorted([(-score, place) for place, score in scores.items()])
    return [Ranked(place, -score) for score, place in ordered]

"""What tells a good entry point from a mere mention: numbers about each candidate window, its neighbours and its episode.

Comes in: the candidates of both sides. Goes out: a matrix, one row a candidate, one column for each name in `FEATURES`.
Does not know: how the numbers are weighed (`index.trees`), or what the right answer is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.part import Part
from index.ranker import K1, B, Counts, Place, places_in, scaled, title_weights

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FEATURES = (
    "fused",  # the weighted sum of the next two
    "words",  # BM25, stretched to [0, 1] among the candidates
    "meaning",  # cosine, stretched likewise; 0 where that side did not find it
    "bm25",  # as a share of the query's whole weight
    "cosine",
    "coverage",  # share of the query's weight that the window says
    "coverage_first",  # the same of its first passage alone
    "coverage_second",
    "fresh",  # share of the query's weight that is said here and not in the two passages before
    "before",  # BM25 of the window that ends where this one begins, as a share of this one's
    "after",
    "overlap_before",  # the same of the windows that share a passage with this one
    "overlap_after",
    "in_episode",  # BM25 as a share of the episode's best
    "episode_best",  # the episode's best BM25 as a share of the best of all
    "episode_sum",  # the sum of the episode's five best, likewise
    "episode_rank",  # how many candidates of the episode are better
    "depth",  # how far into the episode, 0 to 1
    "row",  # how many passages come before
    "title",  # share of the query's weight that the episode's title says
    "query_words",
    "query_weight",
    "best_coverage",  # of all candidates
    "start_words",  # words before the sentence that the start rule picks
    "start_coverage",  # share of the query's weight in that sentence
    "mentions",  # how often the query's words are said
    "pairs",  # how often neighbours in the query are neighbours in the window
    "length",  # of the window, in words
    "cosine_before",  # of the overlapping windows; 0 where unknown
    "cosine_after",
)
AROUND = (-2, -1, 0, 1, 2, 3)  # rows around a window's first that are looked at
EPISODE_BEST = 5
START_SHARE = 0.6  # as in `index.moments`


@dataclass(frozen=True, slots=True)
class _Said:
    """The query's words in one part's candidates and around them."""

    counts: Numbers  # (windows, rows around, words of the query)
    lengths: Numbers  # (windows, rows around), in words
    start_words: Numbers
    start_coverage: Numbers
    pairs: Numbers


def describe(
    parts: Sequence[Part],
    counts: Counts,
    lexical: Mapping[Place, float],
    dense: Mapping[Place, float],
    fused: Mapping[Place, float],
) -> tuple[list[Place], Numbers]:
    """Return the candidates and their features, shape (candidates, len(FEATURES))."""
    places = sorted(fused)
    if not places:
        return [], np.zeros((0, len(FEATURES)))
    columns: dict[str, Numbers] = {name: np.zeros(len(places)) for name in FEATURES}
    idf = np.array(counts.idf)
    weight = max(float(idf.sum()), 1e-9)
    owner = np.array([part for part, _ in places])
    positions = np.array([position for _, position in places], dtype=np.int64)
    bm25 = np.zeros(len(places))
    episodes = np.zeros(len(places), dtype=np.int64)
    for number in np.unique(owner):
        here = owner == number
        part = parts[number]
        rows = np.asarray(part.columns.window_row[positions[here]], dtype=np.int64)
        said = _said(part, rows, counts, idf)
        tf = said.counts
        own, own_length = tf[:, 2] + tf[:, 3], said.lengths[:, 2] + said.lengths[:, 3]

        def score(first: int, said: _Said = said) -> Numbers:
            both = said.counts[:, first] + said.counts[:, first + 1]
            return _bm25(both, said.lengths[:, first] + said.lengths[:, first + 1], idf, counts.mean_length)

        value = score(2)
        bm25[here] = value
        safe = np.maximum(value, 0.05 * weight)
        for name, first in (("before", 0), ("overlap_before", 1), ("overlap_after", 3), ("after", 4)):
            columns[name][here] = np.minimum(score(first) / safe, 3.0)
        columns["coverage"][here] = (own > 0) @ idf / weight
        columns["coverage_first"][here] = (tf[:, 2] > 0) @ idf / weight
        columns["coverage_second"][here] = (tf[:, 3] > 0) @ idf / weight
        columns["fresh"][here] = ((own > 0) & (tf[:, 0] + tf[:, 1] == 0)) @ idf / weight
        columns["mentions"][here] = own.sum(axis=1)
        columns["length"][here] = own_length
        columns["start_words"][here], columns["start_coverage"][here] = said.start_words, said.start_coverage / weight
        columns["pairs"][here] = said.pairs
        episode = np.asarray(part.columns.episode[rows], dtype=np.int64)
        episodes[here] = episode + (int(number) << 40)
        ordinal = np.asarray(part.columns.ordinal[rows], dtype=np.float64)
        columns["row"][here] = ordinal
        columns["depth"][here] = ordinal / np.maximum(part.columns.rows_of(episode), 1)
        columns["title"][here] = title_weights(part, episode, counts) / weight
    columns["bm25"] = bm25 / weight
    columns["words"] = scaled(bm25)
    _episode_columns(columns, bm25, episodes)
    found = np.array([dense.get(place, np.nan) for place in places])
    low = min((dense[place] for place in places if place in dense), default=min(dense.values(), default=0.0))
    columns["cosine"] = np.where(np.isnan(found), low, found)
    columns["meaning"] = scaled(columns["cosine"])
    columns["fused"] = np.array([fused[place] for place in places])
    for name, step in (("cosine_before", -1), ("cosine_after", 1)):
        columns[name] = np.array([dense.get((part, position + step), 0.0) for part, position in places])
    columns["query_words"] += len(idf)
    columns["query_weight"] += weight
    columns["best_coverage"] += float(columns["coverage"].max())
    return places, np.column_stack([columns[name] for name in FEATURES])


def _episode_columns(columns: dict[str, Numbers], bm25: Numbers, episodes: Integers) -> None:
    top = max(float(bm25.max()), 1e-9)
    order = np.lexsort((-bm25, episodes))
    new = np.concatenate([[True], np.diff(episodes[order]) != 0])
    firsts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    rank = np.arange(len(order)) - firsts[group]
    best = np.maximum(bm25[order][firsts], 1e-9)[group]
    sums = np.bincount(group, weights=np.where(rank < EPISODE_BEST, bm25[order], 0.0))
    columns["in_episode"][order] = bm25[order] / best
    columns["episode_best"][order] = best / top
    columns["episode_rank"][order] = rank
    columns["episode_sum"][order] = sums[group] / max(float(sums.max()), 1e-9)


def _bm25(frequencies: Numbers, lengths: Numbers, idf: Numbers, mean_length: float) -> Numbers:
    norm = K1 * (1 - B + B * lengths / mean_length)
    scores: Numbers = (frequencies * (K1 + 1) / (frequencies + norm[:, None])) @ idf
    return scores


def _said(part: Part, rows: Integers, counts: Counts, idf: Numbers) -> _Said:
    """Count the query's words in the rows around each window, and find where the start rule would begin."""
    wanted = rows[:, None] + np.array(AROUND)
    total = len(part.columns.ids)
    inside = np.clip(wanted, 0, total - 1)
    there = (wanted == inside) & (part.columns.episode[inside] == part.columns.episode[rows][:, None])
    unique, back = np.unique(inside[there], return_inverse=True)
    found, starts = part.terms.of_rows(unique)
    places, words = _occurrences(found, counts)
    owner = np.searchsorted(starts, places, side="right") - 1
    size = (len(unique) + 1) * len(idf)  # the last row stands for what is outside the episode: nothing is said there
    table = np.bincount(owner * len(idf) + words, minlength=size).reshape(len(unique) + 1, len(idf)).astype(np.float64)
    index = np.full(wanted.shape, len(unique))
    index[there] = back
    lengths = np.append(np.diff(starts), 0).astype(np.float64)
    first = index[:, 2]
    last = np.where(index[:, 3] < len(unique), index[:, 3], first)
    follows = (np.diff(places) == 1) & (np.diff(words) == 1)
    pairs = places[:-1][follows] if len(places) else places
    said_pairs = np.searchsorted(pairs, starts[last + 1]) - np.searchsorted(pairs, starts[first])
    start_words, start_coverage = _starts(part, unique, starts, first, last, places, words, idf)
    return _Said(table[index], lengths[index], start_words, start_coverage, said_pairs.astype(np.float64))


def _starts(
    part: Part,
    rows: Integers,
    starts: Integers,
    first: Integers,
    last: Integers,
    places: Integers,
    words: Integers,
    idf: Numbers,
) -> tuple[Numbers, Numbers]:
    """Return for each window the words before the sentence that the start rule picks, and that sentence's weight."""
    borders, of_row = part.terms.sentences_of_rows(rows, starts)
    sentence = np.searchsorted(borders, places, side="right") - 1
    said = np.bincount(sentence * len(idf) + words, minlength=len(borders) * len(idf)).reshape(len(borders), len(idf)) > 0
    weights = np.append(said @ idf, -1.0)
    low, high = of_row[first], of_row[last + 1]
    inside = low[:, None] + np.arange(int((high - low).max()))
    there = inside < high[:, None]
    of_window = np.where(there, weights[np.minimum(inside, len(borders))], -1.0)
    best = of_window.max(axis=1)
    start = np.argmax(of_window >= START_SHARE * best[:, None], axis=1)
    picked = low + start
    return (borders[picked] - starts[first]).astype(np.float64), np.maximum(weights[picked], 0.0)


def _occurrences(found: npt.NDArray[np.uint32], counts: Counts) -> tuple[Integers, Integers]:
    """Return where the query's words stand among the stems, in order, and which word stands there."""
    places, words = [], []
    for word in range(len(counts.terms)):
        here = places_in(found, counts, word)
        places.append(here)
        words.append(np.full(len(here), word))
    all_places, all_words = np.concatenate(places), np.concatenate(words)
    order = np.argsort(all_places, kind="stable")
    return all_places[order].astype(np.int64), all_words[order].astype(np.int64)

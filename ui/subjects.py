"""What is talked about where: questions that were asked, the heat of a query along an episode, chapters from subject changes.

Comes in: passages, a query. Goes out: plain values along the time of one recording, seconds from its start.
Does not know: how a strip or a chapter is drawn. Chapters found here are guesses and are marked as made.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from index.search import Filters
from store.database import Database
from store.episodes import list_episodes
from store.passages import passages_of
from store.records import Chapter, Episode, Passage
from ui.marks import marks_of
from ui.site import Finder

HEAT_BINS = 48
HEAT_MOMENTS = 60
CHAPTER_MIN_S = 150.0
CHAPTER_TARGET_S = 420.0
CHAPTER_TERMS = 3
COMPARED_PASSAGES = 3  # on each side of a possible subject change
QUESTION_EPISODES = 40
QUESTION_WORDS = (5, 13)
_WORD = re.compile(r"[^\W\d_][\w'’-]*[^\W_]|[^\W\d_]", re.UNICODE)
_QUESTION = re.compile(r"(?:^|(?<=[.!?…] ))[^.!?…]{20,110}\?")
COMMON_SHARE = 0.25  # a word in more of the passages than this says nothing about a subject
COMMON_WORDS = frozenset(
    """
    able about actually after again all alright also always an and another any anything are around as at back basically be
    because been before being better between big both but by call can can't come cool could couldn't did didn't different
    do does doesn't doing don't done down each else even every everything few first for from get gets getting give go goes
    going gone gonna good got gotta great guy guys had hadn't has hasn't have haven't having he he's her here him his how i
    i'd i'll i'm i've if in into is isn't it it's its just keep kind know last least let let's like little long look lot
    made make makes many may maybe me mean might more most much must my need never new next no not nothing now of off oh ok
    okay old on once one only or other our out over own part people point pretty probably put quite rather really right
    said same say says see seems she she's should shouldn't so some somebody someone something sort still stuff such sure
    take takes talk than that that's the their them then there there's these they they're thing things think this those
    though three through time to today together too took trying two under until up us use used using very wanna want wanted
    was wasn't way we we're we've well went were weren't what what's when where whether which while who who's whole why
    will with without won't words work would wouldn't yeah year years yes yet you you're you've your
    """.split()  # noqa: SIM905 - a list of 270 quoted words is harder to read
)


def asked_questions(database: Database, count: int) -> list[str]:
    """Return up to `count` questions that speakers asked, one an episode, from the newest episodes on."""
    found: list[str] = []
    for episode in list_episodes(database, readable_only=True, limit=QUESTION_EPISODES):
        candidates = [
            " ".join(match.group().split())
            for passage in passages_of(database, episode.id)
            for match in _QUESTION.finditer(passage.text)
            if QUESTION_WORDS[0] <= len(match.group().split()) <= QUESTION_WORDS[1]
        ]
        if candidates:
            found.append(max(candidates, key=lambda text: (len(terms(text)), -len(text))))
        if len(found) == count:
            break
    return found


def heat(database: Database, finder: Finder, episodes: Sequence[Episode], query: str) -> dict[str, list[float]]:
    """Return, by episode id, how much each of `HEAT_BINS` equal parts of it has to do with `query`, 0 to 1. One search."""
    strips = {episode.id: [0.0] * HEAT_BINS for episode in episodes}
    lengths = {episode.id: episode.duration_s or 0.0 for episode in episodes}
    asked = [episode for episode in episodes if lengths[episode.id] > 0]
    if not asked or not query.strip():
        return strips
    for episode in asked:
        passages, marks = passages_of(database, episode.id), marks_of(query, episode.language)
        said = [len(marks.said(passage.text)) for passage in passages]
        most_said = max(said, default=0)
        for passage, count in zip(passages, said, strict=True):
            if count:
                _raise(strips[episode.id], passage.start_s, passage.end_s, lengths[episode.id], 0.6 * count / most_said)
    filters = Filters(episode_ids=tuple(episode.id for episode in asked))
    found = finder.search(query, limit=HEAT_MOMENTS, filters=filters, sort="best").moments
    best = {key: max((moment.score for moment in found if moment.episode_id == key), default=0.0) for key in strips}
    for moment in found:
        if best[moment.episode_id] > 0:
            share = max(0.0, moment.score) / best[moment.episode_id]
            _raise(strips[moment.episode_id], moment.start_s, moment.end_s, lengths[moment.episode_id], share)
    return {key: [round(value, 3) for value in bins] for key, bins in strips.items()}


def made_chapters(passages: Sequence[Passage], duration_s: float) -> tuple[Chapter, ...]:
    """Cut an episode where its words change, and name each part by the words that are its own. Short episodes get none."""
    count = round(duration_s / CHAPTER_TARGET_S)
    if count < 2 or len(passages) < 4 * COMPARED_PASSAGES:
        return ()
    bags = [Counter(terms(passage.text)) for passage in passages]
    spread = Counter(term for bag in bags for term in bag)
    for bag in bags:
        for term in [term for term in bag if spread[term] > max(3, COMMON_SHARE * len(bags))]:
            del bag[term]
    changes = []
    for at in range(COMPARED_PASSAGES, len(bags) - COMPARED_PASSAGES + 1):
        before = sum(bags[at - COMPARED_PASSAGES : at], Counter[str]())
        after = sum(bags[at : at + COMPARED_PASSAGES], Counter[str]())
        changes.append((_alike(before, after), at))
    cuts = [0]
    for _, at in sorted(changes):
        if len(cuts) >= count:
            break
        if all(abs(passages[at].start_s - passages[cut].start_s) >= CHAPTER_MIN_S for cut in cuts):
            cuts.append(at)
    cuts.sort()
    parts = [sum(bags[start:end], Counter[str]()) for start, end in zip(cuts, [*cuts[1:], len(bags)], strict=True)]
    names = [_name(part, parts) for part in parts]
    return tuple(Chapter(0.0 if cut == 0 else passages[cut].start_s, name) for cut, name in zip(cuts, names, strict=True) if name)


def terms(text: str) -> list[str]:
    """Return the words of a text that may name its subject, in lower case."""
    words = (match.group().lower().replace("’", "'") for match in _WORD.finditer(text))
    return [word for word in words if len(word) > 2 and word not in COMMON_WORDS]


def distinctive(part: Counter[str], parts: Sequence[Counter[str]], count: int) -> list[str]:
    """Return the words that `part` says more often than the others do, the most telling first.

    A word weighs what it adds to the difference between the part and the whole (Kullback-Leibler): in a catalogue about Bitcoin
    "bitcoin" names nothing, nor does a filler that is in no list of common words.
    """
    size, whole = part.total(), sum(other.total() for other in parts)

    def weight(term: str) -> float:
        return part[term] * math.log((part[term] / size) / (sum(other[term] for other in parts) / whole))

    ranked = sorted((term for term in part if part[term] > 1), key=lambda term: (-weight(term), term))
    chosen: list[str] = []
    for term in ranked:
        if not any(_kin(term, other) for other in chosen):  # "fee", "fees" and "feerate" are one subject
            chosen.append(term)
        if len(chosen) == count:
            break
    return chosen


def _kin(first: str, second: str) -> bool:
    shorter, longer = sorted((first, second), key=len)
    return longer.startswith(shorter) or shorter[:5] == longer[:5]


def _name(part: Counter[str], parts: Sequence[Counter[str]]) -> str:
    text = ", ".join(distinctive(part, parts, CHAPTER_TERMS))
    return text[:1].upper() + text[1:]


def _alike(first: Counter[str], second: Counter[str]) -> float:
    shared = sum(first[term] * second[term] for term in first.keys() & second.keys())
    size = math.sqrt(sum(n * n for n in first.values()) * sum(n * n for n in second.values()))
    return shared / size if size else 1.0


def _raise(bins: list[float], start_s: float, end_s: float, duration_s: float, value: float) -> None:
    first = min(HEAT_BINS - 1, int(start_s / duration_s * HEAT_BINS))
    last = min(HEAT_BINS - 1, int(max(start_s, end_s - 0.01) / duration_s * HEAT_BINS))
    for index in range(first, last + 1):
        bins[index] = max(bins[index], min(1.0, value))

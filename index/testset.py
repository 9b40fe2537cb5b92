"""A test set from the catalogue itself: publishers' chapters and show notes, and words out of the transcripts.

Comes in: the store. Goes out: questions with the place that answers them; the same store gives the same questions.
Chapters and time marks are the publisher's words for a place. Notes without a time are about a whole episode. Quotes keep some
words of one sentence, so they favour a search by words.
Does not know: how search works, or how an answer is judged.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from index.language import stem, stems, tokens, words, writes_spaces
from index.notes import bare, is_about_the_show, is_generic, note_lines
from index.questions import ANSWER_S, CHAPTER, MARK, NOTE, QUOTE, Question
from store.database import Database
from store.episodes import list_episodes
from store.errors import EarmarkError
from store.passages import passages_of
from store.records import Episode, Passage

PER_EPISODE = 3  # questions of one kind
SAMPLED = 200  # episodes whose passages tell how common a word is
COMMON_SHARE, COMMON_LEAST = 0.08, 8  # a word in more passages than that (share, and at least so many) tells nothing
RARE_SHARE, RARE_LEAST = 0.01, 3  # a word in no more passages than that is rare
MANY_PASSAGES = 1000  # in so many, a word that is said once is likely a mistake of the transcript
SHORTEST_S = 15.0  # a chapter that ends sooner is about nothing
QUOTES_SHARE = 1 / 3  # of the set, where there are other questions
EDGE_S, EDGE_SHARE = 45.0, 0.1  # of a talk, the less of both, at either end holds greetings: no quotes from there
SAID_SHARE = 1 / 3  # of a note's telling words must be said in its episode; credits and adverts are not
MIN_TITLE, MIN_NOTE, MIN_QUOTE = 2, 4, 6  # telling words
MIN_RARE = 2  # rare words in a sentence that a quote is made of
MAX_TITLE_WORDS, MAX_NOTE_WORDS = 20, 30
SENTENCE_WORDS = range(8, 29)  # of a sentence that a quote is made of
QUOTE_KEEPS, QUOTE_LEAST, QUOTE_MOST = 0.6, 4, 6  # share of a sentence's telling words that a quote keeps, and how many that is
QUOTE_CHARACTERS = 12  # of a quote where a script writes no spaces


@dataclass(frozen=True, slots=True)
class TestSet:
    """The questions, and what they were made from."""

    questions: tuple[Question, ...]
    episodes: int  # that can be read
    with_chapters: int
    with_notes: int


class _Commonness:
    """How many passages of a sample hold a stem, and how often a sentence is said."""

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._counts: Counter[str] = Counter()
        self._said: Counter[int] = Counter()
        self._passages = 0
        for passage in passages:
            self._counts.update(set(stems(passage.text, passage.language)))
            self._said.update(hash(_folded(text)) for text, _, _ in _sentences(passage))
            self._passages += 1

    def telling(self, text: str, language: str | None) -> list[str]:
        """Return the words of a text, folded and in order, that few passages hold."""
        most = max(COMMON_SHARE * self._passages, COMMON_LEAST)
        return [
            word
            for word in dict.fromkeys(words(text))
            if (len(word) > 2 or not word.isascii() or word.isdigit()) and self._counts[stem(word, language)] <= most
        ]

    def rarest(self, text: str, language: str | None) -> list[str]:
        """Return the telling words of a text, those of the fewest passages first; not those that may be heard wrongly."""
        least = 2 if self._passages >= MANY_PASSAGES else 1
        counts = {word: self._counts[stem(word, language)] for word in self.telling(text, language)}
        return sorted((word for word, count in counts.items() if count >= least), key=lambda word: counts[word])

    def is_repeated(self, sentence: str) -> bool:
        """Tell whether a sentence is said more than once: an advert, a greeting."""
        return self._said[hash(_folded(sentence))] > 1

    def is_rare(self, word: str, language: str | None) -> bool:
        """Tell whether hardly any passage holds a word."""
        return self._counts[stem(word, language)] <= max(RARE_SHARE * self._passages, RARE_LEAST)


def make_test_set(database: Database, wanted: int) -> TestSet:
    """Make `wanted` questions, fewer where the catalogue gives fewer, balanced over kinds, shows and episodes.

    Raises `EarmarkError` if nothing can be read yet, or if no question can be made.
    """
    episodes = _mixed([episode for episode in list_episodes(database) if episode.transcript_id is not None])
    if not episodes:
        raise EarmarkError(
            "no episode can be read yet",
            where=str(database.folder),
            next_step="Add talks (earmark add LINK), or see: earmark status",
        )
    made = _Maker(database, episodes)
    found = {
        kind: made.take(source, wanted)
        for kind, source in ((CHAPTER, made.chapters), (MARK, made.marks), (NOTE, made.notes), (QUOTE, made.quotes))
    }
    if any(found[kind] for kind in (CHAPTER, MARK, NOTE)):
        found[QUOTE] = found[QUOTE][: max(1, round(QUOTES_SHARE * wanted))]
    questions = tuple(_evenly(found, wanted))
    if not questions:
        raise EarmarkError(
            "no question can be made: no chapters, no show notes, and too little is said",
            where=str(database.folder),
            next_step='Write your own, one {"query": ..., "title": ..., "start_s": ...} a line: earmark eval --queries-file FILE',
        )
    with_chapters, with_notes = (sum(map(bool, map(given, episodes))) for given in (_chapter_titles, _description))
    return TestSet(questions, len(episodes), with_chapters, with_notes)


class _Maker:
    """Makes questions of each kind for one episode at a time."""

    def __init__(self, database: Database, episodes: Sequence[Episode]) -> None:
        self._episodes = episodes
        self._passages = lru_cache(maxsize=2 * SAMPLED)(lambda episode_id: passages_of(database, episode_id))
        self._common = _Commonness(passage for episode in episodes[:SAMPLED] for passage in self._passages(episode.id))
        self._notes = {episode.id: note_lines(episode.description) for episode in episodes}
        self._lines = Counter(text for episode in episodes for text in self._texts(episode))
        self._asked: set[str] = set()

    def take(self, source: Callable[[Episode], Iterable[Question]], wanted: int) -> list[Question]:
        """Return up to `wanted` questions, first one of each episode, then another; nothing is asked twice."""
        taken: list[Question] = []
        of_episode: dict[str, list[Question]] = {}
        for turn in range(PER_EPISODE):
            for episode in self._episodes:
                if len(taken) == wanted:
                    return taken
                if turn == 0:
                    of_episode[episode.id] = self._few(source(episode))
                if turn < len(of_episode[episode.id]):
                    taken.append(of_episode[episode.id][turn])
        return taken

    def chapters(self, episode: Episode) -> Iterator[Question]:
        """Chapter titles that say something, each answered where its chapter begins."""
        yield from self._places(episode, CHAPTER, [(mark.start_s, bare(mark.title)) for mark in episode.chapters])

    def marks(self, episode: Episode) -> Iterator[Question]:
        """Lines of the notes with a time."""
        marks = [(line.start_s, line.text) for line in self._notes[episode.id] if line.start_s is not None]
        yield from self._places(episode, MARK, sorted(marks))

    def notes(self, episode: Episode) -> Iterator[Question]:
        """Sentences of the notes without a time: the episode answers them."""
        untimed = [line.text for line in self._notes[episode.id] if line.start_s is None]
        short = [text for text in untimed if len(text.split()) <= MAX_NOTE_WORDS and self._lines[_folded(text)] == 1]
        passages = self._passages(episode.id) if short else []
        language = _language(episode, passages)
        named = set(stems(f"{episode.title} {episode.show}", language))
        said = {key for passage in passages for key in stems(passage.text, passage.language)}
        for text in short:
            telling = [word for word in self._common.telling(text, language) if stem(word, language) not in named]
            known = sum(stem(word, language) in said for word in telling)
            if len(telling) >= MIN_NOTE and known >= SAID_SHARE * len(telling):
                yield Question(text.rstrip(".… "), NOTE, episode.id, episode.title)

    def quotes(self, episode: Episode) -> Iterator[Question]:
        """Some words, in order, of sentences that hold rare ones."""
        passages = self._passages(episode.id)
        length_s = passages[-1].end_s if passages else 0.0
        edge_s = min(EDGE_S, EDGE_SHARE * length_s)
        for passage in passages:
            for text, start_s, end_s in _sentences(passage):
                if not edge_s <= start_s <= length_s - edge_s or len(words(text)) not in SENTENCE_WORDS:
                    continue
                if is_about_the_show(text) or self._common.is_repeated(text):
                    continue
                rarest = self._common.rarest(text, passage.language)
                spaced = writes_spaces(text)
                if spaced and (len(rarest) < MIN_QUOTE or not self._common.is_rare(rarest[MIN_RARE - 1], passage.language)):
                    continue
                query = _kept(text, rarest) if spaced else _run(text)
                yield Question(query, QUOTE, episode.id, episode.title, round(start_s, 2), round(max(end_s, start_s + 1), 2))

    def _texts(self, episode: Episode) -> set[str]:
        """Return the titles and lines of an episode, folded: what stands in several episodes asks for none of them."""
        return {_folded(text) for text in (*_chapter_titles(episode), *(line.text for line in self._notes[episode.id]))}

    def _places(self, episode: Episode, kind: str, marks: Sequence[tuple[float, str]]) -> Iterator[Question]:
        passages = self._passages(episode.id) if marks else []
        if not passages:
            return
        ends = [*(start_s for start_s, _ in marks), passages[-1].end_s][1:]
        for (start_s, text), next_s in zip(marks, ends, strict=True):
            end_s = min(next_s, start_s + ANSWER_S)
            if (
                end_s - start_s >= SHORTEST_S
                and len(text.split()) <= MAX_TITLE_WORDS
                and self._lines[_folded(text)] == 1
                and not is_generic(text)
                and len(self._common.telling(text, _language(episode, passages))) >= MIN_TITLE
            ):
                yield Question(text, kind, episode.id, episode.title, round(start_s, 2), round(end_s, 2))

    def _few(self, questions: Iterable[Question]) -> list[Question]:
        few: list[Question] = []
        for question in sorted(questions, key=lambda one: _lot(one.episode_id, one.query)):
            if len(few) < PER_EPISODE and _folded(question.query) not in self._asked:
                self._asked.add(_folded(question.query))
                few.append(question)
        return few


def _mixed(episodes: Sequence[Episode]) -> list[Episode]:
    """Put episodes in an order in which shows take turns, drawn by their ids: the same every time, and new ones only slip in."""
    of_show: dict[str, list[Episode]] = {}
    for episode in sorted(episodes, key=lambda one: _lot(one.id)):
        of_show.setdefault(episode.show_id, []).append(episode)
    ranked = [(turn, _lot(episode.id), episode) for shows in of_show.values() for turn, episode in enumerate(shows)]
    return [episode for _, _, episode in sorted(ranked, key=lambda one: one[:2])]


def _evenly(found: dict[str, list[Question]], wanted: int) -> Iterator[Question]:
    """Take the first of each kind, as many of one as of another as long as they last; of episodes not asked about first."""
    counts = dict.fromkeys(found, 0)
    while sum(counts.values()) < wanted:
        more = [kind for kind, questions in found.items() if counts[kind] < len(questions)]
        if not more:
            break
        for kind in more[: wanted - sum(counts.values())]:
            counts[kind] += 1
    asked_about: set[str] = set()
    for kind, count in counts.items():
        left = list(found[kind])
        for _ in range(count):
            question = next((one for one in left if one.episode_id not in asked_about), left[0])
            left.remove(question)
            asked_about.add(question.episode_id)
            yield question


def _kept(sentence: str, rarest: Sequence[str]) -> str:
    """Return what a quote keeps of a sentence: its rarest words and some others, without the commonest, drawn by the sentence."""
    count = min(max(round(QUOTE_KEEPS * len(rarest)), QUOTE_LEAST), QUOTE_MOST)
    others = rarest[MIN_RARE : max(count, 2 * len(rarest) // 3)]
    chosen = {*rarest[:MIN_RARE], *Random(sentence).sample(list(others), min(count - MIN_RARE, len(others)))}
    written = {token.text: sentence[token.start_char : token.end_char] for token in tokens(sentence) if token.text in chosen}
    return " ".join(written.values())


def _run(sentence: str) -> str:
    """Return some characters in a row, where a script writes no spaces."""
    start = Random(sentence).randrange(max(1, len(sentence) - QUOTE_CHARACTERS))
    return sentence[start : start + QUOTE_CHARACTERS].strip("。、，．！？「」 ")


def _sentences(passage: Passage) -> Iterator[tuple[str, float, float]]:
    starts = [*(sentence.start_char for sentence in passage.sentences), len(passage.text)]
    for sentence, end in zip(passage.sentences, starts[1:], strict=True):
        yield passage.text[sentence.start_char : end].strip(), sentence.start_s, sentence.end_s


def _chapter_titles(episode: Episode) -> set[str]:
    return {bare(mark.title) for mark in episode.chapters}


def _description(episode: Episode) -> str:
    return episode.description.strip()


def _language(episode: Episode, passages: Sequence[Passage]) -> str | None:
    return (passages[0].language if passages else None) or episode.language


def _folded(text: str) -> str:
    return " ".join(words(text))


def _lot(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()

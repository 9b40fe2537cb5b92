"""What somebody typed, read: phrases in quotes, bare words, and the filters beside them.

Comes in: any text. Goes out: a `ParsedQuery`; reading never fails.
Does not know: the index, or how a word weighs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from index.language import words

MAX_QUERY_CHARS = 10_000  # the rest of a longer text is not read
MAX_WORDS = 64  # different words that are looked up; a pasted paragraph has its subject in its first ones
MAX_PHRASES = 8
MAX_MEANING_CHARS = 2_000  # more than any encoder reads

_QUOTED = re.compile(r'"([^"]*)"|“([^”“"]*)[”"]|„([^“”"]*)[“”"]|«([^»]*)»')
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search is confined to; empty = everything. Several values of one kind mean any of them.

    `since` and `until` are ISO dates, both included; episodes without a date fail both. Case does not count in names.
    """

    show_ids: tuple[str, ...] = ()
    episode_ids: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query, read. `words` are folded and different, those of the phrases included; `meaning` is what gets embedded.

    `read_as`: words that nobody said, and what they are read as.
    """

    text: str
    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    meaning: str
    read_as: tuple[tuple[str, str], ...] = ()

    @property
    def only_phrases(self) -> bool:
        """Whether every word stands in quotes."""
        return bool(self.phrases) and {word for phrase in self.phrases for word in phrase} >= set(self.words)

    @property
    def loose_words(self) -> tuple[str, ...]:
        """The words outside quotes: only they may be read as others."""
        quoted = {word for phrase in self.phrases for word in phrase}
        return tuple(word for word in self.words if word not in quoted)

    @property
    def is_typing(self) -> bool:
        """Whether the last word may not be finished."""
        return self.text[-1:].isalnum()

    @property
    def understood(self) -> str:
        """The query with the words that were meant; "" where it was taken as it stands."""
        return _with(self.meaning, self.read_as) if self.read_as else ""

    def reading(self, read_as: Mapping[str, str]) -> ParsedQuery:
        """Return the query with some of its words read as others."""
        pairs = tuple(read_as.items())
        return replace(self, read_as=pairs, meaning=_with(self.meaning, pairs))

    def __bool__(self) -> bool:
        return bool(self.words)


def parse_query(text: str) -> ParsedQuery:
    """Read a query. Any text will do: a quote that is never closed is no quote, and nothing is an operator."""
    text = _CONTROL.sub(" ", text[:MAX_QUERY_CHARS]).strip()
    phrases = []
    for match in _QUOTED.finditer(text):
        phrase = tuple(words(next(group for group in match.groups() if group is not None)))[:MAX_WORDS]
        if phrase:
            phrases.append(phrase)
    found = tuple(dict.fromkeys(words(text)))[:MAX_WORDS]
    meaning = " ".join(re.sub(r'["“”„«»]', " ", text).split())[:MAX_MEANING_CHARS]
    return ParsedQuery(text, found, tuple(phrases[:MAX_PHRASES]), meaning)


def _with(text: str, read_as: tuple[tuple[str, str], ...]) -> str:
    for word, meant in read_as:
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", meant, text, flags=re.IGNORECASE)
    return text


def fold_name(name: str) -> str:
    """Return the form under which a speaker's name is compared."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())

"""Which words of an answer's texts to mark, fast: as `index.highlight` does, prepared once for a question.

Comes in: a question, a language; then many texts. Goes out: where the words stand, and which different words they are.
Does not know: searches or pages. Texts in scripts without spaces go the long way, through `index.highlight`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from index.highlight import is_small
from index.language import DEFAULT_LANGUAGE, stem, words, writes_spaces
from index.query import parse_query
from index.search import highlights

QUESTIONS_KEPT = 256
WORDS_KEPT = 20_000  # of one question, seen in texts
STEMS_KEPT = 200_000

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # what `index.language.tokens` cuts texts into whose script writes spaces


class _Fits(dict[str, bool]):
    """Whether a word, as it is written, is to be marked: worked out once for each."""

    def __init__(self, telling: set[str], wanted: set[str], language: str) -> None:
        super().__init__()
        self._telling, self._wanted, self._language = telling, wanted, language

    def __missing__(self, word: str) -> bool:
        folded, stemmed = _read(word, self._language)
        fits = folded in self._telling or stemmed in self._wanted
        if len(self) < WORDS_KEPT:
            self[word] = fits
        return fits


class Marks:
    """The words of one question. Safe to share between threads."""

    def __init__(self, query: str, language: str | None) -> None:
        self._query, self._language = query, language or DEFAULT_LANGUAGE
        parsed = parse_query(query)
        quoted = {word for phrase in parsed.phrases for word in phrase}
        telling = {word for word in parsed.words if word in quoted or not is_small(word, self._language)} or set(parsed.words)
        wanted = {stem(word, self._language) for word in telling}
        self._fits = _Fits(telling, wanted, self._language)
        self._candidates = _beginning_with({word[0] for word in telling | wanted})

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Return (start, end) in characters of the words to mark."""
        if not writes_spaces(text):
            return highlights(self._query, text, self._language)
        fits = self._fits
        words_in = self._candidates if text.isascii() else _WORD
        return [match.span() for match in words_in.finditer(text) if fits[match.group()]]

    def said(self, text: str) -> set[str]:
        """Return which different words to mark a text has, in lower case."""
        if not writes_spaces(text):
            return {text[start:end].lower() for start, end in highlights(self._query, text, self._language)}
        fits = self._fits
        return {word.lower() for word in set(_WORD.findall(text)) if fits[word]}


def _beginning_with(letters: set[str]) -> re.Pattern[str]:
    """Return what finds the words of an ASCII text that may fit: a stem begins as its word does, so most words need no look-up."""
    either = "".join(re.escape(letter) + re.escape(letter.upper()) for letter in sorted(letters) if letter.isascii())
    if not either:
        return re.compile(r"(?!)")
    return re.compile(rf"(?<![^\W_])(?<![^\W_]['’])[{either}][^\W_]*(?:['’][^\W_]+)*")


@lru_cache(maxsize=STEMS_KEPT)
def _read(word: str, language: str) -> tuple[str, str]:
    """Return a word folded, and its stem."""
    folded = next(iter(words(word)), "")
    return folded, stem(folded, language)


@lru_cache(maxsize=QUESTIONS_KEPT)
def marks_of(query: str, language: str | None) -> Marks:
    """Return the marks of a question; the last few are kept."""
    return Marks(query, language)

"""Which words of a text answer a query: those that a page marks.

Comes in: a query and a text. Goes out: where the words stand.
Does not know: the index; words match as they do there, by stem.
"""

from __future__ import annotations

from index.language import DEFAULT_LANGUAGE, stem, tokens
from index.query import parse_query


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that say nothing alone; marking them would hide what matters. Of languages without a list, words of one or two letters.
_SMALL_WORDS = {
    "en": _listed("""
        a about after all also am an and any are as at be been before being but by can could did do does doing done
        for from get had has have he her here him his how i if in into is it it's its just like me more most my no not
        of on one or other our out over said say says she should so some than that that's the their them then there
        these they this those to too up us was we were what what's when where which while who why will with would you
        your
    """),
}


def highlights(query: str, text: str, language: str | None) -> list[tuple[int, int]]:
    """Return (start, end) in characters of the words of `text` that match the query, in order, neighbours of a phrase apart."""
    parsed = parse_query(query)
    language = language or DEFAULT_LANGUAGE
    quoted = {word for phrase in parsed.phrases for word in phrase}
    telling = {word for word in parsed.words if word in quoted or not is_small(word, language)} or set(parsed.words)
    wanted = {stem(word, language) for word in telling}
    return [
        (token.start_char, token.end_char)
        for token in tokens(text)
        if token.text in telling or stem(token.text, language) in wanted
    ]


def is_small(word: str, language: str | None) -> bool:
    """Tell whether a folded word says nothing by itself."""
    code = (language or DEFAULT_LANGUAGE).lower().split("-")[0]
    known = _SMALL_WORDS.get(code)
    if known is not None:
        return word in known
    return len(word) <= 2 and word.isascii() and not any(char.isdigit() for char in word)

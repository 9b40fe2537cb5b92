"""Whom a question names: "what does Ana Lima say about salt" is about salt, and about what she says.

Comes in: a question as it was typed, the opened parts; later a ranking. Goes out: the speakers that it names; the ranking with what
they say further up.
A name of one word counts only as it is written with a capital: there are people called Will and Mark.
Does not know: filters; a question that names somebody still finds what others say.
"""

from __future__ import annotations

from collections.abc import Sequence

from index.language import tokens
from index.part import Part
from index.ranker import Ranked, Ranking, by_part

LONGEST = 4  # words of a name
OTHERS = 0.5  # of a score is left to what others say than whom the question names

Names = frozenset[str]


def named_in(text: str, parts: Sequence[Part]) -> Names:
    """Return the speakers (folded names) whom a question names."""
    known = [part.columns.spoken_names for part in parts if part.columns.spoken_names]
    if not known:
        return frozenset()
    typed = tokens(text)
    found: set[str] = set()
    for first in range(len(typed)):
        for last in range(first + 1, min(first + LONGEST, len(typed)) + 1):
            name = tuple(token.text for token in typed[first:last])
            written = text[typed[first].start_char : typed[last - 1].end_char]
            if len(name) > 1 or written[:1].isupper():
                found.update(names[name] for names in known if name in names)
    return frozenset(found)


def favoured(parts: Sequence[Part], ranking: Ranking, names: Names) -> Ranking:
    """Return `ranking` with what these speakers say further up."""
    if not names or not ranking:
        return ranking
    theirs = [False] * len(ranking)
    for number, here, positions in by_part([one.place for one in ranking]):
        for index, said in zip(here.tolist(), parts[number].columns.said_by(names)[positions].tolist(), strict=True):
            theirs[index] = said
    made = [Ranked(one.place, one.score * (1 if said else OTHERS)) for one, said in zip(ranking, theirs, strict=True)]
    return sorted(made, key=lambda one: (-one.score, one.place))

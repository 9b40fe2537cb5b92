"""Other ways to write what somebody typed: "GPT-4", "GPT four" and "gpt4" are one thing, and so are "K8s" and "k eight s".

Comes in: the words of a query, in order. Goes out: for some of them other forms, each of one or more words.
Numbers are spelled in English only. A small number is found as its word only beside the word that it was typed beside: "four" alone
says nothing.
Does not know: which forms anybody said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from index.highlight import is_small

Form = tuple[str, ...]

SMALL = 12  # numbers up to this are said in passing
LARGEST = 9999
SHORT_NAME = 6  # characters: "gpt 4" may be written in one, "transaction 4" is not
FORMS_MOST = 8  # of one word

_UNITS = """
    zero one two three four five six seven eight nine ten
    eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
""".split()  # noqa: SIM905 - a list of quoted words is harder to read
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))  # noqa: SIM905
_VALUE = {**{word: value for value, word in enumerate(_UNITS)}, **_TENS}
_RUNS = re.compile(r"[a-z]+|\d+")
_MIXED = re.compile(r"(?=.*\d)(?=.*[a-z])[a-z\d]{2,12}")


def other_forms(said: Sequence[str]) -> dict[str, tuple[Form, ...]]:
    """Return the other forms by word. `said` are folded words, in the order in which they were typed."""
    found: dict[str, list[Form]] = {}

    def add(words: Sequence[str], forms: Iterator[Form] | Sequence[Form]) -> None:
        for form in forms:
            for word in words:
                if is_small(word, "en"):
                    continue
                known = found.setdefault(word, [])
                if form not in known and form != (word,) and len(known) < FORMS_MOST:
                    known.append(form)

    for word in said:
        if _MIXED.fullmatch(word):
            add([word], _split(word))
    for first, last, value in _numbers(said):
        if value > LARGEST:
            continue
        typed = said[first:last]
        others = [form for form in (*spelled(value), (str(value),)) if form != tuple(typed)]
        before = said[first - 1] if first and not is_small(said[first - 1], "en") else ""
        after = said[last] if last < len(said) and not is_small(said[last], "en") else ""
        if value > SMALL:
            add(typed, others)
        if value <= SMALL:
            add(typed, [(before, *form) for form in others if before])
            add(typed, [(*form, after) for form in others if after])
        if before and len(before) <= SHORT_NAME and before.isalpha():
            add([before, *typed], [(f"{before}{value}",)])
    for first, last in _digits(said):
        digits = "".join(_letter(word) for word in said[first:last])
        add(said[first:last], [(digits,)])
        if first and said[first - 1].isalpha() and len(said[first - 1]) <= SHORT_NAME:
            add(said[first - 1 : last], [(f"{said[first - 1]}{digits}",)])
    for first, last in _letters(said):
        add(said[first:last], [("".join(_letter(word) for word in said[first:last]),)])
    return {word: tuple(forms) for word, forms in found.items()}


def spelled(value: int) -> list[Form]:
    """Return how a number from 0 to 9999 is said, the usual way first; an empty list for others."""
    if not 0 <= value <= LARGEST:
        return []
    if value < 100:
        return [_below_hundred(value)]
    forms = []
    thousands, rest = divmod(value, 1000)
    hundreds, small = divmod(rest, 100)
    head: Form = (*((_UNITS[thousands], "thousand") if thousands else ()), *((_UNITS[hundreds], "hundred") if hundreds else ()))
    tail = _below_hundred(small) if small else ()
    if 1100 <= value < 2100 and small >= 10:
        forms.append((*_below_hundred(value // 100), *tail))  # nineteen sixty
    forms.append((*head, *tail))
    if tail:
        forms.append((*head, "and", *tail))
    forms.append(tuple(_UNITS[int(digit)] for digit in str(value)))  # three four one
    return forms


def _below_hundred(value: int) -> Form:
    if value < len(_UNITS):
        return (_UNITS[value],)
    ten = next(word for word, tens in _TENS.items() if tens == value // 10 * 10)
    return (ten, _UNITS[value % 10]) if value % 10 else (ten,)


def _split(word: str) -> Iterator[Form]:
    """Yield a word of letters and digits cut where they meet: as written, and as said."""
    runs = _RUNS.findall(word)
    yield tuple(runs)
    said: list[str] = []
    for run in runs:
        forms = spelled(int(run)) if run.isdigit() and (run == "0" or run[0] != "0") else []
        said.extend(forms[0] if forms else (run,))
    yield tuple(said)
    if any(run.isdigit() and len(run) > 2 for run in runs):
        yield tuple(part for run in runs for part in ((_UNITS[int(digit)] for digit in run) if run.isdigit() else (run,)))
    if runs[0] == "v" and len(runs) == 2:
        yield ("version", runs[1])


def _numbers(said: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last, value) of each number, in digits or in words."""
    place = 0
    while place < len(said):
        word = said[place]
        if word.isascii() and word.isdigit() and len(word) <= 4 and (word == "0" or word[0] != "0"):
            yield place, place + 1, int(word)
            place += 1
        elif word in _VALUE:
            last, value = _spoken(said, place)
            yield place, last, value
            place = last
        else:
            place += 1


def _spoken(said: Sequence[str], first: int) -> tuple[int, int]:
    """Return where the number in words that begins at `first` ends, and its value."""
    place, value = _pair(said, first)
    if value >= 10 and place < len(said) and said[place] in _VALUE:
        last, more = _pair(said, place)
        if more >= 10:
            return last, 100 * value + more  # nineteen sixty
    for name, factor in (("thousand", 1000), ("hundred", 100)):
        if place < len(said) and said[place] == name:
            value, place = value // factor * factor + (value % factor or 1) * factor, place + 1
            follows = place + (place + 1 < len(said) and said[place] == "and")
            if follows < len(said) and said[follows] in _VALUE:
                place, more = _pair(said, follows)
                value += more
    return place, min(value, LARGEST + 1)


def _pair(said: Sequence[str], place: int) -> tuple[int, int]:
    value = _VALUE[said[place]]
    follows = said[place + 1] if place + 1 < len(said) else ""
    if value >= 20 and 0 < _VALUE.get(follows, 0) < 10:
        return place + 2, value + _VALUE[follows]
    return place + 1, value


def _digits(said: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield runs of at least two digits in words: three four one."""
    place = 0
    while place < len(said):
        last = place
        while last < len(said) and _VALUE.get(said[last], 10) < 10:
            last += 1
        if last - place >= 2:
            yield place, last
        place = max(last, place + 1)


def _letters(said: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield runs that spell a name: at least two letters or digits in a row that stand alone, one of them a letter but a and i."""
    place = 0
    while place < len(said):
        last = place
        while last < len(said) and _letter(said[last]):
            last += 1
        run = said[place:last]
        if len(run) >= 2 and any(len(word) == 1 and word.isalpha() and word not in "ai" for word in run):
            yield place, last
        place = max(last, place + 1)


def _letter(word: str) -> str:
    """Return what a word contributes to a spelled name: a letter, a digit, the digit of a number's word; "" for other words."""
    if len(word) == 1 and word.isascii() and word.isalnum():
        return word
    return str(_VALUE[word]) if word in _VALUE else ""

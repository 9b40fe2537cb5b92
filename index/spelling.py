"""Words that nobody said, read as ones that somebody did: a word still being typed, a letter wrong.

Comes in: a generation and a word that stands in none of its windows. Goes out: the word that was probably meant, or None.
tantivy finds windows with words that are near; which word it was is seen in the windows' texts.
Does not know: queries, scores.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from index.generation import Generation
from index.language import words
from store.database import Database
from store.passages import passages_by_id

COMPLETED_CHARS = 3  # a word still being typed is completed from here on
WRONG_CHARS = ((8, 2), (4, 1))  # from so many letters on, so many may be wrong
LOOKED_AT = 20  # windows of each part
KEPT = 2000


class Spelling:
    """Reads words of one catalogue. Safe to use from many threads at once."""

    def __init__(self, database: Database) -> None:
        """Take the store whose texts are looked at."""
        self._database = database
        self._kept: OrderedDict[tuple[int, str, bool], str | None] = OrderedDict()
        self._lock = threading.Lock()

    def meant(self, generation: Generation, word: str, *, typing: bool) -> str | None:
        """Return the word that was meant by a folded `word`; `typing`: it may not be finished."""
        if not word.isalpha() or not word.isascii() or generation.manifest.collection:
            return None  # where Qdrant finds windows, nothing here knows the words
        key = (generation.manifest.generation, word, typing)
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        found = self._completed(generation, word) if typing and len(word) >= COMPLETED_CHARS else None
        allowed = next((wrong for letters, wrong in WRONG_CHARS if len(word) >= letters), 0)
        for wrong in range(1, allowed + 1):
            found = found or self._corrected(generation, word, wrong)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _completed(self, generation: Generation, word: str) -> str | None:
        near = self._near(generation, word, 0, prefix=True)
        return _likeliest(generation, [one for one in near if one.startswith(word)])

    def _corrected(self, generation: Generation, word: str, wrong: int) -> str | None:
        near = self._near(generation, word, wrong, prefix=False)
        return _likeliest(generation, [one for one in near if one[0] == word[0] and distance(one, word) <= wrong])

    def _near(self, generation: Generation, word: str, wrong: int, *, prefix: bool) -> set[str]:
        ids: list[int] = []
        for part in generation.parts:
            columns = part.columns
            for position in part.lexical.near(word, wrong, LOOKED_AT, prefix=prefix).tolist():
                row, count = int(columns.window_row[position]), int(columns.window_rows[position])
                ids.extend(columns.ids[row : row + count].tolist())
        return {one for passage in passages_by_id(self._database, ids).values() for one in words(passage.text)}


def _likeliest(generation: Generation, found: list[str]) -> str | None:
    """Return the word that most windows say."""

    def windows(word: str) -> int:
        return sum(part.count(stem) for part in generation.parts for stem in generation.stems(word))

    return max(sorted(found), key=windows, default=None)


def distance(first: str, second: str) -> int:
    """Return how many letters must be put in, left out, changed, or swapped with their neighbour to make one word of the other."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(second, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]

"""Which stems stand in a passage, in order: the index turned round, for scoring a hundred candidates exactly.

Comes in: passages. Goes out: the stems of any row, of a row's sentences, as 32-bit hashes mapped from disk.
Does not know: which rows are candidates, or what a match is worth (`index.ranker`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.columns import open_array
from index.language import stem_hash, stems
from store.records import Passage

Hashes = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]


class Terms:
    """The stems of one part's rows."""

    def __init__(self, folder: Path) -> None:
        """Map what `write_terms` wrote."""
        self._hashes = open_array(folder / "terms.npy")
        self._starts = open_array(folder / "term_starts.npy")
        self._sentences = open_array(folder / "term_sentences.npy")
        self._sentence_starts = open_array(folder / "term_sentence_starts.npy")

    @property
    def total(self) -> int:
        """The number of stems in all rows together."""
        return len(self._hashes)

    def length(self, first_row: int, rows: int) -> int:
        """Return the number of stems in neighbouring rows."""
        return int(self._starts[first_row + rows] - self._starts[first_row])

    def of(self, first_row: int, rows: int) -> Hashes:
        """Return the stems of neighbouring rows, in order."""
        found: Hashes = self._hashes[self._starts[first_row] : self._starts[first_row + rows]]
        return found

    def of_spans(self, first_rows: Integers, rows: Integers) -> tuple[Hashes, Integers]:
        """Return the stems of many spans of neighbouring rows one after the other, and where each span begins, with the end."""
        begins = self._starts[first_rows]
        lengths = self._starts[first_rows + rows] - begins
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.repeat(begins - starts[:-1], lengths) + np.arange(starts[-1])
        return self._hashes[places], starts

    def of_rows(self, rows: Integers) -> tuple[Hashes, Integers]:
        """Return the stems of many rows one after the other, and where each row's begin, shape (rows + 1,)."""
        return self.of_spans(rows, np.ones_like(rows))

    def sentences_of_rows(self, rows: Integers, starts: Integers) -> tuple[Integers, Integers]:
        """Return where sentences begin among the stems that `of_rows` returned with `starts`.

        The second array says which sentence is each row's first, with one more entry for the end.
        """
        begins = self._sentence_starts[rows]
        lengths = self._sentence_starts[rows + 1] - begins
        of_row = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.repeat(begins - of_row[:-1], lengths) + np.arange(of_row[-1])
        return np.repeat(starts[:-1], lengths) + self._sentences[places], of_row


def write_terms(folder: Path, passages: Sequence[Passage]) -> None:
    """Write the stems of `passages`, row by row, into `folder`."""
    known: dict[str, int] = {}
    hashes: list[Hashes] = []
    starts, sentences, sentence_starts = [0], [], [0]
    for passage in passages:
        found: list[int] = []
        for text in sentence_texts(passage):
            sentences.append(len(found))
            for stem in stems(text, passage.language):
                number = known.get(stem)
                if number is None:
                    number = known[stem] = stem_hash(stem)
                found.append(number)
        hashes.append(np.asarray(found, dtype=np.uint32))
        starts.append(starts[-1] + len(found))
        sentence_starts.append(len(sentences))
    np.save(folder / "terms.npy", np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint32))
    np.save(folder / "term_starts.npy", np.asarray(starts, dtype=np.int64))
    np.save(folder / "term_sentences.npy", np.asarray(sentences, dtype=np.int32))
    np.save(folder / "term_sentence_starts.npy", np.asarray(sentence_starts, dtype=np.int64))


def sentence_texts(passage: Passage) -> list[str]:
    """Return the sentences of a passage as they are written."""
    starts = [sentence.start_char for sentence in passage.sentences] or [0]
    return [passage.text[start:end] for start, end in zip(starts, [*starts[1:], len(passage.text)], strict=True)]

"""Windows that hold the query's words: one tantivy index for each part.

Comes in: windows' passages; later, stems, phrases and filters. Goes out: positions of the windows that score best by BM25.
tantivy fixes k1 = 1.2 and b = .75 and counts words within one part, so its order only picks candidates; `index.ranker` scores
them with its own constants and the whole catalogue's counts.
Does not know: queries as typed (its parser is never used: it chokes on quotes and colons), vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.columns import NO_DAY, EpisodeFacts, day_of, window_rows
from index.language import stems, words
from index.query import Filters, fold_name
from store.errors import IndexUnavailable
from store.records import Passage

Positions = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

HEAP_BYTES = 128 << 20
FOLDER_NAME = "lexical"
DAY_ZERO = 1 << 20  # added to days since 1970, so that they are never negative


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """What to look for: for each word its stems (one by language), phrases of words as they are written, and other forms of words.

    A window must say any word or form, and every phrase.
    """

    terms: tuple[tuple[str, ...], ...]
    phrases: tuple[tuple[str, ...], ...] = ()
    forms: tuple[tuple[str, ...], ...] = ()


class LexicalIndex:
    """The words of one part's windows. Safe to search from many threads at once."""

    def __init__(self, folder: Path) -> None:
        """Open the index that `write_lexical` wrote. Raises `IndexUnavailable` if tantivy cannot read it."""
        import tantivy

        path = folder / FOLDER_NAME
        try:
            index = tantivy.Index.open(str(path))
            index.config_reader(reload_policy="manual", num_warmers=0)
            index.reload()
        except (ValueError, OSError) as error:
            raise IndexUnavailable(
                f"tantivy cannot read it ({error})", where=str(path), next_step="Run: earmark reindex"
            ) from error
        self._schema = index.schema
        self._searcher = index.searcher()

    def count(self, stem: str) -> int:
        """Return how many windows hold a stem."""
        return int(self._searcher.doc_freq("stem", stem))

    def search(self, query: LexicalQuery, limit: int, filters: Filters) -> tuple[Positions, Scores]:
        """Return up to `limit` positions and scores, best first. Every phrase must be there; of the words, any."""
        asked = self._query(query, filters)
        hits = self._searcher.search(asked, limit, count=False).hits if asked is not None else []
        if not hits:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        positions = self._searcher.fast_field_values("window", [address for _, address in hits])
        return np.array(positions, dtype=np.int64), np.array([score for score, _ in hits], dtype=np.float32)

    def near(self, word: str, wrong: int, limit: int, *, prefix: bool) -> Positions:
        """Return up to `limit` positions of windows that say a word with at most `wrong` letters other than `word`'s.

        `prefix`: it may go on after that.
        """
        from tantivy import Query

        asked = Query.fuzzy_term_query(self._schema, "plain", word, distance=wrong, prefix=prefix)
        hits = self._searcher.search(asked, limit, count=False).hits
        return np.array(self._searcher.fast_field_values("window", [address for _, address in hits]), dtype=np.int64)

    def _query(self, query: LexicalQuery, filters: Filters) -> Any:
        from tantivy import Occur, Query

        terms = [
            Query.term_query(self._schema, "stem", stem, "freq")
            for stem in dict.fromkeys(s for group in query.terms for s in group)
        ]
        if not terms:
            return None
        terms.extend(self._phrase(form) for form in query.forms)
        any_word = terms[0] if len(terms) == 1 else Query.boolean_query([(Occur.Should, term) for term in terms])
        required = [self._phrase(phrase) for phrase in query.phrases]
        required.extend(self._filter(filters))
        if not required:
            return any_word
        return Query.boolean_query(
            [(Occur.Must, any_word), *((Occur.Must, Query.const_score_query(part, 0.0)) for part in required)]
        )

    def _phrase(self, phrase: tuple[str, ...]) -> Any:
        from tantivy import Query

        if len(phrase) == 1:
            return Query.term_query(self._schema, "plain", phrase[0], "freq")
        return Query.phrase_query(self._schema, "plain", list(phrase))

    def _filter(self, filters: Filters) -> list[Any]:
        from tantivy import FieldType, Query

        wanted = {
            "episode_id": list(filters.episode_ids),
            "show_id": list(filters.show_ids),
            "speaker_name": [fold_name(name) for name in filters.speakers],
            "language": [language.lower() for language in filters.languages],
        }
        parts = [Query.term_set_query(self._schema, field, values) for field, values in wanted.items() if values]
        if filters.since or filters.until:
            first = day_of(filters.since) + DAY_ZERO if filters.since else 1
            last = day_of(filters.until) + DAY_ZERO if filters.until else 2 * DAY_ZERO
            parts.append(Query.range_query(self._schema, "day", FieldType.Unsigned, max(first, 1), max(last, 0)))
        return parts


def write_lexical(folder: Path, passages: Sequence[Passage], episodes: dict[str, EpisodeFacts]) -> None:
    """Write the index of the passages' windows into `folder`, in one commit."""
    import tantivy

    path = folder / FOLDER_NAME
    path.mkdir(parents=True)
    index = tantivy.Index(_schema(), path=str(path))
    writer = index.writer(HEAP_BYTES, 1)
    folded = [" ".join(words(passage.text)) for passage in passages]
    stemmed = [" ".join(stems(passage.text, passage.language)) for passage in passages]
    for position, (row, count) in enumerate(window_rows(passages)):
        rows = range(row, row + count)
        facts = episodes[passages[row].episode_id]
        document = tantivy.Document()
        document.add_unsigned("window", position)
        document.add_text("stem", " ".join(stemmed[part] for part in rows))
        document.add_text("plain", " ".join(folded[part] for part in rows))
        document.add_text("title", " ".join(stems(facts.title, passages[row].language)))
        document.add_text("show", " ".join(stems(facts.show, passages[row].language)))
        document.add_text("episode_id", facts.id)
        document.add_text("show_id", facts.show_id)
        document.add_text("language", (passages[row].language or "").lower())
        for name in dict.fromkeys(fold_name(name) for part in rows for name in passages[part].speakers):
            document.add_text("speaker_name", name)
            document.add_text("speaker", " ".join(words(name)))
        day = day_of(facts.published)
        document.add_unsigned("day", day + DAY_ZERO if day != NO_DAY else 0)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    for lock in path.glob(".tantivy-*.lock"):
        lock.unlink()


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("window", fast=True)
    builder.add_text_field("stem", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("plain", tokenizer_name="whitespace", index_option="position")
    for field in ("title", "show", "speaker"):
        builder.add_text_field(field, tokenizer_name="whitespace", index_option="freq")
    for field in ("episode_id", "show_id", "language", "speaker_name"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("day", indexed=True, fast=True)
    return builder.build()

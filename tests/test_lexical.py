from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.columns import Columns, EpisodeFacts, day_of, window_rows, write_columns
from index.language import stem_hash, stems, words
from index.lexical import LexicalIndex, LexicalQuery, write_lexical
from index.passages import cut_passages
from index.query import Filters
from index.terms import Terms, sentence_texts, write_terms
from store.errors import IndexUnavailable
from store.records import Passage
from tests import talks


@pytest.fixture
def part(tmp_path: Path) -> tuple[list[Passage], Path]:
    passages: list[Passage] = []
    episodes = {}
    for name, (show, published, _) in talks.TALKS.items():
        episodes[name] = EpisodeFacts(name, show.lower(), published, f"About {name}", show)
        passages += cut_passages(name, talks.segments(name), "en")
    passages = [replace(passage, id=100 + number) for number, passage in enumerate(passages)]
    write_lexical(tmp_path, passages, episodes)
    write_columns(tmp_path, passages, episodes)
    write_terms(tmp_path, passages)
    return passages, tmp_path


def asked(text: str, *phrases: str) -> LexicalQuery:
    return LexicalQuery(tuple((stem,) for stem in stems(text, "en")), tuple(tuple(words(phrase)) for phrase in phrases))


def episodes_of(passages: list[Passage], positions: list[int]) -> list[str]:
    rows = window_rows(passages)
    return [passages[rows[position][0]].episode_id for position in positions]


def test_words_match_by_stem(part: tuple[list[Passage], Path]) -> None:
    passages, folder = part
    index = LexicalIndex(folder)
    positions, scores = index.search(asked("singing whale"), 10, Filters())
    assert episodes_of(passages, positions.tolist())[0] == "sea"
    assert (scores[:-1] >= scores[1:]).all()
    assert index.count("salt") >= 3
    assert index.search(asked("xylophone"), 10, Filters())[0].tolist() == []
    assert index.search(LexicalQuery(()), 10, Filters())[0].tolist() == []


def test_phrases_are_exact(part: tuple[list[Passage], Path]) -> None:
    passages, folder = part
    index = LexicalIndex(folder)
    positions, _ = index.search(asked("carbon dioxide", "carbon dioxide"), 10, Filters())
    assert set(episodes_of(passages, positions.tolist())) == {"bread", "sea"}
    positions, _ = index.search(asked("dioxide carbon", "dioxide carbon"), 10, Filters())
    assert positions.tolist() == []
    positions, _ = index.search(asked("whale", "whale"), 10, Filters())
    assert len(positions) == 1 or set(episodes_of(passages, positions.tolist())) == {"sea"}


FILTERS = [
    (Filters(show_ids=("kitchen chemistry",)), {"bread", "code"}),
    (Filters(episode_ids=("sea", "code")), {"sea", "code"}),
    (Filters(speakers=("DAN",)), {"sea"}),
    (Filters(speakers=("ben", "cleo")), {"bread", "sea", "code"}),
    (Filters(languages=("EN",)), {"bread", "sea", "code"}),
    (Filters(languages=("de",)), set()),
    (Filters(since="2026-02-20"), {"sea", "code"}),
    (Filters(until="2026-02-20"), {"bread", "sea"}),
    (Filters(since="2026-02-20", until="2026-02-20"), {"sea"}),
    (Filters(since="2027-01-01"), set()),
    (Filters(show_ids=("kitchen chemistry",), since="2026-02-01"), {"code"}),
    (Filters(episode_ids=("nowhere",)), set()),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_filters_are_exact_and_both_sides_agree(part: tuple[list[Passage], Path], filters: Filters, expected: set[str]) -> None:
    passages, folder = part
    positions, _ = LexicalIndex(folder).search(asked("the and of a in"), 1000, filters)
    assert set(episodes_of(passages, positions.tolist())) == expected
    mask = Columns(folder).mask(filters, [])
    assert mask is not None
    assert sorted(positions.tolist()) == mask.nonzero()[0].tolist()


def test_removed_ranges_are_masked(part: tuple[list[Passage], Path]) -> None:
    passages, folder = part
    columns = Columns(folder)
    assert columns.mask(Filters(), []) is None
    assert columns.mask(Filters(), [(1, 50)]) is None
    sea = [passage.id for passage in passages if passage.episode_id == "sea"]
    mask = columns.mask(Filters(), [(sea[0], sea[-1])])
    assert mask is not None
    assert set(episodes_of(passages, mask.nonzero()[0].tolist())) == {"bread", "code"}


def test_terms_by_row_and_sentence(part: tuple[list[Passage], Path]) -> None:
    passages, folder = part
    terms = Terms(folder)
    for row, passage in enumerate(passages):
        assert terms.length(row, 1) == len(stems(passage.text, "en"))
        hashes, starts = terms.of_rows(np.array([row]))
        borders, of_row = terms.sentences_of_rows(np.array([row]), starts)
        assert len(hashes) == terms.length(row, 1) and of_row.tolist() == [0, len(passage.sentences)]
        spoken = [stems(text, "en") for text in sentence_texts(passage)]
        assert borders.tolist() == [sum(map(len, spoken[:number])) for number in range(len(spoken))]
        assert hashes.tolist() == [stem_hash(stem) for sentence in spoken for stem in sentence]
    assert terms.length(0, len(passages)) == terms.total


def test_a_damaged_index_is_told(part: tuple[list[Passage], Path]) -> None:
    _, folder = part
    (folder / "lexical" / "meta.json").write_text("{")
    with pytest.raises(IndexUnavailable, match="reindex"):
        LexicalIndex(folder)


def test_days() -> None:
    assert day_of("1970-01-02") == 1
    assert day_of("2026-02-20T10:00:00+00:00") == day_of("2026-02-20")
    assert day_of("") == day_of("soon") == day_of("2026-99-99")

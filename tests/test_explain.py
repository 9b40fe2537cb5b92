from __future__ import annotations

import pytest

from index.explain import explanation_text
from index.search import Searcher
from tests import talks


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    database = talks.indexed(tmp_path_factory.mktemp("explain"))
    return Searcher(talks.settings(database.folder), database, talks.embedder())


def test_it_explains_the_very_answer(searcher: Searcher) -> None:
    answer, why = searcher.explain("why is the sea salty", limit=3)
    plain = searcher.search("why is the sea salty", limit=3)
    assert [moment.start_s for moment in answer.moments] == [moment.start_s for moment in plain.moments]
    assert why is not None and len(why.moments) == len(answer.moments) == 3
    first = why.moments[0]
    assert first.by_words_rank == 1 and first.final_rank == 1 and set(first.said) == {"why", "is", "the", "sea", "salty"}
    assert first.coverage == 1.0 and first.cosine > 0.4
    assert [one.final_rank for one in why.moments] == sorted(one.final_rank for one in why.moments)


def test_rare_words_weigh_more(searcher: Searcher) -> None:
    _, why = searcher.explain("why is the sea salty")
    assert why is not None
    weights = {one.word: one for one in why.words}
    assert sum(one.share for one in why.words) == pytest.approx(1, abs=0.01)
    assert weights["salty"].share > 2 * weights["the"].share and weights["salty"].windows < weights["the"].windows


def test_what_only_meaning_found_is_told_so(searcher: Searcher) -> None:
    _, why = searcher.explain("hydrostatic squeeze deep beneath oceanic surfaces")
    assert why is not None
    first = why.moments[0]
    assert first.said == () and first.by_words_rank is None and first.by_meaning_rank == 1
    assert "none of the words" in explanation_text(why)[1]


def test_the_learned_order_gives_its_reasons(searcher: Searcher) -> None:
    _, why = searcher.explain("how much salt goes in the bread dough")
    assert why is not None and why.order == "learned"
    reasons = why.moments[0].reasons
    assert reasons and all(reason.value != reason.usual for reason in reasons)
    assert [abs(reason.effect) for reason in reasons] == sorted((abs(reason.effect) for reason in reasons), reverse=True)


def test_asking_nothing_explains_nothing(searcher: Searcher) -> None:
    answer, why = searcher.explain("  ")
    assert answer.moments == () and why is None

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.highlight import highlights
from index.query import MAX_WORDS, Filters, parse_query


def test_phrases_and_words() -> None:
    parsed = parse_query('why "the sea" is “Salty Water” now')
    assert parsed.phrases == (("the", "sea"), ("salty", "water"))
    assert parsed.words == ("why", "the", "sea", "is", "salty", "water", "now")
    assert parsed.meaning == "why the sea is Salty Water now"


@pytest.mark.parametrize("text", ["", "   ", '""', '"', "!?", "\x00\x00"])
def test_nothing_to_look_for(text: str) -> None:
    assert not parse_query(text)


def test_an_open_quote_is_no_quote() -> None:
    assert parse_query('say "hello').phrases == ()
    assert parse_query('title:foo AND (bar OR "').words == ("title", "foo", "and", "bar", "or")


def test_long_queries_keep_their_first_words() -> None:
    assert len(parse_query(" ".join(f"w{n}" for n in range(5000))).words) == MAX_WORDS


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    parsed = parse_query(text * 10)
    assert len(parsed.words) <= MAX_WORDS
    assert all(parsed.words)
    for start, end in highlights(text, text, None):
        assert 0 <= start < end <= len(text)


def test_empty_filters_are_false() -> None:
    assert not Filters()
    assert Filters(since="2026-01-01")


def test_highlights_mark_the_words_that_matter() -> None:
    text = "Whales sing, and a singing whale is heard far away."
    marked = [text[start:end] for start, end in highlights("how do whales sing", text, "en")]
    assert marked == ["Whales", "sing", "singing", "whale"]
    assert highlights("", text, "en") == []


def test_highlights_in_japanese() -> None:
    text = "明日の東京は雨です"
    assert any(text[start:end] == "東京" for start, end in highlights("東京の天気", text, "ja"))

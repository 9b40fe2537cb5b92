from __future__ import annotations

import pytest

from index.language import words
from index.spelling import distance
from index.wording import other_forms, spelled


def forms(query: str) -> dict[str, set[str]]:
    return {word: {" ".join(form) for form in found} for word, found in other_forms(words(query)).items()}


@pytest.mark.parametrize(
    ("query", "word", "form"),
    [
        ("what is GPT-4", "4", "gpt four"),
        ("what is GPT-4", "gpt", "gpt4"),
        ("GPT four", "four", "gpt 4"),
        ("gpt4", "gpt4", "gpt four"),
        ("k eight s", "k", "k8s"),
        ("K8s", "k8s", "k eight s"),
        ("H two O", "o", "h2o"),
        ("h.264", "h", "h264"),
        ("v2", "v2", "version 2"),
        ("back in 1960", "1960", "nineteen sixty"),
        ("nineteen sixty", "nineteen", "1960"),
        ("twenty twenty four", "twenty", "2024"),
        ("bip three four one", "three", "341"),
        ("BIP-341", "341", "three four one"),
        ("two hundred and fifty degrees", "fifty", "250"),
        ("250 degrees", "250", "two hundred and fifty"),
        ("nine thousand nine hundred ninety nine", "nine", "9999"),
        ("twelve factor app", "twelve", "12 factor"),
    ],
)
def test_what_is_written_and_what_is_said_are_one_thing(query: str, word: str, form: str) -> None:
    assert form in forms(query)[word]


@pytest.mark.parametrize(
    "query", ["why is the sea salty", "one of the two", "the 4 of us", "i am a", "forty two thousand", "007", "", "123456789"]
)
def test_ordinary_words_stay_as_they_are(query: str) -> None:
    assert forms(query) == {}


def test_every_number_is_read_as_it_is_spelled() -> None:
    for value in [*range(0, 130), *range(900, 1130), *range(1890, 2130), 9000, 9999]:
        for form in spelled(value):
            if value > 12 and set(form) != {"one"}:  # which is too common to be read
                assert str(value) in set().union(*forms(" ".join(form)).values()), form
    assert spelled(10_000) == [] and spelled(-1) == []


def test_letters_that_are_wrong_are_counted() -> None:
    pairs = {("yeast", "yeast"): 0, ("yeast", "yaest"): 1, ("yeast", "yest"): 1, ("bread", "broad"): 1, ("kitten", "sitting"): 3}
    assert {pair: distance(*pair) for pair in pairs} == pairs

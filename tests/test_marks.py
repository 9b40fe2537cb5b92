from __future__ import annotations

import pytest

from index.search import highlights
from tests.web_site import HOSTILE, RAIN, SOIL
from ui.marks import Marks

TEXTS = [
    *SOIL,
    *RAIN,
    HOSTILE,
    "Don't dig: the digging don dug.",
    "GPT-4 and K8s, v1.2.3!",
    "",
    "Die Würmer graben; ein Wurm gräbt.",
    "x" * 90,
]


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("how do earthworms help digging", "en"),
        ('"rain barrel" dig', "en"),
        ("the a of", "en"),
        ("don't dig gpt-4", None),
        ("Würmer", "de"),
    ],
)
def test_the_fast_way_marks_what_the_long_way_marks(query: str, language: str | None) -> None:
    marks = Marks(query, language)
    for text in TEXTS:
        wanted = highlights(query, text, language)
        assert marks.ranges(text) == wanted, text
        assert marks.said(text) == {text[start:end].lower() for start, end in wanted}

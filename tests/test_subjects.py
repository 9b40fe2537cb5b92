"""Chapters made from subject changes, and the map of the catalogue."""

from __future__ import annotations

import itertools

import numpy as np

from store.records import Passage, Sentence, text_hash
from ui.atlas import PLANE, make_atlas
from ui.subjects import made_chapters

SYLLABLES = {"bees": ("ba", "du", "ko"), "ships": ("fi", "se", "ro"), "bread": ("ma", "nel", "lu")}
WORDS = {name: ["".join(parts) for parts in itertools.product(part, repeat=3)] for name, part in SYLLABLES.items()}


def passage(number: int, subject: str) -> Passage:
    words = WORDS[subject]
    text = " ".join(words[(number * 5 + index) % len(words)] for index in range(8)) + "."
    return Passage(
        id=number + 1,
        episode_id="a",
        ordinal=number,
        start_s=30.0 * number,
        end_s=30.0 * number + 30,
        text=text,
        text_hash=text_hash(text),
        sentences=(Sentence(0, 30.0 * number, 30.0 * number + 30),),
        speakers=(),
        language="en",
    )


def test_chapters_are_cut_where_the_subject_changes() -> None:
    passages = [passage(number, "bees" if number < 20 else "bread") for number in range(40)]
    chapters = made_chapters(passages, 40 * 30.0)
    assert any(abs(chapter.start_s - 600) <= 60 for chapter in chapters), chapters
    first, last = chapters[0].title.lower(), chapters[-1].title.lower()
    assert any(word in first for word in WORDS["bees"]) and any(word in last for word in WORDS["bread"])
    assert made_chapters(passages[:6], 180.0) == ()  # a short talk gets none


def test_the_map_has_a_circle_for_each_subject_named_by_its_own_words() -> None:
    noise = np.random.default_rng(0)
    sample = []
    for axis, subject in enumerate(WORDS):
        for number in range(20):
            vector = np.eye(8, dtype=np.float32)[axis] + noise.standard_normal(8).astype(np.float32) * 0.05
            sample.append((passage(20 * axis + number, subject), (vector / np.linalg.norm(vector)).astype(np.float32)))
    subjects = make_atlas(sample)
    assert subjects == make_atlas(sample)
    named = {name for one in subjects for name, words in WORDS.items() if set(one.terms) <= set(words)}
    assert named == set(WORDS)
    for one in subjects:
        assert one.radius <= one.x <= PLANE[0] - one.radius and one.radius <= one.y <= PLANE[1] - one.radius
    apart = [np.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius for a in subjects for b in subjects if a is not b]
    assert min(apart) > -5  # circles do not lie on each other

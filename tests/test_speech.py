"""Spans and chunks: made of numbers, of noise, and of real speech."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.recording import SAMPLE_RATE_HZ
from pipeline.speech import CHUNK_S, FRAME_S, Chunk, Span, pack, spans_of, speech_spans


def probabilities(*parts: tuple[float, float]) -> np.ndarray:
    """(seconds, probability) after one another."""
    return np.concatenate([np.full(round(seconds / FRAME_S), value, dtype=np.float32) for seconds, value in parts])


def test_spans_follow_the_probabilities() -> None:
    found = spans_of(probabilities((1, 0.01), (2, 0.9), (0.1, 0.1), (1, 0.9), (3, 0.05), (1, 0.7)))
    assert [(round(start, 1), round(end, 1)) for start, end in found] == [(1.0, 4.1), (7.1, 8.1)]


def test_a_click_is_no_speech_but_a_sure_short_word_is() -> None:
    assert spans_of(probabilities((1, 0.01), (0.064, 0.5), (1, 0.01))) == []
    assert len(spans_of(probabilities((1, 0.01), (0.064, 0.95), (1, 0.01)))) == 1


def test_a_monologue_is_cut_where_speech_is_least_likely() -> None:
    found = spans_of(probabilities((24, 0.9), (0.064, 0.45), (10, 0.9)))
    assert len(found) == 2
    assert found[0][1] == found[1][0] == pytest.approx(24, abs=0.1)


@st.composite
def speech(draw: st.DrawFn) -> list[Span]:
    at, spans = 0.0, []
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.floats(0.2, 20))
        end = at + draw(st.floats(0.1, CHUNK_S))
        spans.append((at, end))
        at = end
    return spans


@settings(max_examples=80, deadline=None)
@given(speech())
def test_a_plan_holds_all_speech_in_order_and_no_chunk_is_too_long(spans: list[Span]) -> None:
    duration_s = spans[-1][1] + 0.1
    plan = pack(spans, duration_s=duration_s)
    flat = [span for chunk in plan for span in chunk]
    assert flat == sorted(flat)
    assert all(before[1] <= after[0] + 1e-6 for before, after in itertools.pairwise(flat))
    assert flat[-1][1] <= duration_s + 1e-3
    for start, end in spans:  # padding adds to speech, nothing is lost
        covered = sum(max(0.0, min(end, high) - max(start, low)) for low, high in flat)
        assert covered == pytest.approx(end - start, abs=0.01)
    for chunk in plan:
        assert sum(end - start for start, end in chunk) <= CHUNK_S + 0.9


def test_a_full_chunk_ends_at_the_longest_pause_of_its_last_part() -> None:
    spans = [(0.0, 9.0), (10.8, 24.0), (25.2, 27.5), (27.8, 35.0)]
    plan = pack(spans, duration_s=40)
    assert len(plan) == 2  # at the pause of 1.2 s: the one of 1.8 s lies too far ahead
    assert plan[0][-1][1] < 25 < plan[1][0][0] + 0.5


def test_times_in_a_chunk_become_times_in_the_recording() -> None:
    chunk = Chunk(np.zeros(5 * SAMPLE_RATE_HZ, dtype=np.float32), ((10.0, 12.0), (30.0, 33.0)))
    assert chunk.duration_s == 5.0
    assert chunk.to_recording(0.5) == 10.5
    assert chunk.to_recording(2.0) == 30.0
    assert chunk.to_recording(2.0, is_end=True) == 12.0
    assert chunk.to_recording(4.0) == 32.0
    assert chunk.to_recording(99.0) == 33.0


def test_silence_noise_and_a_tone_are_no_speech() -> None:
    generator = np.random.default_rng(0)
    for sound in (
        np.zeros(10 * SAMPLE_RATE_HZ),
        generator.normal(0, 0.1, 10 * SAMPLE_RATE_HZ),
        0.3 * np.sin(np.arange(10 * SAMPLE_RATE_HZ) * 0.17),
    ):
        assert speech_spans(np.array_split(sound.astype(np.float32), 7)) == []


def test_blocks_may_be_cut_anywhere() -> None:
    generator = np.random.default_rng(1)
    sound = (generator.normal(0, 0.2, 6 * SAMPLE_RATE_HZ) * (np.sin(np.arange(6 * SAMPLE_RATE_HZ) / 1000) > 0)).astype(np.float32)
    assert speech_spans([sound]) == speech_spans(np.array_split(sound, 31))

"""The checks, on strings that Whisper really wrote, and what follows when one fails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.guard import (
    guarded,
    is_foreign,
    is_loop,
    is_silence,
    is_too_fast,
    leaves_out,
    longest_run,
    plain,
    problems_of,
    quietest_s,
)
from pipeline.recording import SAMPLE_RATE_HZ
from pipeline.speech import Chunk
from pipeline.words import Decoded
from store.records import SUSPECT, Word

FOX = "The quick brown fox jumps over the lazy dog, and then it goes home to sleep."
GOOD = FOX + " Nobody knows why the dog was there in the first place."


def spoken(text: str, rate: float = 3.0, *, start_s: float = 0.0) -> tuple[Word, ...]:
    return tuple(
        Word(f" {word}", start_s + index / rate, start_s + (index + 1) / rate, 0.9) for index, word in enumerate(text.split())
    )


def decoded(text: str, rate: float = 3.0, *, logprob: float = -0.2, no_speech: float = 0.01) -> Decoded:
    return Decoded(spoken(text, rate), logprob, no_speech)


def chunk(seconds: float, language: str = "en") -> Chunk:
    noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * SAMPLE_RATE_HZ)).astype(np.float32)
    return Chunk(noise, ((100.0, 100.0 + seconds),), language)


@pytest.mark.parametrize(
    "text",
    [
        "I'm going to go ahead and get some of the water out of the way, " + "and I'm going to go ahead " * 8,
        "so " * 12,
        "and the one that's on the other side, " * 5,
        "Oh my god. Oh my god. Oh my god. Oh my god. Oh my god. Oh my god.",
        "Thank you. " * 9,
    ],
)
def test_a_loop_is_a_loop(text: str) -> None:
    assert is_loop(text.split(), text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "No, no, no, no, that is not what I said.",
        "It was very, very, very good, and words words words words and that should be all. Thanks.",
        "Buffalo buffalo buffalo buffalo is a sentence.",
        "We shall fight on the beaches, we shall fight on the landing grounds, we shall fight in the fields and in the streets.",
        "",
    ],
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert not is_loop(text.split(), text)


def test_runs_are_counted() -> None:
    assert longest_run(["a", "a", "a", "b"], 1) == 3
    assert longest_run(["a", "b", "a", "b", "a", "b", "c"], 2) == 3
    assert longest_run(["a", "b", "c"], 1) == 1
    assert longest_run([], 1) == 1


def test_silence_is_text_that_the_model_does_not_believe_itself() -> None:
    assert is_silence(decoded("So that was the end of it.", logprob=-1.4, no_speech=0.9))
    assert is_silence(decoded("Thank you.", logprob=-0.5, no_speech=0.4))
    assert is_silence(decoded("you", logprob=-0.8, no_speech=0.3))
    assert not is_silence(decoded("Thank you.", no_speech=0.02))
    assert not is_silence(decoded("Please enter your password.", logprob=-0.4, no_speech=0.7))
    assert not is_silence(decoded(""))


def test_nobody_speaks_this_fast() -> None:
    assert is_too_fast(spoken(GOOD * 3, rate=12.0), 7.0)
    assert is_too_fast((*spoken(FOX, 3.0), *spoken(FOX, 40.0, start_s=6.0)), 12.0)
    assert not is_too_fast(spoken(GOOD, 4.5), 7.0)
    assert not is_too_fast(spoken("Stop.", 10.0), 0.3)
    assert is_too_fast(tuple(Word(char, 0.1 * at, 0.1 * at + 0.1) for at, char in enumerate("今日はとても良い天気ですね" * 4)), 3.0)


def test_a_text_in_another_script_is_foreign() -> None:
    assert is_foreign("Продолжение следует", "en")
    assert is_foreign("thank you very much", "ru")
    assert is_foreign("ご視聴ありがとうございました", "de")
    assert not is_foreign("Über naïve façade", "de")
    assert not is_foreign("Это API на Python и это хорошо", "ru")
    assert not is_foreign("anything ведь", "sr")  # written in both
    assert not is_foreign("1, 2, 3", "en")


def test_speech_without_words_is_missed() -> None:
    assert leaves_out((), 12.0)
    assert leaves_out(spoken("And then we went.", 2.0), 15.0)
    assert leaves_out((*spoken(FOX, 3.0), *spoken(FOX, 3.0, start_s=18.0)), 24.0)
    assert not leaves_out(spoken(GOOD, 3.0), 10.0)
    assert not leaves_out((), 1.0)


def test_plain() -> None:
    assert plain(" Sous-titres réalisés… ") == "sous titres realises"
    assert plain("I'll, SEE you!") == "i'll see you"


def test_a_good_answer_is_kept_and_moved_into_the_recording() -> None:
    calls: list[float] = []

    def decode(chunks: Sequence[Chunk], temperature: float) -> list[Decoded]:
        calls.append(temperature)
        return [decoded(GOOD) for _ in chunks]

    (first, second) = guarded(decode, [chunk(9), chunk(9)])
    assert calls == [0.0]
    assert " ".join(segment.text for segment in first) == GOOD
    assert len(first) == 2  # two sentences
    assert first[0].start_s == 100.0
    assert all(not segment.flags and segment.language == "en" for segment in [*first, *second])


def test_a_loop_is_decoded_again_in_pieces() -> None:
    def decode(chunks: Sequence[Chunk], temperature: float) -> list[Decoded]:
        return [decoded("so " * 40, 3.0) if item.duration_s > 8 else decoded(FOX, 3.0) for item in chunks]

    (segments,) = guarded(decode, [chunk(11)])
    assert " ".join(segment.text for segment in segments) == f"{FOX} {FOX}"
    assert all(not segment.flags for segment in segments)
    assert segments[-1].end_s <= 111
    assert segments == sorted(segments, key=lambda segment: segment.start_s)


def test_what_no_way_mends_is_marked() -> None:
    def decode(chunks: Sequence[Chunk], temperature: float) -> list[Decoded]:
        return [decoded("so " * int(3 * item.duration_s), 3.0) for item in chunks]

    (segments,) = guarded(decode, [chunk(16)])
    assert segments
    assert all(segment.flags == (SUSPECT,) for segment in segments)


def test_text_on_silence_is_dropped() -> None:
    def decode(chunks: Sequence[Chunk], temperature: float) -> list[Decoded]:
        return [decoded("Thank you for watching!", logprob=-0.9, no_speech=0.8) for _ in chunks]

    assert list(guarded(decode, [chunk(3)])) == [[]]


def test_what_was_left_out_is_heard_again() -> None:
    def decode(chunks: Sequence[Chunk], temperature: float) -> list[Decoded]:
        return [decoded("And then.") if item.duration_s > 15 else decoded(FOX) for item in chunks]

    (segments,) = guarded(decode, [chunk(20)])
    assert "And then" not in segments[0].text
    assert segments[-1].text == FOX


def test_a_chunk_is_cut_where_it_is_quiet() -> None:
    item = chunk(9)
    item.audio[int(5.0 * SAMPLE_RATE_HZ) : int(5.3 * SAMPLE_RATE_HZ)] = 0
    assert 4.9 < quietest_s(item) < 5.4


def test_problems_have_names() -> None:
    assert problems_of(decoded(GOOD), chunk(9)) == ()
    assert "loop" in problems_of(decoded("so " * 30), chunk(12))
    assert problems_of(decoded("you", no_speech=0.9), chunk(3)) == ("silence",)
    assert "language" in problems_of(decoded("Продолжение следует"), chunk(2))


def test_a_loop_that_no_way_mends_is_written_once() -> None:
    said = "press one to record press two to stop"
    looping = decoded(" ".join([said] * 12), rate=30.0)
    (segments,) = guarded(lambda chunks, temperature: [looping for _ in chunks], [chunk(5.0)])
    assert "".join(segment.text for segment in segments).split() == said.split()
    assert all(SUSPECT in segment.flags for segment in segments)


def test_hearing_again_what_was_left_out_never_makes_a_loop() -> None:
    first = decoded("the doctor should ask for help if he has any doubt", rate=3.0)
    looping = decoded("tell me what happened " * 30, rate=30.0)
    answers = iter([first])
    (segments,) = guarded(lambda chunks, temperature: [next(answers, looping) for _ in chunks], [chunk(12.0)])
    assert " ".join(segment.text for segment in segments) == first.text

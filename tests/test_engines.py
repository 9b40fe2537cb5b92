"""All engines with real weights on real speech, with turbo's shape, and when the device runs out of memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.batches import fastest_batch_size, in_batches, padded_s
from pipeline.openai_whisper import OpenaiWhisper, cheapest_path
from pipeline.recording import SAMPLE_RATE_HZ
from pipeline.speech import Chunk
from pipeline.transcribe import Engine, open_engine, shares
from pipeline.words import Decoded, aligned_words, in_recording, segments_of
from store.errors import EngineError, OutOfMemory, SettingsError, WeightsError
from store.records import Word
from store.settings import Settings
from tests.test_weights import random_turbo

ENGINES = ("onnx-whisper", "faster-whisper", "openai-whisper")

EXACT = ENGINES[1:]


def engine_for(name: str, model: str, **more: object) -> Engine:
    settings = Settings(offline=True, engine=name, model=model, device="cpu", threads=1, batch_size=4, **more)  # type: ignore[arg-type]
    try:
        return open_engine(settings, lambda line: None)
    except WeightsError as error:
        pytest.skip(f"no weights: {error}")


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return engine_for(request.param, "tiny.en")


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    envelope = np.sin(np.arange(int(seconds * SAMPLE_RATE_HZ)) / 1600) > 0
    return (generator.normal(0, 0.1, len(envelope)) * envelope).astype(np.float32)


def whole(audio: np.ndarray, language: str = "en") -> Chunk:
    return Chunk(audio, ((0.0, len(audio) / SAMPLE_RATE_HZ),), language)


def test_a_chunk_s_answer_does_not_depend_on_the_batch(engine: Engine) -> None:
    chunks = [whole(speech_like(seconds, seed)) for seed, seconds in enumerate((3.0, 9.0, 4.0))]
    together = engine.decode(chunks)
    alone = [answer for chunk in chunks for answer in engine.decode([chunk])]
    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_words_lie_inside_their_chunk_and_in_order(engine: Engine) -> None:
    for answer in engine.decode([whole(speech_like(6.0, seed)) for seed in range(2)]):
        times = [time for word in answer.words for time in (word.start_s, word.end_s)]
        assert all(0 <= time <= 6.0 for time in times)
        assert all(word.start_s <= word.end_s for word in answer.words)
        assert [word.start_s for word in answer.words] == sorted(word.start_s for word in answer.words)
        assert 0 <= answer.no_speech <= 1
        assert answer.average_logprob < 0


def test_no_chunks_no_answers(engine: Engine) -> None:
    assert engine.decode([]) == []
    assert list(engine.transcribe([])) == []


def test_an_english_model_knows_one_language(engine: Engine) -> None:
    assert engine.detect_language([speech_like(2.0)]) == [{"en": 1.0}]


@pytest.fixture(scope="module")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_turbo(tmp_path_factory)


@pytest.mark.parametrize("name", ENGINES)
def test_turbo_s_shape_runs(name: str, turbo: Path, tmp_path: Path) -> None:
    found = engine_for(name, str(turbo), models_dir=str(tmp_path), compute_type="int8" if name == "onnx-whisper" else "float32")
    answers = found.decode([whole(speech_like(2.0)), whole(speech_like(5.0), "yue")])
    assert len(answers) == 2
    (probabilities,) = found.detect_language([speech_like(2.0)])
    assert len(probabilities) == 100
    assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-3)
    assert "yue" in probabilities


def test_both_engines_hear_the_same_in_turbo_s_shape(turbo: Path, tmp_path: Path) -> None:
    """Random weights: if a tensor were swapped or transposed anywhere, the languages would differ."""
    found = [engine_for(name, str(turbo), models_dir=str(tmp_path), compute_type="float32") for name in EXACT]
    first, second = (engine.detect_language([speech_like(4.0)])[0] for engine in found)
    assert max(abs(first[language] - second[language]) for language in first) < 2e-3


def test_the_int8_encoder_hears_what_whisper_s_own_hears() -> None:
    """Real weights: int8 costs a little; a wrong tensor, mask or place would leave nothing alike."""
    exact, fast = (
        engine_for(name, "tiny.en", compute_type=kind) for name, kind in (("faster-whisper", "float32"), ("auto", "auto"))
    )
    assert fast.name.startswith("onnx-whisper")  # what a CPU takes by itself
    for seconds in (4.0, 28.0):
        sounds = [speech_like(seconds)]
        one, other = (np.array(engine._encode(sounds, padded_s(seconds))) for engine in (exact, fast))  # type: ignore[attr-defined]
        assert one.shape == other.shape
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97


def test_the_fast_engine_says_what_it_cannot() -> None:
    with pytest.raises(SettingsError, match="int8 on the CPU"):
        engine_for("onnx-whisper", "tiny.en", compute_type="float32")


def test_out_of_memory_makes_the_batch_smaller() -> None:
    sizes: list[int] = []

    def decode(batch: Sequence[Chunk], length_s: float) -> list[str]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise OutOfMemory("full")
        return [f"{chunk.duration_s:.1f}" for chunk in batch]

    chunks = [whole(speech_like(seconds)) for seconds in (3.0, 4.0, 12.0, 3.5, 3.2, 4.4, 3.9, 4.1)]
    answers, batch_size = in_batches(chunks, 8, decode)
    assert answers == ["3.0", "4.0", "12.0", "3.5", "3.2", "4.4", "3.9", "4.1"]
    assert batch_size <= 3
    assert max(sizes) == 7

    def never(batch: Sequence[Chunk], length_s: float) -> list[str]:
        raise OutOfMemory("full")

    with pytest.raises(OutOfMemory):
        in_batches(chunks, 8, never)


def test_the_batch_size_is_found_by_trying() -> None:
    now = [0.0]

    def cost(per_batch_s: float, chunk_s: float, room: int) -> int:
        def decode(size: int) -> None:
            if size > room:
                raise OutOfMemory("full")
            now[0] += per_batch_s + size * chunk_s

        return fastest_batch_size(16, 128, decode, lambda: now[0])

    assert cost(1.0, 0.001, 1000) == 128  # each doubling pays
    assert cost(0.1, 0.1, 1000) == 16  # the device is busy with 16 already
    assert cost(1.0, 0.001, 40) == 32  # 64 do not fit
    assert cost(1.0, 0.001, 3) == 8  # not even the first: the engine halves further as it works


def test_a_cpu_s_batches_fit_its_memory() -> None:
    base, large = 145 << 20, 3_090 << 20  # bytes of the weights
    assert shares(2, base, 16 << 30) == (2, 8)
    assert shares(16, base, 64 << 30) == (16, 8)
    lanes, chunks = shares(16, large, 16 << 30)
    assert 1 <= lanes * chunks <= 6  # half a gigabyte each
    assert shares(8, large, 1 << 30) == (1, 1)


def test_batches_hold_one_language_and_one_length() -> None:
    seen: list[set[tuple[str | None, float]]] = []

    def decode(batch: Sequence[Chunk], length_s: float) -> list[int]:
        seen.append({(chunk.language, padded_s(chunk.duration_s)) for chunk in batch})
        assert all(chunk.duration_s <= length_s <= 30 for chunk in batch)
        return list(range(len(batch)))

    in_batches([whole(speech_like(seconds), language) for seconds in (1, 12, 29) for language in ("en", "de")], 8, decode)
    assert all(len(kinds) == 1 for kinds in seen)
    assert len(seen) == 6


def test_a_device_that_was_named_and_fails_is_an_error() -> None:
    with pytest.raises(EngineError):
        engine_for("faster-whisper", "tiny.en", compute_type="float16")  # no CPU computes in half precision
    with pytest.raises(EngineError, match="cannot compute"):
        engine_for("openai-whisper", "tiny.en", compute_type="int4")
    with pytest.raises(SettingsError, match="no engine"):
        open_engine(Settings(engine="siri"), print)
    with pytest.raises(SettingsError, match="no device"):
        open_engine(Settings(device="tpu"), print)


def test_a_gpu_that_fails_at_its_first_kernel_is_left_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline import transcribe

    monkeypatch.setattr(transcribe, "_devices", lambda settings, say: ["cuda", "cpu"])  # a machine with a broken driver
    said: list[str] = []
    try:
        found = open_engine(Settings(offline=True, model="tiny.en", threads=1), said.append)
    except WeightsError as error:
        pytest.skip(f"no weights: {error}")
    assert found.device == "cpu"
    assert said[0].startswith("cuda does not work here")
    assert "tiny.en@1a5afae0, on cpu" in said[1]


# --- words ------------------------------------------------------------------------------------------------------------


def test_the_cheapest_path_is_that_of_whisper_timing() -> None:
    from whisper.timing import backtrace  # the same walk back, on the same table

    cost = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    total = np.full((10, 41), np.inf)
    trace = -np.ones((10, 41))
    total[0, 0] = 0
    for column in range(1, 41):
        for row in range(1, 10):
            ways = [total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]]
            best = 0 if ways[0] < min(ways[1:]) else 1 if ways[1] < min(ways[0], ways[2]) else 2
            total[row, column] = cost[row - 1, column - 1] + ways[best]
            trace[row, column] = best
    assert np.array_equal(cheapest_path(cost), backtrace.py_func(trace))


def test_alignment_becomes_words() -> None:
    path = np.array([[0, 0, 1, 2, 2, 3, 4], [0, 10, 20, 30, 40, 50, 60]])
    words = aligned_words([" Hel", ",", " you"], [2, 1, 1], path, [0.5, 1.0, 0.9, 0.8], 30.0)
    assert [word.text for word in words] == [" Hel,", " you"]
    assert [(word.start_s, word.end_s) for word in words] == [(0.0, 0.6), (1.0, 1.2)]
    assert words[0].probability == pytest.approx(0.75)
    assert aligned_words([], [], path, [], 3.0) == ()


def test_words_do_not_reach_over_a_seam() -> None:
    words = [Word(" one", 0.5, 1.0), Word(" two", 1.7, 2.4), Word(" three", 2.4, 3.0)]
    placed = in_recording(words, ((10.0, 12.0), (50.0, 52.0)))
    assert [(word.start_s, word.end_s) for word in placed] == [(10.5, 11.0), (50.0, 50.4), (50.4, 51.0)]


def test_segments_are_sentences() -> None:
    text = "Dr. Smith met J. Doe at 3.5 miles. It was late! Was it? “Yes.” and then we went on, slowly"
    words = [Word(f" {word}", 0.4 * at, 0.4 * at + 0.3) for at, word in enumerate(text.split())]
    segments = segments_of(words, Chunk(np.zeros(1, dtype=np.float32), ((0.0, 30.0),), "en"))
    assert [segment.text for segment in segments] == [
        "Dr. Smith met J. Doe at 3.5 miles.",
        "It was late!",
        "Was it?",
        "“Yes.” and then we went on, slowly",
    ]
    assert all("".join(word.text for word in segment.words).strip() == segment.text for segment in segments)


def test_a_sentence_without_end_is_cut_at_a_comma() -> None:
    words = [Word(f" w{at}" + ("," if at == 24 else ""), 0.5 * at, 0.5 * at + 0.4) for at in range(50)]
    segments = segments_of(words, Chunk(np.zeros(1, dtype=np.float32), ((0.0, 30.0),)))
    assert [segment.text.split()[-1] for segment in segments] == ["w24,", "w49"]


def test_decoded_text() -> None:
    assert Decoded((Word(" a", 0, 1), Word(" b", 1, 2)), -0.1, 0.0).text == "a b"
    assert OpenaiWhisper.__doc__

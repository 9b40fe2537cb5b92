"""From blocks of sound to spans of speech, and from spans to chunks of at most 30 s.

Comes in: float32 mono 16 kHz blocks. Goes out: spans (start and end in seconds of the recording), a plan (which spans make which
chunk) and chunks, which can turn a time inside them back into a time of the recording.
Does not know: engines, languages, files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.recording import SAMPLE_RATE_HZ, Samples
from store.errors import WeightsError

Span = tuple[float, float]  # start_s, end_s in the recording

FRAME = 512  # samples that Silero judges at once
CONTEXT = 64  # samples of the frame before that it also sees
FRAME_S = FRAME / SAMPLE_RATE_HZ  # 32 ms

WINDOW = 312  # frames (10 s) that are brought to one loudness: Silero misses a far speaker after a near one
LOUDNESS = 0.03  # root mean square that the median frame of a window is raised to ...
GREATEST_GAIN = 8.0  # ... by this factor at most: silence must stay silent

ONSET = 0.4  # speech starts at this probability ...
OFFSET = 0.25  # ... and ends below this one
PAUSE_S = 0.2  # a pause shorter than this does not end a span
SHORTEST_S = 0.1  # a span shorter than this is a click, unless it is surely speech
SURE = 0.8

PAD_S = 0.4  # kept on both sides of a span: soft consonants, and Whisper's starts are .2-.3 s early
KEPT_PAUSE_S = 1.0  # pauses up to this stay as they are inside a chunk; longer ones are cut out
CHUNK_S = 29.0  # Whisper sees 30 s; the last second stays silent, so that no word is cut
EARLIEST_CUT = 0.8  # a chunk is cut at the longest pause after this share of its length


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 30 s of packed speech, the unit that an engine decodes. `audio` holds the spans one after the other."""

    audio: Samples
    spans: tuple[Span, ...]
    language: str | None = None

    @property
    def duration_s(self) -> float:
        """Return the packed length in seconds."""
        return len(self.audio) / SAMPLE_RATE_HZ

    def to_recording(self, packed_s: float, *, is_end: bool = False) -> float:
        """Return the time in the recording of a time inside the chunk. An end on a seam belongs to the span before it."""
        left = max(0.0, packed_s)
        for start_s, end_s in self.spans:
            length = end_s - start_s
            if left < length or (is_end and left <= length + 1e-6):
                return start_s + left
            left -= length
        return self.spans[-1][1] if self.spans else packed_s


class SpeechDetector:
    """Silero VAD over a stream of blocks: feed them in order, then ask for the probabilities (one in 32 ms)."""

    def __init__(self) -> None:
        """Start at silence."""
        self._hidden = np.zeros((1, 1, 128), dtype=np.float32)
        self._cell = np.zeros((1, 1, 128), dtype=np.float32)
        self._context = np.zeros(CONTEXT, dtype=np.float32)
        self._rest: Samples = np.zeros(0, dtype=np.float32)
        self._found: list[npt.NDArray[np.float32]] = []

    def feed(self, block: Samples) -> None:
        """Judge another block."""
        samples = np.concatenate([self._rest, block])
        window = WINDOW * FRAME
        whole = len(samples) // window * window
        self._rest = samples[whole:]
        for at in range(0, whole, window):
            self._judge(samples[at : at + window].reshape(WINDOW, FRAME))

    def probabilities(self) -> npt.NDArray[np.float32]:
        """End the stream, its last frame filled up with silence, and return the probability of speech of every frame."""
        if len(self._rest):
            self._judge(np.pad(self._rest, (0, -len(self._rest) % FRAME)).reshape(-1, FRAME))
            self._rest = self._rest[:0]
        return np.concatenate(self._found) if self._found else np.zeros(0, dtype=np.float32)

    def _judge(self, frames: Samples) -> None:
        loudness = float(np.median(np.sqrt((frames**2).mean(axis=1))))
        frames = np.clip(frames * min(GREATEST_GAIN, max(1.0, LOUDNESS / (loudness + 1e-9))), -1.0, 1.0).astype(np.float32)
        contexts = np.concatenate([self._context[None], frames[:-1, -CONTEXT:]])
        self._context = frames[-1, -CONTEXT:].copy()
        found, self._hidden, self._cell = _silero().run(
            None, {"input": np.concatenate([contexts, frames], axis=1), "h": self._hidden, "c": self._cell}
        )
        self._found.append(found.reshape(-1))


@lru_cache(maxsize=1)
def _silero() -> Any:
    """Return the Silero session that comes with faster-whisper (MIT), on one thread: it is a small recurrent model."""
    import onnxruntime

    spec = find_spec("faster_whisper")
    path = Path(spec.origin).parent / "assets" / "silero_vad_v6.onnx" if spec is not None and spec.origin else Path()
    if not path.is_file():
        raise WeightsError("the voice-activity model is missing", where="faster_whisper", next_step="Reinstall faster-whisper")
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena would keep the largest block's memory for good
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"], sess_options=options)


def speech_spans(blocks: Iterable[Samples], *, longest_s: float = CHUNK_S) -> list[Span]:
    """Return where speech is, in order, without padding; no span is longer than `longest_s`."""
    detector = SpeechDetector()
    for block in blocks:
        detector.feed(block)
    return spans_of(detector.probabilities(), longest_s=longest_s)


def spans_of(probabilities: npt.NDArray[np.float32], *, longest_s: float = CHUNK_S) -> list[Span]:
    """Return the spans of speech in a row of frame probabilities; too long ones are cut where speech is least likely."""
    spans: list[Span] = []
    pause = round(PAUSE_S / FRAME_S)
    start = last = -1
    for index, probability in enumerate(probabilities):
        if start < 0:
            if probability >= ONSET:
                start = last = index
        elif probability >= OFFSET:
            last = index
        elif index - last >= pause:
            spans += _checked(probabilities, start, last + 1, longest_s)
            start = -1
    if start >= 0:
        spans += _checked(probabilities, start, last + 1, longest_s)
    return spans


def _checked(probabilities: npt.NDArray[np.float32], start: int, end: int, longest_s: float) -> list[Span]:
    """Drop a click, split a monologue."""
    if (end - start) * FRAME_S < SHORTEST_S and probabilities[start:end].max() < SURE:
        return []
    longest = int(longest_s / FRAME_S)
    spans: list[Span] = []
    while end - start > longest:
        first = start + int(longest * EARLIEST_CUT)
        cut = first + int(np.argmin(probabilities[first : start + longest]))
        spans.append((round(start * FRAME_S, 3), round(cut * FRAME_S, 3)))
        start = cut
    return [*spans, (round(start * FRAME_S, 3), round(end * FRAME_S, 3))]


def pack(spans: Sequence[Span], max_s: float = CHUNK_S, *, duration_s: float = float("inf")) -> list[tuple[Span, ...]]:
    """Return the chunk plan: each chunk's spans, padded, close ones joined, at most `max_s` together.

    A chunk that is full ends at the longest pause of its last part, so that sentences stay whole.
    """
    padded = _padded(spans, duration_s)
    chunks: list[tuple[Span, ...]] = []
    first = 0
    while first < len(padded):
        end = first + 1
        while end < len(padded) and _length(padded[first : end + 1]) <= max_s:
            end += 1
        if end < len(padded):
            candidates = [at for at in range(first + 1, end + 1) if _length(padded[first:at]) >= EARLIEST_CUT * max_s] or [end]
            # Pauses are measured between the spans as they were found: padding closes the short ones.
            end = max(candidates, key=lambda at: (spans[at][0] - spans[at - 1][1], at))
        chunks.append(_joined(padded[first:end]))
        first = end
    return chunks


def _padded(spans: Sequence[Span], duration_s: float) -> list[Span]:
    padded: list[Span] = []
    for index, (start_s, end_s) in enumerate(spans):
        before = spans[index - 1][1] if index else -start_s
        after = spans[index + 1][0] if index + 1 < len(spans) else 2 * duration_s - end_s
        left, right = min(PAD_S, (start_s - before) / 2), min(PAD_S, (after - end_s) / 2)
        padded.append((round(max(0.0, start_s - left), 3), round(min(duration_s, end_s + right), 3)))
    return padded


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    joined = [spans[0]]
    for start_s, end_s in spans[1:]:
        if start_s - joined[-1][1] <= KEPT_PAUSE_S:
            joined[-1] = (joined[-1][0], end_s)
        else:
            joined.append((start_s, end_s))
    return tuple(joined)


def _length(spans: Sequence[Span]) -> float:
    return sum(end_s - start_s for start_s, end_s in _joined(spans))

"""Batches of chunks that cost an engine the same: one language, one length.

Comes in: chunks in any order. Goes out: an answer for each, in the order of the chunks.
Does not know: engines, or whose chunks these are.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from pipeline.recording import SAMPLE_RATE_HZ, Samples
from pipeline.speech import Chunk
from store.errors import OutOfMemory

LONGEST_S = 30.0  # what Whisper's encoder sees
SHORTEST_S = 10.0  # a shorter window than this makes Whisper say everything twice (measured: 25 % wrong words instead of 4 %)
STEP_S = 2.5  # lengths are rounded up to a multiple: a chunk's text must not depend on its neighbours in the batch
SILENCE_S = 2.0  # after the speech, so that the model hears it end: a window that ends with the speech makes it repeat itself

WORTH_IT = 0.9  # a batch of twice the size must make a chunk at least a tenth cheaper

Answer = TypeVar("Answer")


def padded_s(duration_s: float) -> float:
    """Return the length to which a chunk is filled up with silence, in seconds."""
    return min(LONGEST_S, max(SHORTEST_S, math.ceil((duration_s + SILENCE_S) / STEP_S) * STEP_S))


def padded(audio: Samples, length_s: float) -> Samples:
    """Return the samples filled up with silence, or cut, to `length_s`."""
    wanted = round(length_s * SAMPLE_RATE_HZ)
    return np.pad(audio[:wanted], (0, max(0, wanted - len(audio))))


def in_batches(
    chunks: Sequence[Chunk], batch_size: int, decode: Callable[[Sequence[Chunk], float], Sequence[Answer]]
) -> tuple[list[Answer], int]:
    """Decode chunks in batches of one language and one padded length.

    `decode` takes a batch and its length in seconds. When the device runs out of memory the batch is halved; the size that worked
    is returned with the answers. Raises `OutOfMemory` if not even one chunk fits.
    """
    groups: dict[tuple[str, float], list[int]] = defaultdict(list)
    for index, chunk in enumerate(chunks):
        groups[chunk.language or "", padded_s(chunk.duration_s)].append(index)
    answers: dict[int, Answer] = {}
    for (_, length_s), indices in sorted(groups.items(), reverse=True):  # the longest first: what does not fit shows at once
        at = 0
        while at < len(indices):
            batch = indices[at : at + batch_size]
            try:
                found = decode([chunks[index] for index in batch], length_s)
            except OutOfMemory:
                if len(batch) == 1:
                    raise
                batch_size = max(1, len(batch) // 2)
                continue
            answers.update(zip(batch, found, strict=True))
            at += len(batch)
    return [answers[index] for index in range(len(chunks))], batch_size


def fastest_batch_size(
    start: int, largest: int, decode: Callable[[int], object], clock: Callable[[], float] = time.perf_counter
) -> int:
    """Find the batch size by trying: `decode(size)` decodes so many chunks; sizes double while a chunk gets cheaper by a tenth.

    Ends at `largest`, or one step before memory runs out. Returns at least 1.
    """
    best, best_s = max(1, start // 2), math.inf
    size = start
    while size <= largest:
        started = clock()
        try:
            decode(size)
        except OutOfMemory:
            break
        chunk_s = (clock() - started) / size
        if chunk_s > best_s * WORTH_IT:
            break
        best, best_s = size, chunk_s
        size *= 2
    return best

"""From a recording to a transcript: the plan, the language, the engine, the segments.

Comes in: a recording's path and settings. Goes out: a plan that can be kept, chunks that can be cut from it at any time, segments.
Does not know: jobs and leases (`worker`), or how an engine decodes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.batches import fastest_batch_size
from pipeline.recording import SAMPLE_RATE_HZ, Samples, Spool
from pipeline.speech import Chunk, Span, pack, speech_spans
from pipeline.words import Decoded
from store.checkpoint import as_ctranslate2
from store.errors import EarmarkError, EngineError, OutOfMemory, SettingsError
from store.records import Segment, TranscriptHead
from store.settings import Settings
from store.weights import Weights, find_whisper

ENGINES = ("onnx-whisper", "faster-whisper", "openai-whisper")
PLAN_VERSION = "speech-3"  # changes when the same recording would be cut otherwise
CPU_MODEL, GPU_MODEL = "base", "large-v3-turbo"
CPU_BATCH, GPU_BATCH = 8, 16  # of a GPU the first of the sizes that are tried ...
GPU_LARGEST_BATCH = 128  # ... and the last
GPU_LANES = 2  # while one batch is on the GPU, the CPU makes the spectrograms of the next
MEMORY_SHARE = 0.25  # of the machine's memory that decoding may take on a CPU ...
CHUNK_SHARE = 0.26  # ... where a chunk takes at most this share of the weights' size (half precision) for its keys and values
LANGUAGE_CHUNKS = 3  # a recording's language is that of its longest chunks, from beginning, middle and end ...
LANGUAGE_S = 10.0  # ... of which this much is heard
HUGE_PAGES = "glibc.malloc.hugetlb=1"  # a fifth of CTranslate2's time on a CPU is page faults without (FACTS)
ONE_HEAP = "glibc.malloc.arena_max=1"  # a heap for each thread keeps 200 MB that no thread uses; sharing one costs no time


class Engine(Protocol):
    """What decodes chunks. Chunks may come from different recordings; each is decoded on its own."""

    name: str  # "faster-whisper 1.2.1"
    model: str  # "base@d01c3014"
    device: str
    compute_type: str
    batch_size: int  # gets smaller when the device runs out of memory
    lanes: int  # batches that threads may decode at once

    def transcribe(self, chunks: Sequence[Chunk]) -> Iterator[list[Segment]]:
        """Yield one list of segments a chunk, in order, times in seconds of the recording. Raises `EngineError`."""
        ...

    def decode(self, chunks: Sequence[Chunk], temperature: float = 0.0) -> list[Decoded]:
        """Decode chunks as they are, unchecked, in order."""
        ...

    def detect_language(self, audios: Sequence[Samples]) -> list[dict[str, float]]:
        """Return each sound's probability of every language."""
        ...


# --- plan -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """How a recording is cut: each chunk's spans of speech. Made once and kept, so that a resumed recording is cut as before."""

    chunks: tuple[tuple[Span, ...], ...]
    duration_s: float
    warnings: tuple[str, ...] = ()


def plan_recording(spool: Spool) -> Plan:
    """Find the speech of a decoded recording and pack it. No speech gives no chunks."""
    chunks = pack(speech_spans(spool.blocks()), duration_s=spool.duration_s)
    return Plan(tuple(chunks), spool.duration_s, spool.warnings)


def cut_chunk(spool: Spool, spans: Sequence[Span], language: str | None) -> Chunk:
    """Cut one chunk of a plan out of its recording."""
    return Chunk(spool.cut(spans), tuple((start_s, end_s) for start_s, end_s in spans), language)


def language_of(spool: Spool, chunks: Sequence[Sequence[Span]], engine: Engine) -> str | None:
    """Detect a recording's language from its longest chunks of beginning, middle and end. None without speech."""
    if not chunks:
        return None
    count = min(LANGUAGE_CHUNKS, len(chunks))
    parts = [chunks[len(chunks) * part // count : len(chunks) * (part + 1) // count] for part in range(count)]
    longest = [max(part, key=lambda spans: sum(end_s - start_s for start_s, end_s in spans)) for part in parts]
    totals: dict[str, float] = {}
    heard = round(LANGUAGE_S * SAMPLE_RATE_HZ)
    for probabilities in engine.detect_language([spool.cut(spans)[:heard] for spans in longest]):
        for language, probability in probabilities.items():
            totals[language] = totals.get(language, 0.0) + probability
    return max(totals, key=lambda language: totals[language])


# --- one recording, many recordings -----------------------------------------------------------------------------------


def transcribe_file(
    path: Path, engine: Engine, *, language: str = "", folder: Path | None = None
) -> tuple[TranscriptHead, list[Segment]]:
    """Transcribe one file. `language` is detected if empty; `folder` takes the decoded audio while it is needed.

    Raises `RecordingError` if it holds no audio, `EngineError` if the engine fails.
    """
    with Spool(path, folder) as spool:
        plan = plan_recording(spool)
        spoken = language or language_of(spool, plan.chunks, engine)
        segments: list[Segment] = []
        step = 2 * engine.batch_size
        for at in range(0, len(plan.chunks), step):
            chunks = [cut_chunk(spool, spans, spoken) for spans in plan.chunks[at : at + step]]
            for found in engine.transcribe(chunks):
                segments += found
    return head_of(engine, spoken, plan.warnings), segments


def transcribe_files(
    paths: Iterable[Path], engine: Engine, *, language: Callable[[Path], str] = lambda path: "", folder: Path | None = None
) -> Iterator[tuple[Path, TranscriptHead | EarmarkError, list[Segment]]]:
    """Transcribe many files in batches that mix them. One that fails gives its error in the head's place; the others go on."""
    waiting: list[tuple[Path, TranscriptHead | EarmarkError, list[Chunk]]] = []
    for path in paths:
        try:
            with Spool(path, folder) as spool:
                plan = plan_recording(spool)
                spoken = language(path) or language_of(spool, plan.chunks, engine)
                waiting.append((path, head_of(engine, spoken, plan.warnings), []))
                for spans in plan.chunks:
                    waiting[-1][2].append(cut_chunk(spool, spans, spoken))
        except EarmarkError as error:
            waiting.append((path, error, []))
        if sum(len(chunks) for _, _, chunks in waiting) >= 8 * engine.batch_size:
            yield from _finished(waiting, engine)
            waiting = []
    yield from _finished(waiting, engine)


def _finished(
    waiting: Sequence[tuple[Path, TranscriptHead | EarmarkError, list[Chunk]]], engine: Engine
) -> Iterator[tuple[Path, TranscriptHead | EarmarkError, list[Segment]]]:
    answers = iter(engine.transcribe([chunk for _, _, chunks in waiting for chunk in chunks]))
    for path, head, chunks in waiting:
        yield path, head, [segment for _ in chunks for segment in next(answers)]


def head_of(engine: Engine, language: str | None, warnings: tuple[str, ...] = ()) -> TranscriptHead:
    """Return what is to be known of a transcript that `engine` makes."""
    return TranscriptHead(
        source="engine",
        engine=engine.name,
        model=engine.model,
        language=language,
        options={"device": engine.device, "compute_type": engine.compute_type, "plan": PLAN_VERSION, "beam": 1},
        warnings=warnings,
    )


# --- engine -----------------------------------------------------------------------------------------------------------


def open_engine(settings: Settings, say: Callable[[str], None]) -> Engine:
    """Open the engine that the settings name, or the fastest on the device at hand, and say which.

    A GPU that fails at its first kernel is reported through `say`, and the CPU takes over, unless the device was asked for by name.
    Raises `SettingsError`, `WeightsError`, `EngineError`.
    """
    if settings.engine not in ("auto", *ENGINES):
        names = f"auto, {', '.join(ENGINES[:-1])} or {ENGINES[-1]}"
        raise SettingsError(f"there is no engine {settings.engine!r}", where="engine", next_step=f"Use {names}")
    for device in _devices(settings, say):
        try:
            engine = _open(settings, device)
            _try(engine)
            if device != "cpu" and not settings.batch_size:
                _size(engine)
        except (EngineError, RuntimeError) as error:
            if settings.device != "auto" or device == "cpu":
                raise error if isinstance(error, EarmarkError) else EngineError(str(error), where=device) from error
            say(f"{device} does not work here and is not used: {error}")
            continue
        size = f"{engine.lanes} x {engine.batch_size}" if engine.lanes > 1 else f"{engine.batch_size}"
        say(f"{engine.name}, model {engine.model}, on {device} ({engine.compute_type}), {size} chunks at a time")
        return engine
    raise EngineError("no device works", where=settings.device, next_step="Use --device cpu")


def _devices(settings: Settings, say: Callable[[str], None]) -> list[str]:
    if settings.device not in ("auto", "cpu", "cuda", "mps"):
        raise SettingsError(f"there is no device {settings.device!r}", where="device", next_step="Use auto, cpu, cuda or mps")
    if settings.device != "auto":
        return [settings.device]
    import ctranslate2

    if ctranslate2.get_cuda_device_count() > 0:
        return ["cuda", "cpu"]
    if Path("/dev/nvidia0").exists():
        say("there is an NVIDIA GPU, but CTranslate2 cannot see it: check the driver and CUDA 12")
    return ["cpu"]


def _open(settings: Settings, device: str) -> Engine:
    gpu = device != "cpu"
    weights = find_whisper((GPU_MODEL if gpu else CPU_MODEL) if settings.model == "auto" else settings.model, settings)
    kind = _fastest(settings, device, weights) if settings.engine == "auto" else settings.engine
    threads = threads_of(settings)
    lanes, batch_size = (GPU_LANES, GPU_BATCH) if gpu else shares(threads, weights.size_bytes, memory_bytes())
    batch_size = settings.batch_size or batch_size
    if kind == "onnx-whisper":
        if gpu or settings.compute_type not in ("auto", "int8"):
            raise SettingsError(
                f"onnx-whisper computes in int8 on the CPU, not in {settings.compute_type} on {device}",
                where="engine",
                next_step="Use --engine faster-whisper for that",
            )
        from pipeline.onnx_whisper import OnnxWhisper

        return OnnxWhisper(weights, settings, threads=threads, batch_size=batch_size, lanes=lanes)
    if kind == "faster-whisper":
        from pipeline.faster_whisper import FasterWhisper

        compute_type = {"auto": "float16" if gpu else "int8"}.get(settings.compute_type, settings.compute_type)
        return FasterWhisper(
            as_ctranslate2(weights, settings),
            label=weights.label,
            device=device,
            compute_type=compute_type,
            threads=threads,
            batch_size=batch_size,
            lanes=lanes,
        )
    from pipeline.openai_whisper import OpenaiWhisper

    compute_type = {"auto": "float16" if device == "cuda" else "float32"}.get(settings.compute_type, settings.compute_type)
    return OpenaiWhisper(weights, device=device, compute_type=compute_type, threads=threads, batch_size=batch_size)


def _fastest(settings: Settings, device: str, weights: Weights) -> str:
    """Return the engine that bench.transcription found fastest on such a device, of those that can load the weights."""
    if device == "mps" or weights.format == "openai":
        return "openai-whisper"  # CTranslate2 knows neither
    return "onnx-whisper" if device == "cpu" and settings.compute_type in ("auto", "int8") else "faster-whisper"


def shares(threads: int, weights_bytes: int, memory: int) -> tuple[int, int]:
    """Return how many batches a CPU decodes at once, and of how many chunks: a thread each, as far as memory goes."""
    room = max(1, int(MEMORY_SHARE * memory / max(1.0, CHUNK_SHARE * weights_bytes)))
    lanes = min(threads, room)
    return lanes, min(CPU_BATCH, max(1, room // lanes))


def memory_bytes() -> int:
    """Return the memory that this machine, or the container around this process, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(total, int(allowed)) if allowed.isdigit() else total


def _try(engine: Engine) -> None:
    """Run one second of silence through: a GPU whose driver or libraries do not fit fails here, not in the middle of a night."""
    silence = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    engine.decode([Chunk(silence, ((0.0, 1.0),), "en")])


def _size(engine: Engine) -> None:
    """Set the batch size that is the fastest on this GPU: with it noise is decoded, whose text has the greatest length."""
    noise = np.random.default_rng(1).normal(0, 0.1, 29 * SAMPLE_RATE_HZ).astype(np.float32)
    chunk = Chunk(noise, ((0.0, 29.0),), "en")

    def decode(size: int) -> None:
        engine.batch_size = size
        engine.decode([chunk] * size)
        if engine.batch_size < size:  # the engine halved it: memory ran out
            raise OutOfMemory("too many chunks", where=engine.device)

    engine.batch_size = fastest_batch_size(GPU_BATCH, GPU_LARGEST_BATCH, decode)


def threads_of(settings: Settings) -> int:
    """Return how many threads a worker process computes with."""
    return settings.threads or max(1, cores() // max(1, settings.workers))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def can_use_huge_pages() -> bool:
    """Say whether this system's allocator and kernel know transparent huge pages (Linux, glibc 2.35 or newer)."""
    if sys.platform != "linux" or not hasattr(os, "confstr"):
        return False
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        modes = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    except (ValueError, OSError):
        return False
    major, minor = (int(part) for part in version.split(".")[:2])
    return name == "glibc" and (major, minor) >= (2, 35) and "[never]" not in modes

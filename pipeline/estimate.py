"""What a catalogue would cost, before anything is fetched: `earmark add --dry-run`.

Comes in: listings and settings. Goes out: episodes, hours, how many bring a transcript, time and disk on this device, money.
The speed is measured: a minute of real speech runs through the engine that would do the work.
Does not know: the store; nothing is queued or kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.transcribe import open_engine, transcribe_file
from store.records import EpisodeListing, ShowListing
from store.report import length
from store.settings import Settings

USUAL_EPISODE_S = 45 * 60.0  # stands in for episodes whose source does not tell their length, where none of its others does either
USUAL_BYTES_PER_S = 16_000  # 128 kbit/s
TRANSCRIPT_BYTES_PER_S = 120  # text, words with times, passages, vectors and index, as measured on the samples
SAMPLES_FOLDER = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Totals over all listings. `speed` is audio seconds per second on this machine with the workers that were asked for."""

    episodes: int
    duration_s: float
    unknown_durations: int  # episodes whose length was guessed
    with_transcript: int
    to_transcribe_s: float
    speed: float
    device: str
    time_s: float
    disk_bytes: int
    cost: float | None


def estimate(
    listings: Sequence[ShowListing], settings: Settings, say: Callable[[str], None], *, hourly_price: float | None = None
) -> Estimate:
    """Add up what the listings hold and measure how fast this machine works. Raises what opening an engine raises."""
    items = [item for listing in listings for item in listing.episodes]
    known = [item.duration_s for item in items if item.duration_s]
    usual_s = sum(known) / len(known) if known else USUAL_EPISODE_S
    covered = [bool(item.transcripts) and settings.captions != "ignore" for item in items]
    total_s = sum(item.duration_s or usual_s for item in items)
    work_s = (
        0.0
        if settings.captions == "only"
        else sum(item.duration_s or usual_s for item, has_text in zip(items, covered, strict=True) if not has_text)
    )
    speed, device = measure_speed(settings, say)
    fetched = [item for item, has_text in zip(items, covered, strict=True) if not has_text and _is_web(item)]
    kept = settings.keep_recordings == "keep"
    audio_bytes = sum(item.size_bytes or USUAL_BYTES_PER_S * (item.duration_s or usual_s) for item in fetched) if kept else 0
    time_s = work_s / speed
    return Estimate(
        episodes=len(items),
        duration_s=total_s,
        unknown_durations=len(items) - len(known),
        with_transcript=sum(covered),
        to_transcribe_s=work_s,
        speed=speed,
        device=device,
        time_s=time_s,
        disk_bytes=int(audio_bytes + TRANSCRIPT_BYTES_PER_S * total_s),
        cost=None if hourly_price is None else hourly_price * time_s / 3600,
    )


def estimate_text(told: Estimate) -> str:
    """Return an estimate as a person reads it."""
    guessed = f" ({told.unknown_durations} of unknown length, guessed)" if told.unknown_durations else ""
    cost = f"; cost: {told.cost:.2f}" if told.cost is not None else ""
    return (
        f"{told.episodes} episodes, {length(told.duration_s)} hours{guessed}; {told.with_transcript} bring a transcript\n"
        f"to transcribe: {length(told.to_transcribe_s)} at {told.speed:.1f}x real time ({told.device}): {length(told.time_s)}\n"
        f"disk: {told.disk_bytes / 1e9:.2f} GB{cost}"
    )


def measure_speed(settings: Settings, say: Callable[[str], None]) -> tuple[float, str]:
    """Return audio seconds per second, all workers together, and what was measured. One of our own samples is transcribed."""
    sample = min(SAMPLES_FOLDER.glob("*.mp3"), key=lambda path: path.stat().st_size)
    engine = open_engine(settings, say)
    say(f"measuring the speed of {engine.name} with {engine.model} on a sample talk")
    with ThreadPoolExecutor(engine.lanes) as lanes:
        started = time.perf_counter()
        found = list(lanes.map(lambda path: transcribe_file(path, engine, language="en")[1], [sample] * engine.lanes))
    speed = sum(segments[-1].end_s for segments in found) / (time.perf_counter() - started)
    workers = max(1, settings.workers) if engine.device == "cpu" else 1
    return speed * workers, f"{engine.name}, {engine.model}, {engine.device}"


def _is_web(item: EpisodeListing) -> bool:
    return not item.media_url or item.media_url.startswith(("http://", "https://"))

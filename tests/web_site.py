"""A small catalogue with real audio, and the web app running on it: built once for all tests of pages, API and browser."""

from __future__ import annotations

import atexit
import math
import shutil
import socket
import struct
import tempfile
import wave
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from index.build import IndexStage
from store import episodes, passages, transcripts
from store.database import Database
from store.files import sha256_of
from store.records import Chapter, EpisodeListing, Person, Segment, ShowListing, TranscriptHead, Word
from store.settings import Settings, load_settings

AUDIO_S = 120
RATE_HZ = 8000
HOSTILE = (
    "<script>window.hit=1</script> ${alert(1)} `x` {{7*7}} <img src=x onerror=window.hit=2>"
    " \u202egnirts\u202c \"quoted\" 'single' &amp;"
)
SOIL = [
    "Welcome back to the garden hour.",
    "Today we talk about soil and the earthworms that make it.",
    "How do earthworms help a vegetable garden?",
    "An earthworm pulls fallen leaves down into its burrow and turns them into dark crumbly compost.",
    "If you dig less, the worms stay, and water sinks in instead of running off.",
    "Next week we build a rain barrel.",
]
RAIN = [
    "A rain barrel collects water from the roof.",
    "Put a mesh over the barrel, or mosquitoes will breed in it.",
    "In winter you empty the barrel before the frost cracks it.",
    "Tomatoes love rainwater because it carries no chlorine.",
]
COMETS = [
    "A comet is a ball of ice and dust that comes from beyond Neptune.",
    "Near the sun the ice turns to gas, and the gas makes the tail.",
    "Why does the tail of a comet always point away from the sun?",
    "Because sunlight and the solar wind push the gas outward.",
]
LENSES = [
    "A telescope lens bends light to one point, the focus.",
    "A mirror does the same without colour fringes, so big telescopes use mirrors.",
]


@dataclass(frozen=True, slots=True)
class Running:
    """The app on its port, its settings, and the ids of its episodes by a short name."""

    base: str
    settings: Settings
    ids: dict[str, str]
    app: Any


@lru_cache(maxsize=1)
def running_site() -> Running:
    from ui.web import serve, stop

    folder = Path(tempfile.mkdtemp(prefix="earmark-web-"))
    settings, ids = build(folder)
    app = serve(settings, block=False)

    def end() -> None:
        stop(app)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return Running(f"http://127.0.0.1:{settings.port}", settings, ids, app)


def build(folder: Path) -> tuple[Settings, dict[str, str]]:
    data = folder / "data"
    flags = {
        "port": free_port(),
        "rate_limit_per_minute": 0,
        "search_processes": 0,  # tests/test_crew.py has them
        "footer_links": "Home page=https://example.org,Bad=javascript:alert(1)",
    }
    settings = load_settings(data, flags, {})
    database = Database.in_folder(data)
    stage = IndexStage(settings, database)
    audio = tone(folder / "soil.wav")
    local = ShowListing(link=str(folder), kind="folder", title="Garden Hour", episodes=(), language="en")
    feed = ShowListing(link="https://example.org/sky.xml", kind="feed", title="Night Sky", episodes=(), language="en")
    odd = ShowListing(link="https://example.org/odd.xml", kind="feed", title=HOSTILE, episodes=(), description=HOSTILE)
    soil = EpisodeListing(
        "soil", "Soil and worms", str(audio), published="2026-03-01", duration_s=AUDIO_S, media_type="audio/wav", language="en",
        description="What lives below.", people=(Person("Ada Green", "host"),),
        chapters=(Chapter(0, "Hello"), Chapter(40, "Worms")),
    )  # fmt: skip
    rain = EpisodeListing("rain", "Rain barrels", str(audio), published="2026-04-01", duration_s=AUDIO_S, language="en")
    comets = EpisodeListing(
        "comets", "Comets", "https://audio.example.org/comets.mp3", published="2025-11-05", duration_s=90, language="en"
    )
    lenses = EpisodeListing(
        "lenses",
        "Lenses",
        "",
        page_url="https://www.youtube.com/watch?v=abcdefghijk",
        published="2025-12-05",
        duration_s=60,
        language="en",
    )
    vimeo = EpisodeListing(
        "vimeo", "Mirrors on film", "", page_url="https://vimeo.com/123456789", published="2025-12-06", duration_s=60, language="en"
    )
    hostile = EpisodeListing(
        "odd",
        HOSTILE + "x" * 10_000,
        "javascript:alert(1)",
        page_url="javascript:alert(2)",
        published="2024-01-01",
        duration_s=30,
        description=HOSTILE,
    )
    secret = EpisodeListing(
        "paid",
        "Paid talk",
        "https://user:secretpass@paid.example.org/a.mp3?token=abcdef0123456789abcdef01",
        published="2024-02-01",
        duration_s=30,
    )
    ids: dict[str, str] = {}
    for show, listing, texts, speakers, worded in (
        (local, soil, SOIL, ("Ada Green",), True),
        (local, rain, RAIN, ("Ada Green", "Ben Brown"), False),
        (feed, comets, COMETS, (), True),
        (feed, lenses, LENSES, (), True),
        (feed, vimeo, ["This film shows how a mirror is ground."], (), True),
        (odd, hostile, [HOSTILE, "The zebra said " + HOSTILE], (HOSTILE,), True),
        (feed, secret, ["Only members hear about the purple giraffe."], (), True),
        (feed, long_listing(), [], (), False),
    ):
        ids[listing.guid] = put(database, stage, show, listing, texts, speakers, worded, audio)
    stage.publish()
    return settings, ids


def put(
    database: Database, stage: IndexStage, show: ShowListing, listing: EpisodeListing, texts: list[str], speakers: tuple[str, ...],
    worded: bool, audio: Path,
) -> str:  # fmt: skip
    segments = [spoken(text, 20.0 * n, speakers[n % len(speakers)] if speakers else None, worded) for n, text in enumerate(texts)]
    if listing.guid == "long":
        segments = long_segments()
    with database.write() as connection:
        show_id = episodes.save_show(connection, show)
        episode_id, _ = episodes.save_episode(connection, show_id, listing)
        recording_id = None
        if listing.media_url.startswith("/"):
            recording_id = episodes.save_recording(connection, sha256_of(audio), str(audio), audio.stat().st_size, AUDIO_S)
            episodes.set_recording(connection, episode_id, recording_id)
        head = TranscriptHead("engine", engine="faster-whisper", model="base@sha256:0", language="en")
        episodes.set_transcript(connection, episode_id, transcripts.save_transcript(connection, head, segments, recording_id))
    if listing.guid != "long":
        cut, vectors = stage.prepare(episode_id, segments, "en")
        with database.write() as connection:
            passages.replace_passages(connection, episode_id, cut)
            passages.save_vectors(connection, stage.model, vectors)
    return episode_id


def spoken(text: str, start_s: float, speaker: str | None, worded: bool) -> Segment:
    pieces = text.split(" ")
    words = (
        tuple(Word(f" {piece}", start_s + 0.5 * n, start_s + 0.5 * n + 0.45) for n, piece in enumerate(pieces)) if worded else ()
    )
    return Segment(start_s, start_s + 0.5 * len(pieces), text, words, speaker, "en")


def long_listing() -> EpisodeListing:
    return EpisodeListing("long", "Three hours", "", published="2023-01-01", duration_s=10_800, language="en")


def long_segments() -> list[Segment]:
    """Three hours, 30,000 words."""
    line = "the quick brown fox jumps over twelve lazy dogs today"
    return [spoken(f"{line} number {n} again."[:64], 3.6 * n, ("Ada", "Ben")[n // 9 % 2], True) for n in range(2500)]


def tone(path: Path) -> Path:
    """Two minutes of a soft tone, 8 kHz mono."""
    period = [int(3000 * math.sin(2 * math.pi * n / 40)) for n in range(40)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(struct.pack("<40h", *period) * (AUDIO_S * RATE_HZ // 40))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_settings(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, **changes)

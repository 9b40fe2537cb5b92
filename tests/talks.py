"""A few short talks about different things, put into a store and indexed with the real embedder."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from index.build import IndexStage
from index.embed import Embedder, open_embedder
from store.database import Database
from store.episodes import save_episode, save_show, set_transcript
from store.errors import WeightsError
from store.passages import replace_passages, save_vectors
from store.records import EpisodeListing, Segment, ShowListing, TranscriptHead
from store.settings import Settings
from store.transcripts import save_transcript

ADVERT = (
    "This episode is brought to you by Wooden Spoon, the cutlery subscription. Wooden Spoon sends four new spoons to your door on"
    " the first of every month. Use the code LADLE at checkout for ten percent off your first box of spoons."
)
TALKS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "bread": (
        "Kitchen Chemistry",
        "2026-01-10",
        [
            (
                "Ana",
                "Today we talk about sourdough. A starter is flour and water in which wild yeast and bacteria live "
                "together. You feed it every day, and after a week it smells of apples and doubles in four hours.",
            ),
            (
                "Ana",
                "Why does bread rise at all? Yeast eats the sugar in the flour and breathes out carbon dioxide. The "
                "gluten holds the bubbles like a balloon. If your kitchen is cold, everything takes twice as long, "
                "and that is fine.",
            ),
            ("Ben", ADVERT),
            (
                "Ben",
                "How much salt goes in? Two percent of the weight of the flour. Salt slows the yeast down and makes "
                "the gluten tighter, so a dough without any salt rises fast and then falls flat in the oven.",
            ),
            (
                "Ana",
                "Bake it hot. Two hundred and fifty degrees, in a heavy pot with the lid on, so that the steam keeps "
                "the crust soft while the loaf opens. After twenty minutes take the lid off and wait until the crust "
                "is brown.",
            ),
        ],
    ),
    "sea": (
        "Deep Water",
        "2026-02-20",
        [
            (
                "Cleo",
                "Why is the sea salty? Rain takes a little carbon dioxide from the air and becomes a weak acid. It "
                "washes minerals out of the rocks, rivers carry them down, and the water evaporates but the salt "
                "stays behind.",
            ),
            (
                "Cleo",
                "The tides come from the moon. The side of the earth that faces the moon is pulled a little more than "
                "the middle, and the far side a little less, so there are two bulges and two high tides a day.",
            ),
            ("Cleo", ADVERT),
            (
                "Cleo",
                "At eleven thousand metres, in the Mariana Trench, the pressure is a thousand times what we feel "
                "here. And still there are amphipods and sea cucumbers, which eat what sinks down from the light. We "
                "call it marine snow.",
            ),
            (
                "Dan",
                "Whales sing in a layer of water in which sound hardly fades. A fin whale may be heard over a "
                "thousand kilometres, unless there are ships. Engine noise has doubled every ten years since nineteen "
                "sixty.",
            ),
        ],
    ),
    "code": (
        "Kitchen Chemistry",
        "2026-03-05",
        [
            (
                "Ana",
                "A listener wrote in about issue #3098 of the oven firmware. The timer counts to 255 and then starts "
                "from zero, because somebody kept the minutes in one byte. Version 2.4.1 repairs it.",
            ),
            (
                "Ben",
                "So the proof of work is in the pudding, as they say. We tested the new firmware with a frozen pizza "
                "and a roast chicken, and both came out as the display had promised, to the minute.",
            ),
            (
                "Ana",
                "If you want to update yours, hold the clock button for ten seconds, plug in a memory stick and wait "
                "for the lamp to blink twice. Do not open the door meanwhile, or it begins again.",
            ),
        ],
    ),
}


@lru_cache(maxsize=1)
def embedder() -> Embedder:
    """The real MiniLM, opened once; the graph goes to a folder of its own."""
    try:
        return open_embedder(settings(Path("nowhere")), threads=1)
    except WeightsError as error:
        pytest.skip(f"the embedder is not installed: {error}")


@lru_cache(maxsize=1)
def models_dir() -> str:
    return tempfile.mkdtemp(prefix="earmark-test-models-")


def settings(data_dir: Path) -> Settings:
    return Settings(data_dir=data_dir, models_dir=models_dir(), search_budget_ms=20_000.0)


def segments(name: str) -> list[Segment]:
    """A talk as segments, half a second a word."""
    made, start_s = [], 0.0
    for speaker, text in TALKS[name][2]:
        end_s = start_s + 0.5 * len(text.split())
        made.append(Segment(start_s, end_s, text, speaker=speaker, language="en"))
        start_s = end_s
    return made


def add_talk(database: Database, stage: IndexStage, name: str, *, guid: str = "") -> str:
    """Store a talk with passages and vectors, as the worker does; return its episode's id."""
    show, published, _ = TALKS[name]
    said = segments(name)
    listing = EpisodeListing(
        guid=guid or name, title=f"About {name}", media_url=f"https://example.org/{name}.mp3", published=published
    )
    with database.write() as connection:
        show_id = save_show(connection, ShowListing(link=f"https://example.org/{show}", kind="feed", title=show, episodes=()))
        episode_id, _ = save_episode(connection, show_id, listing)
    passages, vectors = stage.prepare(episode_id, said, "en")
    with database.write() as connection:
        save_vectors(connection, stage.model, vectors)
        set_transcript(connection, episode_id, save_transcript(connection, TranscriptHead("sidecar", language="en"), said, None))
        replace_passages(connection, episode_id, passages)
    return episode_id


def indexed(folder: Path) -> Database:
    """All talks, stored in `folder` and indexed."""
    database = Database.in_folder(folder)
    maker = stage(database)
    for name in TALKS:
        add_talk(database, maker, name)
    maker.publish()
    return database


def stage(database: Database) -> IndexStage:
    made = IndexStage(settings(database.folder), database)
    made._embedder = embedder()
    return made


def with_budget(given: Settings, budget_ms: float) -> Settings:
    return replace(given, search_budget_ms=budget_ms)

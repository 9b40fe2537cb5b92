"""What a person means by a word: an episode or a show, by id, address or a part of its title.

Comes in: a word. Goes out: what it names, or an error that says what could be meant.
Does not know: where the word was typed.
"""

from __future__ import annotations

from typing import TypeVar

from store.database import Database
from store.episodes import find_episodes, find_shows
from store.errors import EarmarkError
from store.records import Episode, Show

Found = TypeVar("Found", Episode, Show)
NAMED = 5  # choices that an error names


def the_episode(database: Database, word: str) -> Episode:
    """Return the one episode that is meant. Raises `EarmarkError` where it is none, or several."""
    return _one(episodes_called(database, word), "episode", word)


def the_show(database: Database, word: str) -> Show:
    """Return the one show that is meant. Raises `EarmarkError` where it is none, or several."""
    return _one(shows_called(database, word), "show", word)


def episodes_called(database: Database, word: str) -> list[Episode]:
    """Return all episodes that may be meant, at least one. Raises `EarmarkError` where there is none."""
    return _some(find_episodes(database, word), "episode", word)


def shows_called(database: Database, word: str) -> list[Show]:
    """Return all shows that may be meant, at least one. Raises `EarmarkError` where there is none."""
    return _some(find_shows(database, word), "show", word)


def _some(found: list[Found], kind: str, word: str) -> list[Found]:
    if not found:
        raise EarmarkError(f"no {kind} is called {word!r}", next_step="See what is here: earmark status --episodes")
    return found


def _one(found: list[Found], kind: str, word: str) -> Found:
    first = found[0]
    if len(found) > 1 and word not in (first.id, first.title):
        names = "; ".join(f"{item.id} {item.title}" for item in found[:NAMED])
        raise EarmarkError(f"{len(found)} {kind}s fit {word!r}", next_step=f"Name one by its id: {names}")
    return first

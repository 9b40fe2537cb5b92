"""Questions whose answers are known, tied to an episode and a time, and the file that keeps them.

Comes in: JSON lines, as written here or by a person. Goes out: `Question` records, and what could not be read as one.
A line needs `query` and either `episode_id` or `title`; without `start_s` any moment of the episode is right.
Does not know: where questions come from, or how an answer is judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.database import Database
from store.episodes import find_episodes
from store.errors import EarmarkError
from store.files import write_atomic
from store.records import Episode

CHAPTER, MARK, NOTE, QUOTE, OWN = KINDS = ("chapter", "mark", "note", "quote", "own")
ANSWER_S = 60.0  # an answer that nobody closed ends a minute after its start
MAX_FILE_BYTES = 64 << 20

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{2}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its one right answer: `start_s` to `end_s` of an episode, or without them the whole episode."""

    query: str
    kind: str  # one of KINDS, or what a person calls it
    episode_id: str
    title: str
    start_s: float | None = None
    end_s: float | None = None


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    """Write one question a line. Raises `EarmarkError` where that cannot be done."""
    lines = [json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions]
    try:
        write_atomic(path, "".join(lines).encode())
    except OSError as error:
        raise EarmarkError(f"the questions cannot be written ({error.strerror})", where=str(path)) from error


def read_questions(path: Path, database: Database) -> tuple[list[Question], list[str]]:
    """Read a file of questions; also return what it asks of episodes that are not here (any more).

    Raises `EarmarkError` for a file or a line that cannot be read, or if no question is left.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise EarmarkError(f"the file is over {MAX_FILE_BYTES >> 20} MB", where=str(path))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EarmarkError(f"the questions cannot be read ({error})", where=str(path)) from error
    questions, missing = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            question = _question(row, database)
        except (ValueError, TypeError) as error:
            raise EarmarkError(
                f"this is no question ({error})", where=f"{path}, line {number}", next_step='It takes {"query": ..., "title": ...}'
            ) from error
        if question is None:
            missing.append(f"line {number}: {row.get('title') or row.get('episode_id')}")
        else:
            questions.append(question)
    if not questions:
        raise EarmarkError(
            f"none of its {len(missing)} questions is about an episode that is here" if missing else "there is no question in it",
            where=str(path),
            next_step="Make a file for this catalogue: earmark eval --save FILE",
        )
    return questions, missing


def clock_s(text: str) -> float | None:
    """Return the seconds of 2:03 or 1:02:03, None for anything else."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)


def _question(row: Any, database: Database) -> Question | None:
    if not isinstance(row, dict):
        raise ValueError("not an object")
    query = str(row.get("query") or "").strip()
    if not query:
        raise ValueError("it has no query")
    start_s, end_s = (_seconds(row.get(name), name) for name in ("start_s", "end_s"))
    if start_s is None:
        end_s = None
    elif end_s is None:
        end_s = start_s + ANSWER_S
    elif end_s <= start_s:
        raise ValueError(f"it ends at {end_s:g} s, before it starts")
    episode = _episode(row, database)
    return Question(query, str(row.get("kind") or OWN), episode.id, episode.title, start_s, end_s) if episode else None


def _seconds(value: Any, name: str) -> float | None:
    if value is None or value == "":
        return None
    seconds = clock_s(value) if isinstance(value, str) and ":" in value else float(value)
    if seconds is None or not 0 <= seconds < 1e6:
        raise ValueError(f"{name} is {value!r}")
    return seconds


def _episode(row: dict[str, Any], database: Database) -> Episode | None:
    """Find an episode by its id, else by its title; a title that several share names none of them."""
    wanted, title = str(row.get("episode_id") or ""), str(row.get("title") or "").strip()
    if not wanted and not title:
        raise ValueError("it has neither episode_id nor title")
    found = [episode for episode in find_episodes(database, wanted) if episode.id == wanted] if wanted else []
    if not found and title:
        named = find_episodes(database, title)
        found = [episode for episode in named if episode.title == title] or named
    return found[0] if len(found) == 1 else None

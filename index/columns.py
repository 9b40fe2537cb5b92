"""What a part of the index knows about its passages besides words and vectors: columns of numbers, mapped from disk.

Comes in: passages with ids, in id order, and what is known of their episodes. Goes out: arrays by row, and masks for filters.
A row is a passage; a window is a row and the next one of the same episode, and has a position of its own.
Does not know: words, vectors, how a manifest lists parts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.language import words
from index.query import Filters, fold_name
from store.records import Passage

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

NO_DAY = np.iinfo(np.int32).min


@dataclass(frozen=True, slots=True)
class EpisodeFacts:
    """What the index keeps of an episode."""

    id: str
    show_id: str
    published: str
    title: str
    show: str


class Columns:
    """The columns of one part. `ids`, `episode`, `ordinal`, `start_s`, `end_s` by row; `window_row` and `window_rows` by window."""

    def __init__(self, folder: Path) -> None:
        """Map the columns that `write_columns` wrote."""
        about = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        self.episodes = [EpisodeFacts(**facts) for facts in about["episodes"]]
        self.languages: list[str] = about["languages"]
        self.speakers: list[str] = about["speakers"]
        self.ids = _load(folder, "ids")
        self.episode = _load(folder, "episode")
        self.ordinal = _load(folder, "ordinal")
        self.start_s = _load(folder, "start_s")
        self.end_s = _load(folder, "end_s")
        self.window_row = _load(folder, "window_row")
        self.window_rows = _load(folder, "window_rows")
        self._language = _load(folder, "language")
        self._speaker_starts = _load(folder, "speaker_starts")
        self._speaker = _load(folder, "speaker")
        self._rows_of_episode = np.bincount(self.episode, minlength=len(self.episodes)).astype(np.int64)
        self._days = np.array([day_of(facts.published) for facts in self.episodes], dtype=np.int32)

    @property
    def windows(self) -> int:
        """The number of windows."""
        return len(self.window_row)

    def rows_of(self, episodes: Positions) -> Positions:
        """Return how many rows each of these episodes has."""
        counted: Positions = self._rows_of_episode[episodes]
        return counted

    @property
    def newest_day(self) -> int:
        """The day of the newest episode, in days since 1970; `NO_DAY` if none has a date."""
        return int(self._days.max(initial=NO_DAY))

    def days_of(self, positions: Positions) -> Positions:
        """Return the days of the windows' episodes, in days since 1970; `NO_DAY` where there is no date."""
        days: Positions = self._days[self.episode[self.window_row[positions]]].astype(np.int64)
        return days

    def window_ids(self, positions: Positions) -> Positions:
        """Return the ids of the windows' first passages."""
        return np.asarray(self.ids[self.window_row[positions]], dtype=np.int64)

    def mask(self, filters: Filters, removed: Sequence[tuple[int, int]]) -> Mask | None:
        """Return which windows pass, or None if all do. `removed` are ranges of passage ids, both ends included."""
        if not filters and not any(self._overlaps(first, last) for first, last in removed):
            return None
        rows = self.window_row
        allowed = self._episode_mask(filters)[self.episode[rows]]
        if filters.languages:
            wanted = {language.lower() for language in filters.languages}
            known = np.array([language.lower() in wanted for language in self.languages], dtype=bool)
            allowed &= known[self._language[rows]]
        if filters.speakers:
            allowed &= self.said_by({fold_name(name) for name in filters.speakers})
        for first, last in removed:
            low, high = np.searchsorted(self.ids, [first, last + 1])
            start, end = np.searchsorted(rows, [low, high])
            allowed[start:end] = False
        return np.asarray(allowed, dtype=bool)

    @cached_property
    def spoken_names(self) -> dict[tuple[str, ...], str]:
        """The speakers' folded names, by their words."""
        return {tuple(words(name)): fold_name(name) for name in self.speakers}

    def said_by(self, names: Set[str]) -> Mask:
        """Return in which windows any of the speakers (folded names) speaks."""
        by_row, rows = self._speaker_mask(names), self.window_row
        theirs: Mask = by_row[rows] | (by_row[np.minimum(rows + 1, len(by_row) - 1)] & (self.window_rows == 2))
        return theirs

    def _overlaps(self, first: int, last: int) -> bool:
        return bool(len(self.ids)) and first <= int(self.ids[-1]) and last >= int(self.ids[0])

    def _episode_mask(self, filters: Filters) -> Mask:
        allowed = np.ones(len(self.episodes), dtype=bool)
        for name, wanted in (("id", filters.episode_ids), ("show_id", filters.show_ids)):
            if wanted:
                allowed &= np.array([getattr(facts, name) in set(wanted) for facts in self.episodes], dtype=bool)
        if filters.since:
            allowed &= (self._days != NO_DAY) & (self._days >= day_of(filters.since))
        if filters.until:
            allowed &= (self._days != NO_DAY) & (self._days <= day_of(filters.until))
        return allowed

    def _speaker_mask(self, wanted: Set[str]) -> Mask:
        known = np.array([fold_name(name) in wanted for name in self.speakers], dtype=bool)
        hits = np.flatnonzero(known[self._speaker]) if len(self._speaker) else np.zeros(0, dtype=np.int64)
        by_row = np.zeros(len(self.ids), dtype=bool)
        by_row[np.searchsorted(self._speaker_starts, hits, side="right") - 1] = True
        return by_row


def write_columns(folder: Path, passages: Sequence[Passage], episodes: dict[str, EpisodeFacts]) -> None:
    """Write the columns of `passages` (in id order, whole episodes) into `folder`."""
    episode_rows = {facts_id: index for index, facts_id in enumerate(dict.fromkeys(passage.episode_id for passage in passages))}
    languages = list(dict.fromkeys(passage.language or "" for passage in passages))
    speakers = list(dict.fromkeys(name for passage in passages for name in passage.speakers))
    speaker_rows = {name: index for index, name in enumerate(speakers)}
    starts = np.concatenate([[0], np.cumsum([len(passage.speakers) for passage in passages])])
    windows = window_rows(passages)
    columns: dict[str, tuple[Any, Any]] = {
        "ids": ([passage.id for passage in passages], np.int64),
        "episode": ([episode_rows[passage.episode_id] for passage in passages], np.int32),
        "ordinal": ([passage.ordinal for passage in passages], np.int32),
        "start_s": ([passage.start_s for passage in passages], np.float32),
        "end_s": ([passage.end_s for passage in passages], np.float32),
        "language": ([languages.index(passage.language or "") for passage in passages], np.int16),
        "speaker": ([speaker_rows[name] for passage in passages for name in passage.speakers], np.int32),
        "speaker_starts": (starts, np.int64),
        "window_row": ([row for row, _ in windows], np.int64),
        "window_rows": ([count for _, count in windows], np.int8),
    }
    for name, (values, kind) in columns.items():
        np.save(folder / f"{name}.npy", np.asarray(values, dtype=kind))
    about = {"episodes": [asdict(episodes[key]) for key in episode_rows], "languages": languages, "speakers": speakers}
    (folder / "columns.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def window_rows(passages: Sequence[Passage]) -> list[tuple[int, int]]:
    """Return (first row, number of rows) of every window: neighbours in an episode, or an episode's only passage."""
    windows = []
    for row, passage in enumerate(passages):
        if row + 1 < len(passages) and passages[row + 1].episode_id == passage.episode_id:
            windows.append((row, 2))
        elif row == 0 or passages[row - 1].episode_id != passage.episode_id:
            windows.append((row, 1))
    return windows


def day_of(date: str) -> int:
    """Return an ISO date (a date-time, a month, a year) as days since 1970, `NO_DAY` if it is none."""
    try:
        return int(np.datetime64(date[:10], "D").astype(np.int32)) if date[:4].isdigit() else int(NO_DAY)
    except ValueError:
        return int(NO_DAY)


def open_array(path: Path) -> npt.NDArray[Any]:
    """Map an array from disk. As a plain array: picking from numpy's own class for mapped ones takes three times as long."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _load(folder: Path, name: str) -> npt.NDArray[Any]:
    return open_array(folder / f"{name}.npy")

"""Passages, their vectors, and the log of changes that the index follows.

Comes in: passages cut by the index room, vectors by text hash. Goes out: the same, read back in id order.
Does not know: how a passage is cut or embedded.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from store.database import Database
from store.records import Passage, Sentence

Vector = npt.NDArray[np.float32]
LAST_ID = 2**63 - 1
SQL_VARIABLES = 900  # SQLite's oldest limit on bound parameters is 999


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change log: passages `first_passage_id..last_passage_id` (both included) came or went."""

    id: int
    episode_id: str
    action: Literal["add", "remove"]
    first_passage_id: int
    last_passage_id: int


def replace_passages(connection: sqlite3.Connection, episode_id: str, passages: Sequence[Passage]) -> None:
    """Put an episode's passages in the place of its old ones, and log both for the index. Runs inside the caller's transaction."""
    forget_passages(connection, episode_id)
    ids = [_insert(connection, passage) for passage in passages]
    if ids:
        _log(connection, episode_id, "add", ids[0], ids[-1])


def forget_passages(connection: sqlite3.Connection, episode_id: str) -> None:
    """Delete an episode's passages, the vectors that no other passage shares, and log it for the index."""
    row = connection.execute("select min(id) as first, max(id) as last from passage where episode_id = ?", (episode_id,)).fetchone()
    if row["first"] is None:
        return
    connection.execute(
        "delete from vector where text_hash in (select text_hash from passage where episode_id = ?1) and not exists"
        " (select 1 from passage other where other.text_hash = vector.text_hash and other.episode_id <> ?1)",
        (episode_id,),
    )
    connection.execute("delete from passage where episode_id = ?", (episode_id,))
    _log(connection, episode_id, "remove", row["first"], row["last"])


def passages_after(database: Database, passage_id: int, limit: int = 10_000) -> list[Passage]:
    """Return the next `limit` passages with an id above `passage_id`, in id order."""
    rows = database.read().execute("select * from passage where id > ? order by id limit ?", (passage_id, limit))
    return [_passage(row) for row in rows]


def passages_of(database: Database, episode_id: str) -> list[Passage]:
    """Return an episode's passages in order."""
    rows = database.read().execute("select * from passage where episode_id = ? order by ordinal", (episode_id,))
    return [_passage(row) for row in rows]


def passages_by_id(database: Database, ids: Iterable[int]) -> dict[int, Passage]:
    """Return the passages that exist among `ids`."""
    found = {}
    for part in _parts(list(ids)):
        marks = ",".join("?" * len(part))
        for row in database.read().execute(f"select * from passage where id in ({marks})", part):
            found[int(row["id"])] = _passage(row)
    return found


def save_vectors(connection: sqlite3.Connection, model: str, vectors: Mapping[str, Vector]) -> None:
    """Keep vectors (float32, shape (d,), normalised) by text hash as fp16. A hash that is there already is left alone."""
    connection.executemany(
        "insert or ignore into vector (text_hash, model, value) values (?, ?, ?)",
        [(key, model, np.asarray(value, dtype="<f2").tobytes()) for key, value in vectors.items()],
    )


def vectors_by_hash(database: Database, model: str, hashes: Iterable[str]) -> dict[str, Vector]:
    """Return the kept vectors (float32, shape (d,)) among `hashes`."""
    found: dict[str, Vector] = {}
    for part in _parts(list(dict.fromkeys(hashes))):
        marks = ",".join("?" * len(part))
        rows = database.read().execute(
            f"select text_hash, value from vector where model = ? and text_hash in ({marks})",
            [model, *part],
        )
        for row in rows:
            found[row["text_hash"]] = np.frombuffer(row["value"], dtype="<f2").astype(np.float32)
    return found


def hashes_without_vector(
    database: Database, model: str, limit: int = 100_000, first_id: int = 0, last_id: int = LAST_ID
) -> list[tuple[str, str]]:
    """Return (text hash, text) of passages that `model` has not embedded yet, of those with ids `first_id..last_id`."""
    rows = database.read().execute(
        "select distinct text_hash, text from passage where id between ? and ? and not exists"
        " (select 1 from vector where vector.text_hash = passage.text_hash and vector.model = ?) limit ?",
        (first_id, last_id, model, limit),
    )
    return [(row["text_hash"], row["text"]) for row in rows]


def count_without_vector(database: Database, model: str, limit: int = -1) -> int:
    """Return how many different passages `model` has not embedded yet, `limit` at most."""
    row = database.read().execute(
        "select count(*) as missing from (select distinct text_hash from passage where not exists"
        " (select 1 from vector where vector.text_hash = passage.text_hash and vector.model = ?) limit ?)",
        (model, limit),
    )
    return int(row.fetchone()["missing"])


def changes_after(database: Database, change_id: int) -> list[Change]:
    """Return the log after `change_id`, oldest first."""
    rows = database.read().execute("select * from change where id > ? order by id", (change_id,))
    return [Change(row["id"], row["episode_id"], row["action"], row["first_passage_id"], row["last_passage_id"]) for row in rows]


def last_change_id(database: Database) -> int:
    """Return the newest entry's id, 0 for an empty log."""
    row = database.read().execute("select coalesce(max(id), 0) as last from change").fetchone()
    return int(row["last"])


def _insert(connection: sqlite3.Connection, passage: Passage) -> int:
    cursor = connection.execute(
        "insert into passage (episode_id, ordinal, start_s, end_s, text, text_hash, sentences, speakers, language)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            passage.episode_id,
            passage.ordinal,
            passage.start_s,
            passage.end_s,
            passage.text,
            passage.text_hash,
            json.dumps([[s.start_char, s.start_s, s.end_s] for s in passage.sentences]),
            json.dumps(passage.speakers, ensure_ascii=False),
            passage.language,
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _log(connection: sqlite3.Connection, episode_id: str, action: str, first: int, last: int) -> None:
    connection.execute(
        "insert into change (episode_id, action, first_passage_id, last_passage_id, at) values (?, ?, ?, ?, ?)",
        (episode_id, action, first, last, time.time()),
    )


def _passage(row: sqlite3.Row) -> Passage:
    return Passage(
        episode_id=row["episode_id"],
        ordinal=row["ordinal"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        text=row["text"],
        text_hash=row["text_hash"],
        sentences=tuple(map(Sentence._make, orjson.loads(row["sentences"]))),
        speakers=tuple(orjson.loads(row["speakers"])),
        language=row["language"],
        id=row["id"],
    )


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), SQL_VARIABLES):
        yield items[start : start + SQL_VARIABLES]

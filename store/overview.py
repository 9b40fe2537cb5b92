"""What the catalogue holds, counted: for the welcome page, the filters and the explore page.

Comes in: a database. Goes out: counts by show, speaker, language and month. Only readable episodes count.
Does not know: how it is shown. Talk time by speaker exists only where a transcript names speakers.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from store.database import Database
from store.passages import Vector, last_change_id, passages_by_id, vectors_by_hash
from store.records import Passage

MOST_SPEAKERS = 200


@dataclass(frozen=True, slots=True)
class ShowCount:
    """A show with its readable episodes and their hours."""

    id: str
    title: str
    description: str
    page_url: str
    image_url: str
    episodes: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Amount:
    """A name (speaker, language code or month) with its episodes and seconds."""

    name: str
    episodes: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole catalogue in numbers. `version` changes whenever something searchable came or went."""

    version: int
    episodes: int
    passages: int
    duration_s: float
    first_day: str
    last_day: str
    shows: tuple[ShowCount, ...]
    speakers: tuple[Amount, ...]
    languages: tuple[Amount, ...]
    months: tuple[Amount, ...]


def read_overview(database: Database) -> Overview:
    """Count everything once. Takes a scan of the segments: callers keep the result until `version` changes."""
    db = database.read()
    head = db.execute(
        "select count(*) as episodes, coalesce(sum(duration_s), 0) as duration_s,"
        " coalesce(min(nullif(substr(published, 1, 10), '')), '') as first_day,"
        " coalesce(max(substr(published, 1, 10)), '') as last_day"
        " from episode where transcript_id is not null"
    ).fetchone()
    shows = db.execute(
        "select show.id, show.title, show.description, show.page_url, show.image_url, count(*) as episodes,"
        " coalesce(sum(duration_s), 0) as duration_s from show join episode on episode.show_id = show.id"
        " where transcript_id is not null group by show.id order by show.title collate nocase"
    )
    speakers = db.execute(
        "select speaker as name, count(distinct episode.id) as episodes, sum(max(0, end_s - start_s)) as duration_s"
        " from segment join episode on episode.transcript_id = segment.transcript_id"
        " where coalesce(speaker, '') <> '' group by speaker order by 3 desc limit ?",
        (MOST_SPEAKERS,),
    )
    languages = db.execute(
        "select coalesce(nullif(transcript.language, ''), episode.language, '') as name, count(*) as episodes,"
        " coalesce(sum(duration_s), 0) as duration_s from episode join transcript on transcript.id = episode.transcript_id"
        " group by 1 having name <> '' order by 2 desc"
    )
    months = db.execute(
        "select substr(published, 1, 7) as name, count(*) as episodes, coalesce(sum(duration_s), 0) as duration_s from episode"
        " where transcript_id is not null and length(published) >= 7 group by 1 order by 1"
    )
    return Overview(
        version=last_change_id(database),
        episodes=head["episodes"],
        passages=db.execute("select count(*) as n from passage").fetchone()["n"],
        duration_s=head["duration_s"],
        first_day=head["first_day"],
        last_day=head["last_day"],
        shows=tuple(ShowCount(**dict(row)) for row in shows),
        speakers=_amounts(speakers),
        languages=_amounts(languages),
        months=_amounts(months),
    )


def _amounts(rows: sqlite3.Cursor) -> tuple[Amount, ...]:
    return tuple(Amount(row["name"], row["episodes"], row["duration_s"]) for row in rows)


def sample_vectors(database: Database, count: int) -> list[tuple[Passage, Vector]]:
    """Return about `count` passages spread evenly over the catalogue, with their vectors of the model that most have."""
    db = database.read()
    row = db.execute("select model from vector group by model order by count(*) desc limit 1").fetchone()
    last = db.execute("select coalesce(max(id), 0) as last from passage").fetchone()["last"]
    if row is None or not last:
        return []
    step = max(1, last // count)
    passages = passages_by_id(database, [int(r["id"]) for r in db.execute("select id from passage where id % ? = 0", (step,))])
    vectors = vectors_by_hash(database, row["model"], [passage.text_hash for passage in passages.values()])
    return [(passage, vectors[passage.text_hash]) for passage in passages.values() if passage.text_hash in vectors]

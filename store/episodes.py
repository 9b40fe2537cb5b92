"""Shows, episodes and their recordings.

Comes in: listings from sources, files with their hash. Goes out: `Show`, `Episode`, `Recording`.
Does not know: transcripts beyond the id of the current one.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.database import Database
from store.errors import StoreError
from store.passages import forget_passages
from store.records import Chapter, Episode, EpisodeListing, Person, Recording, Show, ShowListing, TranscriptLink, public_id

_EPISODE = "select episode.*, show.title as show from episode join show on show.id = episode.show_id"


@dataclass(frozen=True, slots=True)
class Totals:
    """What the catalogue holds."""

    shows: int
    episodes: int
    readable: int  # episodes with a transcript
    passages: int
    duration_s: float  # of the readable episodes


def save_show(connection: sqlite3.Connection, listing: ShowListing, *, show_id: str | None = None) -> str:
    """Add a show or refresh what is known of it; return its id. `show_id` names a show whose address has moved."""
    row = connection.execute("select id from show where link = ?", (listing.link,)).fetchone()
    show_id = row["id"] if row else show_id or public_id(listing.link)
    connection.execute(
        "insert into show (id, link, kind, title, description, author, language, image_url, page_url, etag, last_modified,"
        " synced_at, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        # A show that can be read again knows more of itself than a single file or link that belongs to it too.
        " on conflict (id) do update set link = excluded.link, kind = excluded.kind, title = excluded.title,"
        " description = excluded.description, author = excluded.author, language = excluded.language,"
        " image_url = excluded.image_url, page_url = excluded.page_url, etag = excluded.etag,"
        " last_modified = excluded.last_modified, synced_at = excluded.synced_at"
        " where excluded.kind not in ('file', 'link') or show.kind in ('file', 'link')",
        (
            show_id,
            listing.link,
            listing.kind,
            listing.title or listing.link,
            listing.description,
            listing.author,
            listing.language,
            listing.image_url,
            listing.page_url,
            listing.etag,
            listing.last_modified,
            time.time(),
            time.time(),
        ),
    )
    return show_id


def save_show_options(connection: sqlite3.Connection, show_id: str, options: Mapping[str, Any]) -> None:
    """Keep what a show was added with, so that its later episodes are treated alike."""
    connection.execute("update show set options = ? where id = ?", (json.dumps(dict(options)), show_id))


def show_options(database: Database, show_id: str) -> dict[str, Any]:
    """Return what a show was added with."""
    row = database.read().execute("select options from show where id = ?", (show_id,)).fetchone()
    return dict(json.loads(row["options"])) if row else {}


def freshness(database: Database, show_id: str) -> tuple[str, str]:
    """Return the ETag and Last-Modified of a show's last listing, for a conditional request."""
    row = database.read().execute("select etag, last_modified from show where id = ?", (show_id,)).fetchone()
    return (row["etag"], row["last_modified"]) if row else ("", "")


def guids_of(connection: sqlite3.Connection, show_id: str) -> dict[str, str]:
    """Return a show's episode ids by guid."""
    return {row["guid"]: row["id"] for row in connection.execute("select guid, id from episode where show_id = ?", (show_id,))}


def save_episode(connection: sqlite3.Connection, show_id: str, listing: EpisodeListing) -> tuple[str, bool]:
    """Add an episode or refresh its metadata, known by show and guid; return its id and whether it is new."""
    episode_id = public_id(show_id, listing.guid)
    is_new = connection.execute("select 1 from episode where id = ?", (episode_id,)).fetchone() is None
    connection.execute(
        "insert into episode (id, show_id, guid, title, description, published, page_url, media_url, media_type, image_url,"
        " language, duration_s, people, chapters, chapters_url, transcripts, created_at)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " on conflict (id) do update set title = excluded.title, description = excluded.description,"
        " published = excluded.published, page_url = excluded.page_url, media_url = excluded.media_url,"
        " media_type = excluded.media_type, image_url = excluded.image_url, people = excluded.people,"
        " language = coalesce(excluded.language, language), duration_s = coalesce(duration_s, excluded.duration_s),"
        " chapters = case excluded.chapters when '[]' then chapters else excluded.chapters end,"
        " chapters_url = excluded.chapters_url, transcripts = excluded.transcripts",
        (
            episode_id,
            show_id,
            listing.guid,
            listing.title or "Untitled",
            listing.description,
            listing.published,
            listing.page_url,
            listing.media_url,
            listing.media_type,
            listing.image_url,
            listing.language,
            listing.duration_s,
            json.dumps([[p.name, p.role] for p in listing.people], ensure_ascii=False),
            json.dumps([[c.start_s, c.title] for c in listing.chapters], ensure_ascii=False),
            listing.chapters_url,
            json.dumps([[t.url, t.media_type, t.language, t.automatic] for t in listing.transcripts], ensure_ascii=False),
            time.time(),
        ),
    )
    return episode_id, is_new


def save_chapters(connection: sqlite3.Connection, episode_id: str, chapters: tuple[Chapter, ...]) -> None:
    """Keep chapters that were fetched or found in the recording after the listing."""
    text = json.dumps([[c.start_s, c.title] for c in chapters], ensure_ascii=False)
    connection.execute("update episode set chapters = ? where id = ?", (text, episode_id))


def is_readable(connection: sqlite3.Connection, episode_id: str) -> bool:
    """Tell whether an episode has a transcript."""
    row = connection.execute("select 1 from episode where id = ? and transcript_id is not null", (episode_id,)).fetchone()
    return row is not None


def get_show(database: Database, show_id: str) -> Show:
    """Return a show, or raise `StoreError`."""
    row = database.read().execute("select * from show where id = ?", (show_id,)).fetchone()
    if row is None:
        raise StoreError("there is no such show", where=show_id, next_step="See them all: earmark status")
    return _show(row)


def list_shows(database: Database) -> list[Show]:
    """Return all shows by title."""
    return [_show(row) for row in database.read().execute("select * from show order by title collate nocase")]


def get_episode(database: Database, episode_id: str) -> Episode:
    """Return an episode, or raise `StoreError`."""
    row = database.read().execute(f"{_EPISODE} where episode.id = ?", (episode_id,)).fetchone()
    if row is None:
        raise StoreError("there is no such episode", where=episode_id, next_step="See them all: earmark status --episodes")
    return _episode(row)


def list_episodes(
    database: Database, *, show_id: str | None = None, readable_only: bool = False, limit: int | None = None, offset: int = 0
) -> list[Episode]:
    """Return episodes, newest first."""
    rows = database.read().execute(
        f"{_EPISODE} where (?1 is null or episode.show_id = ?1) and (not ?2 or episode.transcript_id is not null)"
        " order by published desc, episode.created_at desc, episode.id limit ?3 offset ?4",
        (show_id, readable_only, -1 if limit is None else limit, offset),
    )
    return [_episode(row) for row in rows]


def find_episodes(database: Database, word: str) -> list[Episode]:
    """Return the episodes a person may mean: by id, guid, address, or a part of the title."""
    rows = database.read().execute(
        f"{_EPISODE} where episode.id = ?1 or guid = ?1 or media_url = ?1 or episode.page_url = ?1"
        " or instr(lower(episode.title), lower(?1)) > 0 order by episode.id = ?1 desc, published desc",
        (word,),
    )
    return [_episode(row) for row in rows]


def with_publishers_transcript(database: Database) -> list[Episode]:
    """Return the episodes whose current transcript no engine of ours made."""
    rows = database.read().execute(
        f"{_EPISODE} where episode.transcript_id in (select id from transcript where source <> 'engine')"
    )
    return [_episode(row) for row in rows]


def find_shows(database: Database, word: str) -> list[Show]:
    """Return the shows a person may mean: by id, link, or a part of the title."""
    rows = database.read().execute(
        "select * from show where id = ?1 or link = ?1 or instr(lower(title), lower(?1)) > 0 order by id = ?1 desc, title", (word,)
    )
    return [_show(row) for row in rows]


def totals(database: Database) -> Totals:
    """Count what is there."""
    row = (
        database.read()
        .execute(
            "select (select count(*) from show) as shows, (select count(*) from episode) as episodes,"
            " (select count(*) from episode where transcript_id is not null) as readable,"
            " (select count(*) from passage) as passages,"
            " (select coalesce(sum(duration_s), 0) from episode where transcript_id is not null) as duration_s"
        )
        .fetchone()
    )
    return Totals(**dict(row))


def save_recording(
    connection: sqlite3.Connection, sha256: str, path: str, size_bytes: int, duration_s: float | None, warning: str = ""
) -> int:
    """Keep a recording, known by its content; return its id. The same content twice is one recording."""
    row = connection.execute(
        "insert into recording (sha256, path, size_bytes, duration_s, warning, created_at) values (?, ?, ?, ?, ?, ?)"
        " on conflict (sha256) do update set path = case path when '' then excluded.path else path end returning id",
        (sha256, path, size_bytes, duration_s, warning, time.time()),
    ).fetchone()
    return int(row["id"])


def measure_recording(connection: sqlite3.Connection, recording_id: int, duration_s: float, warning: str) -> None:
    """Write down what decoding found out: the true length, and what was wrong with the file."""
    connection.execute("update recording set duration_s = ?, warning = ? where id = ?", (duration_s, warning, recording_id))
    connection.execute("update episode set duration_s = ?, warning = ? where recording_id = ?", (duration_s, warning, recording_id))


def get_recording(database: Database, recording_id: int) -> Recording:
    """Return a recording with an absolute path, or raise `StoreError`."""
    row = database.read().execute("select * from recording where id = ?", (recording_id,)).fetchone()
    if row is None:
        raise StoreError("there is no such recording", where=str(recording_id))
    path = str((database.folder / row["path"]).absolute()) if row["path"] else ""
    return Recording(row["id"], row["sha256"], path, row["size_bytes"], row["duration_s"], row["warning"])


def has_file(connection: sqlite3.Connection, episode_id: str) -> bool:
    """Tell whether an episode's recording lies on this disk."""
    row = connection.execute(
        "select 1 from episode e join recording r on r.id = e.recording_id where e.id = ? and r.path <> ''", (episode_id,)
    ).fetchone()
    return row is not None


def replace_file(database: Database, recording: Recording, path: Path) -> None:
    """Let a smaller file of the same sound stand for a recording, and delete the old one. Both lie in the catalogue's folder."""
    name = str(path.relative_to(database.folder.absolute()))
    with database.write() as connection:
        connection.execute("update recording set path = ?, size_bytes = ? where id = ?", (name, path.stat().st_size, recording.id))
    Path(recording.path).unlink(missing_ok=True)


def is_ours(database: Database, recording: Recording) -> bool:
    """Tell whether a recording's file was fetched by us; a file that the user pointed to is never touched."""
    return bool(recording.path) and Path(recording.path).is_relative_to(database.folder.absolute())


def drop_file(database: Database, recording: Recording) -> None:
    """Delete a recording's file if it is one of ours; a file that the user pointed to is never touched."""
    if not is_ours(database, recording):
        return
    with database.write() as connection:
        connection.execute("update recording set path = '' where id = ?", (recording.id,))
    Path(recording.path).unlink(missing_ok=True)


def set_recording(connection: sqlite3.Connection, episode_id: str, recording_id: int) -> None:
    """Tie an episode to its recording."""
    connection.execute(
        "update episode set recording_id = ?1, duration_s = coalesce((select duration_s from recording where id = ?1), duration_s),"
        " warning = (select warning from recording where id = ?1) where id = ?2",
        (recording_id, episode_id),
    )


def set_duration(connection: sqlite3.Connection, episode_id: str, duration_s: float) -> None:
    """Write down how long an episode is."""
    connection.execute("update episode set duration_s = ? where id = ?", (duration_s, episode_id))


def set_transcript(connection: sqlite3.Connection, episode_id: str, transcript_id: int) -> None:
    """Make a transcript the episode's current one; one that nobody uses any more goes."""
    row = connection.execute("select transcript_id from episode where id = ?", (episode_id,)).fetchone()
    connection.execute("update episode set transcript_id = ? where id = ?", (transcript_id, episode_id))
    if row is not None and row["transcript_id"] not in (None, transcript_id):
        _sweep(connection, None, row["transcript_id"])


def remove_episode(connection: sqlite3.Connection, episode_id: str) -> list[str]:
    """Delete an episode from everything. What other episodes share stays.

    Returns the paths (relative to the data folder) of files of ours that nobody uses now; the caller deletes them after the commit.
    """
    row = connection.execute("select recording_id, transcript_id from episode where id = ?", (episode_id,)).fetchone()
    if row is None:
        return []
    forget_passages(connection, episode_id)
    connection.execute("delete from episode where id = ?", (episode_id,))
    return _sweep(connection, row["recording_id"], row["transcript_id"])


def remove_show(connection: sqlite3.Connection, show_id: str) -> list[str]:
    """Delete a show with all its episodes; returns paths as `remove_episode` does."""
    ids = [row["id"] for row in connection.execute("select id from episode where show_id = ?", (show_id,))]
    paths = [path for episode_id in ids for path in remove_episode(connection, episode_id)]
    connection.execute("delete from show where id = ?", (show_id,))
    return paths


def _sweep(connection: sqlite3.Connection, recording_id: int | None, transcript_id: int | None) -> list[str]:
    """Delete a transcript and a recording that no episode uses any more."""
    connection.execute(
        "delete from transcript where id = ?1 and not exists (select 1 from episode where transcript_id = ?1)", (transcript_id,)
    )
    rows = connection.execute(
        "delete from recording where id = ?1 and not exists (select 1 from episode where recording_id = ?1) returning path",
        (recording_id,),
    ).fetchall()
    return [row["path"] for row in rows if row["path"] and not Path(row["path"]).is_absolute()]


def _show(row: sqlite3.Row) -> Show:
    names = ("id", "link", "kind", "title", "description", "author", "language", "image_url", "page_url")
    return Show(**{name: row[name] for name in names})


def _episode(row: sqlite3.Row) -> Episode:
    return Episode(
        id=row["id"],
        show_id=row["show_id"],
        show=row["show"],
        guid=row["guid"],
        title=row["title"],
        description=row["description"],
        published=row["published"],
        page_url=row["page_url"],
        media_url=row["media_url"],
        media_type=row["media_type"],
        image_url=row["image_url"],
        language=row["language"],
        duration_s=row["duration_s"],
        people=tuple(Person(name, role) for name, role in json.loads(row["people"])),
        chapters=tuple(Chapter(start_s, title) for start_s, title in json.loads(row["chapters"])),
        transcripts=tuple(TranscriptLink(*link) for link in json.loads(row["transcripts"])),
        recording_id=row["recording_id"],
        transcript_id=row["transcript_id"],
        warning=row["warning"],
        chapters_url=row["chapters_url"],
    )

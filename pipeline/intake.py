"""From a listing to queued work.

Comes in: what a source listed, and what the user asked for. Goes out: shows and episodes in the store, one fetch job for
each episode that is not readable yet. Adding the same thing again changes its metadata and queues nothing twice.
Does not know: how a source is listed, how a job is done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store import episodes, jobs
from store.records import Episode, JobKind, ShowListing

NARROWING = ("limit", "since", "match")


@dataclass(frozen=True, slots=True)
class Intake:
    """What came of a listing: episode ids by outcome."""

    show_id: str
    new: tuple[str, ...]
    known: tuple[str, ...]  # readable already
    requeued: tuple[str, ...]  # known, but not readable: tried again
    gone: tuple[str, ...]  # of an earlier listing, no longer in this whole one: kept, and told


def take_in(
    connection: sqlite3.Connection,
    listing: ShowListing,
    options: Mapping[str, Any],
    narrow: Mapping[str, Any],
    *,
    show_id: str | None = None,
) -> Intake:
    """Store a listing and queue its episodes, inside the caller's transaction. `options` stay with each job and with the show.

    `narrow` is what the listing was narrowed by (limit, since, match); a later sync takes no more than what is newer.
    `show_id` names the show that was read again: its address may have moved since.
    """
    before = episodes.guids_of(connection, show_id) if show_id else {}
    show_id = episodes.save_show(connection, listing, show_id=show_id)
    episodes.save_show_options(connection, show_id, {**options, **_narrow_later(listing, narrow)})
    new, known, requeued = [], [], []
    for item in listing.episodes:
        episode_id, is_new = episodes.save_episode(connection, show_id, item)
        if is_new:
            jobs.enqueue(connection, "fetch", episode_id=episode_id, options=options)
            new.append(episode_id)
        elif episodes.is_readable(connection, episode_id):
            known.append(episode_id)
        elif jobs.enqueue_unless_active(connection, "fetch", episode_id=episode_id, options=options):
            requeued.append(episode_id)
        else:
            known.append(episode_id)
    listed = {item.guid for item in listing.episodes}
    gone = tuple(episode_id for guid, episode_id in before.items() if guid not in listed)
    return Intake(show_id, tuple(new), tuple(known), tuple(requeued), gone)


def take_again(connection: sqlite3.Connection, chosen: Sequence[Episode], options: Mapping[str, Any]) -> int:
    """Queue episodes to be transcribed from their sound, whatever transcript they have; it stays until the new one is there.

    Returns how many were queued: one that is being worked on already is not queued twice.
    """
    queued = 0
    for episode in chosen:
        kind: JobKind = "transcribe" if episodes.has_file(connection, episode.id) else "fetch"
        job = jobs.enqueue_unless_active(connection, kind, episode_id=episode.id, options={**options, "captions": "ignore"})
        queued += job is not None
    return queued


def _narrow_later(listing: ShowListing, narrow: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a later listing is narrowed by: a limit becomes the day of the oldest episode that it let in."""
    later = {name: narrow[name] for name in ("since", "match") if narrow.get(name)}
    days = [item.published[:10] for item in listing.episodes if item.published]
    if narrow.get("limit") and days:
        later["since"] = min(days)
    return later

"""From a listing to queued work.

Comes in: what a source listed, and what the user asked for. Goes out: shows and episodes in the store, one fetch job for
each episode that is not readable yet. Adding the same thing again changes its metadata and queues nothing twice.
Does not know: how a source is listed, how a job is done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store import episodes, jobs
from store.records import ShowListing


@dataclass(frozen=True, slots=True)
class Intake:
    """What came of a listing: episode ids by outcome."""

    show_id: str
    new: tuple[str, ...]
    known: tuple[str, ...]  # readable already
    requeued: tuple[str, ...]  # known, but not readable: tried again


def take_in(connection: sqlite3.Connection, listing: ShowListing, options: Mapping[str, Any]) -> Intake:
    """Store a listing and queue its episodes, inside the caller's transaction. `options` stay with each job."""
    show_id = episodes.save_show(connection, listing)
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
    return Intake(show_id, tuple(new), tuple(known), tuple(requeued))

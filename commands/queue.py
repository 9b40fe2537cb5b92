"""Commands that steer the queue: pause, resume, cancel, retry.

Comes in: a word that names an episode, or none for all. Goes out: jobs in another state, and how many.
Does not know: what a job does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from commands.terminal import Data, Which, open_database, say, settings_of

if TYPE_CHECKING:
    from store.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: earmark pause sourdough")
def pause(what: Which = "", data: Data = None) -> None:
    """Hold back what is queued or running (of one episode, or everything)."""
    _steer(settings_of(data), "pause", what, ("queued", "running"))


@app.command(epilog="Example: earmark resume")
def resume(what: Which = "", data: Data = None) -> None:
    """Let what was paused go on (with the next `earmark run`)."""
    _steer(settings_of(data), "resume", what, ("paused",))


@app.command(epilog="Example: earmark cancel sourdough")
def cancel(what: Which = "", data: Data = None) -> None:
    """Stop what is queued, running or paused; what is committed stays."""
    _steer(settings_of(data), "cancel", what, ("queued", "running", "paused"))


@app.command(epilog="Example: earmark retry && earmark run")
def retry(what: Which = "", data: Data = None) -> None:
    """Queue again what failed or was cancelled, each with the options it was added with."""
    _steer(settings_of(data), "retry", what, ("failed", "cancelled"))


def _steer(settings: Settings, verb: str, what: str, states: tuple[Any, ...]) -> None:
    """Pause, resume, cancel or retry jobs, and say how many."""
    from store import jobs
    from store.lookup import the_episode

    database = open_database(settings)
    episode_id = the_episode(database, what).id if what else None
    found = jobs.list_jobs(database, states=states, episode_id=episode_id)
    with database.write() as connection:
        moved = sum(getattr(jobs, verb)(connection, job.id) for job in found)
    say(f"{verb}: {moved} jobs")

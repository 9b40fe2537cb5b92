"""Commands that give a transcript away: on the screen, or as a file.

Comes in: a word that names an episode, a format. Goes out: text.
Does not know: how a format is written (`store.export`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.terminal import Data, open_database, say, settings_of
from store.errors import EarmarkError

if TYPE_CHECKING:
    from store.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: earmark transcript sourdough")
def transcript(
    episode: Annotated[str, typer.Argument(help="Episode: its id, address, or part of its title.")],
    data: Data = None,
) -> None:
    """Read one episode's transcript."""
    _take_away(settings_of(data), episode, "md", None)


@app.command(epilog="Example: earmark export sourdough --format srt --output talk.srt")
def export(
    episode: Annotated[str, typer.Argument(help="Episode: its id, address, or part of its title.")],
    format: Annotated[str, typer.Option("--format", "-f", help="srt, vtt, txt, json or md.")] = "srt",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write (default: print).")] = None,
    data: Data = None,
) -> None:
    """Take an episode's transcript away as a file."""
    _take_away(settings_of(data), episode, format, output)


def _take_away(settings: Settings, word: str, form: str, output: Path | None) -> None:
    from store.export import FORMATS
    from store.files import write_atomic
    from store.lookup import the_episode
    from store.transcripts import read_segments

    if form not in FORMATS:
        raise EarmarkError(f"{form!r} is not a format", next_step=f"Take one of {', '.join(FORMATS)}")
    database = open_database(settings, read_only=True)
    episode = the_episode(database, word)
    if episode.transcript_id is None:
        raise EarmarkError("there is no transcript yet", where=episode.title, next_step="See why: earmark status")
    text = FORMATS[form](episode, read_segments(database, episode.transcript_id))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomic(output, text.encode())
        say(f"Wrote {output}")

"""What every command shares: its flags, the settings and the store that they name, and how it prints.

Comes in: flags as typed. Goes out: settings, an opened store; progress on stderr, results on stdout.
Does not know: any command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.errors import EarmarkError

if TYPE_CHECKING:
    from store.database import Database
    from store.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (default: EARMARK_DATA, else ./data).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Offline = Annotated[bool | None, typer.Option("--offline", help="Never touch the network for models.", show_default=False)]
Language = Annotated[str | None, typer.Option(help="Language code of the talks, such as en (default: detect).")]
Model = Annotated[str | None, typer.Option(help="Whisper model: a name such as base, or a folder.")]
Engine = Annotated[str | None, typer.Option(help="auto, onnx-whisper, faster-whisper or openai-whisper.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
Captions = Annotated[str | None, typer.Option(help="Publisher transcripts: prefer, ignore or only.")]
Which = Annotated[str, typer.Argument(help="Episode: id or part of its title (default: all).", show_default=False)]
NoRun = Annotated[bool, typer.Option("--no-run", help="Only queue; `earmark run` does the work later.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes.")]


def settings_of(data: Path | None, **flags: Any) -> Settings:
    """Build the settings; a flag that was not given counts as None."""
    from store.settings import load_settings

    return load_settings(data, flags)


def open_database(settings: Settings, *, read_only: bool = False) -> Database:
    """Open the catalogue of the data folder."""
    from store.database import Database

    return Database.in_folder(settings.data_dir, read_only=read_only)


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def print_json(value: Any) -> None:
    """Print a result for programs."""
    import json

    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def say(text: str) -> None:
    """Tell a person how far it is, on stderr."""
    typer.echo(text, err=True)


def complain(error: EarmarkError) -> None:
    """Tell a failure as one sentence, on stderr."""
    say(f"error: {error.sentence}")


def leave(failures: int) -> None:
    """End with exit code 1 if anything failed."""
    if failures:
        raise typer.Exit(1)

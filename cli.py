"""The terminal's door: `earmark ...`. It reads flags, calls the rooms, prints. Groups of commands are in `commands/`.

Progress and warnings go to stderr, results to stdout; exit code 1 if anything failed. Heavy rooms are imported by the
command that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import evaluation, queue, reading
from commands.terminal import (
    Captions,
    Data,
    Device,
    Engine,
    Json,
    Language,
    Model,
    NoRun,
    Offline,
    Which,
    Workers,
    complain,
    given,
    leave,
    open_database,
    print_json,
    say,
    settings_of,
)
from store.errors import EarmarkError

if TYPE_CHECKING:
    from store.database import Database
    from store.records import ShowListing
    from store.settings import Settings

WATCH_EVERY_S = 2.0

app = typer.Typer(
    help="Earmark turns a catalogue of talks into something you can search, and takes you to the moment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: a third of the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (queue, reading, evaluation):
    app.add_typer(group.app)


@app.command(epilog="Example: earmark add https://example.org/feed.xml --limit 10")
def add(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, feeds, media links, or pages that yt-dlp knows.")],
    limit: Annotated[int | None, typer.Option(help="At most so many episodes of each source, newest first.", min=1)] = None,
    since: Annotated[str | None, typer.Option(help="Only episodes from this day on (YYYY-MM-DD).")] = None,
    match: Annotated[str | None, typer.Option(help="Only titles that contain this (a regular expression).")] = None,
    language: Language = None,
    model: Model = None,
    engine: Engine = None,
    device: Device = None,
    captions: Captions = None,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would take: hours, time, disk, cost.")] = False,
    hourly_price: Annotated[float | None, typer.Option(help="Price of an hour on this machine, for --dry-run.", min=0)] = None,
    no_run: NoRun = False,
    as_json: Json = False,
    offline: Offline = None,
    data: Data = None,
) -> None:
    """Add talks: list SOURCE..., queue what is new, transcribe it and make it searchable."""
    from pipeline.intake import take_in
    from pipeline.sources import list_source

    settings = settings_of(data, engine=engine, device=device, captions=captions, workers=workers, offline=offline)
    database = open_database(settings)
    options = given(language=language, model=model, engine=engine, captions=captions)
    narrow = {"limit": limit, "since": since, "match": match}
    failures = 0
    rows: list[dict[str, Any]] = []
    listings: list[ShowListing] = []
    for source in sources:
        try:
            listing = list_source(source, settings, limit=limit, since=since, match=match)
            if dry_run:
                listings.append(listing)
                continue
            with database.write() as connection:
                taken = take_in(connection, listing, options, narrow)
        except EarmarkError as error:
            failures += 1
            complain(error)
            rows.append({"source": source, "error": error.sentence})
            continue
        for warning in listing.warnings:
            say(f"{listing.title}: {warning}")
        if not listing.episodes:
            say(f"{listing.title}: no episode fits")
        say(
            f"{listing.title}: {len(taken.new)} new"
            + (f", {len(taken.requeued)} tried again" if taken.requeued else "")
            + (f", {len(taken.known)} already here" if taken.known else "")
        )
        rows.append({"source": source, "show_id": taken.show_id, "show": listing.title, "new": taken.new,
                     "requeued": taken.requeued, "known": taken.known})  # fmt: skip
    if dry_run:
        _tell_cost(listings, settings, hourly_price, as_json=as_json)
        leave(failures)
        return
    if any(row.get("new") or row.get("requeued") for row in rows) and not no_run:
        failures += _work(settings, database)
    if as_json:
        print_json({"sources": rows, "failed": failures})
    leave(failures)


@app.command(epilog="Example: earmark run --workers 2")
def run(
    workers: Workers = None,
    engine: Engine = None,
    model: Model = None,
    device: Device = None,
    forever: Annotated[bool, typer.Option("--forever", help="Stay and wait for new work.")] = False,
    ray: Annotated[str | None, typer.Option(help="Decode on a Ray cluster: auto, or its address.", show_default=False)] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this port of localhost.")] = None,
    offline: Offline = None,
    data: Data = None,
) -> None:
    """Do what is queued: fetch, transcribe, index. Stop it at any time; it goes on where it was."""
    settings = settings_of(data, workers=workers, engine=engine, model=model, device=device, offline=offline, ray=ray)
    database = open_database(settings)
    if metrics_port is not None:
        from prometheus_client import start_http_server

        from store.metrics import registry

        start_http_server(metrics_port, addr="127.0.0.1", registry=registry(database))
    leave(_work(settings, database, forever=forever))


@app.command(epilog="Example: earmark sync --every 1h")
def sync(
    every: Annotated[str, typer.Option(help="Again and again, such as every 30m, 6h or 1d.")] = "",
    workers: Workers = None,
    offline: Offline = None,
    data: Data = None,
) -> None:
    """Read all shows again, and add what is new."""
    import time

    from store.jobs import enqueue_sync

    settings = settings_of(data, workers=workers, offline=offline)
    database = open_database(settings)
    pause_s = _seconds(every) if every else 0.0
    while True:
        started = time.monotonic()
        with database.write() as connection:
            say(f"reading {enqueue_sync(connection)} shows again")
        failures = _work(settings, database)
        if not pause_s:
            leave(failures)
            return
        time.sleep(max(0.0, started + pause_s - time.monotonic()))


@app.command(epilog="Example: earmark retranscribe --publisher --model large-v3-turbo")
def retranscribe(
    what: Which = "",
    publisher: Annotated[bool, typer.Option("--publisher", help="All episodes that show their publisher's transcript.")] = False,
    language: Language = None,
    model: Model = None,
    engine: Engine = None,
    no_run: NoRun = False,
    data: Data = None,
) -> None:
    """Transcribe an episode again from its sound, with other options; the old transcript stays until the new one is there."""
    from pipeline.intake import take_again
    from store.episodes import with_publishers_transcript
    from store.lookup import the_episode

    settings = settings_of(data)
    database = open_database(settings)
    if bool(what) == publisher:
        raise EarmarkError("name an episode, or say --publisher", next_step="See what is here: earmark status --episodes")
    chosen = with_publishers_transcript(database) if publisher else [the_episode(database, what)]
    with database.write() as connection:
        queued = take_again(connection, chosen, given(language=language, model=model, engine=engine))
    say(f"{queued} of {len(chosen)} episodes queued")
    if queued and not no_run:
        leave(_work(settings, database))


@app.command(epilog="Example: earmark status --episodes")
def status(
    episodes: Annotated[bool, typer.Option("--episodes", help="List every episode.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds; Ctrl-C ends it.")] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Show what is here, what waits, what failed and why."""
    import time

    from store.report import catalogue_report, report_text

    database = open_database(settings_of(data), read_only=True)
    while True:
        report = catalogue_report(database, with_episodes=episodes)
        if watch and not as_json:
            typer.echo("\x1b[2J\x1b[H", nl=False)  # clear the terminal
        if as_json:
            print_json(report)
        else:
            typer.echo(report_text(report))
        if not watch:
            return
        time.sleep(WATCH_EVERY_S)


@app.command(epilog='Example: earmark search "why is the sea salty" --since 2026-01-01')
def search(
    query: Annotated[list[str], typer.Argument(help='What somebody said. "Quotes" mean a phrase.')],
    limit: Annotated[int, typer.Option(help="How many moments.", min=1, max=100)] = 5,
    show: Annotated[list[str] | None, typer.Option(help="Only this show (id or part of its title); may be repeated.")] = None,
    episode: Annotated[list[str] | None, typer.Option(help="Only this episode (id or part of its title).")] = None,
    speaker: Annotated[list[str] | None, typer.Option(help="Only what this speaker says.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only talks in this language.")] = None,
    since: Annotated[str, typer.Option(help="From this day on (YYYY-MM-DD).")] = "",
    until: Annotated[str, typer.Option(help="Up to this day.")] = "",
    sort: Annotated[str, typer.Option(help="best, recent (the best fade with age) or newest.")] = "best",
    explain: Annotated[bool, typer.Option("--explain", help="Say what matched by word, by meaning, and what decided.")] = False,
    as_json: Json = False,
    data: Data = None,
) -> None:
    """Find the moments where somebody says it."""
    from dataclasses import asdict

    from index.query import Filters
    from index.search import Searcher
    from store.lookup import episodes_called, shows_called

    settings = settings_of(data)
    database = open_database(settings, read_only=True)
    filters = Filters(
        show_ids=tuple(found.id for word in show or () for found in shows_called(database, word)),
        episode_ids=tuple(found.id for word in episode or () for found in episodes_called(database, word)),
        speakers=tuple(speaker or ()),
        languages=tuple(language or ()),
        since=since,
        until=until,
    )
    text = " ".join(query)
    searcher, why = Searcher(settings, database), None
    if explain:
        answer, why = searcher.explain(text, limit=limit, filters=filters, sort=sort)
    else:
        answer = searcher.search(text, limit=limit, filters=filters, sort=sort)
    if as_json:
        told = {name: value for name, value in asdict(answer).items() if name != "understood" or value}
        print_json(told | ({"explain": asdict(why) if why else None} if explain else {}))
        return
    from index.present import moments_text

    typer.echo(moments_text(answer, in_colour=sys.stdout.isatty(), why=why))


@app.command(epilog="Example: earmark remove sourdough --yes")
def remove(
    what: Annotated[str, typer.Argument(help="Episode or show: id, address, or part of its title.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    whole_show: Annotated[bool, typer.Option("--show", help="Remove a whole show.")] = False,
    data: Data = None,
) -> None:
    """Remove an episode, or with --show a show, from everything."""
    from store.episodes import list_episodes, remove_episode, remove_show
    from store.lookup import the_episode, the_show

    settings = settings_of(data)
    database = open_database(settings)
    target = (the_show if whole_show else the_episode)(database, what)
    count = f" with {len(list_episodes(database, show_id=target.id))} episodes" if whole_show else ""
    if not yes and not typer.confirm(f"Remove {target.title!r}{count}?"):
        raise typer.Exit(1)
    with database.write() as connection:
        paths = (remove_show if whole_show else remove_episode)(connection, target.id)
    for path in paths:
        (database.folder / path).unlink(missing_ok=True)
    _publish(settings, database)
    say(f"Removed {target.title}{count}")


@app.command(epilog="Example: earmark reindex")
def reindex(data: Data = None) -> None:
    """Make the index again from the database; nothing is transcribed or embedded again."""
    from index.build import rebuild_index

    settings = settings_of(data)
    say(f"Index rebuilt: {rebuild_index(open_database(settings), settings)}")


@app.command(epilog="Example: earmark serve --port 8000")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data: Data = None,
) -> None:
    """Serve the search page."""
    from ui.port import check_port
    from ui.web import serve as serve_app

    settings = settings_of(data, host=host, port=port)
    check_port(settings)
    say(f"Earmark serves {settings.data_dir} on http://{settings.host}:{settings.port}  (Ctrl-C stops it)")
    serve_app(settings)


@app.command(epilog="Example: earmark doctor --json")
def doctor(as_json: Json = False, data: Data = None) -> None:
    """Check what Earmark needs: packages, models, device, disk, queue, index."""
    from dataclasses import asdict

    from index.health import check_index
    from pipeline.health import check_pipeline
    from store.health import check_rooms, check_store

    settings = settings_of(data)
    checks = [*check_rooms(Path(__file__).parent), *check_pipeline(settings), *check_store(settings), *check_index(settings)]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            typer.echo(
                f"{'ok  ' if check.ok else 'LOOK'}  {check.name}: {check.found}"
                + (f" -> {check.next_step}" if check.next_step else "")
            )
    leave(sum(not check.ok for check in checks))


# --- between the flags and the rooms ----------------------------------------------------------------------------------


def _work(settings: Settings, database: Database, *, forever: bool = False) -> int:
    """Run the workers until nothing is left; return how many jobs failed."""
    from index.build import IndexStage
    from pipeline.run import run_workers

    return run_workers(settings, database, IndexStage, forever=forever)


def _tell_cost(listings: list[ShowListing], settings: Settings, hourly_price: float | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from pipeline.estimate import estimate, estimate_text

    told = estimate(listings, settings, say, hourly_price=hourly_price)
    if as_json:
        print_json(asdict(told))
        return
    typer.echo(estimate_text(told))


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[-1:] not in units or not text[:-1].isdigit():
        raise EarmarkError(f"{text!r} is no length of time", next_step="Write 30m, 6h or 1d")
    return float(text[:-1]) * units[text[-1]]


def _publish(settings: Settings, database: Database) -> None:
    from index.build import IndexStage

    IndexStage(settings, database).publish()


def main() -> None:
    """Run the command line; a failure is one sentence and exit code 1."""
    try:
        app()
    except EarmarkError as error:
        complain(error)
        sys.exit(1)
    except BrokenPipeError:  # `earmark transcript x | head`
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()

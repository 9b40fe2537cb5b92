"""The command that asks the catalogue questions with known answers, and compares embedders on them.

Comes in: how many questions or a file of them, other embedders. Goes out: figures as tables or JSON.
Does not know: how a question is made or judged.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.terminal import Data, Json, Offline, open_database, print_json, say, settings_of

if TYPE_CHECKING:
    from index.questions import Question
    from store.database import Database

DEFAULT_QUERIES = 200

app = typer.Typer()


@app.command("eval", epilog="Example: earmark eval --save questions.jsonl --embedder models/bge-small")
def evaluate(
    queries: Annotated[int, typer.Option(help="How many questions to make.", min=1, max=5000)] = DEFAULT_QUERIES,
    save: Annotated[Path | None, typer.Option(help="Write the questions here, to ask them again or to edit them.")] = None,
    queries_file: Annotated[Path | None, typer.Option(help="Ask the questions of this file (JSON lines).")] = None,
    embedder: Annotated[
        list[str] | None, typer.Option(help="Compare this model (name or folder) on the same questions; may be repeated.")
    ] = None,
    as_json: Json = False,
    offline: Offline = None,
    data: Data = None,
) -> None:
    """Ask the catalogue questions from its own chapters, notes and quotes, and tell how well they are answered."""
    from dataclasses import asdict

    from index.embed import open_embedder
    from index.evaluation import ask, compare, figures, is_few
    from index.questions import write_questions
    from index.scorecard import FEW_TEXT, NOTE_TEXT, differences_text, figures_text
    from index.trial import build_trial

    settings = settings_of(data, offline=offline)
    database = open_database(settings, read_only=True)
    questions = _read(queries_file, database) if queries_file else _made(database, queries)
    if save:
        write_questions(save, questions)
        say(f"Wrote {save}")
    own_embedder = open_embedder(settings)
    own = ask(settings, database, own_embedder, questions, say)
    differences, trials = [], []
    for name in embedder or ():
        trial = open_embedder(replace(settings, embedder=name))
        with tempfile.TemporaryDirectory(prefix="earmark-eval-") as folder:
            other = ask(build_trial(settings, database, trial, Path(folder), say), database, trial, questions, say)
        trials.append((trial.name, figures(other)))
        differences += compare(own, other, trial.name)
    few = is_few(questions)
    if as_json:
        print_json(
            {
                "questions": len(questions),
                "too_few": few,
                "embedder": own_embedder.name,
                "figures": [asdict(row) for row in figures(own)],
                "trials": [{"embedder": name, "figures": [asdict(row) for row in rows]} for name, rows in trials],
                "differences": [asdict(row) for row in differences],
                "answers": [asdict(one.question) | {"rank": one.rank, "plays": one.plays} for one in own["used"]],
                "note": NOTE_TEXT,
            }
        )
        return
    texts = [figures_text(figures(own))]
    if differences:
        texts.append(differences_text(own_embedder.name, differences, len(questions)))
    typer.echo("\n\n".join([*texts, *([FEW_TEXT] if few else []), NOTE_TEXT]))


def _read(path: Path, database: Database) -> list[Question]:
    from index.questions import read_questions

    questions, missing = read_questions(path, database)
    for line in missing:
        say(f"{path}, {line}: no such episode here, or several; left out")
    return questions


def _made(database: Database, wanted: int) -> list[Question]:
    from collections import Counter

    from index.testset import make_test_set

    made = make_test_set(database, wanted)
    kinds = Counter(question.kind for question in made.questions)
    say(
        f"{len(made.questions)} questions from {made.episodes} episodes, {made.with_chapters} with chapters, {made.with_notes} with"
        f" notes: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}"
    )
    if set(kinds) == {"quote"}:
        say("No chapters and no notes that say something of a talk: only quotes are left, and those favour words.")
    return list(made.questions)

"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store.settings import setting_help

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = (
    "add",
    "run",
    "status",
    "search",
    "transcript",
    "export",
    "remove",
    "reindex",
    "serve",
    "doctor",
    "sync",
    "pause",
    "resume",
    "cancel",
    "retry",
    "eval",
)


def earmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "cli.py"), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_the_settings_table_is_the_code() -> None:
    table = re.findall(r"^\| `(EARMARK_\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", README, re.MULTILINE)
    assert table == [(environment, default, text) for _, environment, default, text in setting_help()]


def test_it_stays_short() -> None:
    assert len(README.splitlines()) < 200


def test_the_tree_names_what_is_there() -> None:
    named = re.findall(r"^    ([\w.]+/|[\w.]+\.py)  +\S", README.split("## How it works")[1].split("## Hosting")[0], re.MULTILINE)
    assert named, "no tree"
    for name in named:
        assert (ROOT / name).exists(), name
    for room in ("pipeline", "index", "store", "ui", "bench", "samples", "tests"):
        assert f"{room}/" in named


def test_pictures_and_linked_files_are_there() -> None:
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / name).is_file(), name
    for name in ("LICENSE", "THIRD_PARTY.md", "bench/README.md", "CHANGELOG.md", "requirements.txt", "Dockerfile"):
        assert (ROOT / name).is_file(), name


def test_a_space_installs_what_the_project_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["weights"]}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line.replace('"', "'") for line in lines if line and not line.startswith(("#", "--"))}
    assert listed == wanted


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    answer = earmark(command, "--help")
    assert answer.returncode == 0
    assert f"Example: earmark {command}" in answer.stdout
    assert re.search(rf"earmark {command}\b", README)


def test_help_answers_at_once() -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        assert "transcript" in earmark("--help").stdout
        times.append(time.perf_counter() - started)
    assert min(times) < 0.3 * 3  # CI shares its cores; bench/README.md has the figure of an idle machine

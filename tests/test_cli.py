"""The terminal as a user meets it: the samples end to end, a killed run, wrong links, removing, a lost index."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from store import episodes, jobs, passages
from store.database import Database

ROOT = Path(__file__).parents[1]


class Terminal:
    """`earmark` in a data folder of its own, with the small model."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.environ = {**os.environ, "EARMARK_DATA": str(data), "EARMARK_MODEL": "tiny.en", "EARMARK_OFFLINE": "1"}
        self.command = [sys.executable, str(ROOT / "cli.py")]

    def __call__(self, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run([*self.command, *arguments], capture_output=True, text=True, env=self.environ, timeout=280)
        assert bool(answer.returncode) == fails, answer.stderr
        assert "Traceback" not in answer.stderr, answer.stderr
        return answer

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    @property
    def database(self) -> Database:
        return Database.in_folder(self.data)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Terminal:
    """The samples' feeds, added and searchable."""
    terminal = Terminal(tmp_path_factory.mktemp("cli") / "data")
    answer = terminal("add", *map(str, sorted(samples.glob("*.xml"))))
    assert "searchable" in answer.stderr
    return terminal


def test_the_samples_are_searchable(terminal: Terminal) -> None:
    report = terminal.json("status")
    assert report["totals"]["shows"] == 2 and report["totals"]["readable"] == report["totals"]["episodes"] >= 6
    assert not report["failed"]


def test_a_question_finds_its_talk_and_second(terminal: Terminal, samples: Path) -> None:
    for episode in episodes.list_episodes(terminal.database):
        assert episode.transcript_id is not None
        words = samples.joinpath(Path(episode.media_url).with_suffix(".txt").name).read_text().split()
        question = " ".join(words[60:72])  # what is said about half a minute in
        (first, *_) = terminal.json("search", question, "--limit", "3")["moments"]
        assert first["episode_id"] == episode.id, question
        assert 5 < first["start_s"] < 60, question
        break


def test_the_answer_has_the_agreed_shape(terminal: Terminal) -> None:
    answer = terminal.json("search", "how does it work")
    assert list(answer) == ["query", "took_ms", "degraded", "moments"] and answer["degraded"] is None
    assert list(answer["moments"][0]) == [
        "episode_id", "show_id", "show", "title", "published", "start_s", "end_s",
        "speaker", "text", "score", "play_url", "page_url",
    ]  # fmt: skip
    assert "moments in" in terminal("search", "how does it work").stdout
    explained = terminal.json("search", "how does it work", "--explain")
    assert len(explained["explain"]["moments"]) == len(explained["moments"])
    assert "of the question's weight" in terminal("search", "how does it work", "--explain").stdout


def test_adding_again_does_nothing(terminal: Terminal, samples: Path) -> None:
    before = terminal.json("status")
    started = time.monotonic()
    answer = terminal("add", *map(str, sorted(samples.glob("*.xml"))))
    assert time.monotonic() - started < 10
    assert "0 new" in answer.stderr and "already here" in answer.stderr
    assert terminal.json("status")["queue"] == before["queue"]


def test_transcripts_can_be_read_and_taken_away(terminal: Terminal, tmp_path: Path) -> None:
    episode = episodes.list_episodes(terminal.database)[0]
    assert episode.title in terminal("transcript", episode.id).stdout
    for form, sign in (("srt", " --> "), ("vtt", "WEBVTT"), ("json", '"startTime"'), ("txt", " ")):
        target = tmp_path / f"talk.{form}"
        terminal("export", episode.id, "--format", form, "--output", str(target))
        assert sign in target.read_text()
    assert "is not a format" in terminal("export", episode.id, "--format", "pdf", fails=True).stderr


def test_a_lost_index_comes_back_without_embedding(terminal: Terminal) -> None:
    before = terminal.json("search", "why")["moments"]
    count = terminal.database.read().execute("select count(*) from vector").fetchone()[0]
    shutil.rmtree(terminal.data / "index")
    assert "earmark reindex" in terminal("search", "why", fails=True).stderr
    terminal("reindex")
    after = terminal.json("search", "why")["moments"]
    assert [moment["start_s"] for moment in after] == [moment["start_s"] for moment in before]
    assert terminal.database.read().execute("select count(*) from vector").fetchone()[0] == count


def test_removing_takes_it_out_of_everything(terminal: Terminal) -> None:
    episode = episodes.list_episodes(terminal.database)[-1]
    cut = passages.passages_of(terminal.database, episode.id)[1]
    assert terminal.json("search", cut.text)["moments"][0]["episode_id"] == episode.id
    terminal("remove", episode.id, "--yes")
    found = terminal.json("search", cut.text)["moments"]
    assert episode.id not in [moment["episode_id"] for moment in found]
    for table in ("episode", "passage", "job"):
        column = "id" if table == "episode" else "episode_id"
        assert not terminal.database.read().execute(f"select 1 from {table} where {column} = ?", (episode.id,)).fetchall()


def test_wrong_input_is_one_sentence_and_others_go_on(terminal: Terminal, tmp_path: Path, samples: Path) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_text("this is no sound")
    good = tmp_path / "good.mp3"
    shutil.copy(min(samples.glob("*.mp3"), key=lambda path: path.stat().st_size), good)
    answer = terminal("add", "/no/such/file.mp3", "http://127.0.0.1:9/feed.xml", str(broken), str(good), fails=True)
    assert "/no/such/file.mp3" in answer.stderr and "127.0.0.1" in answer.stderr and "broken" in answer.stderr
    assert "good: searchable" in answer.stderr
    assert terminal.json("search", "why", "--episode", "good")["moments"]


def test_nothing_here_yet(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "empty")
    assert "earmark add" in terminal("search", "anything", fails=True).stderr
    assert "earmark add" in terminal("transcript", "x", fails=True).stderr
    assert not (tmp_path / "empty").exists()


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, samples: Path) -> None:
    terminal = Terminal(tmp_path / "data")
    talk = max(samples.glob("*.mp3"), key=lambda path: path.stat().st_size)
    terminal.environ |= {"EARMARK_BATCH_SIZE": "1", "EARMARK_CAPTIONS": "ignore"}
    terminal("add", str(talk), "--no-run")
    process = subprocess.Popen([*terminal.command, "run"], env=terminal.environ, stderr=subprocess.DEVNULL)
    database = terminal.database
    deadline = time.monotonic() + 120

    def committed() -> set[int]:
        rows = database.read().execute("select ordinal from chunk where segments is not null")
        return {row["ordinal"] for row in rows}

    while not committed() and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = jobs.list_jobs(database, states=("running",))[0].lease_owner
    assert worker is not None
    os.kill(process.pid, signal.SIGKILL)
    os.kill(int(worker.split(":")[1]), signal.SIGKILL)
    process.wait()
    kept = committed()
    total = database.read().execute("select count(*) from chunk").fetchone()[0]
    assert 0 < len(kept) < total
    jobs.end_leases(database, "%")  # a minute passes
    terminal("run")
    (episode,) = episodes.list_episodes(database)
    assert episode.transcript_id is not None
    said = terminal("export", episode.id, "--format", "txt").stdout.split()
    assert abs(len(said) / len(talk.with_suffix(".txt").read_text().split()) - 1) < 0.15

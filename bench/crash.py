"""Kills workers and the driver at random, again and again, and counts what got lost.

`python -m bench.crash --kills 60 --jobs 40 --json` cuts short recordings out of the project's own samples, queues them, runs
`earmark run` on them with a real engine (tiny.en), and sends SIGKILL to a worker or to the driver at random times until the kills
are used up; then it lets a last run finish. An undisturbed run of the same recordings is the reference.

lost: episodes without a transcript or not searchable · duplicated: chunks decoded again after they were committed, second
transcripts, second passages · torn: transcripts that differ from the reference, files left half-written, a damaged database ·
interrupted: batches that were in hand when their worker was killed · max_repeated_batches: the most of one killed worker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

from pipeline.recording import SAMPLE_RATE_HZ, blocks
from store import episodes, jobs
from store.database import Database
from store.transcripts import read_segments

REPOSITORY = Path(__file__).parents[1]
CUT_S = 45.0
LONGEST_RUN_S = 1500.0
LONGEST_START_S = 30.0  # until a worker decodes
AIMED = 0.8  # of the kills come while a batch is in hand; the others at any time, also while a worker starts


def make_recordings(folder: Path, count: int, cut_s: float = CUT_S) -> None:
    """Write `count` different recordings of `cut_s` seconds, cut out of the samples."""
    folder.mkdir(parents=True)
    sounds = [np.concatenate(list(blocks(path))) for path in sorted((REPOSITORY / "samples").glob("*.mp3"))]
    length = int(cut_s * SAMPLE_RATE_HZ)
    for number in range(count):
        sound = sounds[number % len(sounds)]
        start = (number // len(sounds)) * length // 3 % max(1, len(sound) - length)
        with wave.open(str(folder / f"cut-{number:03d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            file.writeframes((sound[start : start + length] * 32767).astype("<i2").tobytes())


class Catalogue:
    """A data folder and the commands that are run on it."""

    def __init__(self, data: Path, workers: int) -> None:
        """Nothing is run yet."""
        self.data, self.workers = data, workers
        self.environ = {**os.environ, "EARMARK_DATA": str(data), "EARMARK_MODEL": "tiny.en", "EARMARK_OFFLINE": "1"}
        self.environ |= {"EARMARK_LANGUAGE": "en", "EARMARK_BATCH_SIZE": "2"}

    def add(self, recordings: Path) -> None:
        """Queue the recordings."""
        subprocess.run(self._command("add", str(recordings), "--no-run"), env=self.environ, check=True, stderr=subprocess.DEVNULL)

    def start(self) -> subprocess.Popen[bytes]:
        """Start `earmark run`."""
        command = self._command("run", "--workers", str(self.workers))
        return subprocess.Popen(command, env=self.environ, stderr=subprocess.DEVNULL)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(REPOSITORY / "cli.py"), *arguments]

    @property
    def database(self) -> Database:
        """The store, opened anew."""
        return Database.in_folder(self.data)

    def workers_of(self, driver: int) -> list[int]:
        """Return the process ids of the driver's workers: its children that hold leases or just started."""
        children = Path(f"/proc/{driver}/task/{driver}/children")
        return [int(pid) for pid in children.read_text().split()] if children.exists() else []

    def texts(self) -> dict[str, str]:
        """Return every readable episode's text by title."""
        database = self.database
        return {
            episode.title: " ".join(segment.text for segment in read_segments(database, episode.transcript_id))
            for episode in episodes.list_episodes(database)
            if episode.transcript_id is not None
        }

    def log(self) -> list[dict[str, object]]:
        """Return what the workers wrote down, in the order of each process."""
        lines = [line for path in sorted((self.data / "log").glob("*.jsonl*")) for line in path.read_text().splitlines()]
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:  # the line that a killed process was writing
                continue
        return rows


def torture(catalogue: Catalogue, kills: int, seed: int) -> int:
    """Run and kill until the kills are used up or the work is done; return how many kills there were."""
    dice = random.Random(seed)
    done, deadline = 0, time.monotonic() + LONGEST_RUN_S
    driver = catalogue.start()
    while done < kills and time.monotonic() < deadline:
        if dice.random() < AIMED:
            wait_for_a_batch(catalogue, driver)
        time.sleep(dice.uniform(0.0, 3.0))
        if driver.poll() is not None:
            if jobs.next_due_at(catalogue.database, ("fetch", "transcribe", "index")) is None:
                break
            driver = catalogue.start()
            continue
        workers = catalogue.workers_of(driver.pid)
        victim = driver.pid if dice.random() < 0.25 or not workers else dice.choice(workers)
        os.kill(victim, signal.SIGKILL)
        done += 1
        if victim == driver.pid:
            driver.wait()
            driver = catalogue.start()
        forgive(catalogue)
    if driver.poll() is None:
        driver.wait(timeout=LONGEST_RUN_S)
    return done


def wait_for_a_batch(catalogue: Catalogue, driver: subprocess.Popen[bytes]) -> None:
    """Wait until the workers that live now have begun a batch, so that the kill finds them at work and not at their start."""
    begun = sum(row["text"] == "decode" for row in catalogue.log())
    for _ in range(int(LONGEST_START_S / 0.1)):
        if driver.poll() is not None or sum(row["text"] == "decode" for row in catalogue.log()) > begun:
            return
        time.sleep(0.1)


def forgive(catalogue: Catalogue) -> None:
    """Keep the poison guard out of it: sixty kills are aimed at workers, not provoked by a file."""
    with catalogue.database.write() as connection:
        connection.execute("update job set failures = 0")


def judge(catalogue: Catalogue, reference: dict[str, str], count: int) -> dict[str, int]:
    """Compare what is there with what should be."""
    database = catalogue.database
    read = database.read()
    texts = catalogue.texts()
    searchable = {row[0] for row in read.execute("select distinct episode_id from passage")}
    missing = sum(title not in texts for title in reference) + max(0, count - len(searchable))
    committed: set[tuple[int, int]] = set()
    open_batches: dict[object, list[list[list[int]]]] = {}
    again = 0
    for row in sorted(catalogue.log(), key=lambda row: str(row["time"])):
        if row["text"] == "commit":
            chunks = {tuple(chunk) for chunk in row["chunks"]}  # type: ignore[attr-defined]
            again += len(committed & chunks)
            committed |= chunks
            open_batches.get(row["process"], []).clear()
        elif row["text"] == "decode":
            open_batches.setdefault(row["process"], []).append(row["chunks"])  # type: ignore[arg-type]
    second = read.execute("select count(*) from (select recording_id from transcript group by 1 having count(*) > 1)").fetchone()[0]
    twice = read.execute(
        "select count(*) from (select 1 from passage group by episode_id, ordinal having count(*) > 1)"
    ).fetchone()[0]
    damaged = int(read.execute("pragma integrity_check").fetchone()[0] != "ok")
    halves = len(list(catalogue.data.rglob("*.part")))
    return {
        "lost": missing,
        "duplicated": again + second + twice,
        "torn": sum(texts.get(title, text) != text for title, text in reference.items()) + damaged + halves,
        "interrupted": sum(map(len, open_batches.values())),
        "max_repeated_batches": max((len(batches) for batches in open_batches.values()), default=0),
    }


def main() -> None:
    """Make recordings, run once undisturbed, run once under fire, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-crash-") as folder:
        recordings = Path(folder, "recordings")
        make_recordings(recordings, flags.jobs)
        calm = Catalogue(Path(folder, "calm"), flags.workers)
        calm.add(recordings)
        calm.start().wait(timeout=LONGEST_RUN_S)
        rough = Catalogue(Path(folder, "rough"), flags.workers)
        rough.add(recordings)
        kills = torture(rough, flags.kills, flags.seed)
        result = {"kills": kills, "jobs": flags.jobs, **judge(rough, calm.texts(), flags.jobs)}
    print(json.dumps(result) if flags.json else "\n".join(f"{name:22} {value}" for name, value in result.items()))
    sys.exit(0 if not any(result[name] for name in ("lost", "duplicated", "torn")) else 1)


if __name__ == "__main__":
    main()

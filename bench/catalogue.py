"""A catalogue of talks, whole commands: from files on the disk to transcripts, Earmark beside the packages' own pipelines.

Comes in: the English recordings of a manifest, joined into recordings of at least ten minutes. Goes out: rows like those of
`bench.transcription`, timed from the start of each command to its end, loading included, on all cores.
`earmark` is `earmark add FOLDER` as it is shipped: its time includes the search index. The peers write down their texts,
file after file.
Does not know: the recordings' kinds; word times are on for everybody but openai-whisper's own, which runs with its defaults.

    python -m bench.transcription --manifest ../shared/speech/manifest.jsonl --catalogue --peers
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.transcription import Item, Row, errors_between, open_peer, words_of
from pipeline.recording import SAMPLE_RATE_HZ, Samples, blocks
from pipeline.transcribe import HUGE_PAGES, can_use_huge_pages, cores
from store import episodes
from store.database import Database
from store.settings import load_settings
from store.transcripts import read_segments

SHORTEST_S = 600.0  # of a joined recording
BETWEEN_S = 0.5  # of silence between two that are joined
OURS = "earmark"
PEERS = ("openai-whisper/own", "faster-whisper/own-batched", "faster-whisper/own-batched+hugepages")
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Timed:
    """What a command took, all its processes together, and each recording's text."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    texts: dict[str, str]


def join(items: Sequence[Item], folder: Path) -> list[Item]:
    """Write recordings of at least `SHORTEST_S` into `folder`, 16 kHz WAV; what is left over lengthens the last one."""
    groups: list[list[Item]] = [[]]
    for item in (item for item in items if item.language == "en"):
        if sum(member.seconds for member in groups[-1]) >= SHORTEST_S:
            groups.append([])
        groups[-1].append(item)
    if len(groups) > 1 and sum(member.seconds for member in groups[-1]) < SHORTEST_S:
        rest = groups.pop()
        groups[-1] += rest
    gap: Samples = np.zeros(round(BETWEEN_S * SAMPLE_RATE_HZ), dtype=np.float32)
    joined = []
    for number, group in enumerate(groups, start=1):
        path = folder / f"talk-{number}.wav"
        sound = np.concatenate([part for item in group for part in (*blocks(item.path), gap)])
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
        text = " ".join(item.reference for item in group)
        joined.append(Item(path.stem, path, "all", "en", len(sound) / SAMPLE_RATE_HZ, text))
    return joined


def measure_all(items: Sequence[Item], model: str, *, peers: bool) -> list[dict[str, object]]:
    """Run each command by itself; return a row for each. Progress on stderr."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="earmark-catalogue-") as folder:
        recordings = Path(folder, "recordings")
        recordings.mkdir()
        joined = join(items, recordings)
        for name in (OURS, *(PEERS if peers else ())):
            print(f"{name}: {len(joined)} recordings, {sum(item.seconds for item in joined) / 60:.1f} min", file=sys.stderr)
            timed = _ours(recordings, Path(folder, "data"), model) if name == OURS else _peer(name, joined, model)
            rows.append(asdict(_row(name, joined, timed)))
    return rows


def _ours(recordings: Path, data: Path, model: str) -> Timed:
    command = [sys.executable, str(REPOSITORY / "cli.py"), "add", str(recordings), "--data", str(data)]
    timed = _run([*command, "--model", model, "--language", "en", "--captions", "ignore"], {})
    database = Database.in_folder(data)
    texts = {}
    for episode in episodes.list_episodes(database):
        if episode.transcript_id is not None:
            texts[episode.title] = " ".join(segment.text for segment in read_segments(database, episode.transcript_id))
    return Timed(timed.wall_s, timed.cpu_s, timed.peak_rss_mb, texts)


def _peer(name: str, joined: Sequence[Item], model: str) -> Timed:
    huge = name.endswith("+hugepages")
    with tempfile.TemporaryDirectory() as folder:
        task, answer = Path(folder, "task.json"), Path(folder, "texts.json")
        files = [{**asdict(item), "path": str(item.path)} for item in joined]
        task.write_text(json.dumps({"name": name.removesuffix("+hugepages"), "model": model, "items": files}), encoding="utf-8")
        timed = _run(
            [sys.executable, "-m", "bench.catalogue", str(task), str(answer)], {"GLIBC_TUNABLES": HUGE_PAGES} if huge else {}
        )
        return Timed(timed.wall_s, timed.cpu_s, timed.peak_rss_mb, json.loads(answer.read_text(encoding="utf-8")))


def _run(command: Sequence[str], more: dict[str, str]) -> Timed:
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    if more and not can_use_huge_pages():
        print("this system has no huge pages for glibc: the row is measured without", file=sys.stderr)
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**environment, **more}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)  # with all processes that it has waited for
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[1:3])} failed with exit code {process.returncode}. Its message is above")
    return Timed(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, {})


def _row(name: str, joined: Sequence[Item], timed: Timed) -> Row:
    audio_s = sum(item.seconds for item in joined)
    references = [words_of(item.reference, "en") for item in joined]
    heard = [words_of(timed.texts.get(item.id, ""), "en") for item in joined]
    errors = sum(errors_between(reference, text) for reference, text in zip(references, heard, strict=True))
    return Row(
        engine=name,
        kind="all",
        language="en",
        files=len(joined),
        audio_s=round(audio_s, 1),
        wer=round(errors / sum(map(len, references)), 4),
        x_wall=round(audio_s / timed.wall_s, 2),
        x_cpu=round(audio_s / timed.cpu_s, 2),
        peak_rss_mb=round(timed.peak_rss_mb),
    )


def main() -> None:
    """Be a peer: transcribe the files of a task, one after the other, and write down their texts."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    items = [Item(**{**item, "path": Path(item["path"])}) for item in task["items"]]
    flags = {"model": task["model"], "threads": cores(), "device": "cpu"}
    settings = load_settings(Path(tempfile.gettempdir()) / "earmark-bench", flags=flags)
    texts = open_peer(task["name"], settings)(items)
    answer = {item.id: text for item, text in zip(items, texts, strict=True)}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How well and how fast speech becomes text: our engines, and the packages' own pipelines on the same files and weights.

Comes in: a folder with a manifest (JSON Lines: path, seconds, language, reference_text, kind). Goes out: rows with word error rate,
audio seconds per wall and per CPU second, and peak memory, as a table or as JSON. Each engine runs in a process of its own.
Does not know: the store; it calls the code that the worker calls.

    python -m bench.transcription --manifest ../shared/speech/manifest.jsonl --kinds read_speech,spontaneous --peers
    python -m bench.transcription --manifest ../shared/speech/manifest.jsonl --catalogue --peers
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.recording import Samples, blocks
from pipeline.transcribe import HUGE_PAGES, can_use_huge_pages, open_engine, transcribe_files
from store.errors import EarmarkError
from store.settings import Settings, load_settings
from store.weights import find_whisper

OURS = ("onnx-whisper", "faster-whisper", "openai-whisper")
PEERS = ("openai-whisper/own", "faster-whisper/own", "faster-whisper/own-batched")
BASELINE = "openai-whisper/own"
UNSPACED = {"zh", "ja", "ko", "th", "lo", "my", "yue"}  # scored by character
RESAMPLES = 2000  # of the paired bootstrap
BATCH = 8

# Named, so that figures can be compared. Language is given to everybody. openai-whisper's own runs with its defaults (greedy,
# temperature fallback, text before as prompt, no word times); everybody else decodes greedily and with word times.
SETTINGS: dict[str, dict[str, object]] = {
    "onnx-whisper": {"compute_type": "int8", "beam": 1, "batch_size": BATCH, "word_times": True, "huge_pages": True},
    "faster-whisper": {"compute_type": "int8", "beam": 1, "batch_size": BATCH, "word_times": True, "huge_pages": True},
    "openai-whisper": {"compute_type": "float32", "beam": 1, "batch_size": BATCH, "word_times": True, "huge_pages": True},
    "openai-whisper/own": {
        "compute_type": "float32",
        "beam": 1,
        "word_times": False,
        "temperature": "0 to 1 by .2",
        "huge_pages": False,
    },
    "faster-whisper/own": {
        "compute_type": "int8",
        "beam": 1,
        "word_times": True,
        "temperature": "0 to 1 by .2",
        "huge_pages": False,
    },
    "faster-whisper/own-batched": {"compute_type": "int8", "beam": 1, "batch_size": BATCH, "word_times": True, "huge_pages": False},
}


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the manifest."""

    id: str
    path: Path
    kind: str
    language: str
    seconds: float
    reference: str


@dataclass(frozen=True, slots=True)
class Score:
    """One file's errors: substitutions, insertions and deletions against `words` in the reference."""

    id: str
    kind: str
    language: str
    seconds: float
    errors: int
    words: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. `wer` is None where the references have no words."""

    engine: str
    kind: str
    language: str
    files: int
    audio_s: float
    wer: float | None
    x_wall: float
    x_cpu: float
    peak_rss_mb: float


# --- files and errors -------------------------------------------------------------------------------------------------


def read_manifest(path: Path, kinds: Sequence[str], limit: int | None) -> list[Item]:
    """Read the files that have a reference text, at most `limit` of a kind and language."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    items = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row.get("reference_text") is None or not row.get("seconds") or (kinds and row["kind"] not in kinds):
            continue
        language = row["language"] or "en"
        counts[row["kind"], language] += 1
        if limit is None or counts[row["kind"], language] <= limit:
            file = path.parent / row["path"]
            items.append(Item(row["id"], file, row["kind"], language, row["seconds"], row["reference_text"]))
    return items


@lru_cache(maxsize=2)
def _normaliser(english: bool) -> Callable[[str], str]:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    normaliser: Callable[[str], str] = EnglishTextNormalizer() if english else BasicTextNormalizer()
    return normaliser


def words_of(text: str, language: str) -> list[str]:
    """Return a text's words as they are scored: Whisper's English normaliser, its basic one for other languages."""
    plain = _normaliser(language == "en")(text)
    return list(plain.replace(" ", "")) if language in UNSPACED else plain.split()


def errors_between(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Return the least number of words to change, add or drop."""
    numbers: dict[str, int] = {}
    left = [numbers.setdefault(word, len(numbers)) for word in reference]
    right = np.array([numbers.setdefault(word, len(numbers)) for word in heard], dtype=np.int64)
    steps = np.arange(len(right) + 1)
    row = steps.copy()
    for word in left:
        best = np.concatenate([[row[0] + 1], np.minimum(row[1:] + 1, row[:-1] + (right != word))])
        row = np.minimum.accumulate(best - steps) + steps  # insertions run along the row
    return int(row[-1])


def bootstrap(ours: Sequence[Score], theirs: Sequence[Score]) -> tuple[float, float, float]:
    """Return how many points our pooled error rate is above theirs, and the 95 % interval; files are resampled in pairs."""
    other = {score.id: score for score in theirs}
    pairs = [(score, other[score.id]) for score in ours if score.id in other]
    mine: npt.NDArray[np.float64] = np.array([score.errors for score, _ in pairs], dtype=float)
    peer: npt.NDArray[np.float64] = np.array([score.errors for _, score in pairs], dtype=float)
    words: npt.NDArray[np.float64] = np.array([score.words for score, _ in pairs], dtype=float)
    picks = np.random.default_rng(1).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    differences = 100 * (mine - peer)[picks].sum(axis=1) / np.maximum(words[picks].sum(axis=1), 1)
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(100 * (mine - peer).sum() / max(words.sum(), 1)), float(low), float(high)


# --- engines ----------------------------------------------------------------------------------------------------------

Transcribe = Callable[[Sequence[Item]], Iterator[str]]  # the texts of some files, in order


def open_ours(name: str, settings: Settings, folder: Path) -> Transcribe:
    """Open one of our engines, through the code that the worker uses; batches mix files."""
    engine = open_engine(settings, lambda line: print(line, file=sys.stderr))

    def transcribe(items: Sequence[Item]) -> Iterator[str]:
        languages = {item.path: item.language for item in items}
        for path, head, segments in transcribe_files(
            [item.path for item in items], engine, language=languages.__getitem__, folder=folder
        ):
            if isinstance(head, EarmarkError):
                print(f"{path}: {head.sentence}", file=sys.stderr)
            yield " ".join(segment.text for segment in segments)

    return transcribe


def open_peer(name: str, settings: Settings) -> Transcribe:
    """Open a package's own pipeline on the same weights."""
    weights = find_whisper(settings.model, settings)
    threads = settings.threads
    if name == "openai-whisper/own":
        import torch
        import whisper

        from store.checkpoint import read_checkpoint

        torch.set_num_threads(threads)
        checkpoint = read_checkpoint(weights)
        model = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint.dims))
        model.load_state_dict({key: torch.tensor(tensor) for key, tensor in checkpoint.tensors.items()})
        model.eval()
        return lambda items: (str(model.transcribe(_sound(item), language=item.language, fp16=False)["text"]) for item in items)

    import faster_whisper

    from store.checkpoint import as_ctranslate2

    compute_type = SETTINGS[name]["compute_type"]
    plain = faster_whisper.WhisperModel(
        str(as_ctranslate2(weights, settings)), "cpu", compute_type=compute_type, cpu_threads=threads
    )
    if name == "faster-whisper/own":
        return lambda items: (
            _joined(plain.transcribe(_sound(item), language=item.language, beam_size=1, word_timestamps=True)) for item in items
        )
    batched = faster_whisper.BatchedInferencePipeline(plain)
    return lambda items: (
        _joined(batched.transcribe(_sound(item), language=item.language, beam_size=1, word_timestamps=True, batch_size=BATCH))
        for item in items
    )


def _sound(item: Item) -> Samples:
    return np.concatenate(list(blocks(item.path)))


def _joined(answer: tuple[Any, Any]) -> str:
    return " ".join(segment.text.strip() for segment in answer[0])


def measure(name: str, items: Sequence[Item], settings: Settings) -> dict[str, Any]:
    """Run one engine in this process: its rows and every file's score. Loading the model is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        transcribe = open_ours(name, settings, Path(folder)) if name in OURS else open_peer(name, settings)
        groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
        for item in items:
            groups[item.kind, item.language].append(item)
        warm_up = min(items, key=lambda item: item.seconds)
        list(transcribe([warm_up]))
        timed: dict[tuple[str, str], tuple[float, float]] = {}
        scores: list[Score] = []
        for key, group in groups.items():
            wall, cpu = time.perf_counter(), time.process_time()
            texts = list(transcribe(group))
            timed[key] = time.perf_counter() - wall, time.process_time() - cpu
            for item, text in zip(group, texts, strict=True):
                reference, heard = words_of(item.reference, item.language), words_of(text, item.language)
                scores.append(
                    Score(item.id, item.kind, item.language, item.seconds, errors_between(reference, heard), len(reference))
                )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    rows = [
        _row(name, *key, [score for score in scores if (score.kind, score.language) == key], [timed[key]], peak_mb)
        for key in groups
    ]
    english = [score for score in scores if score.language == "en"]
    if english:
        rows.append(_row(name, "all", "en", english, [time for key, time in timed.items() if key[1] == "en"], peak_mb))
    return {"rows": [asdict(row) for row in rows], "scores": [asdict(score) for score in scores]}


def _row(name: str, kind: str, language: str, scores: Sequence[Score], timed: Sequence[tuple[float, float]], peak_mb: float) -> Row:
    audio_s, words = sum(score.seconds for score in scores), sum(score.words for score in scores)
    wer = round(sum(score.errors for score in scores) / words, 4) if words else None
    wall_s, cpu_s = (max(1e-9, sum(part)) for part in zip(*timed, strict=True))
    return Row(
        name,
        kind,
        language,
        len(scores),
        round(audio_s, 1),
        wer,
        round(audio_s / wall_s, 2),
        round(audio_s / cpu_s, 2),
        round(peak_mb),
    )


# --- door -------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark. Progress on stderr, the result on stdout."""
    parser = argparse.ArgumentParser(prog="python -m bench.transcription", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--manifest", type=Path, required=True, help="JSON Lines file; paths count from its folder")
    parser.add_argument("--kinds", default="", help="kinds of recordings, comma-separated; all by default")
    parser.add_argument("--model", default="base", help="name or folder of a Whisper model")
    parser.add_argument("--peers", action="store_true", help="measure the packages' own pipelines too")
    parser.add_argument("--engines", default=",".join(OURS), help="our engines, comma-separated")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every engine")
    parser.add_argument("--catalogue", action="store_true", help="whole commands on all cores, English joined into long recordings")
    parser.add_argument("--limit", type=int, help="files of each kind and language at most")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # the engine that this process measures for its parent
    options = parser.parse_args(arguments)
    items = read_manifest(options.manifest, [kind for kind in options.kinds.split(",") if kind], options.limit)
    if not items:
        print(f"{options.manifest}: no file with a reference text fits. Check --kinds", file=sys.stderr)
        return 1
    if options.measure:
        flags = {"model": options.model, "threads": options.threads, "batch_size": BATCH, "device": "cpu"}
        if options.measure in OURS:
            flags |= {"engine": options.measure, "compute_type": SETTINGS[options.measure]["compute_type"]}
        settings = load_settings(Path(tempfile.gettempdir()) / "earmark-bench", flags=flags)
        json.dump(measure(options.measure, items, settings), sys.stdout)
        return 0
    if options.catalogue:
        from bench.catalogue import measure_all

        whole = measure_all(items, options.model, peers=options.peers)
        if options.json:
            print(json.dumps({"rows": whole}, indent=1))
        else:
            _print_table(whole, [])
        return 0
    engines = [name for name in options.engines.split(",") if name] + (list(PEERS) if options.peers else [])
    found: dict[str, dict[str, Any]] = {}
    for name in engines:
        print(f"{name}: {len(items)} files, {sum(item.seconds for item in items) / 60:.1f} min", file=sys.stderr)
        answer = _in_own_process(name, sys.argv[1:] if arguments is None else list(arguments))
        if answer is None:
            return 1
        found[name] = answer
    differences = _differences(found)
    rows = [row for answer in found.values() for row in answer["rows"]]
    if options.json:
        print(
            json.dumps({"rows": rows, "differences": differences, "settings": {name: SETTINGS[name] for name in found}}, indent=1)
        )
    else:
        _print_table(rows, differences)
    return 0


def _in_own_process(name: str, arguments: Sequence[str]) -> dict[str, Any] | None:
    environment = dict(os.environ)
    environment.pop("GLIBC_TUNABLES", None)
    if SETTINGS[name]["huge_pages"] and can_use_huge_pages():
        environment["GLIBC_TUNABLES"] = HUGE_PAGES
    command = [sys.executable, "-m", "bench.transcription", *arguments, "--measure", name]
    run = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if run.returncode:
        print(f"{name} failed with exit code {run.returncode}. Its message is above", file=sys.stderr)
        return None
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def _differences(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare every engine's English error rate with the baseline's, file by file."""
    scores = {name: [Score(**score) for score in answer["scores"] if score["language"] == "en"] for name, answer in found.items()}
    if not scores.get(BASELINE):
        return []
    compared = []
    for name in scores:
        if name != BASELINE:
            points, low, high = (round(value, 2) for value in bootstrap(scores[name], scores[BASELINE]))
            compared.append({"engine": name, "against": BASELINE, "wer_points": points, "low": low, "high": high})
    return compared


def _print_table(rows: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]]) -> None:
    print(f"{'engine':28}{'kind':26}{'lang':6}{'files':>6}{'audio s':>9}{'WER %':>8}{'x wall':>8}{'x cpu':>8}{'MB':>7}")
    for row in rows:
        wer = "-" if row["wer"] is None else f"{100 * row['wer']:.2f}"
        print(
            f"{row['engine']:28}{row['kind']:26}{row['language']:6}{row['files']:>6}{row['audio_s']:>9.0f}{wer:>8}"
            f"{row['x_wall']:>8.1f}{row['x_cpu']:>8.1f}{row['peak_rss_mb']:>7.0f}"
        )
    for item in differences:
        print(
            f"{item['engine']} - {item['against']}: {item['wer_points']:+.2f} points of WER on English"
            f" (95 % interval {item['low']:+.2f} to {item['high']:+.2f}, files resampled in pairs)"
        )


if __name__ == "__main__":
    sys.exit(main())

"""The figures that CI guards, in their fast form, as ratios within one run.

`python -m bench.guard --shared DIR` runs small parts of `bench.transcription` and `bench.retrieval` on the evaluation data, where
it is present, and fails if what the project promises no longer holds. Bounds are looser than the figures in README.md of this
folder, because CI shares its two cores; they catch what broke, not what got a little slower.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SLOWEST_RATIO = 2.0  # audio per CPU second of the default engine over openai-whisper's own; the figure to hold is 2.5
MOST_WER_POINTS = 3.0  # worse than openai-whisper's own, on these two files
EPISODES = 25


def rows(module: str, *flags: str) -> list[dict[str, Any]]:
    """Run a benchmark and return its rows."""
    answer = subprocess.run([sys.executable, "-m", module, *flags, "--json"], stdout=subprocess.PIPE, check=True, text=True)
    return list(json.loads(answer.stdout)["rows"])


def transcription(shared: Path) -> list[str]:
    """Return what is wrong with speed or word errors on the long recordings."""
    found = rows(
        "bench.transcription", "--manifest", str(shared / "speech" / "manifest.jsonl"), "--kinds", "longform_concat",
        "--limit", "2", "--engines", "onnx-whisper", "--peers",
    )  # fmt: skip
    by_engine = {row["engine"]: row for row in found if row["kind"] == "all" and row["language"] == "en"}
    ours, own = by_engine["onnx-whisper"], by_engine["openai-whisper/own"]
    ratio, points = ours["x_cpu"] / own["x_cpu"], ours["wer"] - own["wer"]
    print(f"transcription: {ratio:.2f}x the audio per CPU second of openai-whisper's own, WER {points:+.2f} points", flush=True)
    problems = [] if ratio >= SLOWEST_RATIO else [f"the default engine is only {ratio:.2f}x openai-whisper's own"]
    return problems if points <= MOST_WER_POINTS else [*problems, f"word error rate is {points:.2f} points worse"]


def retrieval(shared: Path) -> list[str]:
    """Return what is wrong with search on a few episodes."""
    found = rows("bench.retrieval", "--data", str(shared / "retrieval"), "--episodes", str(EPISODES), "--runs", "bm25,fused")
    strict = {(row["run"], row["slice"]): row["ndcg10"] for row in found if row["hit"] == "strict"}
    gains = {name: strict["fused", name] - strict["bm25", name] for name in ("all", "low60")}
    print(f"retrieval: fused over bm25 {gains['all']:+.3f} strict nDCG@10, {gains['low60']:+.3f} where words differ", flush=True)
    return [f"fused loses to bm25 by {-gain:.3f} ({name})" for name, gain in gains.items() if gain < 0]


def main() -> None:
    """Run both; exit code 1 where a promise no longer holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    shared = parser.parse_args().shared
    if not shared.is_dir():
        print(f"SKIPPED: the evaluation data is not here ({shared.name})")
        return
    problems = [*transcription(shared), *retrieval(shared)]
    for problem in problems:
        print(f"FAILED: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

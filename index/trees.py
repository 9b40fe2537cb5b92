"""The learned order: a small set of decision trees in a readable file, trained by `python -m bench.ranker`.

Comes in: features of candidates. Goes out: a score for each; higher is a better place to start playing.
Does not know: how the trees were trained, or where features come from.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.features import FEATURES

Numbers = npt.NDArray[np.float64]

SAID_SHARE = 0.8  # of a question's weight in its best window
MANY = 60  # candidates: the trees never saw fewer
FUSED_WEIGHT, FUSED_WEIGHT_UNKNOWN = 1.0, 10.0  # beside trees whose scores span about 10
_FUSED, _BEST_COVERAGE = FEATURES.index("fused"), FEATURES.index("best_coverage")

RANKER = Path(__file__).with_name("ranker.json")


class Trees:
    """Trees side by side: every row walks down all of them at once. A leaf points to itself."""

    def __init__(self, content: dict[str, Any]) -> None:
        """Take what `RANKER` holds. Raises `ValueError` if it was trained on other features."""
        unknown = set(content["features"]) - set(FEATURES)
        if unknown:
            raise ValueError(f"the ranker wants features that are not there: {', '.join(sorted(unknown))}")
        names = [FEATURES.index(name) for name in content["features"]]
        trees = content["trees"]
        self._roots = np.cumsum([0, *(len(tree["value"]) for tree in trees[:-1])])
        total = int(self._roots[-1]) + len(trees[-1]["value"])
        self._feature = np.zeros(total, dtype=np.int64)
        self._threshold = np.full(total, np.inf)
        self._next = np.repeat(np.arange(total), 2)  # two for each node: where to go up to the threshold, and above
        self._value = np.zeros(total)
        for root, tree in zip(self._roots.tolist(), trees, strict=True):
            self._value[root : root + len(tree["value"])] = tree["value"]
            for node, (feature, threshold, left, right) in enumerate(tree["splits"], root):
                self._feature[node], self._threshold[node] = names[feature], threshold
                self._next[2 * node : 2 * node + 2] = root + left, root + right
        self._depth = int(content["depth"])

    def score(self, features: Numbers) -> Numbers:
        """Return a score for each row of `features`, shape (rows, len(FEATURES))."""
        values = features.ravel()
        first = np.arange(0, features.size, features.shape[1])[:, None]
        node = np.tile(self._roots, (len(features), 1))
        for _ in range(self._depth):
            above = values.take(first + self._feature.take(node)) > self._threshold.take(node)
            node = self._next.take(2 * node + above)
        total: Numbers = self._value.take(node).sum(axis=1)
        return total


def learned_scores(trees: Trees, features: Numbers) -> Numbers:
    """Return what decides the order: the trees' score, and the sides' own fused score beside it.

    Most questions that the trees learned from are said word for word somewhere. Where no window says nearly all of a question they
    know less, and the fused score counts more: bench.ranker, shows never seen, low overlap .285 -> .298, play@1 .542 -> .540.
    So it is in a catalogue of a few talks.
    """
    if not len(features):
        return np.zeros(0)
    is_known = features[0, _BEST_COVERAGE] >= SAID_SHARE and len(features) >= MANY
    scores: Numbers = trees.score(features) + (FUSED_WEIGHT if is_known else FUSED_WEIGHT_UNKNOWN) * features[:, _FUSED]
    return scores


@lru_cache(maxsize=1)
def open_trees() -> Trees | None:
    """Return the ranker that comes with the program, None if there is none."""
    if not RANKER.is_file():
        return None
    return Trees(json.loads(RANKER.read_text(encoding="utf-8")))

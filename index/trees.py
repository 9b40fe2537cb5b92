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
        nodes = max(len(tree["value"]) for tree in trees)
        shape = (len(trees), nodes)
        self._feature = np.zeros(shape, dtype=np.int64)
        self._threshold = np.full(shape, np.inf)
        self._left = np.tile(np.arange(nodes), (len(trees), 1))
        self._right = self._left.copy()
        self._value = np.zeros(shape)
        for number, tree in enumerate(trees):
            count = len(tree["value"])
            self._value[number, :count] = tree["value"]
            for node, (feature, threshold, left, right) in enumerate(tree["splits"]):
                self._feature[number, node] = names[feature]
                self._threshold[number, node] = threshold
                self._left[number, node], self._right[number, node] = left, right
        self._depth = int(content["depth"])
        self._tree = np.arange(len(trees))[None, :]

    def score(self, features: Numbers) -> Numbers:
        """Return a score for each row of `features`, shape (rows, len(FEATURES))."""
        rows = np.arange(len(features))[:, None]
        node = np.zeros((len(features), len(self._value)), dtype=np.int64)
        for _ in range(self._depth):
            value = features[rows, self._feature[self._tree, node]]
            node = np.where(value <= self._threshold[self._tree, node], self._left[self._tree, node], self._right[self._tree, node])
        total: Numbers = self._value[self._tree, node].sum(axis=1)
        return total


@lru_cache(maxsize=1)
def open_trees() -> Trees | None:
    """Return the ranker that comes with the program, None if there is none."""
    if not RANKER.is_file():
        return None
    return Trees(json.loads(RANKER.read_text(encoding="utf-8")))

"""Trains the learned order of `index.trees` on judged queries and says what it gains on shows it never saw.

Comes in: a folder as `bench.retrieval_data` reads it. Goes out: the readable file `index/ranker.json`, and figures of a
cross-validation by show.
Two forests are trained and added: one on strict hits, which knows the right discussion, one on entries (playing the window starts
within 40 words of the true start), which knows the right place in it. One forest on graded labels gains less of both.
Needs `pip install lightgbm`; the product does not.
Does not know: how features are made.

    python -m bench.ranker --data ../shared/retrieval --split dev --episodes 200 --write
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.retrieval import CACHE, DEPTH, NEAR_WORDS, judge, overlap, strict, tell
from bench.retrieval_data import Query, embed_set, read_set, worsen
from bench.retrieval_runs import Catalogue, Hit
from index.embed import open_embedder
from index.features import FEATURES
from index.trees import RANKER, Trees, learned_scores
from store.settings import load_settings

FOLDS = 5
ENTRY_WEIGHT = 0.75  # of the second forest beside the first
DECIMALS = 5  # kept in the file

Numbers = npt.NDArray[np.float64]
Rule = Callable[[Query, Hit], bool]


@dataclass(frozen=True, slots=True)
class Example:
    """One query's candidates: features, shape (n, len(FEATURES)), and the windows they belong to."""

    query: Query
    show: str
    features: Numbers
    hits: tuple[Hit, ...]

    def labels(self, rule: Rule) -> npt.NDArray[np.int64]:
        """Return 1 for each candidate that fits a rule."""
        return np.array([rule(self.query, hit) for hit in self.hits], dtype=np.int64)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.ranker", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--episodes", type=int)
    parser.add_argument("--distractors", type=int, default=0, help="add this many episodes without judgments")
    parser.add_argument("--noise", type=float, default=0.0, help="share of words to replace as speech recognition might (0.1)")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--trees", type=int, default=80, help="of each forest")
    parser.add_argument("--leaves", type=int, default=12)
    parser.add_argument("--rate", type=float, default=0.08)
    parser.add_argument("--write", action="store_true", help=f"train on all shows and write {RANKER.name}")
    given = parser.parse_args()
    examples = collect(given.data, given.split, given.episodes, given.distractors, given.noise, given.cache)
    options = {"trees": given.trees, "leaves": given.leaves, "rate": given.rate}
    scores = cross_validate(examples, options)
    fused = [example.features[:, FEATURES.index("fused")] for example in examples]
    for name, made in (("fused", fused), ("learned, unseen shows", scores)):
        print(f"{name:20} {json.dumps(figures(examples, made))}")
    if given.write:
        content = train(examples, options)
        content["trained"] = {
            "queries": len(examples),
            "folds": FOLDS,
            "fused": figures(examples, fused),
            "unseen": figures(examples, scores),
        }
        RANKER.write_text(
            json.dumps(content, indent=None, separators=(",", ":")).replace('{"splits"', '\n{"splits"') + "\n", encoding="utf-8"
        )


def collect(data: Path, split: str, episodes: int | None, distractors: int, noise: float, cache: Path) -> list[Example]:
    """Ask every query of a set and return the candidates with their features."""
    alter = partial(worsen, share=noise) if noise else None
    given = read_set(data, split, episodes=episodes, distractors=distractors, alter=alter)
    shows = {talk.id: talk.show for talk in given.talks}
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        settings = load_settings(Path(folder))
        embedder = open_embedder(settings)
        catalogue = Catalogue(settings, given.talks, embedder, embed_set(given.talks, embedder, cache, tell), None)
        examples = []
        for number, query in enumerate(given.queries):
            features, hits = catalogue.describe(query.text, DEPTH)
            examples.append(Example(query, shows[query.talk_id], features, tuple(hits)))
            if number % 500 == 499:
                tell(f"{number + 1} of {len(given.queries)} queries")
    return examples


def cross_validate(examples: Sequence[Example], options: dict[str, Any]) -> list[Numbers]:
    """Score every query's candidates with trees trained on other shows only."""
    fold_of: dict[str, int] = {}
    load = [0] * FOLDS
    for show, count in Counter(example.show for example in examples).most_common():
        fold_of[show] = int(np.argmin(load))
        load[fold_of[show]] += count
    scores: list[Numbers] = [np.zeros(0)] * len(examples)
    for fold in range(FOLDS):
        trees = Trees(train([example for example in examples if fold_of[example.show] != fold], options))
        for number, example in enumerate(examples):
            if fold_of[example.show] == fold:
                scores[number] = learned_scores(trees, example.features)
        tell(f"fold {fold + 1} of {FOLDS}")
    return scores


def train(examples: Sequence[Example], options: dict[str, Any]) -> dict[str, Any]:
    """Train both forests on `examples` and return what the file holds."""
    trees = [*_forest(examples, strict, 1.0, options), *_forest(examples, plays, ENTRY_WEIGHT, options)]
    return {"features": list(FEATURES), "depth": max(tree.pop("depth") for tree in trees), "trees": trees}


def _forest(examples: Sequence[Example], rule: Rule, weight: float, options: dict[str, Any]) -> list[dict[str, Any]]:
    import lightgbm  # type: ignore[import-not-found, import-untyped, unused-ignore]

    labelled = [(example, example.labels(rule)) for example in examples if len(example.hits)]
    useful = [(example, labels) for example, labels in labelled if labels.any()]
    data = lightgbm.Dataset(
        np.concatenate([example.features for example, _ in useful]),
        np.concatenate([labels for _, labels in useful]),
        group=[len(labels) for _, labels in useful],
    )
    booster = lightgbm.train(
        {
            "objective": "lambdarank",
            "num_leaves": options["leaves"],
            "max_depth": 6,
            "learning_rate": options["rate"],
            "min_data_in_leaf": 50,
            "lambdarank_truncation_level": 15,
            "feature_fraction": 0.7,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5,
            "seed": 1,
            "num_threads": 1,
            "verbose": -1,
        },
        data,
        options["trees"],
    )
    return [_plain(tree["tree_structure"], weight) for tree in booster.dump_model()["tree_info"]]


def figures(examples: Sequence[Example], scores: Sequence[Numbers]) -> dict[str, float]:
    """Return strict nDCG@10 (all, low overlap) and play@1 of rankings by `scores`."""
    gains, low, plays = [], [], []
    for example, values in zip(examples, scores, strict=True):
        judged = judge(example.query, [example.hits[row] for row in np.argsort(-values, kind="stable")])
        rank = judged.ranks["strict"]
        gains.append(1 / np.log2(1 + rank) if 0 < rank <= 10 else 0.0)
        low.append(overlap(example.query) <= 0.6)
        plays.append(any(error is not None and abs(error) <= NEAR_WORDS for error in judged.start_errors[:1]))
    gain = np.array(gains)
    return {
        "ndcg10": round(float(gain.mean()), 4),
        "low60": round(float(gain[np.array(low)].mean()), 4),
        "play1": round(float(np.mean(plays)), 4),
    }


def plays(query: Query, hit: Hit) -> bool:
    """Tell whether playing a window starts near the true start."""
    return hit.talk_id == query.talk_id and abs(hit.start_word - query.first_word) <= NEAR_WORDS


def _plain(root: dict[str, Any], weight: float) -> dict[str, Any]:
    """Flatten a tree: inner nodes first (feature, threshold, left, right), then leaves; `value` has one entry a node.

    Leaves are worth `weight` times what they were; numbers are rounded, because the file is to be read.
    """
    inner: list[dict[str, Any]] = []
    leaves: list[dict[str, Any]] = []

    def visit(node: dict[str, Any], depth: int) -> int:
        (inner if "split_feature" in node else leaves).append(node)
        if "split_feature" not in node:
            return depth
        return max(visit(node["left_child"], depth + 1), visit(node["right_child"], depth + 1))

    depth = visit(root, 0)
    number = {id(node): place for place, node in enumerate([*inner, *leaves])}
    splits = [
        [node["split_feature"], round(node["threshold"], DECIMALS), number[id(node["left_child"])], number[id(node["right_child"])]]
        for node in inner
    ]
    return {
        "splits": splits,
        "value": [0.0] * len(inner) + [round(weight * leaf["leaf_value"], DECIMALS) for leaf in leaves],
        "depth": depth,
    }


if __name__ == "__main__":
    main()

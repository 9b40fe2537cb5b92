"""A cross-encoder reads question and window side by side: slow, and only for the windows that are first anyway. Off unless set.

Comes in: a question, a ranking, the windows' texts. Goes out: the ranking, its head put in order by both.
It has a time budget: as many windows are read as fit, at the speed that was measured; where it fails, the ranking stays as it was.
Does not know: where windows come from, or what the ranking was made of.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import numpy.typing as npt

from index.ranker import Place, Ranked, Ranking, scaled
from store.errors import WeightsError
from store.settings import Settings
from store.weights import find_embedder

MOST = 32  # windows that are read at all
FEWEST = 2  # reading fewer orders nothing
AT_ONCE = 4  # windows between two looks at the clock
FIRST_MS = 30.0  # that a window is thought to take before any was read
FORGETS = 0.3  # weight of the newest measurement of speed

Scores = npt.NDArray[np.float64]
Texts = Callable[[Sequence[Place]], list[str]]

log = logging.getLogger("earmark.search")


class Judge:
    """The cross-encoder that the settings name. Safe to use from many threads at once."""

    def __init__(self, settings: Settings, pool: Executor) -> None:
        """Begin to load the model if there is one; nothing waits for it."""
        self._budget_ms = settings.cross_encoder_budget_ms
        self._opening: Future[Any] | None = pool.submit(_opened, settings) if settings.cross_encoder else None
        self._ms_each = FIRST_MS
        self._told = False

    def order(self, question: str, ranking: Ranking, texts: Texts) -> Ranking:
        """Return `ranking` with its first windows in a better order; as it is where the model is not there, or there is no time."""
        if self._opening is None or not self._opening.done():
            return ranking
        count = min(MOST, len(ranking), int(self._budget_ms / self._ms_each))
        if count < FEWEST:
            self._ms_each *= 0.99  # it was slow once; some day it is tried again
            return ranking
        first = ranking[:count]
        try:
            read = self._read(self._opening.result(), question, texts([one.place for one in first]))
        except Exception:  # a model from anywhere may fail in any way; the ranking is good without it
            if not self._told:
                log.exception("the cross-encoder cannot be used")
                self._told = True
            return ranking
        return _together(ranking, read)

    def _read(self, model: Any, question: str, texts: Sequence[str]) -> Scores:
        """Score windows until the budget is spent; return what was scored, in their order."""
        began = time.perf_counter()
        found: list[float] = []
        for start in range(0, len(texts), AT_ONCE):
            if found and (time.perf_counter() - began) * 1000 > self._budget_ms:
                break
            pairs = [(question, text) for text in texts[start : start + AT_ONCE]]
            found.extend(float(score) for score in model.predict(pairs, batch_size=AT_ONCE, show_progress_bar=False))
        took_ms = (time.perf_counter() - began) * 1000 / len(found)
        self._ms_each += FORGETS * (took_ms - self._ms_each)
        return np.array(found)


def _together(ranking: Ranking, read: Scores) -> Ranking:
    """Put the first windows in the order of both scores, each stretched to [0, 1]; they keep the scores that these places had."""
    head = ranking[: len(read)]
    both = scaled(read) + scaled(np.array([one.score for one in head]))
    order = np.argsort(-both, kind="stable")
    return [
        *(Ranked(head[place].place, one.score) for one, place in zip(head, order.tolist(), strict=True)),
        *ranking[len(read) :],
    ]


def _opened(settings: Settings) -> Any:
    import torch
    from sentence_transformers import CrossEncoder

    folder = find_embedder(settings.cross_encoder, settings)
    torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 2) // 2))
    try:
        return CrossEncoder(str(folder), device="cuda" if torch.cuda.is_available() else "cpu", local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"not a cross-encoder ({error})", where=str(folder), next_step="Check the setting cross_encoder"
        ) from error

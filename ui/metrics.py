"""/metrics for Prometheus: what the store says, this process, and how the searches of this server go.

Comes in: a store, and each search's outcome and time. Goes out: the text format that Prometheus reads.
Does not know: who may read it (`ui.gate` asks for the admin's login, except on this machine), how a search is done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from store.database import Database
from store.metrics import registry

if TYPE_CHECKING:
    from fastapi import FastAPI

PATH = "/metrics"
BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1.0, 2.0, 5.0)


class SearchMeter:
    """Counts the searches of this process. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        from prometheus_client import Counter, Histogram

        self.registry = registry(database)
        self._count = Counter(
            "earmark_searches", "Searches by outcome: ok, degraded, failed, or kept (answered from memory)", ("outcome",),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "earmark_search_seconds",
            "Time of a search that was not answered from memory",
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def kept(self) -> None:
        """Count a search that was answered from memory."""
        self._count.labels("kept").inc()

    @contextmanager
    def search(self) -> Iterator[None]:
        """Time a search; one that raises counts as failed."""
        began = time.perf_counter()
        try:
            yield
        except BaseException:
            self._count.labels("failed").inc()
            raise
        self._seconds.observe(time.perf_counter() - began)

    def answered(self, *, degraded: bool) -> None:
        """Count a search that found its answer."""
        self._count.labels("degraded" if degraded else "ok").inc()


def add_metrics(app: FastAPI, meter: SearchMeter) -> None:
    """Add /metrics."""
    from fastapi import Response
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    @app.get(PATH, include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(meter.registry), media_type=CONTENT_TYPE_LATEST, headers={"cache-control": "no-store"})

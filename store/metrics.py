"""Prometheus metrics, read from the store at each scrape: the queue, the catalogue, the transcription's progress.

Comes in: a database. Goes out: a `CollectorRegistry` for prometheus-client; `earmark run --metrics-port` and the web app's
`/metrics` serve it. The store is the one truth, so a scrape is right whichever process answers it, also after a crash.
Does not know: HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from store.database import Database
from store.episodes import totals
from store.jobs import count_jobs, read_progress

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric


class StoreCollector:
    """Asks the store when Prometheus asks us."""

    def __init__(self, database: Database) -> None:
        """Take an open store; it is only read."""
        self._database = database

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        from prometheus_client.core import GaugeMetricFamily

        queue = GaugeMetricFamily("earmark_jobs", "Jobs by kind and state", labels=("kind", "state"))
        for (kind, state), count in count_jobs(self._database).items():
            queue.add_metric((kind, state), count)
        yield queue
        holds = totals(self._database)
        yield GaugeMetricFamily("earmark_shows", "Shows", holds.shows)
        yield GaugeMetricFamily("earmark_episodes", "Episodes", holds.episodes)
        yield GaugeMetricFamily("earmark_episodes_readable", "Episodes with a transcript", holds.readable)
        yield GaugeMetricFamily("earmark_passages", "Passages", holds.passages)
        yield GaugeMetricFamily("earmark_readable_seconds", "Audio seconds of the readable episodes", holds.duration_s)
        progress = read_progress(self._database)
        yield GaugeMetricFamily("earmark_transcription_total_seconds", "Audio seconds queued, running or done", progress.total_s)
        yield GaugeMetricFamily("earmark_transcription_done_seconds", "Audio seconds transcribed", progress.done_s)


def registry(database: Database) -> CollectorRegistry:
    """Return a registry with the store's metrics and those of this process."""
    from prometheus_client import CollectorRegistry as Registry
    from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

    made = Registry()
    made.register(StoreCollector(database))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made

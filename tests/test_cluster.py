"""A cluster of two local nodes, one of which is killed in the middle: nothing is lost, nothing is done twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.attempts import attempt
from store import episodes, jobs
from store.database import Database
from store.settings import load_settings
from tests.test_decoding import queue, text_of

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_node_killed_in_the_middle_loses_nothing(database: Database, samples: Path) -> None:
    from ray.cluster_utils import Cluster

    from pipeline.cluster import ClusterDecoding

    talks = sorted(samples.glob("*.mp3"), key=lambda path: path.stat().st_size)[:2]
    ids = queue(database, talks)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    said: list[str] = []
    settings = load_settings(
        database.folder,
        {
            "model": "tiny.en",
            "offline": True,
            "threads": 1,
            "batch_size": 1,
            "ray": cluster.address,
            "device": "cpu",
            "ray_actors": 2,
        },
        {},
    )
    decoding = ClusterDecoding(settings, database, "driver", said.append)
    try:
        for job in jobs.claim(database, "driver", ("transcribe",), limit=2):
            attempt(database, job, decoding.prepare, said.append)
        deadline = time.monotonic() + 200
        killed = False
        while time.monotonic() < deadline and not all(
            job.state == "done" for job in jobs.list_jobs(database) if job.kind == "transcribe"
        ):
            decoding.step()
            done = database.read().execute("select count(*) from chunk where segments is not null").fetchone()[0]
            if done and not killed and any(len(actors) == 2 for actors in decoding._actors.values()):
                cluster.remove_node(second, allow_graceful=False)
                killed = True
    finally:
        decoding.close()
        cluster.shutdown()
    assert killed, said
    for episode_id, path in zip(ids, talks, strict=True):
        said_words, true = text_of(database, episode_id).split(), path.with_suffix(".txt").read_text().split()
        assert 0.85 < len(said_words) / len(true) < 1.15
    assert database.read().execute("select count(*) from transcript").fetchone()[0] == len(ids)
    assert all(episodes.get_episode(database, episode_id).transcript_id for episode_id in ids)

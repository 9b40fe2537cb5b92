"""A worker on a feed of a local server: what is new comes in, what is bad fails alone, what is known is asked about once."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import pipeline.worker as worker_module
from index.build import IndexStage
from index.search import Searcher
from pipeline.attempts import attempt
from pipeline.intake import take_in
from pipeline.sources import list_source
from pipeline.worker import Worker
from store import episodes, jobs
from store.database import Database
from store.errors import DiskFull, IndexBusy
from store.jobs import Job
from store.pictures import picture_name
from store.settings import Settings
from tests.local_web import Handler, Web, serve, settings_for

TALKS = {
    1: "The sea is salty because rivers carry minerals into it, and only the water leaves again.",
    2: "A lighthouse lens is cut into rings so that the glass stays thin and the light goes far.",
    3: "Winter bees shiver in a ball around their queen and live from the honey of the summer.",
}


def feed(*numbers: int, moved_to: str = "") -> bytes:
    items = "".join(
        f"<item><guid>talk-{n}</guid><title>Talk {n}</title><pubDate>{n:02} Oct 2025 04:00:00 GMT</pubDate>"
        f"<enclosure url='{n}.mp3' type='audio/mpeg'/><podcast:transcript url='{n}.vtt' type='text/vtt'/></item>"
        for n in numbers
    )
    moved = f"<itunes:new-feed-url>{moved_to}</itunes:new-feed-url>" if moved_to else ""
    spaces = "xmlns:podcast='https://podcastindex.org/namespace/1.0' xmlns:itunes='http://www.itunes.com/dtds/podcast-1.0.dtd'"
    return f"<rss version='2.0' {spaces}><channel><title>Short talks</title>{moved}{items}</channel></rss>".encode()


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        for number, text in TALKS.items():
            server.pages[f"/{number}.vtt"] = (f"WEBVTT\n\n00:00.000 --> 00:08.000\n<v Ada>{text}\n".encode(), "text/vtt")
        server.pages["/feed.xml"] = (feed(1, 2), "application/rss+xml")
        yield server


@pytest.fixture
def settings(web: Web, tmp_path: Path) -> Settings:
    return settings_for(web, data_dir=tmp_path / "data", offline=True, model="tiny.en")


@pytest.fixture
def database(settings: Settings) -> Database:
    return Database.in_folder(settings.data_dir)


def add(database: Database, settings: Settings, link: str, **narrow: object) -> None:
    listing = list_source(link, settings, **narrow)  # type: ignore[arg-type]
    with database.write() as connection:
        take_in(connection, listing, {"captions": "only"}, narrow)


def run(settings: Settings) -> list[str]:
    said: list[str] = []
    worker = Worker(settings, IndexStage, said.append)
    try:
        worker.run()
    finally:
        worker.stop()
    return said


def sync(database: Database, settings: Settings) -> list[str]:
    with database.write() as connection:
        assert jobs.enqueue_sync(connection) == 1
    return run(settings)


def first(settings: Settings, database: Database, question: str) -> str:
    return Searcher(settings, database).search(question).moments[0].title


def test_a_feed_becomes_searchable_and_stays_in_step(web: Web, settings: Settings, database: Database) -> None:
    add(database, settings, web.link("/feed.xml"))
    said = run(settings)
    assert "Talk 1: searchable" in said and "Talk 2: searchable" in said
    assert first(settings, database, "why is the sea salty") == "Talk 1"
    (moment, *_) = Searcher(settings, database).search("lighthouse lens").moments
    assert (moment.speaker, moment.play_url) == ("Ada", web.link("/2.mp3"))

    web.pages["/feed.xml"] = (feed(2, 3), "application/rss+xml")
    assert "Short talks: 1 new episodes, 1 no longer listed (kept)" in sync(database, settings)
    assert first(settings, database, "how do bees survive the winter") == "Talk 3"
    assert first(settings, database, "why is the sea salty") == "Talk 1"
    assert all(job.options == {"captions": "only"} for job in jobs.list_jobs(database) if job.kind in ("fetch", "index"))


def test_without_news_a_sync_is_one_conditional_request(web: Web, settings: Settings, database: Database) -> None:
    def conditional(handler: Handler) -> None:
        if handler.headers.get("If-None-Match") == '"v1"':
            handler.send(b"", "text/plain", 304)
        else:
            handler.send(feed(1), "application/rss+xml", ETag='"v1"')

    web.pages["/feed.xml"] = conditional
    add(database, settings, web.link("/feed.xml"))
    run(settings)
    web.seen.clear()
    sync(database, settings)
    assert [(path, headers.get("If-None-Match")) for path, headers in web.seen] == [("/feed.xml", '"v1"')]
    assert len(episodes.list_episodes(database)) == 1


def test_a_feed_that_moved_stays_one_show(web: Web, settings: Settings, database: Database) -> None:
    add(database, settings, web.link("/feed.xml"))
    run(settings)
    (before,) = episodes.list_shows(database)
    web.pages["/new.xml"] = (feed(1, 2, 3), "application/rss+xml")
    web.pages["/feed.xml"] = lambda handler: handler.move(web.link("/new.xml"), 301)
    sync(database, settings)
    (after,) = episodes.list_shows(database)
    assert (after.id, after.link) == (before.id, web.link("/new.xml"))
    assert len(episodes.list_episodes(database)) == 3


def test_a_limit_holds_for_later_syncs(web: Web, settings: Settings, database: Database) -> None:
    add(database, settings, web.link("/feed.xml"), limit=1)
    run(settings)
    assert [episode.title for episode in episodes.list_episodes(database)] == ["Talk 2"]
    web.pages["/feed.xml"] = (feed(1, 2, 3), "application/rss+xml")
    sync(database, settings)
    assert [episode.title for episode in episodes.list_episodes(database)] == ["Talk 3", "Talk 2"]


def test_one_bad_episode_never_stops_a_run(web: Web, settings: Settings, database: Database) -> None:
    del web.pages["/1.vtt"]
    add(database, settings, web.link("/feed.xml"))
    said = run(settings)
    (failed,) = jobs.list_jobs(database, states=("failed",))
    assert "no transcript" in failed.error and any("Talk 1" in line and "no transcript" in line for line in said)
    assert first(settings, database, "lighthouse") == "Talk 2"


def test_the_log_names_stage_and_episode_and_hides_keys(web: Web, settings: Settings, database: Database) -> None:
    from store.logs import open_log

    open_log(settings.data_dir)
    web.pages["/feed.xml"] = (feed(1).replace(b"1.mp3", b"1.mp3?token=s3cretkey0123456789ab"), "application/rss+xml")
    add(database, settings, web.link("/feed.xml?auth=s3cretkey0123456789ab"))
    run(settings)
    lines = [line for path in (settings.data_dir / "log").glob("*") for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    (episode,) = episodes.list_episodes(database)
    assert {("fetch", episode.id), ("index", episode.id)} <= {(row.get("stage"), row.get("episode")) for row in rows}
    assert "s3cretkey" not in "\n".join(lines)
    (moment, *_) = Searcher(settings, database).search("sea").moments
    assert "s3cretkey" not in moment.play_url


def test_a_show_and_its_talks_get_their_pictures(web: Web, settings: Settings, database: Database) -> None:
    cover = io.BytesIO()
    Image.new("RGB", (600, 600), "#1167b1").save(cover, "PNG")
    web.pages["/cover.png"] = (cover.getvalue(), "image/png")
    image = b"<channel><itunes:image href='cover.png'/>"
    talk = b"<guid>talk-1</guid><itunes:image href='broken.png'/>"
    web.pages["/feed.xml"] = (feed(1).replace(b"<channel>", image).replace(b"<guid>talk-1</guid>", talk), "application/rss+xml")
    add(database, settings, web.link("/feed.xml"))
    assert "Talk 1: searchable" in run(settings)  # the picture that is missing fails no job
    kept = settings.data_dir / "pictures" / picture_name(web.link("/cover.png"))
    assert list(kept.parent.iterdir()) == [kept]
    kept.unlink()  # as if the talks had come before pictures were kept
    run(settings)
    assert list(kept.parent.iterdir()) == [kept]


def test_a_file_of_this_machine_with_its_transcript_beside_it_can_be_played(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    talk = tmp_path / "talks" / "sea.mp3"
    talk.parent.mkdir()
    talk.write_bytes(b"ID3 sound that nobody needs to decode")
    talk.with_suffix(".vtt").write_text(f"WEBVTT\n\n00:00.000 --> 00:08.000\n{TALKS[1]}\n")
    add(database, settings, str(talk.parent))
    run(settings)
    (episode,) = episodes.list_episodes(database)
    assert episode.recording_id is not None and episode.duration_s == 8.0
    assert episodes.get_recording(database, episode.recording_id).path == str(talk)
    (moment, *_) = Searcher(settings, database).search("why is the sea salty").moments
    assert moment.play_url == f"/media/{episode.id}"
    with database.write() as connection:
        jobs.enqueue(connection, "remove", episode_id=episode.id)
    run(settings)
    assert talk.is_file()  # it is the user's


def test_a_full_disk_holds_the_work_until_there_is_space(
    web: Web, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, settings, web.link("/feed.xml"))
    free = [0, 0, 0]  # bytes, for the first looks

    def usage(path: object) -> object:
        return SimpleNamespace(free=free.pop() if free else 1 << 40)

    monkeypatch.setattr(worker_module, "LOOK_FOR_SPACE_S", 0.05)
    monkeypatch.setattr(worker_module.shutil, "disk_usage", usage)
    said = run(settings)
    assert any(line.startswith("the disk is full: waiting") for line in said)
    assert not free and "Talk 1: searchable" in said and "Talk 2: searchable" in said
    assert not jobs.list_jobs(database, states=("failed", "queued"))


def test_no_space_for_a_file_never_fails_a_job_for_good(web: Web, settings: Settings, database: Database) -> None:
    add(database, settings, web.link("/feed.xml"))
    for _ in range(jobs.MAX_FAILURES + 2):
        (job,) = jobs.claim(database, "me", ("fetch",), now=time.time() + 1000)
        attempt(database, job, full, lambda text: None)
    found = jobs.list_jobs(database, states=("queued",))
    assert len(found) == 2
    assert any("no space" in job.error and job.failures == 0 for job in found)


def full(job: Job) -> None:
    raise DiskFull("no space", where="talk.mp3", next_step="Free some")


def test_what_finds_windows_may_be_away_for_a_while(
    web: Web, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = IndexStage.publish, []

    def publish(stage: IndexStage) -> object:
        tries.append(1)
        if len(tries) == 1:
            raise IndexBusy("Qdrant does not answer (a test)")
        return real(stage)

    monkeypatch.setattr(IndexStage, "publish", publish)
    monkeypatch.setattr(worker_module, "PUBLISH_AGAIN_S", 0.0)
    web.pages["/feed.xml"] = (feed(1), "application/rss+xml")
    add(database, settings, web.link("/feed.xml"))
    said = run(settings)
    assert "not searchable yet: Qdrant does not answer (a test)" in said and len(tries) == 2
    assert not jobs.list_jobs(database, states=("failed",))
    assert first(settings, database, "why is the sea salty") == "Talk 1"

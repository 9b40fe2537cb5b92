"""Publishers' pictures: fetched once from a local server, kept small, served by us; failures are a line in the log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipeline.pictures import MAX_BYTES, Pictures
from pipeline.sources import list_source
from store.database import Database
from store.episodes import save_episode, save_show
from store.pictures import FOLDER, picture_name
from store.records import EpisodeListing, ShowListing
from tests.local_web import Web, serve, settings_for
from ui.pictures import kept_picture


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        yield server


def image(size: tuple[int, int] = (1400, 1000), form: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "#1167b1").save(out, form)
    return out.getvalue()


def test_a_picture_is_fetched_once_made_small_and_found_by_the_page(web: Web, tmp_path: Path) -> None:
    web.pages["/cover.jpg"] = (image(), "image/jpeg")
    web.pages["/other.png"] = (image((200, 200), "PNG"), "application/octet-stream")
    pictures = Pictures(settings_for(web, data_dir=tmp_path))
    addresses = [web.link("/cover.jpg"), web.link("/other.png"), web.link("/cover.jpg"), "", "/etc/passwd"]
    assert pictures.fetch(addresses) == 2
    assert pictures.fetch(addresses) == 0 and web.paths() == ["/cover.jpg", "/other.png"]
    body = kept_picture(tmp_path / FOLDER, web.link("/cover.jpg"))
    assert body is not None and (tmp_path / FOLDER / picture_name(web.link("/cover.jpg"))).read_bytes() == body
    kept = Image.open(io.BytesIO(body))
    assert kept.format == "WEBP" and kept.size == (320, 229) and len(body) < 20_000


def test_what_is_no_picture_is_a_line_in_the_log(web: Web, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    web.pages["/text.png"] = (b"<html>not a picture</html>", "image/png")
    web.pages["/large.png"] = (b"x" * (MAX_BYTES + 1), "image/png")
    web.pages["/wide.png"] = (image((9000, 9000), "PNG"), "image/png")
    web.pages["/moved.png"] = lambda handler: handler.move("http://10.0.0.1/secret.png")
    bad = [
        web.link(path) for path in ("/text.png", "/large.png", "/wide.png", "/moved.png", "/gone.png?token=abcdef0123456789abcd")
    ]
    pictures = Pictures(settings_for(web, data_dir=tmp_path))
    with caplog.at_level(logging.WARNING, "earmark.pictures"):
        assert pictures.fetch(bad) == 0
        assert pictures.fetch(bad) == 0  # not asked again
    assert len(caplog.records) == len(bad) and len(web.paths()) == len(bad)
    assert "abcdef0123456789abcd" not in caplog.text
    assert not list(tmp_path.glob("pictures/*"))


def test_pictures_that_nothing_names_any_more_go(web: Web, tmp_path: Path) -> None:
    web.pages["/kept.png"] = web.pages["/gone.png"] = (image((100, 100), "PNG"), "image/png")
    pictures = Pictures(settings_for(web, data_dir=tmp_path))
    pictures.fetch([web.link("/kept.png"), web.link("/gone.png")])
    database = Database.in_folder(tmp_path)
    with database.write() as connection:
        show = save_show(connection, ShowListing(link="https://example.org/f", kind="feed", title="Talks", episodes=()))
        save_episode(connection, show, EpisodeListing("one", "One", "", image_url=web.link("/kept.png")))
    assert pictures.sweep(database) == 1
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [picture_name(web.link("/kept.png"))]


def test_a_feed_on_this_machine_names_the_pictures_beside_it(web: Web, tmp_path: Path) -> None:
    (tmp_path / "cover.png").write_bytes(image((64, 64), "PNG"))
    (tmp_path / "talk.mp3").write_bytes(b"ID3")
    item = "<item><title>One</title><enclosure url='talk.mp3' type='audio/mpeg'/><itunes:image href='../outside.png'/></item>"
    (tmp_path / "feed.xml").write_text(
        "<rss version='2.0' xmlns:itunes='http://www.itunes.com/dtds/podcast-1.0.dtd'><channel><title>Talks</title>"
        f"<itunes:image href='cover.png'/>{item}</channel></rss>"
    )
    listing = list_source(str(tmp_path / "feed.xml"), settings_for(web))
    assert listing.image_url == str(tmp_path / "cover.png") and listing.episodes[0].image_url == ""

"""Recordings that come over a bad line, and answers that are no recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sources import fetch_media
from store.errors import DiskFull, SourceBusy, SourceError
from store.settings import Settings
from tests.local_web import Handler, Web, serve, settings_for
from tests.test_sources import episode


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        yield server


@pytest.fixture
def here(web: Web) -> Settings:
    return settings_for(web)


class Flaky:
    """A file that breaks off after some bytes, as often as asked, and serves ranges."""

    def __init__(self, body: bytes, cuts: list[int], etag: str = '"v1"', ranges: bool = True) -> None:
        self.body, self.cuts, self.etag, self.ranges = body, cuts, etag, ranges

    def __call__(self, h: Handler) -> None:
        start = 0
        asked = h.headers["Range"]
        if asked and self.ranges and h.headers["If-Range"] == self.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(self.body):
                h.send(b"", "text/plain", 416, Content_Range=f"bytes */{len(self.body)}")
                return
            h.send_response(206)
            h.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        else:
            h.send_response(200)
        h.send_header("Content-Type", "audio/mpeg")
        h.send_header("Content-Length", str(len(self.body) - start))
        if self.etag:
            h.send_header("ETag", self.etag)
        h.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else len(self.body)
        h.wfile.write(self.body[start:end])
        h.wfile.flush()
        h.close_connection = True


BODY = b"ID3" + bytes(range(256)) * 2000


def test_a_broken_download_goes_on(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = Flaky(BODY, [100_000, 200_000])
    shares: list[float] = []
    fetched = fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here, shares.append)
    assert fetched.path.read_bytes() == BODY
    assert [headers.get("Range") for _, headers in web.seen] == [None, "bytes=100000-", "bytes=300000-"]
    assert shares[-1] == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ep1.mp3"]


def test_it_goes_on_after_a_restart(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = Flaky(BODY, [100_000] + [0] * 20)
    with pytest.raises(SourceBusy, match="broke off"):
        fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here)
    assert (tmp_path / "ep1.part").stat().st_size == 100_000
    web.seen.clear()
    web.pages["/a.mp3"] = Flaky(BODY, [])
    assert fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here).path.read_bytes() == BODY
    assert [headers.get("Range") for _, headers in web.seen] == ["bytes=100000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = Flaky(BODY, [100_000] + [0] * 20)
    with pytest.raises(SourceBusy):
        fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here)
    other = b"ID3" + b"new" * 9000
    web.pages["/a.mp3"] = Flaky(other, [], etag='"v2"')
    assert fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here).path.read_bytes() == other


def test_everything_was_here_already(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = Flaky(BODY, [100_000] + [0] * 20)
    with pytest.raises(SourceBusy):
        fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here)
    (tmp_path / "ep1.part").write_bytes(BODY)
    web.pages["/a.mp3"] = Flaky(BODY, [])
    assert fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here).path.read_bytes() == BODY


def test_a_server_without_ranges_starts_again(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = Flaky(BODY, [100_000], ranges=False)
    assert fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here).path.read_bytes() == BODY
    web.pages["/a.mp3"] = Flaky(BODY, [100_000], etag="")
    with pytest.raises(SourceBusy, match="broke off"):
        fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here)
    assert fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here).path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("body", "media_type", "words"),
    [
        (b"<!DOCTYPE html><html><body>Please log in</body></html>", "text/html", "a web page, not audio"),
        (b"<html>Please log in</html>", "audio/mpeg", "a web page, not audio"),
        (b"\n\n<!-- x --><html></html>", "text/html; charset=utf-8", "a web page, not audio"),
        (b"", "audio/mpeg", "with nothing"),
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "audio/mpeg", "a playlist, not audio"),
        (b'{"error": "expired"}', "application/json", "text \\(application/json\\), not audio"),
        (
            b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
            "application/xml",
            "text \\(application/xml\\), not audio",
        ),
    ],
)
def test_what_is_no_recording(web: Web, here: Settings, tmp_path: Path, body: bytes, media_type: str, words: str) -> None:
    web.pages["/a"] = (body, media_type)
    with pytest.raises(SourceError, match=words) as caught:
        fetch_media(episode(media_url=web.link("/a")), tmp_path, here)
    assert caught.value.permanent
    assert not (tmp_path / "ep1.mp3").exists()


def test_a_radio_station_is_no_recording(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/live"] = lambda h: h.send(b"ID3" + b"x" * 2000, "audio/mpeg", icy_name="Radio Tea")
    with pytest.raises(SourceError, match="never ends"):
        fetch_media(episode(media_url=web.link("/live")), tmp_path, here)


def test_a_recording_over_the_limit(web: Web, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = (b"ID3" + b"x" * 2_000_000, "audio/mpeg")
    with pytest.raises(SourceError, match="larger than the limit of 1 MB"):
        fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, settings_for(web, max_download_mb=1))


def test_a_disk_that_is_full(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/a.mp3"] = (BODY, "audio/mpeg")
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(DiskFull, match="cannot be written"):
            fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert fetch_media(episode(media_url=web.link("/a.mp3")), tmp_path, here).path.read_bytes() == BODY

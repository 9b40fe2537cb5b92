from __future__ import annotations

import httpx
import pytest

from tests.web_site import AUDIO_S, RATE_HZ, Running, running_site

SIZE = 44 + AUDIO_S * RATE_HZ * 2


@pytest.fixture(scope="module")
def site() -> Running:
    return running_site()


def get(site: Running, name: str, method: str = "GET", **headers: str) -> httpx.Response:
    return httpx.request(method, f"{site.base}/media/{site.ids[name]}", headers=headers)


def test_whole_and_head(site: Running) -> None:
    whole = get(site, "soil")
    assert whole.status_code == 200 and len(whole.content) == SIZE
    assert whole.headers["accept-ranges"] == "bytes" and whole.headers["content-type"].startswith("audio/")
    head = get(site, "soil", "HEAD")
    assert head.status_code == 200 and int(head.headers["content-length"]) == SIZE and not head.content


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=100-199", 100, 200), ("bytes=-50", SIZE - 50, SIZE), (f"bytes={SIZE - 10}-", SIZE - 10, SIZE)],
)
def test_ranges(site: Running, asked: str, start: int, end: int) -> None:
    whole = get(site, "soil").content
    part = get(site, "soil", range=asked)
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert part.content == whole[start:end]


def test_range_past_the_end_is_refused(site: Running) -> None:
    refused = get(site, "soil", range=f"bytes={SIZE + 5}-")
    assert refused.status_code == 416 and refused.headers["content-range"].endswith(str(SIZE))


def test_if_range(site: Running) -> None:
    etag = get(site, "soil", "HEAD").headers["etag"]
    assert get(site, "soil", range="bytes=0-9", **{"if-range": etag}).status_code == 206
    assert get(site, "soil", range="bytes=0-9", **{"if-range": '"other"'}).status_code == 200


def test_only_local_files_that_the_store_knows(site: Running) -> None:
    assert get(site, "comets").status_code == 404
    for path in ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "nothing", "soil.wav"):
        assert httpx.get(f"{site.base}/media/{path}").status_code in (404, 405)


def test_static_serves_its_own_files_only(site: Running) -> None:
    assert httpx.get(f"{site.base}/static/ear-mark.js").headers["content-type"].startswith("text/javascript")
    for path in ("..%2Fweb.py", "../web.py", "nothing.js", "%2e%2e%2fweb.py"):
        assert httpx.get(f"{site.base}/static/{path}").status_code in (403, 404)
    etag = httpx.get(f"{site.base}/static/dom.js").headers["etag"]
    assert httpx.get(f"{site.base}/static/dom.js", headers={"if-none-match": etag}).status_code == 304

"""Requests that leave: where they may go, how long and how large they may become, and what their failures say."""

from __future__ import annotations

import gzip
import logging
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.addresses import AllowList, is_public
from pipeline.netguard import Netguard, redact
from pipeline.pauses import Pauses
from pipeline.refusals import retry_after_s
from store.errors import BlockedAddress, EarmarkError, SourceBusy, SourceError
from store.links import has_secret, redact_text
from store.settings import Settings
from tests.local_web import Handler, Web, serve, settings_for


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        yield server


NOWHERE = Path("no-such-folder")


def guard_for(*webs: Web, **values: object) -> Netguard:
    return Netguard(settings_for(*webs, **values))


# --- where a request may go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "::", "::1", "fe80::1", "fe80::1%eth0"),
        *("fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1"),
        *(
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:0808:0808::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "::127.0.0.1",
            "100::1",
            "host",
            "",
        ),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "link",
    [
        *("http://127.0.0.1/", "http://localhost/", "http://0x7f.1/", "http://2130706433/", "http://0/", "http://[::1]/"),
        *("http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/meta-data/", "http://127.1:8080/", "https://10.1.2.3/feed"),
        *("file:///etc/passwd", "ftp://example.com/x", "gopher://127.0.0.1:25/", "data:text/html,x", "javascript:1", "//x", "x"),
    ],
)
def test_what_is_never_opened(link: str) -> None:
    guard = Netguard(Settings(data_dir=NOWHERE, pause_s=0))
    for attempt in (guard.check_url, guard.get):
        with pytest.raises(BlockedAddress):
            attempt(link)


def test_an_allowed_host_is_allowed_for_its_port_only(web: Web) -> None:
    web.pages["/"] = (b"hello", "text/plain")
    with serve() as other:
        other.pages["/"] = (b"secret", "text/plain")
        guard = guard_for(web)
        assert guard.get(web.link("/")).body == b"hello"
        with pytest.raises(BlockedAddress):
            guard.get(other.link("/"))
        assert other.seen == []


def test_allow_list_spellings() -> None:
    allowed = AllowList(["Intranet.example", "nas:8080", "[fd00::1]:90", "fd00::2", "10.0.0.5"])
    assert allowed.names("intranet.EXAMPLE", 443)
    assert allowed.names("intranet.example.", 80)
    assert allowed.names("nas", 8080)
    assert not allowed.names("nas", 80)
    assert allowed.names("fd00::1", 90)
    assert not allowed.names("fd00::1", 91)
    assert allowed.names("fd00::2", 1)
    assert allowed.resolved() >= {("10.0.0.5", None), ("fd00::2", None), ("fd00::1", 90)}


def test_every_redirect_is_checked(web: Web) -> None:
    with serve() as other:
        other.pages["/secret"] = (b"secret", "text/plain")
        web.pages["/away"] = lambda h: h.move(other.link("/secret"))
        web.pages["/file"] = lambda h: h.move("file:///etc/passwd")
        web.pages["/twice"] = lambda h: h.move("/away")
        for path in ("/away", "/file", "/twice"):
            with pytest.raises(BlockedAddress):
                guard_for(web).get(web.link(path))
        assert other.seen == []


def test_a_name_that_changes_its_address_gains_nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look-up is public, every later one leads home: the connection must go where the first one led."""
    web.pages["/"] = (b"secret", "text/plain")
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str | bytes, port: int, *args: object, **kwargs: object) -> object:
        if host == "rebind.example":
            asked.append(host)
            address = "192.0.2.1" if len(asked) > 1 else "1.0.0.0"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) > 1 else address, port))]
        return real(host, port, *args, **kwargs)  # type: ignore[arg-type]

    connected: list[object] = []

    def connect(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
        connected.append(address[0])
        raise OSError("no route")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(SourceBusy):
        Netguard(Settings(data_dir=NOWHERE, pause_s=0)).get(f"http://rebind.example:{web.server_port}/")
    assert asked == ["rebind.example"]
    assert connected == ["1.0.0.0"]


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(BlockedAddress, match=r"10\.0\.0\.1"):
        Netguard(Settings(data_dir=NOWHERE, pause_s=0)).check_url("http://mixed.example/")


# --- redirects --------------------------------------------------------------------------------------------------------


def test_permanent_redirects_give_the_new_address(web: Web) -> None:
    web.pages["/old"] = lambda h: h.move("/newer", 301)
    web.pages["/newer"] = lambda h: h.move("/newest", 308)
    web.pages["/newest"] = lambda h: h.move("/today", 302)
    web.pages["/today"] = lambda h: h.move("/end", 301)
    web.pages["/end"] = (b"here", "text/plain")
    page = guard_for(web).get(web.link("/old"))
    assert (page.body, page.link, page.permanent_link) == (b"here", web.link("/end"), web.link("/newest"))


def test_a_circle_ends(web: Web) -> None:
    web.pages["/a"] = lambda h: h.move("/b")
    web.pages["/b"] = lambda h: h.move("/a")
    web.pages["/broken"] = lambda h: h.move("http://[::1")
    with pytest.raises(SourceError, match="an address that is none"):
        guard_for(web).get(web.link("/broken"))
    web.seen.clear()
    with pytest.raises(SourceError, match="redirects more than"):
        guard_for(web).get(web.link("/a"))
    assert len(web.seen) == 11


def test_credentials_go_to_their_own_host_only(web: Web) -> None:
    with serve() as other:
        other.pages["/x"] = (b"x", "text/plain")
        web.pages["/away"] = lambda h: h.move(other.link("/x"))
        web.pages["/stay"] = lambda h: h.move("/here")
        web.pages["/here"] = (b"here", "text/plain")
        guard = guard_for(web, other)
        with_password = web.link("/stay").replace("http://", "http://ann:p%40ss@")
        assert guard.get(with_password).body == b"here"
        assert [headers["Authorization"] for _, headers in web.seen] == ["Basic YW5uOnBAc3M="] * 2
        assert all("@" not in headers["Host"] for _, headers in web.seen)
        guard.get(web.link("/away").replace("http://", "http://ann:secret@"), headers={"Cookie": "a=b"})
        assert "Authorization" not in other.seen[0][1]
        assert "Cookie" not in other.seen[0][1]


# --- what failures say ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, SourceError, "status 400"),
        (401, SourceError, "password"),
        (403, SourceError, "refuses"),
        (404, SourceError, "nothing at this address"),
        (410, SourceError, "gone"),
        (451, SourceError, "legal"),
        (408, SourceBusy, "failed"),
        (429, SourceBusy, "asked too often"),
        (500, SourceBusy, "failed"),
        (503, SourceBusy, "failed"),
    ],
)
def test_statuses(web: Web, status: int, kind: type[SourceError], words: str) -> None:
    web.pages["/feed"] = (b"no", "text/plain", status)
    link = web.link("/feed?token=hush").replace("http://", "http://ann:secret@")
    with pytest.raises(SourceError, match=words) as caught:
        guard_for(web).get(link)
    assert type(caught.value) is kind
    assert caught.value.permanent is (kind is SourceError)
    assert "hush" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.next_step


def test_retry_after(web: Web) -> None:
    web.pages["/busy"] = lambda h: h.send(b"", "text/plain", 429, Retry_After="17")
    with pytest.raises(SourceBusy) as caught:
        guard_for(web).get(web.link("/busy"))
    assert caught.value.retry_after_s == 17
    assert retry_after_s("Wed, 21 Oct 2099 07:28:00 GMT") == 86_400
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_s("soon") is None
    assert retry_after_s("") is None


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SourceBusy, match="no connection"):
        Netguard(Settings(data_dir=NOWHERE, allow_hosts=(host,), timeout_s=2)).get(f"http://{host}/")


def test_no_such_host() -> None:
    with pytest.raises(SourceError):
        Netguard(Settings(data_dir=NOWHERE, pause_s=0)).get("http://no-such-host.invalid/feed")


@pytest.mark.parametrize(
    "link", ["http://[::1", "http://exa mple.com/", "http://:80/", "http://host:99999/", "http://" + "a" * 70 + ".example/"]
)
def test_broken_links_are_told(link: str) -> None:
    with pytest.raises(EarmarkError):
        Netguard(Settings(data_dir=NOWHERE, pause_s=0)).get(link)


def test_callers_own_errors_pass_through(web: Web) -> None:
    web.pages["/"] = (b"hello", "text/plain")
    with pytest.raises(OSError, match="disk full"), guard_for(web).stream(web.link("/")):
        raise OSError("disk full")


def test_nothing_secret_in_the_log(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    web.pages["/feed"] = lambda h: h.send(b"ok", "text/plain", Set_Cookie="sid=hush")
    with caplog.at_level(logging.DEBUG):
        guard_for(web).get(web.link("/feed?token=hush").replace("http://", "http://ann:hush@"))
    assert "hush" not in caplog.text


# --- time and size ----------------------------------------------------------------------------------------------------


def test_silence_ends(web: Web) -> None:
    web.pages["/slow"] = lambda h: time.sleep(3)
    began = time.monotonic()
    with pytest.raises(SourceBusy, match="too long"):
        guard_for(web, timeout_s=0.3).get(web.link("/slow"))
    assert time.monotonic() - began < 2


def drip(h: Handler) -> None:
    h.send_response(200)
    h.end_headers()
    try:
        for _ in range(200):
            h.wfile.write(b".")
            h.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def drip_headers(h: Handler) -> None:
    try:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(200):
            h.wfile.write(b".")
            h.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


@pytest.mark.parametrize("answer", [drip, drip_headers])
def test_dripping_ends_at_the_total_time(web: Web, answer: object) -> None:
    web.pages["/drip"] = answer  # type: ignore[assignment]
    began = time.monotonic()
    with pytest.raises(SourceBusy, match="too long"):
        guard_for(web).get(web.link("/drip"), total_s=0.6)
    assert time.monotonic() - began < 2


def endless(h: Handler) -> None:
    h.send_response(200)
    h.end_headers()
    try:
        while True:
            h.wfile.write(b"x" * 65536)
    except OSError:
        return


def test_an_endless_body_is_cut(web: Web) -> None:
    web.pages["/endless"] = endless
    with pytest.raises(SourceError, match="larger than the limit of 1 MB"):
        guard_for(web).get(web.link("/endless"), max_bytes=1_000_000)


def test_a_declared_size_over_the_limit_is_refused_at_once(web: Web) -> None:
    web.pages["/large"] = (b"x" * 2000, "text/plain")
    with pytest.raises(SourceError, match="larger than the limit of 1000 bytes"):
        guard_for(web).get(web.link("/large"), max_bytes=1000)


@pytest.mark.parametrize(("claim", "kind"), [(5, None), (50, SourceBusy)])
def test_a_lying_length(web: Web, claim: int, kind: type[Exception] | None) -> None:
    def lie(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Content-Length", str(claim))
        h.send_header("Connection", "close")
        h.end_headers()
        h.wfile.write(b"0123456789")
        h.close_connection = True

    web.pages["/lie"] = lie
    if kind is None:  # more than promised: the promise counts
        assert guard_for(web).get(web.link("/lie")).body == b"01234"
    else:
        with pytest.raises(kind, match="broke off"):
            guard_for(web).get(web.link("/lie"))


def encoded(body: bytes, encoding: str) -> object:
    return lambda h: h.send(body, "text/plain", Content_Encoding=encoding)


def test_compressed_answers(web: Web) -> None:
    text = b"hello " * 1000
    raw = zlib.compressobj(wbits=-15)
    web.pages["/gzip"] = encoded(gzip.compress(text), "gzip")  # type: ignore[assignment]
    web.pages["/two"] = encoded(gzip.compress(text) + gzip.compress(text), "gzip")  # type: ignore[assignment]
    web.pages["/deflate"] = encoded(zlib.compress(text), "deflate")  # type: ignore[assignment]
    web.pages["/raw"] = encoded(raw.compress(text) + raw.flush(), "deflate")  # type: ignore[assignment]
    web.pages["/padded"] = encoded(gzip.compress(text) + b"\0" * 100, "gzip")  # type: ignore[assignment]
    guard = guard_for(web)
    for path in ("/gzip", "/deflate", "/raw", "/padded"):
        assert guard.get(web.link(path)).body == text, path
    assert guard.get(web.link("/two")).body == text * 2
    assert all(headers["Accept-Encoding"] == "gzip, deflate" for _, headers in web.seen)


def test_bad_compression(web: Web) -> None:
    web.pages["/lie"] = encoded(b"this is no gzip", "gzip")  # type: ignore[assignment]
    web.pages["/cut"] = encoded(gzip.compress(bytes(range(256)) * 99)[:-40], "gzip")  # type: ignore[assignment]
    web.pages["/br"] = encoded(b"xxxx", "br")  # type: ignore[assignment]
    guard = guard_for(web)
    with pytest.raises(SourceError, match="cannot be read"):
        guard.get(web.link("/lie"))
    with pytest.raises(SourceBusy, match="broke off"):
        guard.get(web.link("/cut"))
    with pytest.raises(SourceError, match="not asked for"):
        guard.get(web.link("/br"))


def test_a_gzip_bomb_is_cut_without_unfolding_it(web: Web) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(bomb.compress(b"\0" * (1 << 20)) for _ in range(150)) + bomb.flush()  # 150 MB in 150 KB
    web.pages["/bomb"] = encoded(body, "gzip")  # type: ignore[assignment]
    began = time.monotonic()
    with pytest.raises(SourceError, match="larger than the limit"):
        guard_for(web).get(web.link("/bomb"), max_bytes=2_000_000)
    assert time.monotonic() - began < 3


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://ann:pw@host.example/feed.xml", "https://***@host.example/feed.xml"),
        ("https://host/rss?auth=abc123&page=2", "https://host/rss?auth=***&page=2"),
        ("https://host/rss?access_token=abc#part", "https://host/rss?access_token=***"),
        ("https://host/f?X-Amz-Signature=aa&Expires=12", "https://host/f?X-Amz-Signature=***&Expires=12"),
        ("https://host/f/6f0e1d4c-1d4c-4f0e-8d4c-6f0e1d4c6f0e.rss", "https://host/f/***.rss"),
        ("https://host/private/AbC123xyz/feed", "https://host/private/***/feed"),
        ("https://host/go?to=https://user:pw@other/", "https://host/go?to=***"),
        ("https://host/podcast/ep12.mp3", "https://host/podcast/ep12.mp3"),
        ("https://www.youtube.com/watch?v=2T9w1rdPMl0&list=PL123", "https://www.youtube.com/watch?v=2T9w1rdPMl0&list=PL123"),
        (
            "https://host/2023-05-01-a-long-name-of-an-episode-about-things.mp3",
            "https://host/2023-05-01-a-long-name-of-an-episode-about-things.mp3",
        ),
        ("/home/ann/talks/talk.mp3", "/home/ann/talks/talk.mp3"),
        ("http://[::1", "***"),
        ("", ""),
    ],
)
def test_redaction(link: str, shown: str) -> None:
    assert redact(link) == shown
    assert has_secret(link) is (shown != link and "***" in shown)


def test_redaction_in_text() -> None:
    assert redact_text("see https://a:b@h/x?key=1, or http://h/y") == "see https://***@h/x?key=***, or http://h/y"


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_a_pause_between_two_requests_to_one_host(web: Web, tmp_path: Path) -> None:
    web.pages["/"] = (b"ok", "text/plain")
    for folder in (tmp_path, NOWHERE):  # shared by processes, and by threads only
        began = time.monotonic()
        for _ in range(3):
            guard_for(web, data_dir=folder, pause_s=0.2).get(web.link("/"))
        assert 0.4 <= time.monotonic() - began < 2


def test_processes_share_their_turns(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from pipeline.pauses import Pauses; Pauses(Path(sys.argv[1]), 0.3).wait('h')"
    began = time.monotonic()
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[1]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert time.monotonic() - began >= 0.9


def test_a_site_that_asks_for_a_long_pause_gets_it(web: Web) -> None:
    web.pages["/busy"] = lambda h: h.send(b"", "text/plain", 429, Retry_After="600")
    guard = guard_for(web)
    with pytest.raises(SourceBusy, match="429"):
        guard.get(web.link("/busy"))
    with pytest.raises(SourceBusy, match="asked for a pause") as caught:
        guard_for(web).get(web.link("/other"))
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 500
    assert web.paths() == ["/busy"]


def test_a_torn_file_of_turns_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "pauses.json").write_bytes(b'{"h": 99')
    began = time.monotonic()
    Pauses(tmp_path, 0.0).wait("h")
    assert time.monotonic() - began < 1
    Pauses(tmp_path, 0.0).hold("h", 3600)
    with pytest.raises(SourceBusy):  # and it keeps turns again
        Pauses(tmp_path, 0.0).wait("h")

"""Pages through yt-dlp: what is found, what is refused, and why nothing came. Every page is served by the test itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import js_runtime, sites
from pipeline.site_process import pick_captions
from pipeline.site_reasons import explain
from pipeline.sites import fetch_from_site, is_site, list_site
from pipeline.sources import fetch_captions, fetch_media, list_source
from store.errors import BlockedAddress, SourceBusy, SourceError
from store.settings import Settings
from tests.local_web import Handler, Web, serve, settings_for
from tests.test_sources import VTT, episode, feed, item, sound

ROOT = Path(__file__).parents[1]


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        server.pages["/a.wav"] = (sound(), "audio/wav")
        server.pages["/b.wav"] = (sound(2), "audio/wav")
        yield server


@pytest.fixture
def here(web: Web) -> Settings:
    return settings_for(web)


def page(body: str, head: str = "") -> tuple[bytes, str]:
    return f"<!DOCTYPE html><html><head><title>A page</title>{head}</head><body>{body}</body></html>".encode(), "text/html"


def test_a_page_with_one_player(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/talk"] = page("<audio src='/a.wav'></audio>", "<meta property='og:title' content='Tea &amp; toast'>")
    show = list_source(web.link("/talk"), here)
    (entry,) = show.episodes
    assert (show.kind, entry.title) == ("link", "Tea & toast")
    assert (entry.page_url, entry.media_url) == (web.link("/talk"), web.link("/a.wav"))
    assert fetch_media(episode(media_url=entry.media_url), tmp_path, here).path.read_bytes() == sound()


def test_a_page_with_several_players(web: Web, here: Settings) -> None:
    web.pages["/talks"] = page("<audio src='/a.wav'></audio><audio src='/b.wav'></audio>")
    show = list_site(web.link("/talks"), here)
    assert show is not None
    assert show.kind == "site"
    assert [entry.media_url for entry in show.episodes] == [web.link("/a.wav"), web.link("/b.wav")]
    assert len({entry.guid for entry in show.episodes}) == 2


def test_the_recording_and_the_captions_of_a_page(web: Web, here: Settings, tmp_path: Path) -> None:
    track = "<track kind='subtitles' srclang='en' src='/t.vtt'><track kind='subtitles' srclang='de' src='/german.vtt'>"
    web.pages["/video"] = page(f"<video src='/a.wav'>{track}</video>")
    web.pages["/t.vtt"] = (VTT, "text/vtt")
    found = fetch_captions(episode(page_url=web.link("/video"), language="en"), here)
    assert found is not None
    assert (found[0].engine, found[0].language, found[0].model) == ("vtt", "en", web.link("/video"))
    assert (found[0].source, [segment.text for segment in found[1]]) == ("site", ["Hello there.", "This is a talk."])
    shares: list[float] = []
    web.seen.clear()
    french = episode(page_url=web.link("/video"), language="fr")
    assert fetch_captions(french, here) is None
    fetched = fetch_media(french, tmp_path, here, shares.append)
    assert web.paths().count("/video") <= 2  # yt-dlp looks at a page twice: once for its headers; not again for the recording
    assert fetched.path.read_bytes() == sound()
    assert fetched.is_ours
    assert fetched.details is not None
    assert shares[-1] == 1.0


def test_a_stream_in_pieces_is_put_together_and_leads_nowhere_else(web: Web, here: Settings, tmp_path: Path) -> None:
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
    with serve() as other:
        other.pages["/secret.aac"] = (b"secret", "audio/aac")
        web.pages["/1.aac"], web.pages["/2.aac"] = (b"first ", "audio/aac"), (b"second", "audio/aac")
        web.pages["/away.aac"] = lambda h: h.move(other.link("/secret.aac"))

        def stream(*pieces: str) -> tuple[bytes, str]:
            text = head + "".join(f"#EXTINF:1,\n{piece}\n" for piece in pieces) + "#EXT-X-ENDLIST\n"
            return text.encode(), "application/vnd.apple.mpegurl"

        web.pages["/good.m3u8"] = stream("/1.aac", "/2.aac")
        web.pages["/evil.m3u8"] = stream("/1.aac", "/away.aac")
        web.pages["/local.m3u8"] = stream("/1.aac", "file:///etc/hostname")
        path, _ = fetch_from_site(web.link("/good.m3u8"), tmp_path, "good", here)
        assert path.read_bytes() == b"first second"
        with pytest.raises(BlockedAddress):
            fetch_from_site(web.link("/evil.m3u8"), tmp_path, "evil", here)
        with pytest.raises(SourceError):
            fetch_from_site(web.link("/local.m3u8"), tmp_path, "local", here)
        assert other.seen == []


def test_yt_dlp_is_kept_off_private_addresses(web: Web, here: Settings, tmp_path: Path) -> None:
    with serve() as other:
        other.pages["/talk"] = page("<audio src='/a.wav'></audio>")
        other.pages["/a.wav"] = (sound(), "audio/wav")
        web.pages["/away"] = lambda h: h.move(other.link("/talk"))
        web.pages["/inside"] = page(f"<video><source src='{other.link('/x.m3u8')}' type='application/x-mpegURL'></video>")
        for link in (other.link("/talk"), web.link("/away"), "http://169.254.169.254/latest/", "http://[::1]/"):
            with pytest.raises(BlockedAddress, match="not a public address"):
                list_site(link, here)
        with pytest.raises(BlockedAddress):
            fetch_from_site(web.link("/inside"), tmp_path, "x", here)
        assert other.seen == []
    assert list(tmp_path.iterdir()) == []


def test_the_guard_holds_in_every_thread_and_for_programs() -> None:
    code = """
import socket, subprocess, threading, os, urllib.request
from pipeline.process_guard import install_guard
install_guard([("127.0.0.1", 9)])
from store.errors import BlockedAddress
results = []
def attempt(work):
    try:
        work()
        results.append("done")
    except BlockedAddress:
        results.append("blocked")
    except FileNotFoundError:
        results.append("not started")
    except OSError as error:
        results.append("refused by nobody")
works = [
    lambda: socket.create_connection(("127.0.0.1", 1)),
    lambda: socket.socket().connect_ex(("10.0.0.1", 1)),
    lambda: socket.socket().connect(("localhost", 1)),
    lambda: socket.socket(socket.AF_INET6).connect(("::1", 1)),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.168.0.1", 53)),
    lambda: subprocess.run(["ffmpeg", "-version"]),
    lambda: subprocess.run("curl http://x", shell=True),
    lambda: os.system("true"),
    lambda: os.posix_spawn("/bin/true", ["true"], {}),
]
for work in works:
    thread = threading.Thread(target=attempt, args=(work,))
    thread.start()
    thread.join()
attempt(lambda: socket.create_connection(("127.0.0.1", 9)))
print(",".join(results))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().split(",") == ["blocked"] * 5 + ["not started"] * 4 + ["refused by nobody"]


def test_a_page_without_a_recording(web: Web) -> None:
    web.pages["/words"] = page("<p>Only words.</p>")
    host = f"localhost:{web.server_port}"  # a name, so that yt-dlp tries the patterns of all sites that it knows
    settings = Settings(data_dir=Path("no-such-folder"), pause_s=0, allow_hosts=(host,))
    with pytest.raises(SourceError, match="no recording was found"):
        list_source(f"http://{host}/words", settings)


def test_a_page_that_links_its_feed(web: Web, here: Settings) -> None:
    alternate = (
        "<link rel='alternate' type='application/rss+xml' title='Comments' href='/comments/feed'>"
        "<link rel='alternate' type='application/rss+xml' title='Episodes' href='/feed'>"
    )
    web.pages["/home"] = page("<audio src='/a.wav'></audio>", alternate)
    web.pages["/talk-2"] = page("", alternate)
    linked = item(2).replace("<guid>", f"<link>{web.link('/talk-2')}/</link><guid>")
    web.pages["/feed"] = (feed(item(1), linked), "text/xml")
    show = list_source(web.link("/home"), here)
    assert (show.kind, show.link, len(show.episodes)) == ("feed", web.link("/feed"), 2)
    assert "the page links a feed" in show.warnings[-1]
    one = list_source(web.link("/talk-2"), here)
    assert (one.kind, one.link, [entry.guid for entry in one.episodes]) == ("link", web.link("/feed"), ["g2"])
    assert "/comments/feed" not in web.paths()


def test_reasons_from_the_server(web: Web, here: Settings) -> None:
    web.pages["/busy"] = lambda h: h.send(b"", "text/html", 429, Retry_After="33")
    with pytest.raises(SourceBusy) as caught:
        list_site(web.link("/busy?token=hush"), here)
    assert caught.value.retry_after_s == 33
    assert "hush" not in str(caught.value)


def test_cookies_are_sent(web: Web, tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t{int(time.time()) + 9999}\tsid\t42\n")
    web.pages["/closed"] = page("<audio src='/a.wav'></audio>")
    show = list_site(web.link("/closed"), settings_for(web, cookies=str(jar)))
    assert show is not None
    assert "sid=42" in web.seen[0][1]["Cookie"]


def test_too_large(web: Web, tmp_path: Path) -> None:
    def endless(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Content-Type", "audio/mpeg")
        h.end_headers()
        try:
            while True:
                h.wfile.write(b"ID3" + b"x" * 65536)
        except OSError:
            return

    web.pages["/endless.mp3"] = endless
    with pytest.raises(SourceError, match="larger than the limit"):
        fetch_from_site(web.link("/endless.mp3"), tmp_path, "x", settings_for(web, max_download_mb=2))


def drip(gone: threading.Event) -> object:
    def answer(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Content-Type", "text/html")
        h.end_headers()
        try:
            for _ in range(600):
                h.wfile.write(b" ")
                h.wfile.flush()
                time.sleep(0.05)
        except OSError:
            gone.set()

    return answer


def test_a_page_that_never_ends_is_ended(web: Web, here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()
    web.pages["/drip"] = drip(gone)  # type: ignore[assignment]
    monkeypatch.setattr(sites, "LIST_S", 4.0)
    began = time.monotonic()
    with pytest.raises(SourceBusy, match="too long"):
        list_site(web.link("/drip"), here)
    assert time.monotonic() - began < 8
    assert gone.wait(5) or not web.seen  # on a busy machine it may not have come that far


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_yt_dlp_ends_with_the_one_who_asked(web: Web) -> None:
    gone = threading.Event()
    web.pages["/drip"] = drip(gone)  # type: ignore[assignment]
    code = f"""
from pathlib import Path
from pipeline.sites import list_site
from store.settings import Settings
list_site({web.link("/drip")!r}, Settings(data_dir=Path("no-such-folder"), allow_hosts=({web.host!r},)))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 20
    while not web.seen and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert gone.wait(5)


def test_the_javascript_runtime_for_youtube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no JavaScript runtime" in js_runtime.youtube_problem()
    for name, version in (("node", "v20.1.0"), ("deno", "deno 2.5.6 (stable)\nv8 14")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{version}'\n")
        program.chmod(0o755)
        if name == "node":
            assert "node 20.1.0 is too old" in js_runtime.youtube_problem()
    assert [runtime.name for runtime in js_runtime.js_runtimes()] == ["deno", "node"]
    assert js_runtime.js_runtimes()[0].is_new_enough
    runtimes = pytest.importorskip("yt_dlp.utils._jsruntime")
    theirs = {"deno": runtimes.DenoJsRuntime, "node": runtimes.NodeJsRuntime, "bun": runtimes.BunJsRuntime}
    assert {name: kind.MIN_SUPPORTED_VERSION for name, kind in theirs.items()} == js_runtime.OLDEST


# --- without a page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "words", "temporary"),
    [
        ("ERROR: [youtube] x: Sign in to confirm you’re not a bot. Use --cookies", "takes this machine for a robot", False),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate for some users.", "age check", False),
        ("[youtube] x: Join this channel to get access to members-only content like this video", "paying members", False),
        ("[youtube] x: Private video. Sign in if you've been granted access to this video", "private", False),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "removed", False),
        ("[youtube] x: The uploader has not made this video available in your country", "in this country", False),
        ("This video is not available from your location due to geo restriction", "in this country", False),
        ("[vimeo] 1: This video is only available for registered users. Use --cookies", "asks for a login", False),
        ("[youtube] x: This live event will begin in 3 hours.", "live or still to come", False),
        ("Unable to download webpage: HTTP Error 429: Too Many Requests", "asked too often", True),
        ("Unable to download webpage: HTTP Error 404: Not Found", "nothing at this address", False),
        ("Unable to download webpage: HTTP Error 503: Service Unavailable", "did not answer in time", True),
        ("Unable to download webpage: <urlopen error timed out>", "did not answer in time", True),
        ("[brightcove] 1: This video is DRM protected", "protected against copying", False),
        ("Unsupported URL: https://host.example/x", "no recording was found", False),
        (
            "[foo] something nobody foresaw at https://h/x?token=hush; please report this issue on ...",
            "something nobody foresaw",
            False,
        ),
    ],
)
def test_reasons(message: str, words: str, temporary: bool) -> None:
    error = explain({"kind": "DownloadError", "message": message, "status": None}, "https://host.example/watch?token=hush")
    assert words in error.what
    assert isinstance(error, SourceBusy) is temporary
    assert error.next_step
    assert "hush" not in str(error)


def test_a_blocked_server_gets_the_hint_about_feeds() -> None:
    error = explain(
        {"kind": "DownloadError", "message": "Sign in to confirm you're not a bot"}, "https://www.youtube.com/watch?v=x"
    )
    assert "feed" in error.next_step
    assert "upload" in error.next_step


@pytest.mark.parametrize(
    ("link", "known"),
    [
        ("https://www.youtube.com/watch?v=2T9w1rdPMl0", True),
        ("https://youtu.be/2T9w1rdPMl0", True),
        ("https://www.youtube.com/@somebody/videos", True),
        ("https://www.youtube.com/feeds/videos.xml?channel_id=UC1", False),
        ("https://feeds.soundcloud.com/users/1/sounds.rss", False),
        ("https://vimeo.com/12345", True),
        ("https://notyoutube.com/watch", False),
        ("https://host.example/youtube.com/x", False),
        ("https://cdn.vimeo.com/x.mp3", False),
    ],
)
def test_known_sites(link: str, known: bool) -> None:
    assert is_site(link) is known


def test_which_captions_are_picked() -> None:
    vtt = [{"ext": "vtt", "url": "v"}, {"ext": "json3", "url": "j"}]
    assert pick_captions({"de": vtt, "en-GB": vtt}, ["en"], False) == ("en-GB", vtt[1])
    assert pick_captions({"live_chat": vtt, "fr": vtt}, [], False) == ("fr", vtt[1])
    assert pick_captions({"de": vtt}, ["en"], False) is None
    assert pick_captions({"en": vtt, "en-orig": vtt, "de": vtt}, [], True) == ("en-orig", vtt[1])
    assert pick_captions({"en": [{"ext": "vtt", "url": "x", "protocol": "m3u8_native"}]}, ["en"], False) is None
    assert pick_captions({}, [], False) is None


def test_a_line_of_a_list_becomes_an_episode() -> None:
    entry = {
        "_type": "url",
        "ie_key": "Youtube",
        "id": "abc",
        "url": "https://www.youtube.com/watch?v=abc",
        "title": "Tea",
        "duration": 61,
    }
    listed = sites._episode({**entry, "timestamp": 1602217838, "channel": "Ann"})
    full = sites._episode(
        {"extractor_key": "Youtube", "id": "abc", "webpage_url": entry["url"], "title": "Tea", "upload_date": "20201009"}
    )
    assert listed is not None
    assert full is not None
    assert listed.guid == full.guid == "youtube:abc"
    assert (listed.published, full.published) == ("2020-10-09T04:30:38+00:00", "2020-10-09")
    assert (listed.duration_s, listed.people[0].name) == (61.0, "Ann")
    assert sites._episode({**entry, "title": "[Private video]"}) is None
    assert sites._episode({"url": "file:///etc/passwd", "_type": "url"}) is None
    json.dumps(entry)

"""Sources: what a person may type, what becomes of it, and recordings that come over a bad line."""

from __future__ import annotations

import io
import os
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.chapters import fetch_chapters
from pipeline.folders import natural
from pipeline.sources import fetch_captions, fetch_media, list_source
from store.errors import BlockedAddress, SourceBusy, SourceError
from store.records import INTERPOLATED, Chapter, Episode, ShowListing, TranscriptLink
from store.settings import Settings
from tests.local_web import Handler, Web, serve, settings_for

VTT = b"WEBVTT\n\n00:01.000 --> 00:03.000\nHello there.\n\n00:03.000 --> 00:05.000\nThis is a talk.\n"


def sound(seconds: float = 1.0) -> bytes:
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x01\x00" * int(8000 * seconds))
    return body.getvalue()


def episode(**values: object) -> Episode:
    fields: dict[str, object] = dict.fromkeys(Episode.__slots__, "")
    fields |= {"id": "ep1", "title": "A talk", "language": None, "duration_s": None, "recording_id": None, "transcript_id": None}
    fields |= {"people": (), "chapters": (), "transcripts": ()}
    return Episode(**(fields | values))  # type: ignore[arg-type]


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as server:
        yield server


@pytest.fixture
def here(web: Web) -> Settings:
    return settings_for(web)


def feed(*items: str, channel: str = "") -> bytes:
    names = "xmlns:atom='http://www.w3.org/2005/Atom' xmlns:itunes='http://www.itunes.com/dtds/podcast-1.0.dtd'"
    return f"<rss version='2.0' {names}><channel><title>A show</title>{channel}{''.join(items)}</channel></rss>".encode()


def item(number: int, url: str = "", day: int | None = None) -> str:
    date = f"<pubDate>{day or number:02} Oct 2020 04:30:38 GMT</pubDate>"
    media = f"<enclosure url='{url or f'{number}.mp3'}' type='audio/mpeg'/>"
    return f"<item><title>Talk {number}</title><guid>g{number}</guid>{date}{media}</item>"


def guids(show: ShowListing) -> list[str]:
    return [entry.guid for entry in show.episodes]


# --- on this machine --------------------------------------------------------------------------------------------------


def test_a_folder(tmp_path: Path) -> None:
    for name in (
        "talk 10.mp3",
        "talk 2.mp3",
        "sub/b_c.wav",
        "talk 2.en.vtt",
        "talk 2.txt",
        "talk 2.jpg",
        "notes.txt",
        ".hidden.mp3",
        ".git/x.mp3",
        "half.mp3.part",
    ):
        path = tmp_path / "Talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    show = list_source(str(tmp_path / "Talks"), Settings())
    assert (show.kind, show.title, show.link) == ("folder", "Talks", str(tmp_path / "Talks"))
    assert guids(show) == ["sub/b_c.wav", "talk 2.mp3", "talk 10.mp3"]
    second = show.episodes[1]
    assert second.media_url == str(tmp_path / "Talks" / "talk 2.mp3")
    assert [(Path(link.url).name, link.media_type, link.language) for link in second.transcripts] == [
        ("talk 2.en.vtt", "text/vtt", "en"),
        ("talk 2.txt", "text/plain", None),
    ]
    assert Path(second.image_url).name == "talk 2.jpg"
    assert show.episodes[0].title == "b c"
    assert show.episodes[2].transcripts == ()


def test_single_files_share_the_show_of_their_folder(tmp_path: Path) -> None:
    for name in ("a.mp3", "b.mp3"):
        (tmp_path / name).write_bytes(b"x")
    first, second, both = (list_source(str(tmp_path / name), Settings()) for name in ("a.mp3", "b.mp3", ""))
    assert first.kind == second.kind == "file"
    assert first.link == second.link == both.link
    assert guids(first) + guids(second) == guids(both)


def test_spellings_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my talk.mp3"
    path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for link in (str(path), "my talk.mp3", "./my talk.mp3", "~/my talk.mp3", path.as_uri(), f" '{path}' "):
        assert list_source(link, Settings()).episodes[0].media_url == str(path), link


def test_dates_in_names(tmp_path: Path) -> None:
    for name in ("2021-03-04 tea.mp3", "20201231_bees.mp3", "talk 20201331.mp3"):
        (tmp_path / name).write_bytes(b"x")
    assert [entry.published for entry in list_source(str(tmp_path), Settings()).episodes] == ["2021-03-04", "2020-12-31", ""]


def test_natural_order() -> None:
    assert sorted(["b", "a10", "a9", "A1", "10", "9", "²"], key=natural) == ["9", "10", "A1", "a9", "a10", "b", "²"]


@pytest.mark.parametrize("name", ["missing.mp3", "missing", "", "empty"])
def test_nothing_to_find(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError) as caught:
        list_source(str(tmp_path / name) if name else "", Settings())
    assert caught.value.next_step


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(SourceError):
        list_source(str(tmp_path / "closed" / "a.mp3"), Settings())


def test_links_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert guids(list_source(str(tmp_path), Settings())) == ["a.mp3"]


def test_a_feed_file_names_files_beside_it_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "show"
    folder.mkdir()
    (tmp_path / "secret.mp3").write_bytes(b"x")
    (folder / "a b.mp3").write_bytes(b"x")
    (folder / "way-out.mp3").symlink_to(tmp_path / "secret.mp3")
    addresses = [
        "a%20b.mp3",
        "../secret.mp3",
        "/etc/passwd",
        f"file://{tmp_path}/secret.mp3",
        "way-out.mp3",
        "https://host.example/c.mp3",
        "none.mp3",
    ]
    (folder / "feed.xml").write_bytes(feed(*(item(n, address) for n, address in enumerate(addresses, 1))))
    show = list_source(str(folder / "feed.xml"), Settings())
    assert [entry.media_url for entry in show.episodes] == [str(folder / "a b.mp3"), "https://host.example/c.mp3"]
    assert (show.kind, show.link) == ("feed", str(folder / "feed.xml"))


def test_a_local_file_is_used_where_it_lies(tmp_path: Path, here: Settings) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sound())
    fetched = fetch_media(episode(media_url=str(path)), tmp_path / "recordings", here)
    assert (fetched.path, fetched.is_ours, fetched.size_bytes) == (path, False, len(sound()))
    assert not (tmp_path / "recordings").exists()
    path.unlink()
    with pytest.raises(SourceError, match="no longer there"):
        fetch_media(episode(media_url=str(path)), tmp_path, here)


# --- feeds on the web -------------------------------------------------------------------------------------------------


def test_a_feed(web: Web, here: Settings) -> None:
    web.pages["/shows/feed"] = lambda h: h.send(
        feed(item(2), item(1)), "application/rss+xml", ETag='"v1"', Last_Modified="Fri, 09 Oct 2020 04:30:38 GMT"
    )
    show = list_source(web.link("/shows/feed"), here)
    assert (show.kind, show.title, show.link) == ("feed", "A show", web.link("/shows/feed"))
    assert (show.etag, show.last_modified) == ('"v1"', "Fri, 09 Oct 2020 04:30:38 GMT")
    assert [entry.media_url for entry in show.episodes] == [web.link("/shows/2.mp3"), web.link("/shows/1.mp3")]
    assert web.paths() == ["/shows/feed"]


@pytest.mark.parametrize("spelling", ["feed://{}/feed", "feed:http://{}/feed", "itpc://{}/feed", "http://{}/feed#top"])
def test_spellings_of_a_feed(web: Web, here: Settings, spelling: str) -> None:
    web.pages["/feed"] = (feed(item(1)), "text/xml")
    assert list_source(spelling.format(web.host), here).link == web.link("/feed")


def test_a_second_look_makes_one_conditional_request(web: Web, here: Settings) -> None:
    def answer(h: Handler) -> None:
        if h.headers["If-None-Match"] == '"v1"' or h.headers["If-Modified-Since"] == "yesterday":
            h.send_response(304)
            h.end_headers()
        else:
            h.send(feed(item(1)), "text/xml", ETag='"v1"')

    web.pages["/feed"] = answer
    assert not list_source(web.link("/feed"), here).unchanged
    for conditions in ({"etag": '"v1"'}, {"last_modified": "yesterday"}):
        show = list_source(web.link("/feed"), here, **conditions)  # type: ignore[arg-type]
        assert (show.unchanged, show.episodes, show.link) == (True, (), web.link("/feed"))
    assert len(web.seen) == 3


def test_a_moved_feed_is_known_by_its_new_address(web: Web, here: Settings) -> None:
    web.pages["/old"] = lambda h: h.move("/new", 301)
    web.pages["/new"] = lambda h: h.move("/cdn", 302)
    web.pages["/cdn"] = (feed(item(1)), "text/xml")
    assert list_source(web.link("/old"), here).link == web.link("/new")
    web.pages["/note"] = (feed(item(1), channel=f"<itunes:new-feed-url>{web.link('/cdn')}</itunes:new-feed-url>"), "text/xml")
    assert list_source(web.link("/note"), here).link == web.link("/cdn")
    web.pages["/stale"] = (feed(item(7), channel=f"<itunes:new-feed-url>{web.link('/gone')}</itunes:new-feed-url>"), "text/xml")
    show = list_source(web.link("/stale"), here)
    assert (show.link, guids(show)) == (web.link("/stale"), ["g7"])


def paged(web: Web, pages: int) -> None:
    for page in range(1, pages + 1):
        following = f"<atom:link rel='next' href='/feed{page + 1}'/>" if page < pages else ""
        web.pages[f"/feed{page}"] = (
            feed(*(item(100 - 2 * page - n, day=28 - 2 * page - n) for n in (0, 1)), channel=following),
            "text/xml",
        )


def test_a_paged_feed_is_read_to_its_end(web: Web, here: Settings) -> None:
    paged(web, 4)
    show = list_source(web.link("/feed1"), here)
    assert guids(show) == [f"g{n}" for n in range(98, 90, -1)]
    assert web.paths() == ["/feed1", "/feed2", "/feed3", "/feed4"]


def test_no_more_pages_than_needed(web: Web, here: Settings) -> None:
    paged(web, 9)
    assert guids(list_source(web.link("/feed1"), here, limit=3)) == ["g98", "g97", "g96"]
    assert guids(list_source(web.link("/feed1"), here, since="2020-10-24")) == ["g98", "g97", "g96"]
    assert web.paths() == ["/feed1", "/feed2", "/feed1", "/feed2"]


def test_pages_that_fail_or_turn_in_circles(web: Web, here: Settings) -> None:
    web.pages["/a"] = (feed(item(1), channel="<atom:link rel='next' href='/b'/>"), "text/xml")
    web.pages["/b"] = (b"", "text/plain", 500)
    show = list_source(web.link("/a"), here)
    assert guids(show) == ["g1"]
    assert "more pages" in show.warnings[0]
    web.pages["/b"] = (feed(item(2), channel="<atom:link rel='next' href='/a'/>"), "text/xml")
    assert guids(list_source(web.link("/a"), here)) == ["g1", "g2"]


def test_a_thousand_items_are_one_request(web: Web, here: Settings) -> None:
    web.pages["/feed"] = (feed(*(item(n, day=1 + n % 28) for n in range(1000))), "text/xml")
    began = time.process_time()
    assert len(list_source(web.link("/feed"), here).episodes) == 1000
    assert time.process_time() - began < 5
    assert len(web.seen) == 1


def test_what_is_wanted(web: Web, here: Settings) -> None:
    undated = "<item><title>C++ day</title><guid>u</guid><enclosure url='u.mp3' type='audio/mpeg'/></item>"
    web.pages["/feed"] = (feed(item(1), item(3), item(2), undated), "text/xml")
    link = web.link("/feed")
    assert guids(list_source(link, here, limit=2)) == ["g3", "g2"]
    assert guids(list_source(link, here, match="talk [12]")) == ["g1", "g2"]
    assert guids(list_source(link, here, match="c++")) == ["u"]
    assert guids(list_source(link, here, match="TALK", limit=1)) == ["g3"]
    show = list_source(link, here, since="2020-10-02")
    assert guids(show) == ["g3", "g2", "u"]
    assert "no date" in show.warnings[-1]
    for wrong in ({"since": "yesterday"}, {"limit": 0}):
        with pytest.raises(SourceError):
            list_source(link, here, **wrong)  # type: ignore[arg-type]


def test_a_private_feed(web: Web, here: Settings, tmp_path: Path) -> None:
    def closed(body: bytes, media_type: str) -> Callable[[Handler], None]:
        def answer(h: Handler) -> None:
            if h.headers["Authorization"] == "Basic YW5uOmh1c2g=":
                h.send(body, media_type)
            else:
                h.send(b"", "text/plain", 401, WWW_Authenticate="Basic")

        return answer

    web.pages["/feed"] = closed(feed(item(1), item(2, "https://other.example/2.mp3")), "text/xml")
    web.pages["/1.mp3"] = closed(sound(), "audio/wav")
    link = web.link("/feed").replace("http://", "http://ann:hush@")
    show = list_source(link, here)
    assert show.link == link
    assert [entry.media_url for entry in show.episodes] == [link.replace("feed", "1.mp3"), "https://other.example/2.mp3"]
    assert fetch_media(episode(media_url=show.episodes[0].media_url), tmp_path, here).size_bytes == len(sound())
    web.pages["/old"] = lambda h: h.move("/feed", 301)
    assert list_source(link.replace("/feed", "/old"), here).link == link
    with pytest.raises(SourceError, match="password") as caught:
        list_source(link.replace("hush", "wrong"), here)
    assert "wrong" not in str(caught.value)
    assert "ann" not in str(caught.value)


def test_a_web_feed_that_redirects_home_is_refused(web: Web, here: Settings, tmp_path: Path) -> None:
    with serve() as other:
        other.pages["/secret.mp3"] = (sound(), "audio/wav")
        web.pages["/feed"] = (feed(item(1, other.link("/secret.mp3")), item(2, "/away.mp3")), "text/xml")
        web.pages["/away.mp3"] = lambda h: h.move(other.link("/secret.mp3"))
        show = list_source(web.link("/feed"), here)
        for entry in show.episodes:
            with pytest.raises(BlockedAddress):
                fetch_media(episode(media_url=entry.media_url), tmp_path, here)
        assert other.seen == []


@pytest.mark.parametrize("status", [403, 410, 429, 500])
def test_a_feed_that_cannot_be_had(web: Web, here: Settings, status: int) -> None:
    web.pages["/feed.xml"] = (b"", "text/plain", status)
    with pytest.raises(SourceError) as caught:
        list_source(web.link("/feed.xml"), here)
    assert isinstance(caught.value, SourceBusy) is (status in (429, 500))


# --- a link to a recording --------------------------------------------------------------------------------------------


def test_a_direct_link(web: Web, here: Settings, tmp_path: Path) -> None:
    web.pages["/talks/day_one.wav"] = (sound(), "audio/x-wav")
    show = list_source(web.link("/talks/day_one.wav"), here)
    assert (show.kind, show.link, show.title) == ("link", web.link("/talks/"), f"{web.host}: talks")
    (entry,) = show.episodes
    assert (entry.title, entry.media_type, entry.size_bytes) == ("day one", "audio/wav", len(sound()))
    fetched = fetch_media(episode(media_url=entry.media_url), tmp_path / "r", here)
    assert (fetched.path, fetched.media_type, fetched.is_ours) == (tmp_path / "r" / "ep1.wav", "audio/wav", True)
    assert fetched.path.read_bytes() == sound()
    assert len(fetched.sha256) == 64
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["ep1.wav"]


def test_only_the_beginning_of_a_recording_is_read_to_list_it(web: Web, here: Settings) -> None:
    def endless(h: Handler) -> None:
        h.send_response(200)
        h.send_header("Content-Type", "application/octet-stream")
        h.end_headers()
        try:
            h.wfile.write(b"ID3")
            while True:
                h.wfile.write(b"\0" * 65536)
        except OSError:
            return

    web.pages["/download"] = endless
    assert list_source(web.link("/download"), here).episodes[0].media_type == "audio/mpeg"


def test_names_from_the_server_and_tokens_in_the_link(web: Web, here: Settings) -> None:
    web.pages["/get"] = lambda h: h.send(sound(), "audio/wav", Content_Disposition='attachment; filename="The real name.wav"')
    show = list_source(web.link("/get?token=hush"), here)
    assert show.episodes[0].title == "The real name"
    assert "hush" not in show.episodes[0].guid
    assert "hush" not in show.link


# --- captions and chapters --------------------------------------------------------------------------------------------


def links(web: Web, *rows: tuple[str, str, str | None]) -> tuple[TranscriptLink, ...]:
    return tuple(TranscriptLink(web.link(path), media_type, language) for path, media_type, language in rows)


def test_the_publishers_transcript(web: Web, here: Settings) -> None:
    web.pages["/t.vtt"] = (VTT, "text/vtt")
    found = fetch_captions(episode(transcripts=links(web, ("/t.vtt?key=hush", "text/vtt", "en"))), here)
    assert found is not None
    head, segments = found
    assert (head.source, head.engine, head.language) == ("publisher", "vtt", "en")
    assert "hush" not in head.model
    assert [segment.text for segment in segments] == ["Hello there.", "This is a talk."]
    assert segments[0].flags == (INTERPOLATED,)


def test_the_best_transcript_first_and_the_next_if_it_fails(web: Web, here: Settings) -> None:
    rows = [
        ("/plain", "text/plain", "en"),
        ("/html", "text/html", "en"),
        ("/srt", "application/x-subrip", "en"),
        ("/json", "application/json", "en"),
    ]
    rows += [("/german", "application/json", "de")]
    web.pages["/json"] = (b"broken", "application/json")
    web.pages["/html"] = (b"<cite>Ann</cite><time>0:00</time><p>From the page.</p>", "text/html")
    talk = episode(language="en", transcripts=links(web, *rows))
    found = fetch_captions(talk, here)
    assert found is not None
    assert found[1][0].text == "From the page."
    assert web.paths() == ["/json", "/srt", "/html"]


def test_a_transcript_that_is_of_no_use(web: Web, here: Settings) -> None:
    web.pages["/t.vtt"] = (VTT, "text/vtt")
    web.pages["/t.txt"] = (b"Hello there. This is a talk.", "text/plain")
    excerpt = episode(duration_s=3600.0, transcripts=links(web, ("/t.vtt", "text/vtt", None)))
    assert fetch_captions(excerpt, here) is None
    other = episode(language="fr", transcripts=links(web, ("/t.vtt", "text/vtt", "en")))
    assert fetch_captions(other, here) is None
    plain = episode(transcripts=links(web, ("/t.txt", "text/plain", None)))
    assert fetch_captions(plain, here) is None
    assert fetch_captions(plain, settings_for(web, captions="only")) is not None
    assert fetch_captions(episode(), here) is None


def test_a_transcript_that_leads_home_is_passed_over(web: Web, here: Settings) -> None:
    with serve() as other:
        other.pages["/t.vtt"] = (VTT, "text/vtt")
        assert fetch_captions(episode(transcripts=links(other, ("/t.vtt", "text/vtt", None))), here) is None
        assert other.seen == []


def test_a_transcript_beside_the_file(tmp_path: Path, here: Settings) -> None:
    (tmp_path / "talk.mp3").write_bytes(b"x")
    (tmp_path / "talk.vtt").write_bytes(VTT)
    entry = list_source(str(tmp_path / "talk.mp3"), here).episodes[0]
    found = fetch_captions(episode(media_url=entry.media_url, transcripts=entry.transcripts), here)
    assert found is not None
    assert (found[0].source, found[0].model) == ("sidecar", "talk.vtt")


def test_chapters(web: Web, here: Settings) -> None:
    web.pages["/c.json"] = (b'{"version": "1.2.0", "chapters": [{"startTime": 5, "title": "Bees"}]}', "application/json+chapters")
    assert fetch_chapters(episode(chapters_url=web.link("/c.json")), here) == (Chapter(5.0, "Bees"),)
    assert fetch_chapters(episode(chapters_url=web.link("/none")), here) == ()
    assert fetch_chapters(episode(), here) == ()
    own = (Chapter(1.0, "Own"),)
    assert fetch_chapters(episode(chapters=own, chapters_url=web.link("/c.json")), here) == own

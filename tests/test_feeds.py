"""Feeds: every field that is kept, every feed in ../shared, and feeds that mean harm."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pipeline.feed_fields import clock_s, duration_s, language_code
from pipeline.feeds import parse_feed, read_feed
from pipeline.plaintext import line, paragraphs
from store.errors import SourceError
from store.records import Chapter, EpisodeListing, Person, ShowListing, TranscriptLink

LINK = "https://host.example/shows/feed.xml"
NAMES = (
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:podcast="https://podcastindex.org/namespace/1.0" '
    'xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:atom="http://www.w3.org/2005/Atom" '
    'xmlns:media="http://search.yahoo.com/mrss/" xmlns:psc="http://podlove.org/simple-chapters"'
)


def rss(items: str, channel: str = "<title>A show</title>", names: str = NAMES) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?><rss version="2.0" {names}><channel>{channel}{items}</channel></rss>'.encode()


def one(item: str, link: str = LINK) -> EpisodeListing:
    show = read_feed(rss(f"<item>{item}</item>"), link)
    assert len(show.episodes) == 1
    return show.episodes[0]


def test_every_field_of_an_episode() -> None:
    episode = one(
        """<title>Q&amp;amp;A: tea &lt;b&gt;and&lt;/b&gt; toast</title><guid isPermaLink="false">ep-1</guid>
        <link>/episodes/1</link><pubDate>Fri, 09 Oct 2020 06:30:38 +0200</pubDate>
        <description>short</description>
        <content:encoded><![CDATA[<p>First &amp; last.</p><script>alert(1)</script>
        <ul><li>One</li><li>Two</li></ul>]]></content:encoded>
        <enclosure url="media/ep1.mp3" type="audio/mpeg" length="123456"/>
        <itunes:duration>1:02:03</itunes:duration><itunes:image href="/ep1.jpg"/>
        <podcast:person>Ann Lee</podcast:person><podcast:person role="Guest">Bob Ray</podcast:person>
        <podcast:transcript url="t/1.vtt" type="text/vtt" language="en-GB"/>
        <podcast:transcript url="https://other.example/1.json" type="application/json"/>
        <podcast:chapters url="c/1.json" type="application/json+chapters"/>
        <psc:chapters><psc:chapter start="8:26" title="Later"/><psc:chapter start="0" title="Start"/>
        <psc:chapter start="x" title="?"/></psc:chapters>"""
    )
    assert episode == EpisodeListing(
        guid="ep-1",
        title="Q&A: tea and toast",
        media_url="https://host.example/shows/media/ep1.mp3",
        page_url="https://host.example/episodes/1",
        description="First & last.\n\n- One\n\n- Two",
        published="2020-10-09T04:30:38+00:00",
        duration_s=3723.0,
        media_type="audio/mpeg",
        size_bytes=123456,
        image_url="https://host.example/ep1.jpg",
        people=(Person("Ann Lee", "host"), Person("Bob Ray", "guest")),
        chapters=(Chapter(0.0, "Start"), Chapter(506.0, "Later")),
        chapters_url="https://host.example/shows/c/1.json",
        transcripts=(
            TranscriptLink("https://host.example/shows/t/1.vtt", "text/vtt", "en"),
            TranscriptLink("https://other.example/1.json", "application/json", None),
        ),
    )


def test_every_field_of_a_show() -> None:
    channel = """<title>Tea &amp; Toast</title><link>https://host.example/</link><language>de-AT</language>
    <description><![CDATA[<b>All</b> about tea]]></description><itunes:author>Ann Lee</itunes:author>
    <itunes:image href="cover.jpg"/><itunes:new-feed-url>https://new.example/feed</itunes:new-feed-url>
    <atom:link rel="self" href="https://host.example/shows/feed.xml"/><atom:link rel="next" href="feed.xml?page=2"/>"""
    feed = parse_feed(rss("", channel), LINK)
    assert feed.moved_to == "https://new.example/feed"
    assert feed.listing == ShowListing(
        link=LINK,
        kind="feed",
        title="Tea & Toast",
        episodes=(),
        description="All about tea",
        author="Ann Lee",
        language="de",
        image_url="https://host.example/shows/cover.jpg",
        page_url="https://host.example/",
        next_page="https://host.example/shows/feed.xml?page=2",
    )


def test_the_podcast_namespace_goes_by_its_address_not_by_its_prefix() -> None:
    names = 'xmlns:p2="https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/1.0.md"'
    item = """<item><enclosure url="a.mp3" type="audio/mpeg"/><p2:transcript url="a.srt" type="application/srt"/>
    <p2:person>Ann Lee</p2:person></item>"""
    episode = read_feed(rss(item, names=names), LINK).episodes[0]
    assert [link.url for link in episode.transcripts] == ["https://host.example/shows/a.srt"]
    assert episode.people == (Person("Ann Lee", "host"),)


def test_an_ill_formed_feed_gives_what_can_be_read() -> None:
    items = """<item><title>Salt & pepper</title><enclosure url="a.mp3" type="audio/mpeg"/>
    <podcast:transcript url="a.srt" type="application/srt"/><podcast:transcript url="a.vtt" type="text/vtt"/></item>
    <item><title>Caf&eacute;</title><enclosure url="b.mp3" type="audio/mpeg"/>"""
    show = read_feed(rss(items)[:-10], LINK)
    assert [episode.title for episode in show.episodes] == ["Salt & pepper", "Café"]
    assert len(show.episodes[0].transcripts) == 2
    assert "not well-formed" in show.warnings[0]


@pytest.mark.parametrize(
    ("enclosures", "best"),
    [
        ('<enclosure url="v.mp4" type="video/mp4"/><enclosure url="a.mp3" type="audio/mpeg"/>', "a.mp3"),
        ('<enclosure url="p.jpg" type="image/jpeg"/><enclosure url="a.ogg" type="audio/ogg"/>', "a.ogg"),
        ('<enclosure url="a.opus" type="audio/ogg"/><enclosure url="a.m4a" type="audio/x-m4a"/>', "a.m4a"),
        ('<enclosure url="notes.pdf" type="application/pdf"/><enclosure url="v.mp4" type="video/mp4"/>', "v.mp4"),
        ('<enclosure url="a.mp3.torrent" type="application/x-bittorrent"/><enclosure url="a.mp3" type="audio/mpeg"/>', "a.mp3"),
        ('<enclosure url="download?id=7"/>', "download?id=7"),
        ('<enclosure url="a.mp3" type="application/octet-stream"/>', "a.mp3"),
        ('<media:content url="m.m4a" type="audio/mp4" duration="90"/>', "m.m4a"),
        ('<media:content url="m.jpg" medium="image"/><enclosure url="a.mp3" type="audio/mpeg"/>', "a.mp3"),
        ("<enclosure url='with space.mp3' type='audio/mpeg'/>", "with%20space.mp3"),
    ],
)
def test_the_best_enclosure(enclosures: str, best: str) -> None:
    assert one(f"<title>x</title>{enclosures}").media_url == f"https://host.example/shows/{best}"


def test_guids_when_there_is_none() -> None:
    audio = '<enclosure url="https://h.example/a.mp3?token=hush" type="audio/mpeg"/>'
    assert one(f"<title>x</title>{audio}").guid == "https://h.example/a.mp3?token=***"  # the token may change, the episode does not
    video = "<title>x</title><link>https://youtu.be/2T9w1rdPMl0</link>"
    assert one(video).guid == "https://youtu.be/2T9w1rdPMl0"


def test_the_same_item_twice_is_one_episode() -> None:
    item = '<item><guid>1</guid><enclosure url="a.mp3" type="audio/mpeg"/></item>'
    assert len(read_feed(rss(item * 2), LINK).episodes) == 1


def test_a_web_feed_never_names_local_files() -> None:
    for address in (
        "file:///etc/passwd",
        "/../../etc/passwd",
        "\\\\server\\share\\a.mp3",
        "C:\\a.mp3",
        "javascript:alert(1)//a.mp3",
        "data:audio/mp3,x",
    ):
        show = read_feed(rss(f'<item><title>x</title><enclosure url="{address}" type="audio/mpeg"/></item>'), LINK)
        assert all(episode.media_url.startswith("https://host.example/") for episode in show.episodes), address
    show = read_feed(rss('<item><enclosure url="file:///etc/passwd" type="audio/mpeg"/></item>'), LINK)
    assert show.episodes == ()
    assert "may not be fetched" in show.warnings[0]


def test_entities_do_not_explode() -> None:
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY l0 "lol">{lol}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    text = bomb + '<rss version="2.0"><channel><title>&l9; &f;</title></channel></rss>'
    for encoding in ("utf-8", "utf-16"):
        began = time.process_time()
        show = read_feed(text.encode(encoding), LINK)
        assert time.process_time() - began < 2
        assert "root:" not in show.title
        assert len(show.title) < 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<html><body>Not found</body></html>",
        b"\x00\xff" * 100,
        b"{}",
        b"<rss>" * 1,
        b"<?xml version='1.0'?><opml/>",
        b"ID3" + b"\0" * 99,
    ],
)
def test_what_is_no_feed(body: bytes) -> None:
    try:
        assert read_feed(body, LINK).episodes == ()
    except SourceError as error:
        assert "no feed" in error.what  # an empty RSS element is a feed without episodes


@pytest.mark.parametrize(
    "oddity",
    [
        *("<links>x</links>", "<content>x</content>", "<enclosures>x</enclosures>", "<author_detail>x</author_detail>"),
        *("<title>&#x110000; &#99999999999;</title>", "<psc:chapters>x</psc:chapters>", "<psc:chapter/>", "<media:rating/>"),
        *(
            "<link>http://[</link>",
            "<title xml:base='http://['>x</title>",
            "<enclosure url='http://[' type='audio/mpeg'/>",
            "<![C00]]>",
        ),
        *(
            "<pubDate>Fri, 99 Foo 9999</pubDate>",
            "<description><![CDATA[<![x]]></description>",
            "<itunes:duration>9:9:9:9</itunes:duration>",
        ),
    ],
)
def test_odd_items_do_not_spoil_the_feed(oddity: str) -> None:
    good = '<item><title>Good</title><enclosure url="good.mp3" type="audio/mpeg"/></item>'
    bad = f'<item>{oddity}<enclosure url="bad.mp3" type="audio/mpeg"/></item>'
    show = read_feed(rss(bad + good), LINK)
    assert "Good" in [episode.title for episode in show.episodes]


def test_odd_encodings() -> None:
    text = rss('<item><title>Grüße</title><enclosure url="a.mp3" type="audio/mpeg"/></item>').decode()
    for encoding in ("utf-8", "utf-16", "iso-8859-1", "windows-1252"):
        body = text.replace('encoding="utf-8"', f'encoding="{encoding}"').encode(encoding)
        assert read_feed(body, LINK).episodes[0].title == "Grüße", encoding
    body = text.replace(' encoding="utf-8"', "").encode("latin-1")
    assert read_feed(body, LINK, {"Content-Type": "text/xml; charset=iso-8859-1"}).episodes[0].title == "Grüße"


def test_a_thousand_items_are_quick() -> None:
    item = """<item><title>Talk {n}</title><guid>{n}</guid><pubDate>Fri, 09 Oct 2020 04:30:38 GMT</pubDate>
    <description>&lt;p&gt;{text}&lt;/p&gt;</description><enclosure url="{n}.mp3" type="audio/mpeg" length="1"/>
    <podcast:transcript url="{n}.vtt" type="text/vtt"/><itunes:duration>3600</itunes:duration></item>"""
    body = rss("".join(item.format(n=n, text="Some words about it. " * 40) for n in range(1000)))
    began = time.process_time()
    show = read_feed(body, LINK)
    assert len(show.episodes) == 1000
    assert time.process_time() - began < 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3723", 3723),
        ("62:03", 3723),
        ("1:02:03", 3723),
        ("01:02:03.5", 3723.5),
        ("", None),
        ("0", None),
        ("about an hour", None),
        ("1:2:3:4", None),
        ("-5", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("8:26", 506), ("00:03:07.250", 187.25), ("12:42,345", 762.345), ("x", None), ("", None)]
)
def test_clocks(text: str, seconds: float | None) -> None:
    assert clock_s(text) == seconds


@pytest.mark.parametrize(
    ("tag", "code"), [("en-US", "en"), ("DE", "de"), ("zh_TW", "zh"), ("yue", "yue"), ("english", None), ("", None), (None, None)]
)
def test_languages(tag: str | None, code: str | None) -> None:
    assert language_code(tag) == code


def test_plain_text() -> None:
    assert line("a < b &amp;lt; c\n\x00 d") == "a < b < c d"
    assert paragraphs("<p>One<br>two</p><style>p{}</style><p>Three &nbsp; four</p>") == "One\ntwo\n\nThree four"
    assert paragraphs("x " * 20_000).endswith(" …")
    assert paragraphs("<script>alert(1)") == ""
    assert paragraphs(None) == ""
    assert line("\u202eevil\u202c") == "evil"


# --- ../shared --------------------------------------------------------------------------------------------------------


def test_every_feed_in_shared(shared: Path) -> None:
    rows = [json.loads(row) for row in (shared / "speech" / "manifest.jsonl").read_text().splitlines()]
    feeds = [row for row in rows if row["kind"] == "feed_xml"]
    assert len(feeds) > 50
    refused = []
    for row in feeds:
        try:
            show = read_feed((shared / "speech" / row["path"]).read_bytes(), LINK)
        except SourceError:
            refused.append(Path(row["path"]).name)
            continue
        assert len(show.episodes) <= row["items"], row["path"]
        if "enclosure" in row["tags"] and Path(row["path"]).name != "no_url.rss":
            assert show.episodes, row["path"]
        for episode in show.episodes:
            assert episode.guid, row["path"]
            assert episode.title, row["path"]
            assert episode.media_url.startswith("http") or episode.page_url.startswith("http"), row["path"]
    assert sorted(refused) == ["namespace_schema_example.xml", "rss_empty_document.xml"]  # a schema, and an empty document


def test_chosen_feeds_in_shared(shared: Path) -> None:
    def read(path: str) -> ShowListing:
        return read_feed((shared / "speech" / "feeds" / path).read_bytes(), LINK)

    example = read("namespace/namespace_example.xml")
    assert [episode.guid for episode in example.episodes] == [f"https://example.com/ep000{n}" for n in (3, 2, 1)]
    assert [len(episode.transcripts) for episode in example.episodes] == [2, 1, 1]
    assert example.episodes[0].chapters_url == "https://example.com/ep3_chapters.json"
    assert example.episodes[0].people[1] == Person("Dave Jones", "guest")
    assert [mark.start_s for mark in read("feedparser/psc/atomsimplechapter.xml").episodes[0].chapters] == [0, 187.25, 506, 762.345]
    video = read("podcastparser/yt-video-link.rss").episodes[0]
    assert (video.media_url, video.page_url) == ("", "http://www.youtube.com/watch?v=2T9w1rdPMl0")
    assert read("podcastparser/paged_feed.rss").next_page == "http://example.com/feed/page2"
    assert read("podcastparser/relative.rss").episodes[0].media_url == "https://host.example/shows/example.mp3"
    assert read("podcastparser/no_title_multi_enclosure.rss").episodes[0].media_url == "http://example.com/test.mp3"
    for name, address in (
        ("new_feed_url", "http://newlocation.com/example.rss"),
        ("redirect_new_location", "http://weblog.infoworld.com/udell/rss.xml"),
    ):
        body = (shared / "speech" / "feeds" / "podcastparser" / f"{name}.rss").read_bytes()
        assert parse_feed(body, LINK).moved_to == address

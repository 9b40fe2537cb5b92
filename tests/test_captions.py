"""Captions: every format, rolling and broken files, speakers, and times that cannot be."""

from __future__ import annotations

import contextlib
import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.captions import parse_captions
from pipeline.chapters import read_chapters
from pipeline.cues import words_of
from store.errors import EarmarkError, SourceError
from store.records import INTERPOLATED, UNTIMED, Segment


def read(text: str, name: str = "x.vtt", media_type: str = "", duration_s: float | None = None) -> list[Segment]:
    segments = parse_captions(text.encode(), media_type, name, duration_s=duration_s)
    check(segments)
    return segments


def check(segments: list[Segment]) -> None:
    """What every transcript must be: in order, without overlaps, words that give the text."""
    assert segments
    for segment in segments:
        assert segment.text
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert 0 <= segment.start_s <= segment.end_s
        assert all(segment.start_s <= word.start_s <= word.end_s <= segment.end_s for word in segment.words)
        assert all(before.end_s <= after.start_s + 1e-6 for before, after in pairwise(segment.words))
    assert all(before.end_s <= after.start_s + 1e-6 for before, after in pairwise(segments))


def texts(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments]


def test_srt_becomes_sentences() -> None:
    segments = read(
        "1\n00:00:01,000 --> 00:00:03,000\nThis is one\n\n2\n00:00:03,000 --> 00:00:06,000\nsentence. And here\n\n"
        "3\n00:00:06,000 --> 00:00:08,000\nis another.\n",
        "x.srt",
    )
    assert texts(segments) == ["This is one sentence.", "And here is another."]
    assert (segments[0].start_s, segments[1].end_s) == (1.0, 8.0)
    assert 3.0 < segments[0].end_s < 6.0
    assert segments[0].flags == (INTERPOLATED,)
    assert [word.text for word in segments[0].words] == [" This", " is", " one", " sentence."]


def test_abbreviations_do_not_end_a_sentence() -> None:
    assert texts(read("WEBVTT\n\n00:01.000 --> 00:05.000\nDr. Lee met Mr. J. Doe at 3. He left. Why?\n")) == [
        "Dr. Lee met Mr. J. Doe at 3. He left.",
        "Why?",
    ]


def test_voices_styles_notes_and_tags() -> None:
    segments = read(
        """WEBVTT - a title
Kind: captions

STYLE
::cue(b) { color: red; }

NOTE this is
no caption

intro
00:01.000 --> 00:03.000 align:start position:0%
<v.loud Ann Lee>Hello <b>there</b> &amp; welcome.</v>

00:03.000 --> 00:07.000
<v Ann Lee>Are you well?</v> <v Bob>- Very <i>well</i>.
"""
    )
    assert [(segment.speaker, segment.text) for segment in segments] == [
        ("Ann Lee", "Hello there & welcome."),
        ("Ann Lee", "Are you well?"),
        ("Bob", "Very well."),
    ]


def test_times_inside_a_cue_are_word_times() -> None:
    segments = read("WEBVTT\n\n00:10.000 --> 00:12.000\nLike <00:10.500>a <00:11.000>pizza <00:11.500>pie.\n")
    assert [word.start_s for word in segments[0].words] == [10.0, 10.5, 11.0, 11.5]
    assert segments[0].flags == ()


ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.000 --> 00:00:02.000 align:start position:0%
\x20
so<00:00:00.400><c> today</c><00:00:00.800><c> we</c><00:00:01.200><c> talk</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
so today we talk
\x20

00:00:02.010 --> 00:00:04.000 align:start position:0%
so today we talk
about<00:00:02.500><c> bees</c><00:00:03.000><c> and</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
about bees and
\x20

00:00:04.010 --> 00:00:06.000 align:start position:0%
about bees and
honey<00:00:05.000><c> today</c>
"""


def test_rolling_captions_are_folded() -> None:
    segments = read(ROLLING)
    assert " ".join(texts(segments)) == "so today we talk about bees and honey today"
    words = [word for segment in segments for word in segment.words]
    assert [word.start_s for word in words] == [0.0, 0.4, 0.8, 1.2, 2.01, 2.5, 3.0, 4.01, 5.0]


def test_rolling_srt_without_word_times() -> None:
    lines = ["the first line is here", "and the second line follows", "then comes the third one", "and now the last"]
    blocks = [f"{n}\n00:00:{2 * n:02},000 --> 00:00:{2 * n + 4:02},000\n{lines[n - 1]}\n{lines[n]}\n" for n in range(1, 4)]
    assert " ".join(texts(read("\n".join(blocks), "x.srt"))) == " ".join(lines)


def test_what_is_truly_said_twice_stays() -> None:
    blocks = [
        f"{n}\n00:00:{2 * n:02},000 --> 00:00:{2 * n + 2:02},000\n{text}\n"
        for n, text in enumerate(["No.", "No.", "I said no.", "You did.", "I did.", "Why?"])
    ]
    assert texts(read("\n".join(blocks), "x.srt")) == ["No.", "No.", "I said no.", "You did.", "I did.", "Why?"]


def test_podcasting_json_word_by_word() -> None:
    words = "I am your father . Nooooo".replace(" .", ".").split()
    rows = [
        {"speaker": "Vader" if n < 4 else "Luke", "startTime": n, "endTime": n + 0.5, "body": word} for n, word in enumerate(words)
    ]
    segments = read(json.dumps({"version": "1.0.0", "segments": rows}), "x.json")
    assert [(segment.speaker, segment.text, segment.flags) for segment in segments] == [
        ("Vader", "I am your father.", ()),
        ("Luke", "Nooooo", ()),
    ]
    assert [word.start_s for word in segments[0].words] == [0, 1, 2, 3]


def test_whisper_json_keeps_its_word_times() -> None:
    words = [{"word": " Hello", "start": 1.0, "end": 1.4}, {"word": " there.", "start": 1.5, "end": 2.0}]
    segments = read(json.dumps({"segments": [{"start": 1.0, "end": 2.0, "text": " Hello there.", "words": words}]}), "x.json")
    assert [word.start_s for word in segments[0].words] == [1.0, 1.5]
    assert segments[0].flags == ()


def test_youtube_json() -> None:
    events = [
        {"tStartMs": 0, "dDurationMs": 5000},
        {
            "tStartMs": 1000,
            "dDurationMs": 4000,
            "segs": [{"utf8": "so"}, {"utf8": " today", "tOffsetMs": 400}, {"utf8": " bees", "tOffsetMs": 900}, {"utf8": ","}],
        },
        {"tStartMs": 3000, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 3010, "dDurationMs": 4000, "segs": [{"utf8": "buzz."}]},
    ]
    segments = read(json.dumps({"wireMagic": "pb3", "events": events}), "x.json3")
    assert texts(segments) == ["so today bees, buzz."]
    assert [word.start_s for word in segments[0].words] == [1.0, 1.4, 1.9, 3.01]


def test_youtube_json_without_spaces() -> None:
    pieces = [{"utf8": "今日"}, {"utf8": "は晴れ", "tOffsetMs": 1000}]
    segments = read(json.dumps({"events": [{"tStartMs": 1000, "dDurationMs": 3000, "segs": pieces}]}), "x.json3")
    assert texts(segments) == ["今日は晴れ"]
    assert segments[0].words[2].start_s == 2.0


def test_html_with_names_and_times() -> None:
    html = "<html><head><title>T</title></head><body><cite>Ann:</cite> <time>0:00</time> <p>Hello there. It&#39;s me.</p>"
    html += "<cite>Bob:</cite><time>1:10</time><p>Hi.</p></body></html>"
    segments = read(html, "x.html", "text/html", duration_s=80)
    assert [(segment.speaker, segment.text) for segment in segments] == [
        ("Ann", "Hello there."),
        ("Ann", "It's me."),
        ("Bob", "Hi."),
    ]
    assert segments[-1].start_s == 70
    assert segments[0].flags == (INTERPOLATED,)


def test_text_with_times() -> None:
    text = "Ann (00:00):\nHello there.\n\nBob (00:12):\nHi. How are you?\n\n[00:01:00] Ann: Fine."
    segments = read(text, "x.txt", duration_s=70)
    assert (segments[0].start_s, segments[0].speaker) == (0.0, "Ann")
    assert segments[1].start_s == 12.0
    assert segments[-1].start_s == 60.0
    assert all(UNTIMED not in segment.flags for segment in segments)


def test_text_without_times_says_so() -> None:
    segments = read("**Ann Lee:** Hello there. Nice day.\n\n**Bob Ray:** Indeed it is.", "x.txt", "text/plain", duration_s=60)
    assert [(segment.speaker, segment.text) for segment in segments] == [
        ("Ann Lee", "Hello there."),
        ("Ann Lee", "Nice day."),
        ("Bob Ray", "Indeed it is."),
    ]
    assert all(UNTIMED in segment.flags for segment in segments)
    assert segments[-1].start_s > 30


def test_ttml() -> None:
    ttml = '<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml"><body><div>'
    ttml += '<p begin="00:00:01.000" end="00:00:02.500">Hello<br/>there.</p>'
    ttml += '<p begin="3.5s" end="4s">Bye.</p></div></body></tt>'
    segments = read(ttml, "x.ttml")
    assert [(segment.start_s, segment.text) for segment in segments] == [(1.0, "Hello there."), (3.5, "Bye.")]


def test_names_before_the_text() -> None:
    lines = ["Ann: Hello to all.", "We start now.", "Bob: Fine.", "Note: this is no name.", "Ann: Go on.", "BOB: No."]
    blocks = [
        f"{n}\n00:00:{3 * n:02},000 --> 00:00:{3 * n + 3:02},000\n{text}\n" for n, text in enumerate([*lines, "Bob: Why?"], 1)
    ]
    segments = read("\n".join(blocks), "x.srt")
    assert [(segment.speaker, segment.text) for segment in segments][:4] == [
        ("Ann", "Hello to all."),
        ("Ann", "We start now."),
        ("Bob", "Fine."),
        ("Bob", "Note: this is no name."),
    ]


def test_noise_in_brackets_is_no_speech() -> None:
    blocks = ["[Music]", "(applause) [laughs]", "♪ La la ♪", "Hello [laughs] you."]
    text = "WEBVTT\n\n" + "\n\n".join(f"00:0{n}.000 --> 00:0{n + 1}.000\n{block}" for n, block in enumerate(blocks))
    assert texts(read(text)) == ["La la Hello [laughs] you."]


def test_times_that_cannot_be() -> None:
    text = """WEBVTT

00:20.000 --> 00:10.000
Third here.

00:05.000 --> 99:00.000
Second here.

00:01.000 --> 00:30.000
First here.

999:00:00.000 --> 999:00:01.000
Never here.

00:20.000 --> 00:20.000
Fourth here.
"""
    segments = read(text)
    assert texts(segments) == ["First here.", "Second here.", "Third here.", "Fourth here."]
    assert segments[1].end_s < 11


def test_broadcast_hours_are_moved_back() -> None:
    assert read("WEBVTT\n\n10:00:05.000 --> 10:00:07.000\nHello.\n", duration_s=600)[0].start_s == 5.0
    assert read("WEBVTT\n\n01:00:05.000 --> 01:00:07.000\nHello.\n", duration_s=7200)[0].start_s == 3605.0


def test_a_script_without_spaces() -> None:
    segments = read("WEBVTT\n\n00:01.000 --> 00:03.000\n今日は晴れです。明日は?\n")
    assert texts(segments) == ["今日は晴れです。", "明日は?"]
    assert len(segments[0].words) == 7
    assert words_of("hello 世界 ok") == [" hello", " 世", "界", " ok"]


def test_long_speech_without_punctuation_is_cut() -> None:
    blocks = [
        f"{n}\n00:{n // 20:02}:{3 * n % 60:02},000 --> 00:{n // 20:02}:{3 * n % 60 + 3:02},000\n{'word ' * 8}\n" for n in range(60)
    ]
    segments = read("\n".join(blocks), "x.srt")
    assert max(len(segment.words) for segment in segments) <= 70
    assert max(segment.end_s - segment.start_s for segment in segments) < 35


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str) -> None:
    data = "WEBVTT\r\n\r\n00:01.000 --> 00:03.000\r\nGrüße – café.\r\n".encode(encoding)
    assert parse_captions(data, "", "x.vtt")[0].text == "Grüße – café."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"WEBVTT",
        b"WEBVTT\n\n",
        b"1",
        b"{}",
        b"[]",
        b"\x00\x01\x02",
        b"1\n00:00:01,000 --> 00:00:02,000\n\n",
        b"{" * 5000,
        b"[[[[",
        b"<tt></tt>",
    ],
)
def test_nothing_to_read(data: bytes) -> None:
    with pytest.raises(SourceError, match="no captions"):
        parse_captions(data, "", "x.srt")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_damaged_files_never_crash(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(
        ROLLING.encode()
        if seed % 2
        else b"1\n00:00:01,000 --> 00:00:03,000\nAnn: Hi.\n\n2\n00:00:02,000 --> 00:00:04,000\nBob: Ho.\n"
    )
    for _ in range(chance.randrange(1, 40)):
        place = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randrange(1, 9)]
            case _:
                data[place:place] = data[chance.randrange(len(data)) :][:20]
        data = data or bytearray(b"x")
    with contextlib.suppress(SourceError):
        check(parse_captions(bytes(data), "", "x.vtt"))


def test_chapters_file() -> None:
    rows = [
        {"startTime": 168, "title": "Second &amp; more"},
        {"startTime": 0, "title": "First"},
        {"startTime": 5, "toc": False, "title": "x"},
        {"startTime": "a"},
        7,
    ]
    assert [(mark.start_s, mark.title) for mark in read_chapters(json.dumps({"chapters": rows}).encode())] == [
        (0.0, "First"),
        (168.0, "Second & more"),
    ]
    for broken in (b"", b"[", b"{}", b'{"chapters": {}}', b"7", b"\xff"):
        assert read_chapters(broken) == ()


# --- ../shared --------------------------------------------------------------------------------------------------------


def test_every_caption_file_in_shared(shared: Path) -> None:
    refused = []
    files = sorted((shared / "speech" / "subs").rglob("*.*"))
    assert len(files) > 20
    for path in files:
        try:
            check(parse_captions(path.read_bytes(), "", path.name))
        except EarmarkError as error:
            assert error.next_step
            refused.append(path.name)
    assert refused == [
        "chapters_example.json",
        "chapters_exampleComplex.json",
        "invalid_format1.srt",
        "invalid_format3.srt",
        "no_captions.vtt",
    ]


def test_a_publishers_srt_and_html_agree(shared: Path) -> None:
    """The same talk in two formats: the same speakers, nearly the same words, nearly the same times."""
    folder = shared / "speech" / "subs"
    srt, html = (parse_captions((folder / f"namespace_example.{end}").read_bytes(), "", f"x.{end}") for end in ("srt", "html"))
    assert {segment.speaker for segment in srt} == {segment.speaker for segment in html} == {"Travis", "Sarah", "Gilon"}
    words = [sum(len(segment.words) for segment in segments) for segments in (srt, html)]
    assert abs(words[0] - words[1]) < 0.01 * words[0]
    assert abs(srt[-1].end_s - html[-1].end_s) < 30


def test_chapters_in_shared(shared: Path) -> None:
    assert len(read_chapters((shared / "speech" / "subs" / "chapters_example.json").read_bytes())) >= 5

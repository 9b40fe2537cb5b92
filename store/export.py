"""Transcripts in the forms that people take away.

Comes in: an episode and its segments. Goes out: SubRip, WebVTT, plain text, Podcasting 2.0 JSON, Markdown.
Does not know: where the text goes.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence

from store.records import Episode, Segment

CUE_MAX_CHARACTERS = 84  # two lines of 42, the usual limit for subtitles
CUE_MAX_S = 7.0
PARAGRAPH_GAP_S = 2.0
PARAGRAPH_MAX_CHARACTERS = 700


def to_srt(episode: Episode, segments: Sequence[Segment]) -> str:
    """Return SubRip subtitles."""
    del episode
    cues = []
    for number, cue in enumerate(_cues(segments), 1):
        speaker = f"{cue.speaker}: " if cue.speaker else ""
        cues.append(f"{number}\n{clock(cue.start_s, ',')} --> {clock(cue.end_s, ',')}\n{speaker}{cue.text}\n")
    return "\n".join(cues)


def to_vtt(episode: Episode, segments: Sequence[Segment]) -> str:
    """Return WebVTT subtitles with voice tags."""
    del episode
    cues = ["WEBVTT\n"]
    for cue in _cues(segments):
        voice = f"<v {html.escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        text = html.escape(cue.text, quote=False)
        cues.append(f"{clock(cue.start_s, '.')} --> {clock(cue.end_s, '.')}\n{voice}{text}\n")
    return "\n".join(cues)


def to_txt(episode: Episode, segments: Sequence[Segment]) -> str:
    """Return paragraphs of plain text, with speakers where they are known."""
    del episode
    lines = []
    for paragraph in paragraphs(segments):
        speaker = f"{paragraph[0].speaker}: " if paragraph[0].speaker else ""
        lines.append(speaker + _joined(paragraph))
    return "\n\n".join(lines) + "\n"


def to_json(episode: Episode, segments: Sequence[Segment]) -> str:
    """Return the Podcasting 2.0 JSON transcript, with the words' times added."""
    rows = []
    for segment in segments:
        row: dict[str, object] = {"startTime": segment.start_s, "endTime": segment.end_s, "body": segment.text}
        if segment.speaker:
            row["speaker"] = segment.speaker
        if segment.words:
            row["words"] = [{"startTime": w.start_s, "endTime": w.end_s, "body": w.text} for w in segment.words]
        if segment.flags:
            row["flags"] = list(segment.flags)
        rows.append(row)
    document = {"version": "1.0.0", "title": episode.title, "show": episode.show, "segments": rows}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def to_markdown(episode: Episode, segments: Sequence[Segment]) -> str:
    """Return a readable page: title, where it is from, paragraphs that begin with their time."""
    lines = [f"# {episode.title}", "", " · ".join(part for part in (episode.show, episode.published[:10]) if part), ""]
    if episode.page_url:
        lines += [f"<{episode.page_url}>", ""]
    for paragraph in paragraphs(segments):
        speaker = f" **{paragraph[0].speaker}**" if paragraph[0].speaker else ""
        lines += [f"`{clock(paragraph[0].start_s, '.')[:8]}`{speaker} {_joined(paragraph)}", ""]
    return "\n".join(lines)


FORMATS: dict[str, Callable[[Episode, Sequence[Segment]], str]] = {
    "srt": to_srt,
    "vtt": to_vtt,
    "txt": to_txt,
    "json": to_json,
    "md": to_markdown,
}


def clock(time_s: float, decimal_mark: str = ".") -> str:
    """Return 01:02:03.450 for 3723.45."""
    total_ms = max(0, round(time_s * 1000))
    seconds, milliseconds = divmod(total_ms, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}{decimal_mark}{milliseconds:03d}"


def paragraphs(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Group segments for reading: a new paragraph at a new speaker, a long pause, or when one has grown long."""
    groups: list[list[Segment]] = []
    length = 0
    for segment in segments:
        last = groups[-1][-1] if groups else None
        if (
            last is None
            or segment.speaker != last.speaker
            or segment.start_s - last.end_s > PARAGRAPH_GAP_S
            or length > PARAGRAPH_MAX_CHARACTERS
        ):
            groups.append([])
            length = 0
        groups[-1].append(segment)
        length += len(segment.text)
    return groups


def _joined(segments: Sequence[Segment]) -> str:
    """Join texts with spaces, or without where the language writes none."""
    return ("" if segments[0].language in ("ja", "zh", "yue", "th", "lo", "my", "km") else " ").join(s.text for s in segments)


def _cues(segments: Sequence[Segment]) -> list[Segment]:
    """Cut segments that are too long for a subtitle, at words."""
    cues: list[Segment] = []
    for segment in segments:
        if not segment.words or (len(segment.text) <= CUE_MAX_CHARACTERS and segment.end_s - segment.start_s <= CUE_MAX_S):
            cues.append(segment)
            continue
        start = 0
        for index in range(1, len(segment.words) + 1):
            text = "".join(word.text for word in segment.words[start : index + 1]).strip()
            is_last = index == len(segment.words)
            if (
                not is_last
                and len(text) <= CUE_MAX_CHARACTERS
                and segment.words[index].end_s - segment.words[start].start_s <= CUE_MAX_S
            ):
                continue
            words = segment.words[start:index]
            text = "".join(word.text for word in words).strip()
            if text:
                cues.append(Segment(words[0].start_s, words[-1].end_s, text, words, segment.speaker, segment.language))
            start = index
    return cues

"""What kind of file a name, a media type or the first bytes point to.

Comes in: names, Content-Types, first bytes. Goes out: media or not, its type, which of several is the better recording.
Does not know: whether a file holds what it claims; `recording` finds out.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import unquote

AUDIO = {
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".aac": "audio/aac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".spx": "audio/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".wave": "audio/wav",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".wma": "audio/x-ms-wma",
    ".amr": "audio/amr",
    ".ac3": "audio/ac3",
    ".caf": "audio/x-caf",
    ".mka": "audio/x-matroska",
    ".au": "audio/basic",
    ".mp2": "audio/mpeg",
    ".mpga": "audio/mpeg",
    ".weba": "audio/webm",
    ".sln": "audio/x-raw",
}
VIDEO = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".ogv": "video/ogg",
    ".wmv": "video/x-ms-wmv",
    ".flv": "video/x-flv",
    ".ts": "video/mp2t",
    ".3gp": "video/3gpp",
    ".3g2": "video/3gpp2",
}
SUFFIXES = {**AUDIO, **VIDEO}
_OTHER_NAMES = {
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "video/x-m4v": "video/mp4",
}
# Speech needs no picture, and a browser should be able to play what the owner offers
_PREFERENCE = ("audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/webm", "audio/")
_OTHER_AUDIO = frozenset({"application/ogg", "application/x-ogg", "application/mp4", "application/vnd.apple.mpegurl.audio"})
_PLAYLISTS = re.compile(r"mpegurl|x-scpls|pls\+xml|dash\+xml")
_MAGIC = (
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"RIFF", "audio/wav"),
    (b"FORM", "audio/aiff"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"#!AMR", "audio/amr"),
    (b"caff", "audio/x-caf"),
    (b".snd", "audio/basic"),
    (b"0&\xb2u\x8ef\xcf\x11", "video/x-ms-wmv"),
    (b"FLV\x01", "video/x-flv"),
)


def suffix_of(name: str) -> str:
    """Return the ending of a path's or link's file name, in lower case, "" if it has none."""
    path = unquote(re.sub(r"^\w+://[^/]*", "", re.split(r"[?#]", name)[0])) if "://" in name else name
    return PurePosixPath(path.replace("\\", "/")).suffix.lower()


def is_media_name(name: str) -> bool:
    """Tell whether a path or link ends like a recording."""
    return suffix_of(name) in SUFFIXES


def is_media_type(media_type: str) -> bool:
    """Tell whether a Content-Type says that this is one recording (and not a playlist of pieces)."""
    return (media_type.startswith(("audio/", "video/")) or media_type in _OTHER_AUDIO) and not _PLAYLISTS.search(media_type)


def media_type_of(name: str, declared: str = "") -> str:
    """Return the media type of a recording: as declared if that says anything, else by its ending, else ""."""
    declared = declared.split(";")[0].strip().lower()
    declared = _OTHER_NAMES.get(declared, declared)
    return declared if is_media_type(declared) else SUFFIXES.get(suffix_of(name), declared if "/" in declared else "")


def media_rank(media_type: str) -> int:
    """Return which of several recordings to take: the smaller, the better."""
    for place, start in enumerate(_PREFERENCE):
        if media_type.startswith(start):
            return place
    return len(_PREFERENCE) + (0 if media_type.startswith("video/") else 1)


def ending_for(media_type: str, link: str = "") -> str:
    """Return a file ending for a fetched recording, such as ".mp3"; ".media" where nothing is known."""
    known = suffix_of(link)
    if known in SUFFIXES:
        return known
    media_type = media_type_of("", media_type)
    return next((ending for ending, type_ in SUFFIXES.items() if type_ == media_type), ".media")


def sniff(head: bytes) -> str:
    """Return the media type that the first bytes (512 are enough) point to; "text/html", "playlist", "xml", or "" unknown."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[4:8] == b"ftyp":
        return "video/mp4" if head[8:12] not in (b"M4A ", b"M4B ") else "audio/mp4"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "audio/mpeg"
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"#extm3u"):
        return "playlist"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text:
        return "text/html"
    if text.startswith((b"<?xml", b"<rss", b"<feed", b"<rdf")):
        return "xml"
    return ""

"""yt-dlp in a process of its own.

Comes in: one request (a line of JSON on standard input). Goes out: lines of JSON on standard output: progress, then the result
or the error. When standard input ends, the one who asked is gone, and so does this process.
Does not know: the store, the episode. Why a process: every connection of it is checked where the operating system is asked
for it, in every thread and for every library (an audit hook, which cannot be taken off again); it can be ended after a total
time, which yt-dlp itself does not know; and its memory goes when it goes.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from pipeline.process_guard import install_guard, refused

# Small is enough: speech is decoded at 16 kHz, mono
FORMATS = "bestaudio[abr<=160]/bestaudio/best[height<=480]/best"
PROTOCOLS = frozenset({"http", "https", "m3u8", "m3u8_native", "http_dash_segments", "ism", "mhtml"})
CAPTION_FORMATS = ("json3", "vtt", "srt", "ttml", "srv3", "json")
MAX_CAPTION_BYTES = 16 << 20
FRESH_S = 600.0
MAX_NESTED = 6  # tabs of a channel, seasons of a series
PLAYLISTS = ("Tab", "Playlist", "Channel", "User", "Series", "Season", "Album", "Set", "Show")


def main() -> None:
    """Serve one request and end."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints goes to standard error
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_asker, args=(sys.stdin,), daemon=True).start()
    install_guard((host, port) for host, port in request["allowed"])
    try:
        answer: dict[str, Any] = {"result": _serve(request, out)}
    except BaseException as error:  # the asker tells it in plain words
        answer = {"error": _error(error)}
    _say(out, answer)
    os._exit(0)  # yt-dlp may have left threads that wait


def _end_with_asker(stdin: TextIO) -> None:
    while stdin.readline():
        pass
    os._exit(1)


def _say(out: TextIO, message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


def _error(error: BaseException) -> dict[str, Any]:
    """Describe an error: its kind, its message, the status and Retry-After if an answer caused it."""
    seen: BaseException | None = error
    status, retry_after = None, ""
    while seen is not None:
        inner = getattr(seen, "exc_info", None)
        response = getattr(seen, "response", None)
        if status is None and isinstance(getattr(seen, "status", None), int) and response is not None:
            status, retry_after = seen.status, response.headers.get("Retry-After") or ""  # type: ignore[attr-defined]
        following = seen.__cause__ or getattr(seen, "cause", None) or (inner[1] if inner and inner[1] is not seen else None)
        seen = following if isinstance(following, BaseException) else None
    blocked = {"what": refused[0].what, "next_step": refused[0].next_step} if refused else None
    message = str(getattr(error, "orig_msg", None) or error)
    return {"kind": type(error).__name__, "message": message, "status": status, "retry_after": retry_after, "blocked": blocked}


def _serve(request: Mapping[str, Any], out: TextIO) -> dict[str, Any]:
    sys.modules["curl_cffi"] = None  # type: ignore[assignment]  # it connects behind Python's back: yt-dlp must do without
    import yt_dlp

    complaints: list[str] = []
    options = _options(request, complaints, out)
    with yt_dlp.YoutubeDL(options) as downloader:
        work = {"list": _list, "captions": _captions, "fetch": _fetch}[request["do"]]
        result = work(downloader, request)
    return {**result, "warnings": complaints[:10]}


class _Log:
    """Keeps what yt-dlp warns of; the rest is noise."""

    def __init__(self, complaints: list[str]) -> None:
        self._complaints = complaints

    def debug(self, message: str) -> None:
        pass

    def info(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        self._complaints.append(message)

    def error(self, message: str) -> None:
        self._complaints.append(message)


def _options(request: Mapping[str, Any], complaints: list[str], out: TextIO) -> dict[str, Any]:
    options: dict[str, Any] = {
        "quiet": True,
        "noprogress": True,
        "logger": _Log(complaints),
        "cachedir": False,
        "proxy": "",  # behind a proxy nobody could tell where a request ends
        "socket_timeout": request["timeout_s"],
        "retries": 3,
        "fragment_retries": 3,
        "extractor_retries": 1,
        "format": FORMATS,
        "format_sort": ["lang"],
        "external_downloader": {"default": "native"},
        "hls_prefer_native": True,
        "ffmpeg_location": os.devnull,
        "fixup": "never",
        "updatetime": False,
        "enable_file_urls": False,
        "js_runtimes": {name: {} for name in request["js_runtimes"]},
        "extractor_args": {"youtubetab": {"approximate_date": [""]}},
        "noplaylist": request["do"] != "list",
    }
    if request.get("cookies"):
        options["cookiefile"] = request["cookies"]
    if request.get("cookies_from_browser"):
        options["cookiesfrombrowser"] = (request["cookies_from_browser"], None, None, None)
    if request["do"] == "list":
        options |= {"extract_flat": "in_playlist", "ignore_no_formats_error": True}
        if request.get("limit"):
            options["playlistend"] = request["limit"]
    if request["do"] == "captions":
        options["ignore_no_formats_error"] = True
    if request["do"] == "fetch":
        options["outtmpl"] = {"default": str(Path(request["folder"]) / f"{request['name']}.%(ext)s")}
        options["max_filesize"] = request["max_bytes"]
        options["progress_hooks"] = [lambda state: _progress(state, request["max_bytes"], out)]
    return options


def _progress(state: Mapping[str, Any], max_bytes: int, out: TextIO) -> None:
    done, total = state.get("downloaded_bytes") or 0, state.get("total_bytes") or state.get("total_bytes_estimate")
    if done > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes")
    if state.get("status") == "downloading":
        share = done / total if total else None
        if share is None and state.get("fragment_count"):
            share = (state.get("fragment_index") or 0) / state["fragment_count"]
        _say(out, {"progress": min(share or 0.0, 1.0)})


def _list(downloader: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    link = request["link"]
    if request.get("known_only") and _is_generic(link):
        return {"generic": True}
    info = downloader.sanitize_info(_extract(downloader, link))
    entries, nested = [], 0
    for entry in _flat(info):
        kind = str(entry.get("ie_key") or "")
        is_list = entry.get("_type") in ("url", "url_transparent") and kind.endswith(PLAYLISTS)
        if is_list and nested < MAX_NESTED and entry.get("url") != link:
            nested += 1
            inner = downloader.sanitize_info(_extract(downloader, entry["url"]))
            entries += list(_flat(inner))
        elif not is_list:
            entries.append(entry)
    is_single = "entries" not in info
    return {"show": _trim(info), "entries": [_trim(entry) for entry in ([info] if is_single else entries)], "single": is_single}


def _extract(downloader: Any, link: str) -> Any:
    """Open a page. For a bare address the 1,700 patterns of known sites need not be tried (a second of work)."""
    return downloader.extract_info(link, download=False, ie_key="Generic" if _is_bare_address(link) else None)


def _is_bare_address(link: str) -> bool:
    try:
        ipaddress.ip_address(urlsplit(link).hostname or "")
    except ValueError:
        return False
    return True


def _is_generic(link: str) -> bool:
    from yt_dlp.extractor import gen_extractor_classes

    if _is_bare_address(link):
        return True
    return not any(extractor.suitable(link) and extractor.ie_key() != "Generic" for extractor in gen_extractor_classes())


def _flat(info: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for entry in info.get("entries") or ():
        if entry and entry.get("_type") in ("playlist", "multi_video"):
            yield from _flat(entry)
        elif entry:
            yield entry


_KEPT = (
    *("id", "title", "url", "webpage_url", "original_url", "description", "duration", "timestamp", "release_timestamp"),
    *("upload_date", "release_date", "thumbnail", "language", "uploader", "channel", "channel_url", "uploader_url", "creators"),
    *("extractor", "extractor_key", "ie_key", "ext", "vcodec", "acodec", "availability", "live_status", "chapters"),
    *("playlist_title", "modified_date", "direct", "_type"),
)


def _trim(info: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a listing needs; formats and headers of a site are long and hold signed addresses."""
    kept = {name: info[name] for name in _KEPT if info.get(name) is not None}
    if "thumbnail" not in kept and info.get("thumbnails"):
        kept["thumbnail"] = info["thumbnails"][-1].get("url")
    if str(info.get("extractor_key") or info.get("ie_key")) in ("Generic", "HTML5MediaEmbed"):
        formats = [offer for offer in info.get("formats") or [info] if str(offer.get("protocol") or "http") in ("http", "https")]
        links = [offer.get("url") for offer in formats if offer.get("url")]
        kept["media"] = links[0] if links and info.get("_type", "video") == "video" else None
    for name in ("subtitles", "automatic_captions"):
        kept[name] = {code: [offer.get("ext") for offer in offers] for code, offers in (info.get(name) or {}).items()}
    return kept


def _captions(downloader: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Extract a page and fetch the best captions: written by people in one of the languages, else automatic if asked for."""
    info = _extract(downloader, request["link"])
    wanted = [code for code in (*request["languages"], info.get("language")) if code]
    found = None
    sides = [("subtitles", False)] + ([("automatic_captions", True)] if request["automatic"] else [])
    for name, automatic in sides:
        picked = pick_captions(info.get(name) or {}, wanted, automatic)
        if picked:
            code, offer = picked
            text = offer.get("data")
            body = str(text).encode() if text else downloader.urlopen(offer["url"]).read(MAX_CAPTION_BYTES)
            found = {"language": code, "ext": offer.get("ext"), "automatic": automatic, "body": base64.b64encode(body).decode()}
            break
    opened = None if found or "entries" in info else downloader.sanitize_info(info)
    return {"episode": _trim(info), "captions": found, "info": opened}


def pick_captions(offered: Mapping[str, Any], wanted: Iterable[str], automatic: bool) -> tuple[str, Mapping[str, Any]] | None:
    """Return language and offer of the captions to take, None if there are none in a wanted language."""
    codes = [code for code in offered if code != "live_chat"]
    languages = [code.split("-")[0].lower() for code in wanted]
    order = []
    for code in codes:
        short = code.split("-")[0].lower()
        if languages and short not in languages:
            continue
        if not languages and len(codes) > 1 and automatic and not code.endswith("-orig"):
            continue  # machine translations of machine captions
        order.append((languages.index(short) if languages else 0, not code.endswith("-orig"), len(code), code))
    for *_, code in sorted(order):
        offers = [offer for offer in offered[code] if offer.get("url") or offer.get("data")]
        for ext in CAPTION_FORMATS:
            for offer in offers:
                if offer.get("ext") == ext and "m3u8" not in (offer.get("protocol") or ""):
                    return code, offer
    return None


def _fetch(downloader: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    opened = request.get("info")
    if opened and time.time() - opened.get("epoch", 0) < FRESH_S:  # its signed addresses still hold
        info = downloader.process_ie_result(opened, download=False)
    else:
        info = _extract(downloader, request["link"])
    chosen = info.get("requested_downloads") or [info]
    for part in info.get("requested_formats") or chosen:
        if part.get("protocol") and not set(str(part["protocol"]).split("+")) <= PROTOCOLS:
            raise ValueError(f"it is sent in a way that is not supported ({part['protocol']})")
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
        raise ValueError("this is live or still to come")
    info = downloader.process_ie_result(info, download=True)
    files = [part.get("filepath") for part in info.get("requested_downloads") or () if part.get("filepath")]
    if not files or not Path(files[0]).is_file():
        raise ValueError("nothing was fetched: the recording may be too large, or empty")
    return {"episode": _trim(info), "path": files[0]}


if __name__ == "__main__":
    main()

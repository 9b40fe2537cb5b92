"""Why a site gave nothing, in plain words.

Comes in: an error of yt-dlp, as `site_process` describes it. Goes out: the error to raise.
Does not know: the site; it reads the words that yt-dlp passes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.plaintext import line
from pipeline.refusals import retry_after_s
from store.errors import BlockedAddress, SourceBusy, SourceError
from store.links import redact, redact_text

_SPACE_HINT = "From a server, give the show's podcast feed, a direct link or an upload instead: such sites block data centres"
# What yt-dlp says, what it means, what to do, and whether another try may help
_REASONS: tuple[tuple[str, str, str, bool], ...] = (
    (
        r"not a bot|confirm you.re not|captcha|cloudflare|unusual traffic|js challenge|anti-bot",
        "the site takes this machine for a robot and blocks it",
        f"Give --cookies FILE or --cookies-from-browser NAME. {_SPACE_HINT}",
        False,
    ),
    (
        r"members?.only|join this channel|premium|subscri(?:bers|ption)|paid|purchase|rental",
        "it is for paying members only",
        "Give the cookies of an account that may see it: --cookies FILE",
        False,
    ),
    (r"private (?:video|playlist)|is private|video is private", "it is private", "Ask its owner, or give --cookies FILE", False),
    (
        r"age.?restrict|confirm your age|inappropriate for some",
        "the site asks for an age check",
        "Give the cookies of an account that may see it: --cookies FILE",
        False,
    ),
    (
        r"geo.?restrict|not available (?:in|from) your (?:country|location|region)|blocked it in your country|"
        r"not made this video available",
        "it may not be played in this country",
        "Run Earmark from another country, or ask its owner for the file",
        False,
    ),
    (
        r"removed|terminated|no longer available|account .{0,40}closed|has been deleted|does not exist|video unavailable",
        "it has been removed",
        "Leave it out",
        False,
    ),
    (
        r"log ?in|sign ?in|authenticat|cookies|credentials|registered users",
        "the site asks for a login",
        "Give --cookies FILE or --cookies-from-browser NAME",
        False,
    ),
    (
        r"live event|premieres in|this is live|is_upcoming|still to come|will begin",
        "it is live or still to come",
        "Try again when it is over",
        False,
    ),
    (
        r"too many requests|rate.?limit|http error 429",
        "the site says that it was asked too often",
        f"Try again later. {_SPACE_HINT}",
        True,
    ),
    (r"drm", "it is protected against copying (DRM)", "Leave it out", False),
    (
        r"requested format is not available|no video formats|only images are available",
        "the site offers no recording of it to programs",
        "Update yt-dlp, install Deno or Node.js, and try again",
        False,
    ),
    (
        r"larger than|max-filesize|nothing was fetched",
        "it is larger than the limit, or empty",
        "Raise the setting max_download_mb",
        False,
    ),
    (
        r"unsupported url|no media found|unable to find video",
        "no recording was found on this page",
        "Give the page of a talk, or a feed",
        False,
    ),
    (
        r"timed? ?out|connection (?:reset|aborted|refused)|temporary failure|http error 5\d\d|incompleteread|"
        r"bytes read|remote end closed",
        "the site did not answer in time",
        "Try again later",
        True,
    ),
    (r"name or service not known|getaddrinfo failed|nodename nor servname", "there is no such host", "Check the spelling", False),
    (r"is not a valid url", "this is no valid address", "Check it", False),
    (r"http error 404|not found", "there is nothing at this address (404)", "Check the address", False),
    (r"http error 403|forbidden", "the site refuses this request (403)", f"Give --cookies FILE. {_SPACE_HINT}", False),
    (r"not supported", "it is sent in a way that is not supported", "Ask its owner for the file", False),
)


def explain(error: Mapping[str, Any], link: str) -> SourceError:
    """Say in plain words why a site gave nothing. `error` as `site_process` describes it."""
    where = redact(link)
    blocked = error.get("blocked")
    if blocked:
        return BlockedAddress(blocked["what"], where=where, next_step=blocked["next_step"])
    message = redact_text(re.sub(r"\x1b\[[0-9;]*m", "", str(error.get("message", ""))))
    message = re.sub(r"^(?:ERROR: )?(?:\[[\w:+ .-]+\] )?(?:[\w-]{1,40}: )?", "", message)
    status, retry = error.get("status"), retry_after_s(str(error.get("retry_after") or ""))
    if status == 429 or (isinstance(status, int) and status >= 500):
        what = "the site says that it was asked too often (429)" if status == 429 else f"the site failed ({status})"
        return SourceBusy(
            what,
            where=where,
            next_step=f"Try again later. {_SPACE_HINT}" if status == 429 else "Try again later",
            retry_after_s=retry,
        )
    for pattern, what, step, temporary in _REASONS:
        if re.search(pattern, message, re.IGNORECASE):
            return (SourceBusy if temporary else SourceError)(what, where=where, next_step=step)
    short = line(message.split("; please report")[0])[:200].rstrip(".")
    what = f"yt-dlp could not read it ({short or error.get('kind')})"
    return SourceError(what, where=where, next_step="Update yt-dlp and try again")

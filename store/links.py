"""Links that may carry a secret: how they are shown.

Comes in: any link or text. Goes out: the same with user names, passwords and tokens masked, for errors, logs, pages, exports.
Does not know: what a link leads to. Private and paid feeds put the key into the address, so no whole link is ever shown.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

MASK = "***"

_SECRET_KEY = re.compile(
    r"(?:^|[_.\-])(?:auth\w*|token|access|key|apikey|sig|signature|hmac|hash|secret|pass|passwd|password|pwd|user|username|login|"
    r"email|session|sid|jwt|ticket|credential|credentials|policy|cookie|code|member|subscriber|private)(?:$|[_.\-])|"
    r"(?:token|secret|password|signature|apikey|authkey|accesskey)",
    re.IGNORECASE,
)
_LINK = re.compile(r"\b(?:https?|ftp|feed)://[^\s'\"<>\\]*[^\s'\"<>\\.,;:!?)\]]", re.IGNORECASE)
_TOKEN_CHARACTERS = 20  # a run this long of mixed letters and digits is a key, not a name
_UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", re.IGNORECASE)
_PRIVATE_FOLDER = re.compile(r"^(?:private|premium|subscriber|member|auth|token|key|secret)s?$", re.IGNORECASE)


def redact(link: str) -> str:
    """Return `link` without user name, password, fragment, and with what looks like a token masked. Never raises."""
    try:
        parts = urlsplit(link)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
        query = "&".join(_pair(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True))
        return urlunsplit((parts.scheme, netloc, _path(parts.path) if netloc else parts.path, query, ""))
    except ValueError:
        return MASK


def redact_text(text: str) -> str:
    """Return `text` with every link in it redacted: for messages that somebody else wrote."""
    return _LINK.sub(lambda match: redact(match.group()), text)


def has_secret(link: str) -> bool:
    """Tell whether `link` carries something that must not be shown: such a media address is never handed to a visitor."""
    return MASK in redact(link)


def _pair(name: str, value: str) -> str:
    shown = MASK if value and (_SECRET_KEY.search(name) or _is_token(value) or "://" in value) else quote(value, safe="/:,+")
    return f"{quote(name)}={shown}" if shown else quote(name)


def _path(path: str) -> str:
    shown, after_private = [], False
    for piece in path.split("/"):
        name, dot, suffix = piece.rpartition(".")
        stem = name if dot and len(suffix) <= 5 else piece
        secret = _is_token(unquote(stem)) or (after_private and len(stem) >= 8 and any(letter.isdigit() for letter in stem))
        shown.append((MASK + (dot + suffix if stem is name else "")) if secret else piece)
        after_private = bool(_PRIVATE_FOLDER.match(piece))
    return "/".join(shown)


def _is_token(text: str) -> bool:
    """A UUID, or a long run without separators that mixes letters and digits throughout."""
    if _UUID.match(text):
        return True
    for run in re.split(r"[^0-9A-Za-z]", text):
        digits = sum(letter.isdigit() for letter in run)
        if len(run) >= _TOKEN_CHARACTERS and 3 <= digits < len(run):
            return True
    return False

"""What a failed request means, in plain words.

Comes in: a status, a broken connection. Goes out: the error to raise: for good (`SourceError`) or for now (`SourceBusy`).
Does not know: the link; `where` comes in with its credentials masked already.
"""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from store.errors import SourceBusy, SourceError


def refusal(status: int, headers: httpx.Headers, where: str) -> SourceError:
    """Say what a status means, in plain words."""
    if status == 429:
        wait = retry_after_s(headers.get("retry-after", ""))
        soon = f"Try again in {wait:.0f} s" if wait else "Try again later, and raise the setting pause_s"
        return SourceBusy("the site says that it was asked too often (429)", where=where, next_step=soon, retry_after_s=wait)
    if status >= 500 or status in (408, 425):
        wait = retry_after_s(headers.get("retry-after", ""))
        return SourceBusy(f"the server failed ({status})", where=where, next_step="Try again later", retry_after_s=wait)
    words = {
        401: ("it asks for a user name and a password (401)", "Give them in the link: https://NAME:PASSWORD@host/..."),
        402: ("it asks for payment (402)", "Use the address from your subscription"),
        403: ("the site refuses this request (403)", "Open it in a browser: it may be private, expired or closed to programs"),
        404: ("there is nothing at this address (404)", "Check the address"),
        410: ("it is gone for good (410)", "Look for its new address"),
        451: ("it may not be shown here for legal reasons (451)", "It may answer from another country"),
    }
    what, step = words.get(status, (f"the server answered with status {status}", "Open it in a browser"))
    return SourceError(what, where=where, next_step=step)


def broken(error: Exception, where: str) -> SourceError:
    """Say what a broken connection means. Errors of our own pass through httpcore as they are."""
    if isinstance(error, httpcore.TimeoutException):
        return SourceBusy("the server took too long to answer", where=where, next_step="Try again later")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceError(f"its certificate is not valid ({cause.verify_message})", where=where, next_step="Check the address")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError):
        return SourceBusy("no connection could be made", where=where, next_step="Check the address and the network")
    if isinstance(error, httpcore.UnsupportedProtocol):
        return SourceError("this is no web address", where=where, next_step="Check it")
    return SourceBusy("the connection broke off before the end", where=where, next_step="Try again")


def too_large(max_bytes: int, where: str) -> SourceError:
    """Say that an answer went over its limit."""
    size = f"{max_bytes / 1e6:.0f} MB" if max_bytes >= 1e6 else f"{max_bytes} bytes"
    step = "For recordings the setting is max_download_mb"
    return SourceError(f"it is larger than the limit of {size}", where=where, next_step=step)


def retry_after_s(value: str) -> float | None:
    """Read a Retry-After header: seconds, or a date. None if it says nothing; at most a day."""
    try:
        if value.strip().isdigit():
            return min(float(value), 86_400.0)
        return min(max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0), 86_400.0)
    except (TypeError, ValueError, OverflowError):
        return None

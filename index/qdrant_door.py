"""The way to Qdrant: clients shared by a process, and their failures told in a sentence.

Comes in: settings. Goes out: a client for the length of a `with`; what fails inside becomes an `EarmarkError`.
A folder in place of an address is the client's own small search: it lets one process in, and one thread at a time.
Does not know: collections, windows.
"""

from __future__ import annotations

import atexit
import threading
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from store.errors import EarmarkError, IndexBusy, IndexUnavailable
from store.settings import Settings

SETTING = "EARMARK_QDRANT"  # where it failed, as it is told: visitors may read that, so no address
ASKING_S = 5  # longest silence while somebody waits for an answer
WRITING_S = 120  # while points are written
DENIED = (401, 403)
NOT_THERE = 404
MOST_CHARS = 200  # of a failure as the client words it

_doors: dict[tuple[str, str, int], Door] = {}
_opening = threading.Lock()


class Door(AbstractContextManager["Door"]):
    """A client. Used as `with door:`, which may be done by many threads at once."""

    def __init__(self, client: Any, *, is_folder: bool) -> None:
        """Take an opened client."""
        self.client = client
        self.is_folder = is_folder
        self._turn = threading.RLock() if is_folder else None

    def __enter__(self) -> Door:
        if self._turn is not None:
            self._turn.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._turn is not None:
            self._turn.release()
        if isinstance(error, Exception) and _is_theirs(error):
            raise _told(error) from error


@atexit.register
def _close_all() -> None:
    for door in _doors.values():
        door.client.close()  # left to the end of the interpreter, a folder's client fails aloud


def open_door(settings: Settings, *, writes: bool = False) -> Door:
    """Return this process's client for the settings' Qdrant. Raises `IndexUnavailable` for a folder that another process holds."""
    wait_s = WRITING_S if writes else ASKING_S
    is_folder = "://" not in settings.qdrant
    key = (settings.qdrant, settings.qdrant_api_key, 0 if is_folder else wait_s)
    with _opening:
        if key not in _doors:
            _doors[key] = _folder_door(settings) if is_folder else _server_door(settings, wait_s)
        return _doors[key]


def _server_door(settings: Settings, wait_s: int) -> Door:
    from qdrant_client import QdrantClient

    client = QdrantClient(
        url=settings.qdrant,
        api_key=settings.qdrant_api_key or None,
        timeout=wait_s,
        check_compatibility=False,  # it would ask before anybody does, and only warn
    )
    return Door(client, is_folder=False)


def _folder_door(settings: Settings) -> Door:
    from qdrant_client import QdrantClient

    folder = str(Path(settings.qdrant).expanduser().resolve())
    warnings.filterwarnings("ignore", message="Local mode is not recommended", category=UserWarning)  # docs/QDRANT.md says so
    try:
        client = QdrantClient(path=folder, force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise IndexUnavailable(
            "another process has opened this folder of Qdrant's, and only one may",
            where=SETTING,
            next_step="Stop the other one, or start a Qdrant server and set EARMARK_QDRANT to its address",
        ) from error
    return Door(client, is_folder=True)


def _is_theirs(error: Exception) -> bool:
    """Tell whether the client or the way to Qdrant failed, and not our own program."""
    from httpx import HTTPError
    from qdrant_client.http.exceptions import ApiException

    return isinstance(error, (ApiException, HTTPError, OSError, ValueError)) and not isinstance(error, EarmarkError)


def _told(error: Exception) -> IndexUnavailable:
    status = getattr(error, "status_code", None)
    if status in DENIED:
        return IndexUnavailable("Qdrant denies access", where=SETTING, next_step="Check EARMARK_QDRANT_API_KEY")
    if status == NOT_THERE or (isinstance(error, ValueError) and "not found" in str(error)):
        return IndexUnavailable("the catalogue's collection is not in Qdrant", where=SETTING, next_step="Run: earmark reindex")
    if status is not None and status < 500:
        return IndexUnavailable(
            f"Qdrant refuses what it was asked ({_words_of(error)})", where=SETTING, next_step="Run: earmark doctor"
        )
    return IndexBusy(f"Qdrant does not answer ({_words_of(error)})", where=SETTING, next_step="See whether it runs: earmark doctor")


def _words_of(error: Exception) -> str:
    return " ".join(str(error).split())[:MOST_CHARS] or type(error).__name__

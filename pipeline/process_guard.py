"""A guard for a whole process: no connection to an address that is not public, no foreign program.

Comes in: the exceptions that the settings allow. Goes out: nothing; what is refused is kept in `refused`.
Does not know: which library connects. It stands where the operating system is asked (Python's audit events), so it holds in every
thread and for every library that is written in Python, sees the address itself (no rebinding), and cannot be taken off again.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from pipeline.addresses import is_public
from store.errors import BlockedAddress

# What yt-dlp may start: JavaScript runtimes for YouTube, key stores for browser cookies. Never ffmpeg: it opens links by itself
PROGRAMS = frozenset({"deno", "node", "bun", "qjs", "quickjs", "kwallet-query", "dbus-send", "security", "secret-tool"})

refused: list[BlockedAddress] = []  # yt-dlp wraps what it does not know: the reason is kept here


def install_guard(allowed: Iterable[tuple[str, int | None]]) -> None:
    """Refuse, from now on and for the whole process, connections to addresses that are not public, and foreign programs."""
    exceptions = frozenset(allowed)

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = arguments[1]
            if isinstance(address, tuple) and len(address) >= 2:
                host, port = str(address[0]), int(address[1])
                if not (is_public(host) or (host, None) in exceptions or (host, port) in exceptions):
                    step = "If it is a server of your own, name it in the setting allow_hosts"
                    refused.append(BlockedAddress(f"it leads to {host}, which is not a public address", next_step=step))
                    raise refused[-1]
        elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.spawn"):
            program = arguments[1] if event == "os.spawn" else arguments[0]
            command = arguments[1] if event == "subprocess.Popen" else None
            first = program or (command if isinstance(command, (str, bytes)) else (command or [""])[0])
            if PurePath(os.fsdecode(first)).stem.lower() not in PROGRAMS:
                raise FileNotFoundError(errno.ENOENT, "not started for a web page", os.fsdecode(first))  # as if it were not there
        elif event == "os.system":
            raise FileNotFoundError(errno.ENOENT, "not started for a web page", "sh")

    sys.addaudithook(check)

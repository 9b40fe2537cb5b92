"""The JavaScript runtime that yt-dlp needs for YouTube (since November 2025), and whether it is new enough.

Comes in: the programs of this machine. Goes out: what was found, or a sentence that says what is missing.
Does not know: yt-dlp's own search; a test holds the versions against it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec

# Oldest versions that yt-dlp 2026.10 accepts, in its order of preference
OLDEST = {"deno": (2, 3, 0), "node": (22, 0, 0), "bun": (1, 2, 11)}
ASK_S = 10.0


@dataclass(frozen=True, slots=True)
class JsRuntime:
    """A JavaScript runtime of this machine."""

    name: str
    path: str
    version: tuple[int, ...]

    @property
    def is_new_enough(self) -> bool:
        """Tell whether yt-dlp accepts it."""
        return self.version >= OLDEST[self.name]


def js_runtimes() -> list[JsRuntime]:
    """Return the runtimes that are installed, the best first."""
    found = []
    for name in OLDEST:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=ASK_S, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        match = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
        if match:
            found.append(JsRuntime(name, path, tuple(map(int, match.groups()))))
    return sorted(found, key=lambda runtime: not runtime.is_new_enough)


def youtube_problem() -> str:
    """Return what keeps YouTube from working fully on this machine, as one sentence with the next step; "" if nothing does."""
    runtimes = js_runtimes()
    if not runtimes:
        return "no JavaScript runtime for YouTube: install Deno (https://deno.com) or Node.js 22"
    best = runtimes[0]
    if not best.is_new_enough:
        have, need = (".".join(map(str, version)) for version in (best.version, OLDEST[best.name]))
        return f"{best.name} {have} is too old for YouTube: it needs {need} or newer, or Deno"
    if find_spec("yt_dlp_ejs") is None:
        return "the scripts for YouTube are missing: pip install 'yt-dlp[default]'"
    return ""

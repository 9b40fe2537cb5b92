"""One Chromium and one server for all browser tests. Pages that break the house rules (errors, foreign hosts) fail their test."""

from __future__ import annotations

import atexit
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pytest

from tests.web_site import Running, running_site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",  # the foreign page of a test frames loopback
]  # fmt: skip
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PATIENCE_S = 60  # a busy machine is slow, not wrong


@lru_cache(maxsize=1)
def chromium() -> Any:
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt install chromium")
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

    def end() -> None:
        browser.close()
        playwright.stop()

    atexit.register(end)
    return browser


def site() -> Running:
    return running_site()


@contextmanager
def page(
    size: dict[str, int] = DESK, *, allowed_hosts: tuple[str, ...] = (), errors_expected: bool = False, **context: Any
) -> Iterator[Any]:
    """A fresh page. Afterwards: no console error, no request to a host other than ours and `allowed_hosts`."""
    opened = chromium().new_context(viewport=size, permissions=["clipboard-read", "clipboard-write"], **context)
    opened.set_default_timeout(PATIENCE_S * 1000)
    found = opened.new_page()
    errors: list[str] = []
    foreign: list[str] = []
    found.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: errors.append(str(error)))

    def heard(request: Any) -> None:
        url = request.url
        if url.startswith(("data:", "blob:", site().base)) or any(host in url for host in allowed_hosts):
            return
        foreign.append(url)

    found.on("request", heard)
    try:
        yield found
        assert not foreign, foreign
        assert errors_expected or not errors, errors
    finally:
        opened.close()


def until(tab: Any, expression: str, arg: Any = None) -> None:
    """Wait until `expression` is true in the page. Playwright's own wait needs eval, which our strict policy forbids to pages."""
    end = time.monotonic() + PATIENCE_S
    while not tab.evaluate(expression, arg):
        assert time.monotonic() < end, f"never became true: {expression}"
        tab.wait_for_timeout(40)

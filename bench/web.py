"""How fast the page feels: `python -m bench.web --json`. Drives Chromium on a catalogue grown from real text.

Comes in: ../shared/retrieval (or any folder of that format), a number of passages. Goes out: one row of figures.
Does not know: how the catalogue is made (`bench.web_catalogue`), how good the answers are (`bench.retrieval`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from bench.web_catalogue import open_catalogue
from store.settings import Settings, load_settings

SHARED = Path(os.environ.get("EARMARK_SHARED", Path(__file__).parents[2] / "shared"))
PASSAGES = 100_000
QUESTIONS = ("how do lightning channels route payments", "what is a covenant", "open source funding", "why is testing hard")
KEY_PAUSE_S = 0.09
CLIENTS = 16
WARM_S = 5.0
LOAD_S = 10.0
RATE_STEPS = 4  # presses from normal to double speed
FOLLOW_S = 6.0  # the voice is followed so long at double speed, before and after a jump
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]  # fmt: skip
ROOT = "document.querySelector('ear-mark').shadowRoot"
WATCH = """() => {
  window.painted = [];
  window.waiting = [];  // when each key was pressed whose results are not painted yet
  const root = document.querySelector('ear-mark').shadowRoot;
  const box = root.querySelector('#q');
  box.addEventListener('beforeinput', () => { window.waiting.push(performance.now()); }, true);
  new MutationObserver(() => {
    const keys = window.waiting.splice(0);
    if (!keys.length) return;
    requestAnimationFrame(() => {
      const c = new MessageChannel();
      c.port1.onmessage = () => window.painted.push(...keys.map((at) => performance.now() - at));
      c.port2.postMessage(0);
    });
  }).observe(root.querySelector('.results'), {childList: true});
}"""


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.web", description="Speed of the page. Example: python -m bench.web --json"
    )
    parser.add_argument("--data", type=Path, default=SHARED / "retrieval", help="folder in the format of ../shared/retrieval")
    parser.add_argument("--passages", type=int, default=PASSAGES)
    parser.add_argument("--catalogue", type=Path, help="make the catalogue here, or use the one that was made here")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = asked.catalogue or Path(tempfile.mkdtemp(prefix="earmark-bench-"))
    try:
        settings = replace(load_settings(folder, {}, {}), port=_free_port(), rate_limit_per_minute=0)
        long_id = open_catalogue(asked.data, settings, asked.passages)
        figures = measure(settings, long_id)
    finally:
        if asked.catalogue is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures) if asked.json else "\n".join(f"{name:22} {value}" for name, value in figures.items()))


def measure(settings: Settings, long_id: str) -> dict[str, float | int]:
    """Serve the catalogue in a process of its own, and measure it from outside."""
    base = f"http://127.0.0.1:{settings.port}"
    code = "from bench.web import serve_here; import sys; serve_here(sys.argv[1], int(sys.argv[2]))"
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(settings.data_dir), str(settings.port)], cwd=Path(__file__).parents[1]
    )
    try:
        _wait(base)
        figures = _in_the_browser(base, long_id)
        figures["searches_per_s_16"] = asyncio.run(_load(settings.port))
        figures["server_rss_mb"] = _rss_mb(server.pid)
    finally:
        server.terminate()
        server.wait(20)
    return figures


def serve_here(folder: str, port: int) -> None:
    """Serve a folder until terminated: what the measured process runs."""
    from ui.web import serve

    serve(replace(load_settings(folder, {}, {}), port=port, rate_limit_per_minute=0))


def _in_the_browser(base: str, long_id: str) -> dict[str, float | int]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("bench.web needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        home_kb, home_requests = _weigh(browser, f"{base}/", "ear-mark .asked, ear-mark .sum")
        embed_kb, _ = _weigh(browser, f"{base}/embed", "form .icon")
        keys = _keys(browser, base)
        deep_s = _first_text(browser, f"{base}/e/{long_id}?t=300")
        long_s = _first_text(browser, f"{base}/e/{long_id}")
        longest_ms = _longest_task(browser, f"{base}/e/{long_id}")
        browser.close()
    return {
        "key_to_paint_p50_ms": round(statistics.median(keys), 1),
        "key_to_paint_p95_ms": round(float(np.percentile(keys, 95)), 1),
        "home_kb": home_kb,
        "home_requests": home_requests,
        "embed_kb": embed_kb,
        "deep_link_s": deep_s,
        "episode_30k_s": long_s,
        "longest_task_ms": longest_ms,
    }


def _weigh(browser: Any, url: str, ready: str) -> tuple[float, int]:
    """Return kilobytes over the wire (heads and bodies) and requests of a first visit."""
    context = browser.new_context()
    page = context.new_page()
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    taken: list[int] = []
    wire.on("Network.loadingFinished", lambda event: taken.append(event["encodedDataLength"]))
    page.goto(url)
    page.locator(ready).first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    context.close()
    return round(sum(taken) / 1000, 1), len(taken)


def _keys(browser: Any, base: str) -> list[float]:
    """Return milliseconds from a key to the frame in which its results were painted."""
    page = browser.new_context().new_page()
    page.goto(base + "/")
    page.locator("ear-mark .sum").wait_for()
    page.wait_for_timeout(1500)
    box = page.locator("ear-mark #q")
    box.fill("warm")
    page.locator(".moment").first.wait_for()
    page.evaluate(WATCH)
    for question in QUESTIONS:
        page.evaluate("window.keyed = window.painted.length")
        box.fill("")
        page.wait_for_timeout(200)
        page.evaluate("() => { window.waiting.length = 0; window.painted.length = window.keyed; }")  # emptying the box was no key
        box.press_sequentially(question, delay=KEY_PAUSE_S * 1000)
        page.wait_for_timeout(400)
    taken: list[float] = page.evaluate("window.painted")
    page.context.close()
    return taken


def _first_text(browser: Any, url: str) -> float:
    """Return seconds from navigation to the first painted content, in a browser that never saw the site."""
    page = browser.new_context().new_page()
    page.goto(url)
    page.locator("article .s").first.wait_for()
    paint: float = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.context.close()
    return round(paint / 1000, 2)


def _longest_task(browser: Any, url: str) -> float:
    """Return the longest task in ms while the page follows the voice, jumps through the talk, and is scrolled to its end."""
    page = browser.new_context().new_page()
    page.add_init_script(
        "window.tasks = []; const add = (list) => window.tasks.push(...list.getEntries().map((e) => e.duration));"
        "new PerformanceObserver(add).observe({entryTypes: ['longtask']});"
    )
    page.goto(url)
    page.locator("article .s").first.wait_for()
    page.wait_for_timeout(1500)
    page.evaluate("window.tasks.length = 0")
    page.locator("button.listen").click()
    page.locator(".w.now").first.wait_for()
    for _ in range(RATE_STEPS):
        page.locator(".rate").click()
    before = page.locator(".w.now").first.get_attribute("data-t")
    page.wait_for_timeout(FOLLOW_S * 1000)
    assert page.locator(".w.now").first.get_attribute("data-t") != before, "the words do not follow the voice"
    page.locator("input.position").evaluate(
        "e => { e.value = e.max / 2; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }"
    )
    page.wait_for_timeout(FOLLOW_S * 1000)
    heard: float = page.evaluate("Math.max(0, ...window.tasks)")
    page.evaluate("scrollTo(0, 0)")
    for _ in range(60):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(30)
    longest: float = page.evaluate("Math.max(0, ...window.tasks)")
    print(f"longest task: {heard:.0f} ms following, {longest:.0f} ms with scrolling", file=sys.stderr)
    page.context.close()
    return round(longest, 1)


async def _load(port: int) -> float:
    """Return searches a second of 16 clients that ask different questions, no answer kept.

    The clients share the server's cores, so they are plain sockets: a client library would take a third of the time. The first
    seconds are not counted: the server starts its search process then.
    """
    words = [word for question in QUESTIONS for word in question.split()] + [
        "bitcoin",
        "review",
        "release",
        "wallet",
        "compiler",
        "team",
    ]
    done = 0
    counts_from = time.monotonic() + WARM_S
    end = counts_from + LOAD_S

    async def client(number: int) -> None:
        nonlocal done
        chance = np.random.default_rng(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            query = " ".join(chance.choice(words, size=4)) + f" {chance.integers(10_000)}"
            writer.write(f"GET /api/search?q={quote(query)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            done += head.startswith(b"http/1.1 200") and time.monotonic() > counts_from
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return round(done / (time.monotonic() - counts_from), 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(base: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"{base}/healthz", timeout=20).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    sys.exit("the server did not come up")


def _rss_mb(pid: int) -> int:
    """Return the resident memory of a process and of those that it started, pages that they share counted twice."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    started = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    threads = [path.name for path in Path(f"/proc/{pid}/task").iterdir() if path.name != str(pid)]
    started += [child for thread in threads for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return (int(match.group(1)) // 1024 if match else 0) + sum(_rss_mb(int(child)) for child in started)


if __name__ == "__main__":
    main()

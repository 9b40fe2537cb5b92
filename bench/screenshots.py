"""Pictures of every page for the documentation: `python -m bench.screenshots --catalogue DATA`. Phone and desktop, light and dark.

Comes in: a data folder with talks in it. Goes out: WebP files under docs/screenshots, each under 150 KB.
Does not know: what is on the pages.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from bench.web import FLAGS, _free_port
from store.settings import load_settings

OUT = Path(__file__).parents[1] / "docs" / "screenshots"
READY = {
    "home": ".asked",
    "results": ".moment",
    "episode": "article.episode .find input",
    "explore": "article.explore",
    "embed": ".moment",
    "admin": "#add",
}  # what shows that a page is there
MOST_BYTES = 150_000
QUALITIES = (86, 76, 64, 50)  # the first that is small enough
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1440, "height": 900}}


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.screenshots", description="Example: python -m bench.screenshots --catalogue data"
    )
    parser.add_argument("--catalogue", type=Path, required=True, help="a data folder")
    parser.add_argument("--query", default="", help="what to search for; default: a question from the catalogue")
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("bench.screenshots needs Chromium: apt install chromium")
    from playwright.sync_api import sync_playwright

    from ui.web import serve, stop

    settings = replace(load_settings(asked.catalogue, {}, {}), port=_free_port(), rate_limit_per_minute=0)
    app = serve(settings, block=False)
    base = f"http://127.0.0.1:{settings.port}"
    query = asked.query or next(iter(httpx.get(f"{base}/api/stats", timeout=60).json()["questions"]), "what is this about")
    first = httpx.get(f"{base}/api/search", params={"q": query}, timeout=60).json()["moments"][0]
    pages = {
        "home": "/",
        "results": f"/?q={query}",
        "episode": first["page_url"],
        "explore": "/explore",
        "embed": f"/embed?q={query}",
        "admin": "/admin/",
    }
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*-*-*.*"):
        old.unlink()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*FLAGS, "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        )
        for size_name, size in SIZES.items():
            for scheme in ("light", "dark"):
                context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
                for name, path in pages.items():
                    _take(
                        context, name, base + path, OUT / f"{name}-{size_name}-{scheme}.webp", plays=name in ("results", "episode")
                    )
                context.close()
        browser.close()
    stop(app)
    print(f"{len(pages) * 4} pictures in {OUT}", file=sys.stderr)


def _take(context: Any, name: str, url: str, path: Path, *, plays: bool) -> None:
    page = context.new_page()
    page.goto(url)
    page.locator(READY[name]).first.wait_for()
    page.wait_for_timeout(1200)
    button = page.locator("button.listen:visible, .moment .play:enabled").first
    if plays and button.count():
        button.click()
        page.wait_for_timeout(2500)
    taken = page.screenshot()
    page.close()
    with Image.open(io.BytesIO(taken)) as image:
        for quality in QUALITIES:
            out = io.BytesIO()
            image.save(out, "WEBP", quality=quality, method=6)
            if out.tell() < MOST_BYTES:
                break
    path.write_bytes(out.getvalue())


if __name__ == "__main__":
    main()

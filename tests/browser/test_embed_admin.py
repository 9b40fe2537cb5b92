"""The embed in a foreign page, the admin page, and axe-core over all pages: in a real Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from store.database import Database
from store.jobs import cancel, list_jobs
from tests.browser.driver import DESK, PHONE, page, site, until
from tests.web_site import free_port, with_settings
from ui.gate import Gate
from ui.web import serve, stop

pytestmark = pytest.mark.browser
AXE = "axe-core@4"


def test_embed_in_a_foreign_page() -> None:
    with page(allowed_hosts=("foreign.example",)) as tab:
        line = f'<script src="{site().base}/embed.js" data-q="earthworm" data-theme="dark"></script>'
        body = f"<body><h1>Somebody else</h1>{line}</body>"
        tab.route("http://foreign.example/", lambda route: route.fulfill(content_type="text/html", body=body))
        tab.goto("http://foreign.example/")
        frame = tab.frame_locator("iframe")
        frame.locator(".moment mark").first.wait_for()
        until(tab, "document.querySelector('iframe').getBoundingClientRect().height > 200")
        frame.locator(".moment .play").first.click()
        frame.locator(".player .bar").wait_for()
        frame.locator("input[type=search]").fill("barrel")
        frame.locator(".group h2", has_text="Rain barrels").first.wait_for()
        link = frame.locator(".group h2 a").first
        assert link.get_attribute("target") == "_blank" and f"/e/{site().ids['rain']}" in link.get_attribute("href")


def test_embed_is_light() -> None:
    with page() as tab:
        sizes: list[int] = []
        tab.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
        tab.goto(f"{site().base}/embed")
        tab.locator("form .icon").wait_for()
        tab.wait_for_timeout(200)
        assert 0 < sum(sizes) < 40_000, sum(sizes)


def test_admin_queues_a_link() -> None:
    with page(errors_expected=True) as tab:
        tab.goto(f"{site().base}/admin/")
        tab.locator("#link textarea, #link input").first.fill("https://example.org/from-the-browser.xml")
        tab.locator("#add").click()
        until(tab, "[...document.querySelectorAll('#told textarea, #told input')].some((e) => e.value.includes('in the queue'))")
        database = Database.in_folder(site().settings.data_dir)
        job = next(job for job in list_jobs(database) if job.options.get("link", "").endswith("from-the-browser.xml"))
        tab.get_by_role("tab", name="Queue").click()
        tab.locator("#queue", has_text="from-the-browser").wait_for()
        ours = "[...document.querySelectorAll('#queue tr')].filter((row) => row.textContent.includes('from-the-browser'))"
        row = f"word => {ours}.some((row) => row.textContent.includes(word))"
        tab.locator("#queue [role=gridcell]", has_text="from-the-browser").click()  # a press on the row names the job
        until(tab, "id => document.querySelector('#job textarea, #job input').value === id", str(job.id))
        for button, word in (
            ("pause", "paused"),
            ("resume", "waiting"),
            ("cancel", "cancelled"),
            ("retry", "waiting"),
            ("cancel", "cancelled"),
        ):
            tab.locator("#job textarea, #job input").first.fill(str(job.id))
            tab.locator(f"#{button}").click()
            until(tab, row, word)


def test_admin_takes_uploads_deletes_and_knows_the_machine() -> None:
    database = Database.in_folder(site().settings.data_dir)
    with page(PHONE, color_scheme="dark", errors_expected=True) as tab:
        tab.goto(f"{site().base}/admin/")
        with tab.expect_file_chooser() as chooser:
            tab.locator("#upload").click()
        chooser.value.set_files({"name": "talk.mp3", "mimeType": "audio/mpeg", "buffer": b"ID3 no sound"})
        until(
            tab, "[...document.querySelectorAll('#told textarea, #told input')].some((e) => e.value.includes('1 files uploaded'))"
        )
        assert [path.name for path in (site().settings.data_dir / "uploads").rglob("*.mp3")] == ["talk.mp3"]
        tab.get_by_role("tab", name="Episodes").click()
        tab.locator("#episodes", has_text="Soil and worms").wait_for()
        tab.locator("#gone textarea, #gone input").first.fill(site().ids["vimeo"])
        tab.locator("#delete").click()
        until(
            tab,
            "[...document.querySelectorAll('#gone-told textarea, #gone-told input')].some((e) => e.value.includes('remove it'))",
        )
        tab.get_by_role("tab", name="Machine").click()
        tab.locator("#machine", has_text="faster-whisper").wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    for job in list_jobs(database, states=("queued",)):
        with database.write() as connection:
            cancel(connection, job.id)


def test_admin_asks_for_the_login(tmp_path: Path) -> None:
    settings = with_settings(site().settings, data_dir=tmp_path, port=free_port(), admin_password="s3cret")
    app = serve(settings, block=False)
    try:
        with page(errors_expected=True, allowed_hosts=(f":{settings.port}",)) as tab:
            tab.goto(f"http://127.0.0.1:{settings.port}/admin/")
            name, word = tab.locator("input").nth(0), tab.locator("input[type=password]")
            for given in ("guess", "s3cret"):
                word.wait_for()
                name.fill("admin")
                word.fill(given)
                assert tab.locator("#add").count() == 0
                tab.get_by_role("button", name="Login").click()
                tab.wait_for_timeout(500)
            tab.locator("#add").wait_for()
            assert "folder of this machine" not in tab.locator("body").inner_text()
    finally:
        stop(app)


def test_only_named_sites_may_frame_the_embed() -> None:
    gate = Gate(None, with_settings(site().settings, embed_origins=("https://club.example",)))  # type: ignore[arg-type]
    policy = dict(gate._policy("/embed"))[b"content-security-policy"].decode()
    assert policy.endswith("frame-ancestors https://club.example")
    with page(allowed_hosts=("club.example",), errors_expected=True) as tab:
        tab.route(
            "http://club.example/",
            lambda route: route.fulfill(content_type="text/html", body=f'<iframe src="{site().base}/embed?q=worm">'),
        )
        tab.route("**/embed?**", lambda route: (answer := route.fetch()) and route.fulfill(
            response=answer, headers=answer.headers | {"content-security-policy": policy}))  # fmt: skip
        tab.goto("http://club.example/")  # http, not https: another origin than the one named
        tab.wait_for_timeout(1200)
        assert tab.frame_locator("iframe").locator(".moment").count() == 0


@lru_cache(maxsize=1)
def axe() -> str:
    """The source of axe-core, fetched once into the user's cache by npm."""
    folder = Path(os.environ.get("EARMARK_AXE", Path.home() / ".cache" / "earmark-axe"))
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no axe-core here, and no npm to fetch it")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", AXE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if not source.is_file():
            pytest.skip(f"axe-core could not be fetched: {done.stderr[-200:]}")
    return source.read_text(encoding="utf-8")


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"])
def test_axe_finds_nothing_serious(size: dict[str, int], scheme: str) -> None:
    source = axe()
    soil = site().ids["soil"]
    paths = {
        "/": ".asked",
        "/?q=water": ".moment",
        f"/e/{soil}?t=60&q=worm": "article.episode .find input",
        "/embed?q=worm": ".moment",
        "/explore": "article.explore",
        "/admin/": "#add",
    }
    with page(size, color_scheme=scheme, errors_expected=True, bypass_csp=True, reduced_motion="reduce") as tab:
        for path, wait_for in paths.items():
            tab.goto(site().base + path)
            tab.locator(wait_for).first.wait_for()
            tab.wait_for_timeout(400)
            if path.startswith("/e/"):
                tab.locator("button.listen").click()
                tab.locator(".player .bar").wait_for()
                tab.wait_for_timeout(300)
            tab.evaluate(source)
            found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
            bad = [
                (path, item["id"], [(node["target"], node.get("failureSummary", "")[:200]) for node in item["nodes"]][:4])
                for item in found["violations"]
                if item["impact"] in ("serious", "critical")
            ]
            assert not bad, bad

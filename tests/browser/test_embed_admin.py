"""The embed in a foreign page, the admin page, and axe-core over all pages: in a real Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest
from PIL import Image

from store.database import Database
from store.jobs import cancel, claim, fail, list_jobs, retry, set_progress
from tests.browser.driver import DESK, PHONE, page, site, until
from tests.web_site import free_port, with_settings
from ui.gate import Gate
from ui.web import serve, stop

pytestmark = pytest.mark.browser
AXE = "axe-core@4"


def test_embed_in_a_foreign_page() -> None:
    with page(allowed_hosts=("foreign.example",)) as tab:
        tab.goto(f"{site().base}/?q=earthworm")
        tab.locator(".foot button").click()
        tab.locator("dialog select").select_option("dark")
        tab.locator("dialog .listen").click()
        tab.locator("dialog .listen[data-told=Copied]").wait_for()
        line = tab.evaluate("navigator.clipboard.readText()")
        assert line == f'<script src="{site().base}/embed.js" data-q="earthworm" data-theme="dark"></script>'
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
        frame.get_by_label("Close the player").click()
        frame.locator("input[type=search]").fill("")
        until(tab, "document.querySelector('iframe').getBoundingClientRect().height < 200")  # it grows and shrinks with its answers


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
        with database.write() as connection:
            retry(connection, job.id)
        taken = next(one for one in claim(database, "a-worker:1:x", ("list",), limit=50) if one.id == job.id)
        with database.write() as connection:
            set_progress(connection, taken, 0.42)
        until(tab, row, "42%")
        with database.write() as connection:
            fail(connection, taken, "the address answers 404: nothing is there", permanent=True)
        until(tab, row, "nothing is there")
        tab.locator("#queue [role=gridcell]", has_text="failed").first.wait_for()


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
        tab.locator("#episodes", has_text="<script>window.hit=1").wait_for()
        assert tab.evaluate("window.hit") is None
        tab.locator("#gone textarea, #gone input").first.fill(site().ids["vimeo"])
        tab.locator("#delete").click()
        until(tab, "[...document.querySelectorAll('#gone-told textarea, #gone-told input')].some((e) => e.value.includes('Tick'))")
        assert not [job for job in list_jobs(database, states=("queued",)) if job.kind == "remove"]
        tab.locator("#certain input").check()
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


def test_a_brand_by_settings_and_an_admin_page_that_asks_for_the_login(tmp_path: Path) -> None:
    logo = tmp_path / "logo.png"
    Image.new("RGB", (56, 56), "#1167b1").save(logo)
    settings = with_settings(
        site().settings, data_dir=tmp_path / "data", port=free_port(), admin_password="s3cret", site_name="Club <i>Talks",
        tagline="All our evenings.", accent="#1167b1", logo=str(logo), footer_links=("The club=https://club.example/",),
    )  # fmt: skip
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
            tab.set_viewport_size(PHONE)
            tab.goto(f"http://127.0.0.1:{settings.port}/")
            assert tab.locator("ear-mark .brand").inner_text() == tab.title() == "Club <i>Talks"
            assert tab.locator("ear-mark .brand img").evaluate("async (e) => { await e.decode(); return e.naturalWidth; }") == 56
            assert tab.locator("h1.tagline").inner_text() == "All our evenings."
            assert tab.locator("footer a", has_text="The club").get_attribute("href") == "https://club.example/"
            frame = "document.querySelector('ear-mark').shadowRoot.querySelector('.frame')"
            assert tab.evaluate(f"getComputedStyle({frame}).getPropertyValue('--brand')").strip() == "#1167b1"
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


AXE_PAGES = {  # path -> what shows that it is there, what is pressed then, what shows that it was
    "/": (".asked", "", ""),
    "/?q=water": (".moment", ".foot button", "dialog[open]"),
    "/e/SOIL?t=60&q=worm": ("article.episode .find input", "button.listen", ".player .bar"),
    "/e/aaaaaaaaaaaa": (".nothing", "", ""),
    "/embed?q=worm": (".moment", "", ""),
    "/explore": ("article.explore", "", ""),
    "/docs": (".reference section", "", ""),
    "/admin/": ("#add", "[role=tab]:has-text('Queue')", "#queue"),
}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(size: dict[str, int], scheme: str) -> None:
    source = axe()
    with page(size, color_scheme=scheme, errors_expected=True, bypass_csp=True, reduced_motion="reduce") as tab:
        for path, (wait_for, press, then) in AXE_PAGES.items():
            tab.goto(site().base + path.replace("SOIL", site().ids["soil"]))
            tab.locator(wait_for).first.wait_for()
            tab.wait_for_timeout(250)
            if press:
                tab.locator(press).first.click()
                tab.locator(then).first.wait_for()
                tab.wait_for_timeout(250)
            tab.evaluate(source)
            found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
            bad = [
                (path, item["id"], [(node["target"], node.get("failureSummary", "")[:200]) for node in item["nodes"]][:4])
                for item in found["violations"]
                if item["impact"] in ("serious", "critical")
            ]
            assert not bad, bad

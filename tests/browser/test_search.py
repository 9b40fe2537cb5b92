"""Search as you type, links, keys, look: in a real Chromium."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from store.overview import read_overview
from tests.browser.driver import DESK, PHONE, page, site, until
from ui.atlas import Subject
from ui.explore import explore_page

pytestmark = pytest.mark.browser

ROOT = "document.querySelector('ear-mark').shadowRoot"


def ready(tab, path: str = "/"):
    tab.goto(site().base + path)
    tab.wait_for_selector("ear-mark #q")
    return tab.locator("ear-mark #q")


def test_a_question_becomes_moments_and_a_press_plays_the_second() -> None:
    with page() as tab:
        box = ready(tab)
        tab.locator(".newest img").first.wait_for()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(urlsplit(request.url).path))
        box.press_sequentially("how do earthworms help a garden", delay=15)
        first = tab.locator(".moment").first
        first.wait_for()
        until(tab, "document.querySelector('ear-mark').shadowRoot.querySelector('.status').textContent.includes('moment')")
        mark = tab.locator(".group").first.locator("mark", has_text=re.compile("^earthworm", re.IGNORECASE))
        mark.first.wait_for()  # moments for the half-typed question may be painted before
        until(tab, "location.search === '?q=how+do+earthworms+help+a+garden'")  # once typing rests
        assert {path for path in asked if not path.startswith("/picture/")} <= {"/api/search", "/api/heat"}
        start = float(first.get_attribute("data-start"))
        first.locator(".play").click()
        until(
            tab,
            "s => { const a = document.querySelector('ear-mark').shadowRoot.querySelector('audio');"
            " return a && !a.paused && a.currentTime >= s && a.currentTime < s + 6; }",
            arg=start,
        )
        assert tab.locator(".group.playing").count() == 1


def test_stale_answers_never_overwrite_newer_ones() -> None:
    with page() as tab:
        box = ready(tab)
        held = []
        tab.route("**/api/search?q=comet&**", lambda route: held.append(route))
        box.fill("comet")
        tab.wait_for_timeout(100)
        box.fill("rain barrel")
        tab.locator(".group h2", has_text="Rain barrels").first.wait_for()
        for route in held:
            try:
                route.continue_()
            except Exception as error:  # the page aborted it: that is the point
                assert "abort" in str(error).lower() or "handled" in str(error).lower() or "closed" in str(error).lower()
        tab.wait_for_timeout(300)
        assert tab.locator(".group h2").first.inner_text() == "Rain barrels"
        assert box.input_value() == "rain barrel"


def test_every_state_is_an_address() -> None:
    with page() as tab:
        box = ready(tab, "/?q=barrel&speaker=Ben+Brown&sort=newest")
        assert box.input_value() == "barrel"
        tab.locator(".moment").first.wait_for()
        assert tab.locator("select[name=speaker]").input_value() == "Ben Brown"
        tab.locator("select[name=speaker]").select_option("")
        until(tab, "!location.search.includes('speaker')")
        tab.go_back()
        until(tab, "location.search.includes('speaker=Ben')")
        tab.locator(".group h2 a").first.click()
        tab.wait_for_url("**/e/*")
        tab.locator("article.episode h1").wait_for()
        tab.go_back()
        tab.locator(".moment").first.wait_for()


def test_welcome_and_nothing() -> None:
    with page() as tab:
        box = ready(tab)
        question = tab.locator(".asked button", has_text="earthworms")
        question.wait_for()
        assert "talks" in tab.locator(".sum").inner_text()
        question.click()
        tab.locator(".moment").first.wait_for()
        box.fill('"no such phrase zzqx anywhere"')
        tab.locator(".nothing h2").wait_for()
        assert "zzqx" in tab.locator(".nothing h2").inner_text()
        tab.locator(".nothing button", has_text="quotes").click()
        until(tab, "!location.search.includes('%22')")


def test_copy_link_quote_and_more_like_this() -> None:
    with page() as tab:
        ready(tab, "/?q=comet+tail")
        moment = tab.locator(".moment").first
        moment_start = moment.get_attribute("data-start")
        moment.locator(".tool").nth(0).click()
        tab.wait_for_timeout(100)
        link = tab.evaluate("navigator.clipboard.readText()")
        assert link.startswith(f"{site().base}/e/") and "t=" in link
        moment.locator(".tool").nth(1).click()
        tab.wait_for_timeout(100)
        quote = tab.evaluate("navigator.clipboard.readText()")
        assert quote.startswith("“") and "Night Sky" in quote and link.split("?")[0] in quote
        moment.locator(".tool").nth(2).click()
        until(tab, "location.search.includes('like=')")
        tab.locator(".status strong", has_text="like the one at").wait_for()
        here = f"[data-episode='{site().ids['comets']}'][data-start='{moment_start}']"
        assert tab.locator(".moment").count() > 0 and tab.locator(here).count() == 0  # not the one that it was asked from
        tab.locator(".status button").click()
        tab.locator(here).wait_for()
        assert "like=" not in tab.url


def test_keys() -> None:
    with page() as tab:
        box = ready(tab, "/?q=water")
        tab.locator(".moment").nth(1).wait_for()
        tab.keyboard.press("j")
        tab.keyboard.press("j")
        chosen = "Object.values(document.querySelector('ear-mark').shadowRoot.activeElement.dataset).join()"
        second = tab.evaluate(chosen)
        tab.keyboard.press("k")
        assert tab.evaluate(chosen) != second
        tab.keyboard.press("/")
        assert tab.evaluate("document.querySelector('ear-mark').shadowRoot.activeElement.id") == "q"
        box.press("Escape")
        tab.keyboard.press("?")
        tab.locator("dialog[open]").wait_for()
        tab.keyboard.press("Escape")
        tab.locator("dialog[open]").wait_for(state="detached")


@pytest.mark.parametrize(
    ("size", "scheme"),
    [({"width": 360, "height": 740}, "light"), (PHONE, "dark"), (DESK, "light"), ({"width": 2560, "height": 1300}, "dark")],
)
def test_nothing_sticks_out(size: dict[str, int], scheme: str) -> None:
    with page(size, color_scheme=scheme) as tab:
        for path in ("/", "/?q=water+zebra", f"/e/{site().ids['odd']}", "/explore"):
            ready(tab, path)
            tab.wait_for_timeout(350)
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), path
        for path in ("/embed?q=zebra", "/docs"):
            tab.goto(site().base + path)
            tab.locator(".moment, .reference section").first.wait_for()
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), path
        ready(tab)
        paper = tab.evaluate("getComputedStyle(document.querySelector('ear-mark')).backgroundColor")
        light = sum(int(part) for part in paper[4:-1].split(",")[:3]) > 380
        assert light == (scheme == "light"), paper


def test_hostile_text_shows_as_text() -> None:
    with page() as tab:
        box = ready(tab)
        box.fill("<img src=x onerror=window.hit=3> zebra said")
        tab.locator(".group", has_text="window.hit=1").first.wait_for()
        tab.locator(".group h2 a", has_text="<script>").first.click()
        tab.locator("article.episode h1", has_text="<script>").wait_for()
        assert tab.evaluate("window.hit") is None
        assert tab.locator("article.episode .listen").count() == 0


def test_a_search_that_fails_says_so() -> None:
    with page(errors_expected=True) as tab:
        box = ready(tab)
        tab.route(
            "**/api/search**",
            lambda route: route.fulfill(status=503, content_type="application/json", body='{"error": "There is no index yet."}'),
        )
        box.fill("anything")
        tab.locator(".nothing", has_text="There is no index yet.").wait_for()
        tab.unroute("**/api/search**")
        full = {"status": 429, "content_type": "text/plain", "body": "Too many requests from this address. Try again in 7 seconds."}
        tab.route("**/api/search**", lambda route: route.fulfill(**full))
        box.fill("anything else")
        tab.locator(".nothing[role=alert]", has_text="Try again in 7 seconds").wait_for()


def test_explore_leads_into_search() -> None:
    with page() as tab:
        ready(tab)
        tab.locator("nav a", has_text="Explore").click()
        tab.locator("article.explore .bars a", has_text="Garden Hour").click()
        until(tab, "location.search.startsWith('?show=')")


def test_the_outer_page_of_a_space_follows() -> None:
    with page(allowed_hosts=("space.example",), errors_expected=True) as tab:
        tab.route("https://space.example/", lambda route: route.fulfill(content_type="text/html", body="<h1>outer</h1>"))
        ready(tab)
        tab.evaluate("window.told = []; window.heard = (message, origin) => window.told.push([message, origin]);")
        tab.evaluate("Object.defineProperty(window, 'parent', { value: { postMessage: window.heard } })")
        tab.locator("ear-mark #q").fill("comet")
        until(tab, "window.told.length > 0")
        assert tab.evaluate("window.told.at(-1)") == [{"queryString": "?q=comet", "hash": ""}, "https://huggingface.co"]


def test_a_moment_says_everything() -> None:
    with page(PHONE, color_scheme="dark") as tab:
        ready(tab, "/?q=earthworm+compost")
        group = tab.locator(".group", has_text="Soil and worms").first
        group.locator(".moment").first.wait_for()
        assert group.locator("img.cover").evaluate("async (e) => { await e.decode(); return e.naturalWidth; }") > 0
        facts = group.locator(".facts").inner_text()
        assert "Garden Hour" in facts and "2026" in facts and "2 min" in facts
        assert group.locator(".speaker").first.inner_text() == "Ada Green"
        assert group.locator(".moment .play").first.inner_text().strip()[0].isdigit()
        assert group.locator(".heat .tick").count() >= 1
        until(tab, f"{ROOT}.querySelector('.heat').style.backgroundImage.includes('linear-gradient')")
        shown = tab.locator("[data-episode].group").evaluate_all("all => all.map((one) => one.dataset.episode)")
        assert len(shown) == len(set(shown))  # several moments of one talk are one group
        until(tab, f"{ROOT}.querySelector('[role=status]').textContent.includes('moment')")
        strip = group.locator(".heat").bounding_box()
        group.locator(".heat").click(position={"x": strip["width"] / 2, "y": 3})
        until(tab, f"Math.abs(({ROOT}.querySelector('audio')?.currentTime ?? 0) - 60) < 5")


def test_meaning_alone_says_so_and_marks_its_best_sentence() -> None:
    with page() as tab:
        box = ready(tab)
        box.fill("astronomy")
        tab.locator(".meaning").wait_for()
        tab.locator(".best.meant").first.wait_for()
        assert tab.locator("mark").count() == 0
        box.fill("earthworms")
        tab.locator("mark").first.wait_for()
        assert tab.locator(".meaning").count() == 0


def test_filters_order_and_quotes() -> None:
    with page() as tab:
        box = ready(tab, "/?q=the+water+sun")
        tab.locator(".moment").first.wait_for()
        tab.locator("select[name=show]").select_option(label="Night Sky")
        until(tab, "location.search.includes('show=')")
        until(tab, f"[...{ROOT}.querySelectorAll('.group .facts')].every((e) => e.textContent.includes('Night Sky'))")
        tab.locator("select[name=date]").select_option(label="2023")
        tab.locator(".nothing button", has_text="without the filters").click()
        until(tab, "!location.search.includes('show=') && !location.search.includes('since=')")
        ready(tab, "/?q=water&language=xx")
        tab.locator(".nothing h2").wait_for()  # nothing is said in that language
        tab.locator("select[name=language]").select_option("")
        tab.locator(".moment").first.wait_for()
        box.fill("the water sun")
        tab.locator("select[name=sort]").select_option("newest")
        until(tab, "location.search.includes('sort=newest')")
        tab.locator(".group h2", has_text="Rain barrels").first.wait_for()
        until(tab, f"{ROOT}.querySelector('.group h2').textContent === 'Rain barrels'")
        box.fill('"fallen leaves down"')
        until(tab, f"[...{ROOT}.querySelectorAll('.group h2')].map((e) => e.textContent).join() === 'Soil and worms'")
        assert tab.locator("mark").all_inner_texts()[:3] == ["fallen", "leaves", "down"]


def test_more_moments_come_when_the_reader_gets_there() -> None:
    with page(PHONE) as tab:
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url) if "/api/search" in request.url else None)

        def many(route) -> None:
            answer = route.fetch().json()
            want = int(route.request.url.rpartition("limit=")[2])
            for key in ("moments", "highlights", "best"):
                answer[key] = (answer[key] * want)[:want]
            route.fulfill(json=answer)

        tab.route("**/api/search**", many)
        ready(tab, "/?q=water")
        tab.locator("button.more").wait_for()
        assert len(asked) == 1 and asked[0].endswith("limit=10")
        tab.mouse.wheel(0, 20_000)
        until(tab, f"!{ROOT}.querySelector('button.more')")
        assert asked[-1].endswith("limit=100")


def test_light_and_dark_by_hand_are_remembered() -> None:
    paper = "getComputedStyle(document.querySelector('ear-mark')).backgroundColor"
    with page(color_scheme="light", reduced_motion="reduce") as tab:
        ready(tab)
        assert float(tab.locator("form[role=search]").evaluate("e => parseFloat(getComputedStyle(e).transitionDuration)")) < 0.001
        light = tab.evaluate(paper)
        tab.locator("nav button").click()
        dark = tab.evaluate(paper)
        assert light != dark
        ready(tab, "/?q=water")
        assert tab.evaluate(paper) == dark


def test_the_map_leads_into_search() -> None:
    subjects = [Subject(("worm", "compost"), 0.6, 300, 300, 180), Subject(("comet", "tail"), 0.4, 700, 300, 140)]
    running = site().app.state.site
    html = explore_page(running, read_overview(running.database), subjects)
    with page(PHONE) as tab:
        tab.route("**/explore", lambda route: route.fulfill(content_type="text/html", body=html))
        ready(tab, "/explore")
        tab.locator(".map a", has_text="comet").click()
        tab.locator(".group h2", has_text="Comets").first.wait_for()
        assert "q=comet" in tab.url and tab.locator("#q").input_value() == "comet tail"

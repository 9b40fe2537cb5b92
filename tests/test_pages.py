from __future__ import annotations

import io
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from store.settings import load_settings
from tests.web_site import HOSTILE, SOIL, Running, running_site
from ui.downloads import safe_name
from ui.pictures import cover_svg, kept_picture
from ui.site import STATIC, texts


class Page(HTMLParser):
    """What a browser without script would see: text, and the attributes of the elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.metas, self.scripts, self.elements = "", {}, [], []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        self._in_script = tag == "script"
        if tag == "meta":
            self.metas[found.get("property") or found.get("name")] = found.get("content")

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


@pytest.fixture(scope="module")
def site() -> Running:
    return running_site()


def read(site: Running, path: str) -> Page:
    response = httpx.get(site.base + path)
    assert response.status_code == 200, path
    return Page(response.text)


def test_an_episode_reads_without_script(site: Running) -> None:
    page = read(site, f"/e/{site.ids['soil']}")
    for text in (*SOIL, "Soil and worms", "Garden Hour", "Ada Green", "Worms", "What lives below."):
        assert text in page.text


def test_a_moment_has_a_card(site: Running) -> None:
    soil = site.ids["soil"]
    metas = read(site, f"/e/{soil}?t=60").metas
    assert metas["og:title"].startswith("“An earthworm pulls fallen leaves") and metas["twitter:card"] == "summary_large_image"
    assert metas["og:url"] == f"{site.base}/e/{soil}?t=60" and metas["og:image"] == f"{site.base}/card/{soil}.png?t=60"
    picture = httpx.get(metas["og:image"])
    image = Image.open(io.BytesIO(picture.content))
    assert image.size == (1200, 630) and len(image.getcolors(100_000) or ()) > 20
    assert httpx.get(f"{site.base}/card/{soil}.png?t=20").content != picture.content
    for name in ("odd", "long"):
        assert httpx.get(f"{site.base}/card/{site.ids[name]}.png?t=1").status_code == 200


def test_json_ld(site: Running) -> None:
    page = read(site, f"/e/{site.ids['soil']}?t=60")
    data = next(json.loads(text) for text in page.scripts if "schema.org" in text)
    assert data["@type"] == "PodcastEpisode" and data["name"] == "Soil and worms" and data["timeRequired"] == "PT120S"
    assert [(clip["@type"], clip["name"], clip["startOffset"]) for clip in data["hasPart"]] == [
        ("Clip", "Hello", 0),
        ("Clip", "Worms", 40),
    ]


def test_policy_is_strict_where_it_can_be(site: Running) -> None:
    for path in ("/", f"/e/{site.ids['soil']}", "/embed", "/explore"):
        policy = httpx.get(site.base + path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for tag, attrs in read(site, path).elements:
            assert "style" not in attrs and not any(name.startswith("on") for name in attrs), (tag, attrs)
    assert "frame-ancestors *" in httpx.get(f"{site.base}/embed").headers["content-security-policy"]
    assert "huggingface.co" in httpx.get(f"{site.base}/").headers["content-security-policy"]


def test_home_is_ours_and_reads_without_script(site: Running) -> None:
    page = read(site, "/?q=sea+salt")
    assert page.metas["og:title"] == "“sea salt”" and page.metas["og:image"] == f"{site.base}/card.png"
    assert read(site, "/").metas["og:title"] == "Earmark"
    assert Image.open(io.BytesIO(httpx.get(page.metas["og:image"]).content)).size == (1200, 630)
    links = {attrs.get("href") for tag, attrs in page.elements if tag == "a"}
    assert f"/e/{site.ids['soil']}" in links and "Soil and worms" in page.text
    # nothing of Gradio's front end, which would draw sixty frames a second for as long as the page is open
    assert not [attrs for tag, attrs in page.elements if "/assets/" in (attrs.get("src") or attrs.get("href") or "")]
    assert httpx.head(f"{site.base}/").status_code == 200


def test_addresses_that_were_cut_or_mended_still_open(site: Running) -> None:
    for path in ("?t=abc", "?t=-5", "?t=nan", "?t=1e99", "?t=", f"?q={'x' * 3000}"):
        assert "An earthworm pulls" in httpx.get(f"{site.base}/e/{site.ids['soil']}{path}").text, path
        assert httpx.get(f"{site.base}/{path}").status_code == 200, path
    assert 'data-theme=""' in httpx.get(f"{site.base}/embed", params={"theme": "pink", "q": "x" * 900}).text


def test_hostile_text_is_text(site: Running) -> None:
    for path in (f"/e/{site.ids['odd']}?t=1&q={HOSTILE[:30]}", f"/embed?q={HOSTILE[:60]}", "/explore", "/"):
        page = read(site, path)
        assert not [attrs for tag, attrs in page.elements if tag == "img" and not attrs["src"].startswith("/picture/")]
        assert not [tag for tag, attrs in page.elements if attrs.get("href", "").startswith("javascript")]
        assert not any("window.hit" in text and not text.lstrip().startswith("{") for text in page.scripts)
    page = read(site, f"/e/{site.ids['odd']}")
    assert HOSTILE in page.text
    assert HOSTILE in read(site, "/").text and httpx.get(f"{site.base}/").text.count("<script") == 2


def test_take_away(site: Running) -> None:
    soil = site.ids["soil"]
    heads = {"srt": "1\n00:00:00,000", "vtt": "WEBVTT", "txt": "", "json": "{", "md": "# Soil and worms"}
    for suffix, head in heads.items():
        answer = httpx.get(f"{site.base}/e/{soil}.{suffix}")
        assert answer.text.startswith(head) and "An earthworm" in answer.text
        assert f"Soil and worms.{suffix}" in answer.headers["content-disposition"]
    assert httpx.get(f"{site.base}/e/{soil}.exe").status_code == 404
    show = httpx.get(f"{site.base}/api/episode/{soil}").json()["show_id"]
    with zipfile.ZipFile(io.BytesIO(httpx.get(f"{site.base}/show/{show}.zip").content)) as archive:
        assert len(archive.namelist()) == 10 and "srt/2026-03-01 Soil and worms.srt" in archive.namelist()
    odd = httpx.get(f"{site.base}/e/{site.ids['odd']}.txt")
    assert odd.status_code == 200 and "\u202e" not in odd.headers["content-disposition"]
    assert safe_name("../../etc/passwd") == "etc passwd" and safe_name("\u202e/") == "transcript"


def test_sitemap_and_robots(site: Running) -> None:
    sitemap = httpx.get(f"{site.base}/sitemap.xml").text
    assert all(f"<loc>{site.base}/e/{episode_id}</loc>" in sitemap for episode_id in site.ids.values())
    assert f"Sitemap: {site.base}/sitemap.xml" in httpx.get(f"{site.base}/robots.txt").text


def test_explore_draws(site: Running) -> None:
    page = read(site, "/explore")
    assert "Garden Hour" in page.text and "Hours by month" in page.text
    assert [attrs for tag, attrs in page.elements if tag == "rect"]


def test_the_api_is_described_without_a_foreign_host(site: Running) -> None:
    page = read(site, "/docs")
    assert "/api/search" in page.text and "EPISODE@SECONDS" in page.text and "/gradio_api/mcp/" in page.text
    assert not [
        attrs
        for tag, attrs in page.elements
        if tag in ("script", "link") and (attrs.get("src") or attrs.get("href", "")).startswith("http")
    ]
    assert httpx.get(f"{site.base}/openapi.json").json()["paths"]["/api/heat/{episode_id}"]


def test_pictures(site: Running) -> None:
    answer = httpx.get(f"{site.base}/picture/{site.ids['odd']}")
    assert answer.headers["content-type"] == "image/svg+xml" and "<script" not in answer.text
    assert cover_svg("Night Sky") != cover_svg("Garden Hour")
    assert httpx.get(f"{site.base}/picture/nothing").status_code == 404


def test_a_local_picture_is_made_small_and_kept(tmp_path: Path) -> None:
    source = tmp_path / "cover.png"
    Image.new("RGB", (900, 600), "#1167b1").save(source)
    body = kept_picture(tmp_path / "pictures", str(source))
    assert body is not None and Image.open(io.BytesIO(body)).size == (320, 213)
    source.unlink()
    assert kept_picture(tmp_path / "pictures", str(source)) == body
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert kept_picture(tmp_path / "pictures", str(tmp_path / "bad.png")) is None
    assert kept_picture(tmp_path / "pictures", "https://example.org/x.png") is None


def test_unknown_episode(site: Running) -> None:
    answer = httpx.get(f"{site.base}/e/aaaaaaaaaaaa")
    assert answer.status_code == 404 and "no such talk" in answer.text


def test_an_empty_catalogue_says_how_to_begin(tmp_path: Path) -> None:
    from ui.web import create_app

    with TestClient(create_app(load_settings(tmp_path / "new", {}, {}))) as client:
        assert client.get("/healthz").json() == {"ok": True, "episodes": 0, "passages": 0}
        assert client.get("/").status_code == 200 and "earmark add samples" in client.get("/").text
        assert client.get("/explore").status_code == 200
        answer = client.get("/api/search", params={"q": "x"})
        assert answer.status_code in (200, 503)


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    sources = "\n".join(path.read_text() for path in [*STATIC.glob("*.js"), *STATIC.parent.glob("*.py")])
    used = set(re.findall(r"say\(\s*\"([a-z_.-]+)\"", sources))
    counted = set(re.findall(r"count\(\"([a-z_.]+)\"", sources))
    assert used - set(texts()) == set()
    refusals = re.findall(r"(?:HTTPException\(\d+, |StoreError\()(f?\"[^\"]*\")", sources)
    assert not refusals, "people read these: they belong into texts.en.json"
    # a key may be made of parts: say(`filter.${key}`), say(f"admin.state.{name}")
    begun = re.findall(r"[\"`]([a-z_.]+\.|[a-z_.]+_)[{$]", sources) + re.findall(r"[\"']([a-z_]+\.[a-z_.]+)[\"']", sources)
    assert not [key for key in texts() if not any(key.startswith(part) for part in begun)]
    assert {f"{key}.{form}" for key in counted for form in ("one", "many")} - set(texts()) == set()


def test_brand(tmp_path: Path) -> None:
    from ui.web import create_app

    flags = {"accent": "#1167b1", "site_name": "Our <b>Talks", "tagline": "Find it.", "footer_links": "Home=https://example.org"}
    with TestClient(create_app(load_settings(tmp_path, flags, {}))) as client:
        assert client.get("/brand.css").text == ":root{--brand:#1167b1}\n"
        page = client.get("/").text
        assert "https://example.org" in page and "\\u003cb>Talks" in page
        assert "Our <b>Talks" not in page
    bad = load_settings(tmp_path, {"accent": "red;}body{display:none"}, {})
    with TestClient(create_app(bad)) as client:
        assert client.get("/brand.css").text == ""

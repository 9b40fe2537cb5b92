"""The routes of pages rendered on the server: episodes, sitemap, robots, the brand's colour.

Comes in: addresses. Goes out: HTML that is readable without script.
Does not know: what a page looks like (`ui.article`), what the page's script makes of it (`static/`).
"""

from __future__ import annotations

import math

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from markupsafe import Markup

from store.episodes import list_episodes
from store.errors import StoreError
from ui.answers import find_episode, whole
from ui.article import episode_page
from ui.document import base_url, message_page
from ui.site import Site, page_path, say

SITEMAP_MOST = 50_000  # a sitemap's own limit


def add_pages(app: FastAPI, site: Site) -> None:
    """Add /e/{id}, sitemap.xml, robots.txt and /brand.css."""

    @app.api_route("/e/{episode_id}", methods=["GET", "HEAD"], include_in_schema=False)
    def episode(
        request: Request,
        episode_id: str,
        t: str = "",
    ) -> Response:
        """Show an episode, at a second; what is no second is the whole episode: people cut and mend addresses."""
        try:
            found = find_episode(site, episode_id)
        except StoreError:
            return HTMLResponse(message_page(site, say("episode.missing"), ""), 404)
        _, segments, head = whole(site, found)
        body = episode_page(site, found, segments, head, second_of(t), base_url(site, request))
        return HTMLResponse(body, headers={"cache-control": "public, max-age=30"})

    @app.get("/sitemap.xml", include_in_schema=False)
    def sitemap(request: Request) -> Response:
        base = base_url(site, request)
        found = list_episodes(site.database, readable_only=True, limit=SITEMAP_MOST - 2)
        rows = [Markup("<url><loc>{}/</loc></url><url><loc>{}/explore</loc></url>").format(base, base)]
        for item in found:
            day = Markup("<lastmod>{}</lastmod>").format(item.published[:10]) if len(item.published) >= 10 else ""
            rows.append(Markup("<url><loc>{}{}</loc>{}</url>").format(base, page_path(item.id), day))
        head = Markup('<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n')
        return Response(head + Markup("\n").join(rows) + Markup("\n</urlset>\n"), media_type="application/xml")

    @app.get("/robots.txt", include_in_schema=False)
    def robots(request: Request) -> Response:
        lines = "User-agent: *\nDisallow: /admin\nDisallow: /api/\nDisallow: /gradio_api/\nDisallow: /*?q=\n"
        return PlainTextResponse(f"{lines}\nSitemap: {base_url(site, request)}/sitemap.xml\n")

    @app.get("/brand.css", include_in_schema=False)
    def brand() -> Response:
        rule = f":root{{--brand:{site.accent}}}\n" if site.accent else ""
        return Response(rule, media_type="text/css", headers={"cache-control": "no-cache"})


def second_of(text: str) -> float | None:
    """Return the second that an address names, or None."""
    try:
        time_s = float(text)
    except ValueError:
        return None
    return time_s if math.isfinite(time_s) and time_s >= 0 else None

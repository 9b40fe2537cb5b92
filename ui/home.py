"""The public page at /: what machines and readers without script get of it, and the component that makes the rest.

Comes in: a site. Goes out: the route; and the Blocks of the Gradio API and MCP tools, which share its address.
Does not know: what anybody wrote, but for titles in the list for readers without script. Gradio's own front end is not sent to
visitors: it is 230 KB in 50 requests, draws a hidden frame sixty times a second, needs `unsafe-eval`, and asks the outer page of
a Space to stop scrolling. All content is fetched by the component from /api and put in as text.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from store.episodes import list_episodes
from ui.answers import QUERY_CHARACTERS, Answers
from ui.document import base_url, brand_link, config_json, document, head_links, search_form, social_tags
from ui.site import Site, page_path
from ui.tools import add_tools

LISTED = 50  # talks in the list for readers and search engines without script
TITLE_CHARACTERS = 200


def add_home(app: FastAPI, site: Site) -> None:
    """Add the page at /."""

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def home(request: Request, q: str = "") -> Response:
        return HTMLResponse(home_page(site, q[:QUERY_CHARACTERS].strip(), base_url(site, request)))


def home_page(site: Site, query: str, base: str) -> str:
    """Return the page; with a question, its title and its card name it."""
    name, tagline = site.settings.site_name, site.settings.tagline
    tags = social_tags(site, f"“{query}”" if query else name, tagline, f"{base}/", f"{base}/card.png")
    head = Markup(
        '{}<meta name="description" content="{}"><link rel="canonical" href="{}/">{}'
        '<link rel="preload" href="/api/stats" as="fetch" crossorigin>'
        '<script type="application/json" id="earmark-config">{}</script>'
    ).format(tags, tagline, base, head_links(site), config_json(site))
    rows = Markup("").join(
        Markup('<li><a href="{}" dir="auto">{}</a> <span class="soft" dir="auto">{}</span></li>').format(
            page_path(episode.id), episode.title[:TITLE_CHARACTERS], episode.show[:TITLE_CHARACTERS]
        )
        for episode in list_episodes(site.database, readable_only=True, limit=LISTED)
    )
    body = Markup(
        '<ear-mark><div class="frame" data-view="{}"><header class="top"><div class="topline">{}</div><h1 class="tagline">{}</h1>{}'
        "</header><noscript><main><ul class='newest'>{}</ul></main></noscript></div></ear-mark>"
    ).format("results" if query else "welcome", brand_link(site), tagline, search_form(query), rows)
    return document(f"{query} · {name}" if query else name, head, body)


def tool_blocks(site: Site, answers: Answers) -> Any:
    """Return the Blocks that hold the tools of the Gradio API and MCP."""
    import gradio as gr

    with gr.Blocks(title=site.settings.site_name, analytics_enabled=False) as blocks:
        add_tools(site, answers)
    return blocks

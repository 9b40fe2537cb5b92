"""/embed: the search for a foreign page, light and strict; and /embed.js, the one line that puts it there.

Comes in: show, question and theme in the address. Goes out: HTML. Does not know: the page around it, which it tells its height.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from ui.answers import QUERY_CHARACTERS
from ui.document import base_url, document, head_links, script_json, search_form
from ui.site import STATIC, Site, say, texts

KEYS = ("search.", "results.", "player.", "length.", "nothing.", "embed.", "episode.listen")
THEMES = ("light", "dark")
MODULES = ("dom.js", "asking.js", "results.js", "player.js", "frames.js")


def add_embed(app: FastAPI, site: Site) -> None:
    """Add /embed and /embed.js."""

    @app.get("/embed", include_in_schema=False)
    def embed(theme: str = "", q: str = "") -> Response:
        theme, q = theme if theme in THEMES else "", q[:QUERY_CHARACTERS]  # whoever writes the line by hand sees a page, no error
        config = {"texts": {key: text for key, text in texts().items() if key.startswith(KEYS)}, "brand": site.brand()}
        head = Markup(
            '{}<meta name="robots" content="noindex"><script type="application/json" id="earmark-config">{}</script>'
        ).format(head_links(site, "embed.js", MODULES), script_json(config))
        body = Markup('<main id="embed" class="embed" data-theme="{}">{}</main>').format(theme, search_form(q, target="_blank"))
        return HTMLResponse(document(say("embed.by", name=site.settings.site_name), head, body))

    @app.get("/embed.js", include_in_schema=False)
    def loader(request: Request) -> Response:
        text = (
            (STATIC / "embed-loader.js").read_text(encoding="utf-8").replace("__HOME__", base_url(site, request).replace('"', ""))
        )
        headers = {
            "cache-control": "public, max-age=3600",
            "cross-origin-resource-policy": "cross-origin",
            "access-control-allow-origin": "*",
        }
        return Response(text, media_type="text/javascript", headers=headers)

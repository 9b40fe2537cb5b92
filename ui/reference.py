"""/docs: the API as a page, made from its own OpenAPI description. FastAPI's viewer is fetched from a foreign host; ours is not.

Comes in: the app's OpenAPI dictionary. Goes out: HTML that needs no script. Does not know: what a route does.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from ui.document import base_url, brand_link, document, style_links
from ui.site import Site, say

OWN = ("/api/", "/e/", "/show/", "/media/", "/healthz")
BOUNDS = {"minimum": "least", "maximum": "most", "maxLength": "characters", "maxItems": "items"}  # OpenAPI's name -> our text


def add_reference(app: FastAPI, site: Site) -> None:
    """Add /docs."""

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return HTMLResponse(reference_page(site, app.openapi(), base_url(site, request)))


def reference_page(site: Site, schema: dict[str, Any], base: str) -> str:
    """Return the whole page."""
    routes = Markup("").join(
        _route(path, operation)
        for path, methods in schema["paths"].items()
        if path.startswith(OWN)
        for method, operation in methods.items()
        if method == "get"
    )
    mcp = f"{base}/gradio_api/mcp/"
    client = f'from gradio_client import Client\nClient("{base}").predict("a question", api_name="/search_talks")'
    body = Markup(
        '<div class="frame"><header class="top topline">{}</header><main class="reference"><h1>{}</h1>'
        '<p><a href="/openapi.json">openapi.json</a></p>'
        "{}<h2>{}</h2><pre>{}</pre><h2>{}</h2><pre>{}</pre></main></div>"
    ).format(brand_link(site), say("reference.title"), routes, say("reference.mcp"), mcp, say("reference.python"), client)
    return document(f"{say('reference.title')} · {site.settings.site_name}", style_links(site), body)


def _route(path: str, operation: dict[str, Any]) -> Markup:
    rows = Markup("").join(
        Markup("<dt><code>{}</code></dt><dd>{}</dd>").format(item["name"], _kind(item)) for item in operation.get("parameters", ())
    )
    text = operation.get("description") or operation.get("summary", "")
    return Markup("<section><h2><code>{}</code></h2><p>{}</p><dl>{}</dl></section>").format(path, text, rows)


def _kind(item: dict[str, Any]) -> str:
    schema = item.get("schema", {})
    kinds = [one.get("type", "") for one in schema.get("anyOf", [schema])]
    facts = [" or ".join(kind for kind in kinds if kind), schema.get("pattern", "")]
    facts += [say(f"reference.{key}", n=schema[name]) for name, key in BOUNDS.items() if name in schema]
    if schema.get("default") not in (None, "", []):
        facts.append(say("reference.default", value=schema["default"]))
    facts.append(item.get("description", ""))
    return ", ".join(fact for fact in facts if fact)

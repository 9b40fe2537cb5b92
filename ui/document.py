"""A whole HTML page around a body: head, links, what the script needs; and times as people read them.

Comes in: parts of a page. Goes out: HTML, every value escaped by `Markup.format`; nothing passes a template engine.
Does not know: episodes or searches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from fastapi import Request
from markupsafe import Markup

from ui.answers import QUERY_CHARACTERS
from ui.site import STATIC, Site, say, space_address, texts

SERVER_TEXTS = (
    "admin.",
    "gate.",
    "tools.",
    "explore.",
    "reference.",
    "error.no_",
    "error.bad",
    "error.samples",
)  # that no script of the page shows
MODULES = ("dom.js", "address.js", "asking.js", "filters.js", "keys.js", "player.js", "frames.js", "results.js", "welcome.js")
GLASS = (  # as `search` in dom.js
    "M10.5 4a6.5 6.5 0 1 0 4 11.6l4.2 4.3 1.4-1.4-4.3-4.2A6.5 6.5 0 0 0 10.5 4zm0 2a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z"
)
ICON_COLOUR = "#d2401e"  # in earmark.svg


def base_url(site: Site, request: Request) -> str:
    """Return the public address of the site, without a slash at its end."""
    return (site.settings.base_url or space_address() or str(request.base_url)).rstrip("/")


def config_json(site: Site) -> Markup:
    """Return what the page's script needs, as the inside of a JSON script element: `<` is escaped, so it cannot end the element."""
    shown = {key: text for key, text in texts().items() if not key.startswith(SERVER_TEXTS)}
    return script_json({"texts": shown, "brand": site.brand(), "embed": "*" in site.settings.embed_origins})


def script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def style_links(site: Site) -> Markup:
    """Return the icon, in the brand's colour, and the styles. The icon is inside the page: browsers ask for one at every key."""
    icon = (STATIC / "earmark.svg").read_text(encoding="utf-8").replace(ICON_COLOUR, site.accent or ICON_COLOUR)
    return Markup(
        '<link rel="icon" href="data:image/svg+xml,{}" type="image/svg+xml"><link rel="stylesheet" href="/static/earmark.css">'
        '<link rel="stylesheet" href="/brand.css">'
    ).format(quote(icon, safe=" ='/:"))


def head_links(site: Site, entry: str = "ear-mark.js", modules: Iterable[str] = MODULES) -> Markup:
    """Return the links and the script of a page; modules are named early, so that they load side by side."""
    preload = Markup("").join(Markup('<link rel="modulepreload" href="/static/{}">').format(name) for name in modules)
    return Markup('{}{}<script type="module" src="/static/{}"></script>').format(style_links(site), preload, entry)


def social_tags(site: Site, title: str, description: str, address: str, picture: str, kind: str = "website") -> Markup:
    """Return what a chat or a network shows of a shared address: Open Graph and the Twitter card."""
    named = {
        "og:type": kind,
        "og:site_name": site.settings.site_name,
        "og:title": title,
        "og:description": description,
        "og:url": address,
        "og:image": picture,
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": title,
    }
    plain = {
        "twitter:card": "summary_large_image",
        "twitter:title": title,
        "twitter:description": description,
        "twitter:image": picture,
    }
    tags = [Markup('<meta property="{}" content="{}">').format(name, value) for name, value in named.items()]
    return Markup("").join(tags + [Markup('<meta name="{}" content="{}">').format(name, value) for name, value in plain.items()])


def brand_link(site: Site) -> Markup:
    """Return the brand with the way home, as the script draws it too."""
    ear = Markup('<span class="ear" aria-hidden="true"></span>')
    mark = Markup('<img src="/logo" alt="" height="28">') if site.logo_path is not None else ear
    return Markup('<a class="brand" href="/">{}<span>{}</span></a>').format(mark, site.settings.site_name)


def search_form(query: str = "", target: str = "_self") -> Markup:
    """Return the search box of a page without script, or before it runs."""
    return Markup(
        '<form action="/" target="{}" role="search"><svg viewBox="0 0 24 24" aria-hidden="true" class="icon">'
        '<path d="{}" fill="currentColor"/></svg><input type="search" name="q" value="{}" maxlength="{}" aria-label="{}"'
        ' placeholder="{}"></form>'
    ).format(target, GLASS, query, QUERY_CHARACTERS, say("search.label"), say("search.placeholder"))


def page_header(site: Site) -> Markup:
    """Return the head of a page as the script draws it too, so that nothing jumps when it does."""
    return Markup('<header class="top"><div class="topline">{}</div>{}</header>').format(brand_link(site), search_form())


def document(title: str, head: Markup, body: Markup, language: str = "en") -> str:
    """Return a whole page."""
    return Markup(
        '<!doctype html>\n<html lang="{}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>{}</title>{}</head>\n<body>{}</body></html>\n"
    ).format(language, title, head, body)


def message_page(site: Site, title: str, text: str) -> str:
    """Return a page that says one thing, with a search box and the way home."""
    body = Markup(
        '<div class="frame" data-view="message">{}<main><div class="nothing"><h1>{}</h1><p>{}</p></div></main></div>'
    ).format(page_header(site), title, text)
    return document(f"{title} · {site.settings.site_name}", style_links(site), body)


def clock(time_s: float) -> str:
    """Return 1:02:03 or 2:03."""
    minutes, second = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def duration(duration_s: float | None) -> str:
    """Return "17 min" or "2 h 5 min"."""
    if not duration_s:
        return ""
    minutes = round(duration_s / 60)
    if minutes < 1:
        return say("length.seconds", n=round(duration_s))
    return say("length.minutes", n=minutes) if minutes < 60 else say("length.both", h=minutes // 60, m=minutes % 60)

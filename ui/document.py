"""A whole HTML page around a body: head, links, what the script needs; and times as people read them.

Comes in: parts of a page. Goes out: HTML, every value escaped by `Markup.format`; nothing passes a template engine.
Does not know: episodes or searches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fastapi import Request
from markupsafe import Markup

from ui.site import Site, say, texts

SERVER_TEXTS = ("admin.", "gate.", "tools.", "explore.", "reference.")  # that no script of the page shows
MODULES = ("dom.js", "address.js", "asking.js", "filters.js", "keys.js", "player.js", "frames.js", "results.js", "welcome.js")


def base_url(site: Site, request: Request) -> str:
    """Return the public address of the site, without a slash at its end."""
    return (site.settings.base_url or str(request.base_url)).rstrip("/")


def config_json(site: Site) -> Markup:
    """Return what the page's script needs, as the inside of a JSON script element: `<` is escaped, so it cannot end the element."""
    shown = {key: text for key, text in texts().items() if not key.startswith(SERVER_TEXTS)}
    return script_json({"texts": shown, "brand": site.brand()})


def script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def head_links(entry: str = "ear-mark.js", modules: Iterable[str] = MODULES) -> Markup:
    """Return the links and the script of a page; modules are named early, so that they load side by side."""
    preload = Markup("").join(Markup('<link rel="modulepreload" href="/static/{}">').format(name) for name in modules)
    return Markup(
        '<link rel="icon" href="/static/earmark.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/earmark.css">'
        '<link rel="stylesheet" href="/brand.css">{}<script type="module" src="/static/{}"></script>'
    ).format(preload, entry)


def document(title: str, head: Markup, body: Markup, language: str = "en") -> str:
    """Return a whole page."""
    return Markup(
        '<!doctype html>\n<html lang="{}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>{}</title>{}</head>\n<body>{}</body></html>\n"
    ).format(language, title, head, body)


def message_page(site: Site, title: str, text: str) -> str:
    """Return a page that says one thing, with the way home."""
    body = Markup(
        '<ear-mark><header class="plain"><a class="brand" href="/">{}</a></header>'
        '<article class="plain"><h1>{}</h1><p>{}</p></article></ear-mark>'
    )
    head = Markup('<link rel="stylesheet" href="/static/earmark.css"><link rel="stylesheet" href="/brand.css">')
    return document(f"{title} · {site.settings.site_name}", head, body.format(site.settings.site_name, title, text))


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

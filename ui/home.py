"""The public page: a `gr.HTML` that carries `<ear-mark>`, and the Gradio API and MCP tools that live beside it.

Comes in: a site. Goes out: `gr.Blocks`. Does not know: what anybody wrote: only constants and settings pass through Gradio's
templates, which execute what is in a value. All content is fetched by the component from /api and put in as text.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ui.answers import Answers
from ui.document import config_json, head_links
from ui.packing import App, Message, Receive, Scope, Send
from ui.site import Site
from ui.tools import add_tools

CARRIER = "<ear-mark></ear-mark>"
# the component stands beside Gradio's container, whose overflow breaks sticky parts
STYLE = "gradio-app,footer{display:none!important}"


def home_blocks(site: Site, answers: Answers) -> Any:
    """Return the Blocks of the public page."""
    import gradio as gr

    title = site.settings.site_name.translate({ord("<"): None, ord(">"): None})  # Gradio puts it into its page as it is
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.HTML(CARRIER, apply_default_css=False, js_on_load=None)
        add_tools(site, answers)
    return blocks


class HeadFirst:
    """ASGI middleware that puts `head` into the page at /.

    Gradio's own `head` is put in by its script, a second later; search engines and a slow phone would wait for it.
    """

    def __init__(self, app: App, head: str) -> None:
        self._app = app
        self._head = head.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; of the page at /, hold the answer until it is whole."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            whole = bytes(body).replace(b"</head>", self._head + b"</head>", 1)
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(whole)).encode())]})
            await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, completed)


def home_head(site: Site) -> str:
    """Return what goes into the head of the public page."""
    return Markup(
        '<meta name="description" content="{}"><style>{}</style><script type="application/json" id="earmark-config">{}</script>{}'
    ).format(site.settings.tagline, Markup(STYLE), config_json(site), head_links())

"""The public page: a `gr.HTML` that carries `<ear-mark>`, and the Gradio API and MCP tools that live beside it.

Comes in: a site. Goes out: `gr.Blocks`. Does not know: what anybody wrote: only constants and settings pass through Gradio's
templates, which execute what is in a value. All content is fetched by the component from /api and put in as text.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ui.answers import Answers
from ui.document import config_json, head_links
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


def home_head(site: Site) -> str:
    """Return what goes into the head of Gradio's page."""
    return Markup(
        '<meta name="description" content="{}"><style>{}</style><script type="application/json" id="earmark-config">{}</script>{}'
    ).format(site.settings.tagline, Markup(STYLE), config_json(site), head_links())

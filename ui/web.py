"""Puts the web app together: one `gr.Server` (which is FastAPI) with pages, API, media, admin, Gradio's API and MCP.

Comes in: settings. Goes out: the app, or a running server. Order matters: routes first, then /admin, then the public page at /,
which as a mount takes every path that is left. Does not know: what any of the parts does.
"""

from __future__ import annotations

import os
from typing import Any

from store.errors import SettingsError
from store.settings import Settings
from ui.admin import admin_blocks
from ui.answers import Answers
from ui.api import add_api
from ui.downloads import add_downloads
from ui.embed import add_embed
from ui.explore import add_explore
from ui.gate import Gate
from ui.home import HeadFirst, home_blocks, home_head
from ui.media import add_media
from ui.metrics import SearchMeter, add_metrics
from ui.packing import Packing
from ui.pages import add_pages
from ui.pictures import add_pictures
from ui.reference import add_reference
from ui.samples import add_samples
from ui.site import open_site, say

ADMIN_COLOURS = dict.fromkeys(  # Gradio's own orange is too light for white letters
    ("color_accent", "button_primary_background_fill", "button_primary_background_fill_dark"), "#b0350f"
)
ADMIN_STYLE = (
    ".dark button.selected{color:#fdba74!important} button.selected{color:#9a3412}"
    "@media (max-width:30rem){.tab-container button{padding-inline:.5rem!important}}"  # all four tabs fit on a phone
)
MOUNT = {"footer_links": [], "run_history": False, "ssr_mode": False}


def create_app(settings: Settings) -> Any:
    """Return the `gr.Server` of a data folder. Opens the store (and creates an empty one); starts nothing."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    import gradio as gr

    site = open_site(settings)
    meter = SearchMeter(site.database)
    answers = Answers(site, meter)
    app = gr.Server(title=settings.site_name, description=settings.tagline, docs_url=None, redoc_url=None)
    add_api(app, site, answers)
    add_media(app, site)
    add_samples(app, site)
    add_pictures(app, site)
    add_downloads(app, site)
    add_pages(app, site)
    add_embed(app, site)
    add_explore(app, site, answers)
    add_reference(app, site)
    add_metrics(app, meter)
    login = (settings.admin_user, settings.admin_password) if settings.admin_password else None
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["monospace"]}  # Gradio's default faces come from a foreign host
    theme = gr.themes.Default(primary_hue="orange", neutral_hue="stone", **fonts).set(**ADMIN_COLOURS)
    gr.mount_gradio_app(
        app, admin_blocks(site), "/admin", theme=theme, css=ADMIN_STYLE, auth=login, auth_message=say("admin.login"), **MOUNT
    )
    public = home_blocks(site, answers)
    gr.mount_gradio_app(app, public, "/", mcp_server=True, **MOUNT)
    app.add_middleware(HeadFirst, head=home_head(site))
    app.add_middleware(Packing)
    app.add_middleware(Gate, settings=settings)
    app.state.site, app.state.answers = site, answers
    return app


def serve(settings: Settings, *, block: bool = True) -> Any:
    """Serve a data folder until stopped; with `block=False`, return the running app at once (close it with `stop`).

    Raises `SettingsError` where the port is taken.
    """
    app = create_app(settings)
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port,
            prevent_thread_lock=not block,
            quiet=True,
            show_error=True,
            app_kwargs={"lifespan": app.router.lifespan_context},  # without it MCP answers 500 and queued events hang
            **MOUNT,
        )
    except OSError as error:
        raise SettingsError(
            f"the web app cannot listen there ({error})",
            where=f"{settings.host}:{settings.port}",
            next_step="Choose another --port",
        ) from error
    return app


def stop(app: Any) -> None:
    """Stop a server that `serve(..., block=False)` started."""
    app.state.answers.close()
    app.get_blocks().close(verbose=False)

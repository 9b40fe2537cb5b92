"""Puts the web app together: one `gr.Server` (which is FastAPI) with pages, API, media, admin, Gradio's API and MCP.

Comes in: settings. Goes out: the app, or a running server. Order matters: routes first, then /admin, then Gradio's API and
MCP at /, which as a mount takes every path that is left. Does not know: what any of the parts does.
"""

from __future__ import annotations

import os
from typing import Any

from store.errors import SettingsError
from store.settings import Settings
from ui.admin import admin_blocks
from ui.answers import Answers
from ui.api import add_api
from ui.crew import settle
from ui.downloads import add_downloads
from ui.embed import add_embed
from ui.explore import add_explore
from ui.gate import Gate
from ui.home import add_home, tool_blocks
from ui.look import STYLE, admin_theme
from ui.media import add_media
from ui.metrics import SearchMeter, add_metrics
from ui.packing import Packing
from ui.pages import add_pages
from ui.pictures import add_pictures
from ui.port import check_port
from ui.reference import add_reference
from ui.samples import add_samples
from ui.site import open_site, say

MOUNT = {"footer_links": [], "run_history": False, "ssr_mode": False}
QUEUE_PAUSE_S = 0.05  # Gradio looks at each queue a thousand times a second: a tenth of a core for a page that nobody visits
PROGRESS_PAUSE_S = 0.2


def create_app(settings: Settings) -> Any:
    """Return the `gr.Server` of a data folder. Opens the store (and creates an empty one); starts nothing."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    import gradio as gr

    site = open_site(settings)
    meter = SearchMeter(site.database)
    answers = Answers(site, meter)
    app = gr.Server(title=settings.site_name, description=settings.tagline, docs_url=None, redoc_url=None)
    add_home(app, site)
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
    admin = admin_blocks(site)
    gr.mount_gradio_app(
        app, admin, "/admin", theme=admin_theme(site), css=STYLE, auth=login, auth_message=say("admin.login"), **MOUNT
    )
    tools = tool_blocks(site, answers)
    gr.mount_gradio_app(app, tools, "/", mcp_server=True, **MOUNT)
    calm(admin)
    calm(tools)
    app.add_middleware(Packing)
    app.add_middleware(Gate, settings=settings)
    app.state.site, app.state.answers = site, answers
    return app


def calm(blocks: Any) -> None:
    """Let a queue of Gradio's rest between looks, as long as it does on Windows."""
    blocks._queue.sleep_when_free = QUEUE_PAUSE_S
    blocks._queue.progress_update_sleep_when_free = PROGRESS_PAUSE_S


def serve(settings: Settings, *, block: bool = True) -> Any:
    """Serve a data folder until stopped; with `block=False`, return the running app at once (close it with `stop`).

    Raises `SettingsError` where the port is taken.
    """
    check_port(settings)
    app = create_app(settings)
    settle()
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            app_kwargs={"lifespan": app.router.lifespan_context},  # without it MCP answers 500 and queued events hang
            **MOUNT,
        )
    except OSError as error:  # taken while the app was being made
        check_port(settings)
        raise SettingsError("the web app cannot listen here", where=f"{settings.host}:{settings.port}") from error
    calm(app.get_blocks())
    if block:
        app.get_blocks().block_thread()
    return app


def stop(app: Any) -> None:
    """Stop a server that `serve(..., block=False)` started."""
    app.state.answers.close()
    app.get_blocks().close(verbose=False)

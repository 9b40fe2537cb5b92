"""The admin page at /admin: add, watch the queue, stop and retry, look at space and devices. Gradio widgets, behind a login.

Comes in: a site and a store that may be written. Goes out: `gr.Blocks`. Every text from outside goes into cells as plain text,
never as HTML. Does not know: what a button does (`ui.desk`).
"""

from __future__ import annotations

from typing import Any

from store.database import Database
from ui.desk import STATES, Desk
from ui.site import Site, say

REFRESH_S = 2.0
QUIET = {"api_visibility": "private", "show_progress": "hidden"}
NEWEST = QUIET | {"trigger_mode": "always_last"}
CLOSED = {"api_visibility": "private"}
PLAIN = {"datatype": "str", "interactive": False, "wrap": True, "max_chars": 240}
QUEUE_WIDTHS = ["72px", "360px", "110px", "90px", "100px", "440px"]
EPISODE_WIDTHS = ["150px", "220px", "430px", "120px", "100px", "160px"]


def admin_blocks(site: Site) -> Any:
    """Return the Blocks of the admin page."""
    import gradio as gr

    def picked(event: Any) -> str:
        return str(event.row_value[0])  # its number or id goes into the field beside the buttons

    picked.__annotations__["event"] = gr.SelectData  # Gradio looks there for what to hand over
    database = Database.in_folder(site.settings.data_dir)
    desk = Desk(site, database)
    with gr.Blocks(title=f"{site.settings.site_name} · {say('admin.name')}", analytics_enabled=False) as blocks:
        gr.Markdown(f"# {say('admin.title')}\n[{say('admin.public')}](/)")
        gr.Textbox(label=say("admin.now"), value=desk.summary, every=REFRESH_S, interactive=False, lines=2, elem_id="summary")
        with gr.Tab(say("admin.tab.add"), id="add"):
            label = say("admin.link_or_folder" if desk.takes_folders else "admin.link")
            link = gr.Textbox(label=label, elem_id="link")
            with gr.Row():
                limit = gr.Number(label=say("admin.limit"), value=0, precision=0, minimum=0)
                language = gr.Textbox(label=say("admin.language"), max_length=8)
            add = gr.Button(say("admin.add"), variant="primary", elem_id="add")
            files = gr.UploadButton(say("admin.upload"), file_count="multiple", type="filepath", elem_id="upload")
            told = gr.Textbox(label=say("admin.told"), interactive=False, elem_id="told")
            add.click(desk.add_link, [link, limit, language], told, **CLOSED)
            files.upload(desk.add_files, [files, language], told, **CLOSED)
        with gr.Tab(say("admin.tab.queue"), id="queue"):
            choices = [(say("admin.all"), "all"), *((say(f"admin.state.{name}"), name) for name, _ in STATES)]
            state = gr.Radio(choices, value="all", label=say("admin.show"))
            timer = gr.Timer(REFRESH_S)
            head = [say(f"admin.head.{name}") for name in ("job", "what", "state", "done", "for", "says")]
            table = gr.Dataframe(headers=head, elem_id="queue", label=say("admin.tab.queue"), column_widths=QUEUE_WIDTHS, **PLAIN)
            with gr.Row():
                number = gr.Textbox(label=say("admin.number"), elem_id="job")
                names = ("pause", "resume", "cancel", "retry")
                buttons = [gr.Button(say(f"admin.{name}"), elem_id=name) for name in names]
            moved = gr.Textbox(label=say("admin.told"), interactive=False, elem_id="moved")
            timer.tick(desk.queue, state, table, **NEWEST)
            blocks.load(desk.queue, state, table, **QUIET)
            state.change(desk.queue, state, table, **NEWEST)
            table.select(picked, None, number, **QUIET)
            for button, act in zip(buttons, (desk.pause, desk.resume, desk.cancel, desk.retry), strict=True):
                button.click(act, number, moved, **CLOSED).then(desk.queue, state, table, **QUIET)
        with gr.Tab(say("admin.tab.episodes"), id="episodes"):
            wanted = gr.Textbox(label=say("admin.find"), elem_id="wanted")
            head = [say(f"admin.head.{name}") for name in ("id", "show", "title", "published", "length", "state")]
            episodes = gr.Dataframe(
                headers=head, label=say("admin.tab.episodes"), elem_id="episodes", column_widths=EPISODE_WIDTHS, **PLAIN
            )
            blocks.load(desk.episodes, wanted, episodes, **QUIET)
            wanted.change(desk.episodes, wanted, episodes, **NEWEST)
            with gr.Row():
                gone_id = gr.Textbox(label=say("admin.id"), elem_id="gone")
                certain = gr.Checkbox(label=say("admin.certain"), elem_id="certain")
                delete = gr.Button(say("admin.delete"), variant="stop", elem_id="delete")
                sync = gr.Button(say("admin.sync"))
            gone = gr.Textbox(label=say("admin.told"), interactive=False, elem_id="gone-told")
            episodes.select(picked, None, gone_id, **QUIET)
            delete.click(desk.delete, [gone_id, certain], [gone, certain], **CLOSED)
            sync.click(desk.sync, gone_id, gone, **CLOSED)
        with gr.Tab(say("admin.tab.machine"), id="machine") as tab:
            head = [say("admin.head.what"), say("admin.head.now")]
            machine = gr.Dataframe(
                headers=head, label=say("admin.tab.machine"), elem_id="machine", column_widths=["40%", "60%"], **PLAIN
            )
            blocks.load(desk.machine, None, machine, **QUIET)
            tab.select(desk.machine, None, machine, **QUIET)
    return blocks

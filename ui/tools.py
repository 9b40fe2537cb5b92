"""Three tools for programs: the MCP tools, which are the named endpoints of the Gradio API too.

Comes in: plain values. Goes out: Markdown whose links play. Docstrings here are read by models: they say what a tool is for.
Does not know: how a moment is found.
"""

from __future__ import annotations

from typing import Any

from store.errors import EarmarkError
from ui.answers import QUERY_CHARACTERS, Answers, Ask, find_episode, whole
from ui.document import clock
from ui.site import Site, page_path, say, space_address, web_address

MOMENTS_MOST = 20
PASSAGE_MOST_S = 600.0
TRANSCRIPT_CHARACTERS = 60_000


def add_tools(site: Site, answers: Answers) -> None:
    """Register the tools inside an open `gr.Blocks`."""
    import gradio as gr

    base = _public_address(site)

    def search_talks(query: str, limit: int = 8, show: str = "", speaker: str = "") -> str:
        """Search everything that was said in a catalogue of talks and podcasts, by words and by meaning.

        Returns the best moments: what was said, by whom, in which talk, at which second, with a link that plays from there.

        Args:
            query: A question or words to look for. Put a phrase in double quotes to find it exactly.
            limit: How many moments to return, at most 20.
            show: Only moments of this show, by its title; empty for all.
            speaker: Only moments of this speaker; empty for all.
        """
        view = answers.overview()
        shows = tuple(item.id for item in view.shows if show.lower() in item.title.lower()) if show else ()
        if show and not shows:
            return say("tools.no_show", show=show, shows=", ".join(item.title for item in view.shows))
        ask = Ask(
            query[:QUERY_CHARACTERS].strip(),
            shows=shows,
            speakers=(speaker,) if speaker else (),
            limit=max(1, min(MOMENTS_MOST, limit)),
        )
        if not ask.query:
            return say("tools.empty")
        try:
            found = answers.search(ask)["moments"]
        except EarmarkError as error:
            return error.sentence
        blocks = [_moment(number, moment, base) for number, moment in enumerate(found, 1)]
        return "\n\n".join(blocks) or say("tools.nothing", q=query)

    def get_episode(episode_id: str) -> str:
        """Return one talk: title, show, date, people, chapters and its whole transcript with times.

        Args:
            episode_id: The id that search_talks gives.
        """
        try:
            detail, segments, _ = whole(site, find_episode(site, episode_id.strip()))
        except EarmarkError as error:
            return error.sentence
        lines = [
            f"# {detail['title']}",
            f"{detail['show']} · {detail['published'][:10]}",
            f"[{say('tools.play')}]({base}{detail['page_url']})",
        ]
        if web_address(detail["source_url"]):
            lines.append(f"[{say('tools.source')}]({detail['source_url']})")
        lines += [f"- {clock(chapter['start_s'])} {chapter['title']}" for chapter in detail["chapters"]]
        text = "\n".join([*lines, "", *(_line(segment.start_s, segment.speaker, segment.text) for segment in segments)])
        return text if len(text) <= TRANSCRIPT_CHARACTERS else text[:TRANSCRIPT_CHARACTERS] + "\n" + say("tools.cut")

    def get_passage(episode_id: str, start_s: float, end_s: float = 0.0) -> str:
        """Return what is said in one talk between two times, with a link that plays it. Use it to read around a moment.

        Args:
            episode_id: The id that search_talks gives.
            start_s: Where to begin, in seconds from the start of the recording.
            end_s: Where to end; 0 means one minute later. At most ten minutes are returned.
        """
        try:
            detail, segments, _ = whole(site, find_episode(site, episode_id.strip()))
        except EarmarkError as error:
            return error.sentence
        end = min(end_s if end_s > start_s else start_s + 60.0, start_s + PASSAGE_MOST_S)
        said = [segment for segment in segments if segment.end_s > start_s and segment.start_s < end]
        play = say("tools.play_from", time=clock(start_s))
        head = f"# {detail['title']}\n{detail['show']} · [{play}]({base}{page_path(detail['id'], start_s)})\n"
        return (
            head + "\n".join(_line(segment.start_s, segment.speaker, segment.text) for segment in said)
            if said
            else head + say("tools.silent")
        )

    for tool in (search_talks, get_episode, get_passage):
        gr.api(tool, api_name=tool.__name__)


def _public_address(site: Site) -> str:
    """Return where links lead: programs read them far from the page, so a path alone would not do."""
    host = "localhost" if site.settings.host in ("127.0.0.1", "0.0.0.0", "::") else site.settings.host
    return (site.settings.base_url or space_address() or f"http://{host}:{site.settings.port}").rstrip("/")


def _moment(number: int, moment: dict[str, Any], base: str) -> str:
    at = clock(moment["start_s"])
    facts = " · ".join(part for part in (moment["show"], moment["published"][:10], moment["speaker"]) if part)
    link = f"[{say('tools.play_from', time=at)}]({base}{moment['page_url']}) · episode_id {moment['episode_id']}"
    return f"## {number}. {say('tools.at', title=moment['title'], time=at)}\n{facts}\n\n> {moment['text']}\n\n{link}"


def _line(start_s: float, speaker: str | None, text: str) -> str:
    return f"[{clock(start_s)}] {speaker + ': ' if speaker else ''}{text}"

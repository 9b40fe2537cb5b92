"""Moments as a person reads them in a terminal.

Comes in: a `SearchAnswer`, and why it came about where somebody asked. Goes out: text.
Does not know: how moments were found.
"""

from __future__ import annotations

import textwrap

from index.explain import Explanation, explanation_text
from index.search import highlights
from store.records import SearchAnswer

WIDTH = 100
QUOTE_CHARACTERS = 320
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def moments_text(answer: SearchAnswer, *, in_colour: bool, why: Explanation | None = None) -> str:
    """Return the moments one under the other: where, when, what was said, a link that plays it, and with `why` how it was found."""
    bold, dim, plain = (BOLD, DIM, PLAIN) if in_colour else ("", "", "")
    blocks = []
    reasons = explanation_text(why) if why else []
    for number, moment in enumerate(answer.moments, 1):
        parts = [moment.show, moment.title, moment.published[:10], moment.speaker or ""]
        where = " · ".join(part for part in parts if part)
        text = textwrap.shorten(moment.text, QUOTE_CHARACTERS, placeholder=" …")
        quote = "\n".join(f"   {line}" for line in textwrap.wrap(_marked(answer.query, text, bold, plain), WIDTH))
        blocks.append(
            f"{number}. {bold}{clock(moment.start_s)}{plain}  {where}\n{quote}\n   {dim}{_link(moment.play_url, moment)}{plain}"
        )
        if reasons:
            blocks[-1] += "\n" + textwrap.indent(reasons[number], "   | ")
    side = {"lexical": "by words only", "dense": "by meaning only"}.get(answer.degraded or "", "")
    note = f" ({side}: the other half failed or was late)" if side else ""
    if reasons:
        blocks.insert(0, reasons[0])
    if not answer.moments:
        nothing = f"Nothing fits {answer.query!r}{note}. Fewer or other words may help; `earmark status` shows what is here."
        return "\n\n".join([*blocks, nothing])
    return "\n\n".join(blocks) + f"\n\n{len(answer.moments)} moments in {answer.took_ms:.0f} ms{note}"


def clock(time_s: float) -> str:
    """Return 1:02:03 or 2:03."""
    minutes, seconds = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _link(play_url: str, moment: object) -> str:
    page_url = str(getattr(moment, "page_url", ""))
    return f"{page_url}   {play_url}" if play_url.startswith("http") else page_url


def _marked(query: str, text: str, bold: str, plain: str) -> str:
    if not bold:
        return text
    for start, end in sorted(highlights(query, text, None), reverse=True):
        text = f"{text[:start]}{bold}{text[start:end]}{plain}{text[end:]}"
    return text

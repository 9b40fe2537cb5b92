"""Plain text from what publishers write: HTML, entities, double entities, stray control characters.

Comes in: text or HTML of any quality. Goes out: text without markup, paragraphs on lines of their own.
Does not know: where it stood.
"""

from __future__ import annotations

import html
import re
from contextlib import suppress
from html.parser import HTMLParser

MAX_DESCRIPTION = 20_000  # characters; beyond that it is a transcript in the wrong field

_BLOCKS = frozenset(
    [
        *("p", "div", "br", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "table", "blockquote", "section"),
        *("article", "header", "footer", "hr", "pre", "dt", "dd", "cite", "time"),
    ]
)
_SILENT = frozenset({"script", "style", "head", "noscript", "template", "svg"})
_VOID_SILENT = re.compile(r"<(script|style|template|svg|noscript)\b[^>]*?(?:/>|>.*?(?:</\1\s*>|\Z))", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:/?[a-zA-Z][^<>]*|!--.*?--)>", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def line(text: str | None) -> str:
    """Return one line of plain text: for titles and names. Markup only counts as such where a whole tag stands."""
    text = _CONTROL.sub("", text or "")
    text = _unescape(_TAG.sub(" ", text) if _TAG.search(text) else text)
    return " ".join(text.split())


def paragraphs(text: str | None, limit: int = MAX_DESCRIPTION) -> str:
    """Return plain text with a line for each paragraph, cut at `limit` characters."""
    text = _CONTROL.sub("", text or "")[: limit * 20]
    if _TAG.search(text):
        reader = _Reader()
        with suppress(AssertionError):  # html.parser gives up on a broken "<![": what came before is kept
            reader.feed(_VOID_SILENT.sub(" ", text))
            reader.close()
        text = "".join(reader.pieces)
    text = _unescape(text)
    lines = (" ".join(piece.split()) for piece in text.splitlines())
    kept = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return kept if len(kept) <= limit else kept[:limit].rsplit(" ", 1)[0] + " …"


def _unescape(text: str) -> str:
    for _ in range(2):  # "&amp;amp;" is common: escaped once by the author, once by the program
        if not _ENTITY.search(text):
            break
        text = html.unescape(text)
    return text.replace("\xa0", " ")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self.pieces.append("\n\n" if tag in ("p", "h1", "h2", "h3") else "\n")
            if tag == "li":
                self.pieces.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS and tag != "br":
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data if "\n" not in data else re.sub(r"\s+", " ", data))

"""Show notes and chapter titles, read: which lines say what the talk is about, and which of them name a time.

Comes in: a publisher's description, plain or HTML, or a title. Goes out: sentences without markup, each with its time mark if it
has one.
Calls to subscribe, sponsors, credits and links are left out.
Does not know: what is said in the talk.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from index.language import ends_sentence
from index.questions import clock_s

_BREAK = re.compile(r"<(?:br|hr|/?p|/?li|/?div|/?h\d|/?tr)\b[^>]*>", re.IGNORECASE)
_LINKED = re.compile(r"<a\b[^>]*>.*?</a\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[/!a-zA-Z][^<>]*>")
_TIME = r"(?:\d{1,2}:)?\d{1,3}:\d{2}"
_MARK = re.compile(rf"(?<![\d:.])[\[(]?({_TIME})[\])]?(?![\d:])(?:\s*[-–—]\s*[\[(]?{_TIME}[\])]?)?")
_EDGES = " \t-–—•*·|:>→~#,"
_NUMBERED = re.compile(r"^(?:chapter|part|kapitel|teil)?\s*\(?\d{1,3}[.):]\s+", re.IGNORECASE)
_ADDRESS = re.compile(r"https?:|www\.|\S@\S|(?:^|\s)@\w|\b[\w-]+\.(?:com|org|net|io|fm|co|dev|tv|de|fr|uk|me|ly)\b", re.IGNORECASE)
_OPENING = re.compile(
    r"^(?:in|on) (?:this|today['’]s|this week['’]s) (?:episode|show|talk|video|edition|conversation)\b[^,:.]{0,30}[,:]?\s+",
    re.IGNORECASE,
)
_SELLS = re.compile(
    r"\b(?:subscrib\w*|sponsor\w*|patreon|brought to you|promo code|coupon|use (?:the )?code|advert\w*|abonnier\w*|werbung|abonnez"
    r"|soutenez|suscr[ií]b\w*)\b",
    re.IGNORECASE,
)
_ABOUT_THE_SHOW = re.compile(
    r"\b(?:discount|sign up|free trial|giveaway|(?:our|the|my) newsletter|(?:rate|review|rating) (?:us|and|the)"
    r"|leave (?:us )?a (?:review|rating|comment)|five[- ]star"
    r"|follow (?:us|me|him|her|them|the)|support (?:us|the|this)|donat\w+|merch|join (?:us|our|the)|listen (?:on|to us)"
    r"|apple podcasts?|spotify|instagram|facebook|twitter|linkedin|tiktok|discord|youtube channel|telegram|mastodon"
    r"|ad choices|privacy polic\w+|terms of|copyright|all rights reserved|creative commons"
    r"|(?:hosted|produced|edited|mixed|mastered|recorded|engineered|music|artwork|sound design) by|theme (?:music|song)|credits"
    r"|show ?notes|full transcript|learn more|find out more|more info\w*|click|e-?mail|contact us|get in touch|send (?:us|me)"
    r"|mentioned in this|timestamps|time ?stamps|links? (?:to|and|in|from))\b",
    re.IGNORECASE,
)

_GENERIC = re.compile(
    r"(?:(?:the|our|a|quick|brief|short|episode|show|guest|host|final|closing|opening|some|more|and|&|podcast)\s+)*"
    r"(?:intro(?:duction)?s?|outro|welcome(?: back)?|opening|closing|thoughts|words|remarks|statements?|comments?|questions?"
    r"|(?:mid|pre|post)-?\s?roll|ads?|adverts?|advertisements?|commercials?|break|credits|end|ending|conclusions?|summary|recap"
    r"|wrap(?:ping)?[- ]?up|thanks?(?: you)?(?: .*)?|housekeeping|announcements?|updates?|news|q\s?(?:&|and)\s?a"
    r"|questions? (?:&|and) answers?|(?:listener|audience) (?:mail|questions?|feedback|emails?)|preview|teaser|trailer|cold open"
    r"|theme(?: song| music)?|music|start|begin(?:ning)?|hello|good ?bye|bye|about|links?|chapter|part|section|segment|discussion"
    r"|interview|conversation|bio|background|(?:lightning|rapid[- ]fire|quick) (?:round|questions?)"
    r"|where (?:to|can|you can) .*|how to (?:find|reach|follow|contact|support) .*"
    r"|einleitung|einführung|begrüßung|verabschiedung|werbung|vorstellung|schluss|fazit|ausblick"
    r"|introducción|bienvenida|despedida|publicidad|bienvenue|publicité|générique)"
    r"(?:\s+(?:and|&)\s+\w+)?(?:\s*[#\d:.-]*)(?:\s*\(.*\))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class NoteLine:
    """Something that the notes say of the talk; `start_s` is the time mark beside it, None without one."""

    text: str
    start_s: float | None = None


def note_lines(description: str) -> list[NoteLine]:
    """Return what a description says of its talk, in its order."""
    text = _BREAK.sub("\n", description)
    text = _TAG.sub(" ", _LINKED.sub(" ", text) if _TAG.search(text) else text)
    found = []
    for line in html.unescape(text).splitlines():
        marks = list(_MARK.finditer(line))
        if marks:
            found += list(_timed(line, marks))
        else:
            found += [NoteLine(sentence) for sentence in _sentences(bare(line)) if not is_about_the_show(sentence)]
    return found


def bare(text: str) -> str:
    """Return a title or line without bullets, numbers and quotation marks around it; quotation marks would ask for a phrase."""
    text = _NUMBERED.sub("", " ".join(text.split()).strip(_EDGES))
    return re.sub(r'["“”„«»]', "", text).strip(_EDGES)


def is_about_the_show(text: str) -> bool:
    """Tell whether a line asks for something, thanks somebody or points elsewhere, and says nothing of the talk."""
    return any(pattern.search(text) for pattern in (_SELLS, _ABOUT_THE_SHOW, _ADDRESS))


def is_generic(title: str) -> bool:
    """Tell whether the title of a chapter would fit any talk, or sells something."""
    return _GENERIC.fullmatch(title) is not None or any(pattern.search(title) for pattern in (_SELLS, _ADDRESS))


def _timed(line: str, marks: list[re.Match[str]]) -> Iterator[NoteLine]:
    """Read `12:34 text`, `text (12:34)`, and several of the first form in one line."""
    before = bare(line[: marks[0].start()])
    if len(marks) == 1 and before:
        after = bare(line[marks[0].end() :])
        texts = [before if not after else ""]  # a time in the middle of a sentence marks nothing
    else:
        ends = [*(mark.start() for mark in marks[1:]), len(line)]
        texts = [bare(line[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]
    for mark, text in zip(marks, texts, strict=True):
        start_s = clock_s(mark.group(1))
        if text and start_s is not None:
            yield NoteLine(text, start_s)


def _sentences(line: str) -> Iterator[str]:
    words = _OPENING.sub("", line).split()
    current: list[str] = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        current.append(word)
        if not following or ends_sentence(word, following):
            yield " ".join(current)
            current = []

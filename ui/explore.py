"""/explore: pictures of the catalogue, drawn on the server: a map of subjects, hours by month, shows, talk time by speaker.

Comes in: the overview and the atlas. Goes out: HTML with SVG, readable without script; every circle and bar is a link into search.
Does not know: how subjects are found (`ui.atlas`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from store.overview import Amount, Overview, sample_vectors
from ui.answers import Answers
from ui.atlas import PLANE, Subject, make_atlas
from ui.document import config_json, document, duration, head_links, page_header
from ui.site import Site, say

SAMPLE_PASSAGES = 3000
SPEAKERS_SHOWN = 15
SHOWS_SHOWN = 30
MONTHS_SHOWN = 120
LARGEST_PX = 40.0  # of 1000 across: still to be read on a phone
LETTER = 0.56  # a letter's width by its height, about


def add_explore(app: FastAPI, site: Site, answers: Answers) -> None:
    """Add /explore."""
    lock = threading.Lock()
    kept: dict[int, list[Subject]] = {}

    @app.get("/explore", include_in_schema=False)
    def explore(_: Request) -> Response:
        view = answers.overview()
        with lock:  # one visitor computes, the others wait for it
            if view.version not in kept:
                subjects = make_atlas(sample_vectors(site.database, SAMPLE_PASSAGES))
                kept.clear()
                kept[view.version] = subjects
        page = explore_page(site, view, kept[view.version])
        return HTMLResponse(page, headers={"cache-control": "public, max-age=60"})


def explore_page(site: Site, view: Overview, subjects: Sequence[Subject]) -> str:
    """Return the whole page."""
    shows = [Amount(show.title, show.episodes, show.duration_s) for show in view.shows]
    links = [f"/?{urlencode({'show': show.id})}" for show in view.shows]
    shown = sorted(zip(shows, links, strict=True), key=lambda pair: -pair[0].duration_s)[:SHOWS_SHOWN]
    speakers = [(speaker, f"/?{urlencode({'speaker': speaker.name})}") for speaker in view.speakers[:SPEAKERS_SHOWN]]
    most_s = max((month.duration_s for month in view.months[-MONTHS_SHOWN:]), default=0.0)
    parts = [
        Markup("<h1>{}</h1>").format(say("explore.title")),
        _section("explore.map", "explore.map_text", _map(subjects))
        if subjects
        else Markup('<p class="soft">{}</p>').format(say("explore.too_little")),
        _section("explore.months", "explore.months_text", _months(view.months), most=duration(most_s))
        if len(view.months) > 1
        else "",
        _section("explore.shows", "", _bars(shown)),
        _section("explore.speakers", "explore.speakers_text", _bars(speakers)) if speakers else "",
    ]
    article = Markup('<article class="explore">{}</article>').format(Markup("").join(parts))
    head = Markup('{}<script type="application/json" id="earmark-config">{}</script>').format(head_links(site), config_json(site))
    return document(
        f"{say('explore.title')} · {site.settings.site_name}",
        head,
        Markup("<ear-mark>{}{}</ear-mark>").format(page_header(site), article),
    )


def _section(title: str, text: str, body: Markup, **values: str) -> Markup:
    note = Markup('<p class="soft">{}</p>').format(say(text, **values)) if text else ""
    return Markup("<section><h2>{}</h2>{}{}</section>").format(say(title), note, body)


def _map(subjects: Sequence[Subject]) -> Markup:
    circles = []
    for number, subject in enumerate(subjects):
        widest = max(len(term) for term in subject.terms)
        size = min(subject.radius * 1.5 / (widest * LETTER), subject.radius * 0.4, LARGEST_PX)
        lines = Markup("").join(
            Markup('<text x="{:.1f}" y="{:.1f}" font-size="{:.1f}">{}</text>').format(
                subject.x, subject.y + size * (0.36 + 1.18 * (index - (len(subject.terms) - 1) / 2)), size, term
            )
            for index, term in enumerate(subject.terms)
        )
        circles.append(
            Markup(
                '<a href="/?{}" data-q="{}" aria-label="{}"><circle class="tone{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>{}</a>'
            ).format(
                urlencode({"q": " ".join(subject.terms)}),
                " ".join(subject.terms),
                ", ".join(subject.terms),
                number % 4,
                subject.x,
                subject.y,
                subject.radius,
                lines,
            )
        )
    return Markup('<svg class="map" viewBox="0 0 {} {}" role="group" aria-label="{}">{}</svg>').format(
        PLANE[0], PLANE[1], say("explore.map"), Markup("").join(circles)
    )


def _months(months: Sequence[Amount]) -> Markup:
    shown = list(months[-MONTHS_SHOWN:])
    most = max((month.duration_s for month in shown), default=0.0) or 1.0
    bars = []
    for index, month in enumerate(shown):
        height = max(1.5, 100 * month.duration_s / most)
        talks = say("sum.talks.one" if month.episodes == 1 else "sum.talks.many", n=month.episodes)
        label = f"{month.name}: {duration(month.duration_s)}, {talks}"
        first = index == 0 or shown[index - 1].name[:4] != month.name[:4]
        bars.append(
            Markup(
                '<li><a href="/?{}" title="{}" aria-label="{}">'
                '<svg viewBox="0 0 10 100" preserveAspectRatio="none" aria-hidden="true">'
                '<rect y="{:.1f}" width="10" height="{:.1f}"/></svg></a>{}</li>'
            ).format(
                urlencode({"since": month.name, "until": month.name}),
                label,
                label,
                100 - height,
                height,
                Markup('<span class="year">{}</span>').format(month.name[:4]) if first else "",
            )
        )
    return Markup('<ol class="months" aria-label="{}">{}</ol>').format(say("explore.months"), Markup("").join(bars))


def _bars(rows: Sequence[tuple[Amount, str]]) -> Markup:
    most = max((amount.duration_s for amount, _ in rows), default=0.0) or 1.0
    items = Markup("").join(
        Markup(
            '<li><a href="{}" dir="auto">{}</a><span class="soft">{}</span>'
            '<svg viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true"><rect width="{:.1f}" height="2"/></svg></li>'
        ).format(link, amount.name, duration(amount.duration_s), max(0.5, 100 * amount.duration_s / most))
        for amount, link in rows
    )
    return Markup('<ul class="bars">{}</ul>').format(items)

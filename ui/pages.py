"""Pages rendered on the server: an episode with its whole transcript, sitemap, robots, errors. Readable without script.

Comes in: episodes and transcripts. Goes out: HTML, every value escaped by `Markup.format`; nothing passes a template engine.
Does not know: what the page's script makes of it (`static/ear-mark.js`, `static/transcript.js`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from markupsafe import Markup

from index.language import writes_spaces
from store.episodes import list_episodes
from store.errors import EarmarkError, StoreError
from store.export import paragraphs
from store.passages import passages_of
from store.records import SUSPECT, Chapter, Episode, Segment, TranscriptHead
from ui.answers import find_episode, whole
from ui.site import Site, media_kind, page_path, play_url, say, seconds, texts, web_address
from ui.subjects import made_chapters

QUOTE_CHARACTERS = 200
DESCRIPTION_CHARACTERS = 300
CLIP_S = 30.0
SITEMAP_MOST = 50_000  # a sitemap's own limit
MODULES = ("dom.js", "address.js", "asking.js", "filters.js", "keys.js", "player.js", "frames.js", "results.js", "welcome.js")


def add_pages(app: FastAPI, site: Site) -> None:
    """Add /e/{id}, sitemap.xml, robots.txt and /brand.css."""

    @app.api_route("/e/{episode_id}", methods=["GET", "HEAD"], include_in_schema=False)
    def episode(
        request: Request, episode_id: str, t: Annotated[float | None, Query(ge=0, le=1e6)] = None, q: Annotated[str, Query(max_length=400)] = ""
    ) -> Response:
        try:
            found = find_episode(site, episode_id)
        except StoreError:
            return HTMLResponse(message_page(site, say("episode.missing"), ""), 404)
        _, segments, head = whole(site, found)
        body = episode_page(site, found, segments, head, t, base_url(site, request))
        return HTMLResponse(body, headers={"cache-control": "public, max-age=30"})

    @app.get("/sitemap.xml", include_in_schema=False)
    def sitemap(request: Request) -> Response:
        base = base_url(site, request)
        found = list_episodes(site.database, readable_only=True, limit=SITEMAP_MOST - 2)
        rows = [Markup("<url><loc>{}/</loc></url><url><loc>{}/explore</loc></url>").format(base, base)]
        for item in found:
            day = Markup("<lastmod>{}</lastmod>").format(item.published[:10]) if len(item.published) >= 10 else ""
            rows.append(Markup("<url><loc>{}{}</loc>{}</url>").format(base, page_path(item.id), day))
        head = Markup('<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n')
        return Response(head + Markup("\n").join(rows) + Markup("\n</urlset>\n"), media_type="application/xml")

    @app.get("/robots.txt", include_in_schema=False)
    def robots(request: Request) -> Response:
        lines = "User-agent: *\nDisallow: /admin\nDisallow: /api/\nDisallow: /gradio_api/\nDisallow: /*?q=\n"
        return PlainTextResponse(f"{lines}\nSitemap: {base_url(site, request)}/sitemap.xml\n")

    @app.get("/brand.css", include_in_schema=False)
    def brand() -> Response:
        rule = f":root{{--brand:{site.accent}}}\n" if site.accent else ""
        return Response(rule, media_type="text/css", headers={"cache-control": "no-cache"})


def base_url(site: Site, request: Request) -> str:
    """Return the public address of the site, without a slash at its end."""
    return (site.settings.base_url or str(request.base_url)).rstrip("/")


def config_json(site: Site) -> Markup:
    """Return what the page's script needs, as the inside of a JSON script element: `<` is escaped, so it cannot end the element."""
    return script_json({"texts": dict(texts()), "brand": site.brand()})


def script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704 - escaped above


def head_links(entry: str = "ear-mark.js", modules: Iterable[str] = MODULES) -> Markup:
    """Return the links and the script of a page; modules are named early, so that they load side by side."""
    preload = Markup("").join(Markup('<link rel="modulepreload" href="/static/{}">').format(name) for name in modules)
    return Markup(
        '<link rel="icon" href="/static/earmark.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/earmark.css">'
        '<link rel="stylesheet" href="/brand.css">{}<script type="module" src="/static/{}"></script>'
    ).format(preload, entry)


def document(title: str, head: Markup, body: Markup, language: str = "en") -> str:
    """Return a whole page."""
    return Markup(
        '<!doctype html>\n<html lang="{}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>{}</title>{}</head>\n<body>{}</body></html>\n"
    ).format(language, title, head, body)


def message_page(site: Site, title: str, text: str) -> str:
    """Return a page that says one thing, with the way home."""
    body = Markup('<ear-mark><header class="plain"><a class="brand" href="/">{}</a></header><article class="plain"><h1>{}</h1><p>{}</p></article></ear-mark>')
    head = Markup('<link rel="stylesheet" href="/static/earmark.css"><link rel="stylesheet" href="/brand.css">')
    return document(f"{title} · {site.settings.site_name}", head, body.format(site.settings.site_name, title, text))


def episode_page(site: Site, episode: Episode, segments: Sequence[Segment], head: TranscriptHead | None, at_s: float | None, base: str) -> str:
    """Return an episode's page; with a second, its card and description tell of that moment."""
    quote = _quote_at(segments, at_s) if at_s is not None else ""
    description = quote or episode.description or (segments[0].text if segments else "")
    description = " ".join(description.split())[:DESCRIPTION_CHARACTERS]
    address = base + page_path(episode.id, at_s)
    picture = f"{base}/card/{episode.id}.png" + (f"?t={seconds(at_s)}" if at_s is not None else "")
    named = {
        "og:type": "article",
        "og:site_name": site.settings.site_name,
        "og:title": f"“{quote}”" if quote else episode.title,
        "og:description": f"{episode.title} · {episode.show}" if quote else description,
        "og:url": address,
        "og:image": picture,
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": quote or episode.title,
    }
    tags = [Markup('<meta property="{}" content="{}">').format(name, value) for name, value in named.items()]
    twitter = {"twitter:card": "summary_large_image", "twitter:title": named["og:title"], "twitter:description": named["og:description"], "twitter:image": picture}
    tags += [Markup('<meta name="{}" content="{}">').format(name, value) for name, value in (twitter | {"description": description}).items()]
    extra = Markup('{}<link rel="canonical" href="{}{}">{}<script type="application/ld+json">{}</script><script type="application/json" id="earmark-config">{}</script>')
    links = extra.format(
        Markup("").join(tags), base, page_path(episode.id), head_links(modules=(*MODULES, "transcript.js")),
        script_json(_json_ld(episode, segments, at_s, base)), config_json(site),
    )
    header = Markup('<header class="plain"><a class="brand" href="/">{}</a><form action="/" role="search"><input type="search" name="q" aria-label="{}" placeholder="{}"></form></header>')
    body = Markup("<ear-mark>{}{}</ear-mark>").format(
        header.format(site.settings.site_name, say("search.label"), say("search.placeholder")), _article(site, episode, segments, head)
    )
    return document(f"{episode.title} · {episode.show}", links, body)


def _article(site: Site, episode: Episode, segments: Sequence[Segment], head: TranscriptHead | None) -> Markup:
    url = play_url(episode)
    facts = [episode.show, episode.published[:10], _length(episode.duration_s)]
    line = Markup(' <span class="dot" aria-hidden="true">·</span> ').join(Markup("<bdi>{}</bdi>").format(fact) for fact in facts if fact)
    people = ", ".join(person.name for person in episode.people)
    listen = Markup(
        '<button type="button" class="listen" hidden><svg viewBox="0 0 24 24" class="icon" aria-hidden="true"><path fill="currentColor" d="M8 5.5v13l11-6.5z"/></svg><span>{}</span></button>'
    ).format(say("episode.listen"))
    source = web_address(episode.page_url)
    parts = [
        Markup('<header><p class="facts">{}</p><h1 dir="auto">{}</h1>{}<div class="actions">{}{}{}</div></header>').format(
            line,
            episode.title,
            Markup('<p class="soft" dir="auto">{}</p>').format(say("episode.people", names=people)) if people else "",
            listen if url else "",
            Markup('<button type="button" class="quiet copylink" data-what="link" hidden>{}</button><button type="button" class="quiet copylink" data-what="quote" hidden>{}</button>').format(
                say("results.copy_link"), say("results.copy_quote")
            ),
            Markup('<a href="{}" rel="noopener">{}</a>').format(source, say("episode.source")) if source else "",
        )
    ]
    if episode.description:
        parts.append(Markup('<details><summary>{}</summary><p class="about" dir="auto">{}</p></details>').format(say("episode.about"), episode.description))
    parts.append(_chapters(site, episode))
    if segments:
        parts.append(_take_away(episode))
        parts.append(
            Markup(
                '<div class="takeline"><div class="find" hidden></div></div><div class="heat" role="img" hidden></div><p class="made">{} <span class="estimated" hidden>{}</span></p><div class="transcript">{}</div>'
            ).format(_made_by(head), say("episode.estimated"), _turns(episode, segments))
        )
    else:
        parts.append(Markup('<p class="made">{}</p>').format(say("episode.unread")))
    if episode.warning:
        parts.append(Markup('<p class="made">{}</p>').format(episode.warning))
    return Markup('<article class="episode" data-id="{}" data-play="{}" data-kind="{}" data-title="{}" data-show="{}" data-duration="{}">{}</article>').format(
        episode.id, url, media_kind(episode), episode.title, episode.show, seconds(episode.duration_s or 0.0), Markup("").join(parts)
    )


def _turns(episode: Episode, segments: Sequence[Segment]) -> Markup:
    """Return the transcript by speaker and paragraph, one element a sentence with its second and number."""
    rows, number, speaker = [], 0, None
    for group in paragraphs(segments):
        sentences = []
        for segment in group:
            gap = " " if writes_spaces(segment.text[-1:]) else ""
            kind = "s suspect" if SUSPECT in segment.flags else "s"
            sentences.append(Markup('<span class="{}" data-i="{}" data-t="{}">{}</span>{}').format(kind, number, seconds(segment.start_s), segment.text, gap))
            number += 1
        first = group[0]
        who = Markup('<div class="who" dir="auto">{}</div>').format(first.speaker) if first.speaker and first.speaker != speaker else ""
        speaker = first.speaker
        rows.append(
            Markup('<div class="turn"><a class="when" href="{}" data-seek="{}">{}</a>{}<p dir="auto">{}</p></div>').format(
                page_path(episode.id, first.start_s), seconds(first.start_s), clock(first.start_s), who, Markup("").join(sentences)
            )
        )
    return Markup("\n").join(rows)


def chapters_of(site: Site, episode: Episode) -> tuple[tuple[Chapter, ...], bool]:
    """Return an episode's chapters, and whether they were made here."""
    if episode.chapters:
        return episode.chapters, False
    return made_chapters(passages_of(site.database, episode.id), episode.duration_s or 0.0), True


def _chapters(site: Site, episode: Episode) -> Markup:
    chapters, made = chapters_of(site, episode)
    if not chapters:
        return Markup("")
    rows = Markup("").join(
        Markup('<li><span class="at">{}</span><a href="{}" data-seek="{}" dir="auto">{}</a></li>').format(
            clock(chapter.start_s), page_path(episode.id, chapter.start_s), seconds(chapter.start_s), chapter.title
        )
        for chapter in chapters
    )
    name = say("episode.chapters_made" if made else "episode.chapters")
    return Markup('<details class="chapters"{}><summary>{}</summary><ol>{}</ol></details>').format(Markup(" open") if len(chapters) <= 12 else "", name, rows)


def _take_away(episode: Episode) -> Markup:
    kinds = {"srt": "SRT", "vtt": "VTT", "txt": "TXT", "json": "JSON", "md": "Markdown"}
    links = Markup("").join(Markup('<a href="/e/{}.{}" download>{}</a>').format(episode.id, suffix, name) for suffix, name in kinds.items())
    zipped = Markup('<a href="/show/{}.zip" download>{}</a>').format(episode.show_id, say("episode.show_zip"))
    return Markup('<details><summary>{}</summary><div class="take">{}{}</div></details>').format(say("episode.take"), links, zipped)


def _made_by(head: TranscriptHead | None) -> str:
    return say(f"episode.made_by.{head.source}", engine=" ".join(part for part in (head.engine, head.model.partition("@")[0]) if part)) if head else ""


def _quote_at(segments: Sequence[Segment], at_s: float) -> str:
    """Return what is said at a second, short enough for a card."""
    text = ""
    for segment in segments:
        if segment.end_s <= at_s + 0.05:
            continue
        if len(text) + len(segment.text) > QUOTE_CHARACTERS:
            break
        text = f"{text} {segment.text}".strip()
        if len(text) > QUOTE_CHARACTERS / 2:
            break
    return text or next((segment.text[:QUOTE_CHARACTERS] + "…" for segment in segments if segment.end_s > at_s + 0.05), "")


def _json_ld(episode: Episode, segments: Sequence[Segment], at_s: float | None, base: str) -> dict[str, Any]:
    address = base + page_path(episode.id)
    data: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "PodcastEpisode",
        "url": address,
        "name": episode.title,
        "description": episode.description[:2000],
        "image": f"{base}/card/{episode.id}.png",
        "partOfSeries": {"@type": "PodcastSeries", "name": episode.show},
    }
    if episode.published:
        data["datePublished"] = episode.published[:10]
    if episode.duration_s:
        data["timeRequired"] = f"PT{round(episode.duration_s)}S"
    if episode.language:
        data["inLanguage"] = episode.language
    if episode.people:
        data["actor"] = [{"@type": "Person", "name": person.name} for person in episode.people]
    url = play_url(episode)
    if url:
        data["associatedMedia"] = {"@type": "MediaObject", "contentUrl": base + url if url.startswith("/") else url}
    starts = [chapter.start_s for chapter in episode.chapters] or ([] if at_s is None else [at_s])
    names = {chapter.start_s: chapter.title for chapter in episode.chapters}
    data["hasPart"] = [
        {
            "@type": "Clip",
            "name": names.get(start) or _quote_at(segments, start) or episode.title,
            "startOffset": round(start),
            "endOffset": round(starts[index + 1] if index + 1 < len(starts) else start + CLIP_S),
            "url": base + page_path(episode.id, start),
        }
        for index, start in enumerate(starts)
    ]
    return data


def clock(time_s: float) -> str:
    """Return 1:02:03 or 2:03."""
    minutes, second = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def _length(duration_s: float | None) -> str:
    if not duration_s:
        return ""
    minutes = round(duration_s / 60)
    if minutes < 1:
        return say("length.seconds", n=round(duration_s))
    return say("length.minutes", n=minutes) if minutes < 60 else say("length.both", h=minutes // 60, m=minutes % 60)

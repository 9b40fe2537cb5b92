"""An episode's page: what machines read of it in the head, and the article with the whole transcript.

Comes in: an episode and its segments. Goes out: HTML, every value escaped by `Markup.format`.
Does not know: routes, or the script that makes the words follow the voice (`static/transcript.js`).
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from index.language import writes_spaces
from store.export import paragraphs
from store.passages import passages_of
from store.records import SUSPECT, Chapter, Episode, Segment, TranscriptHead
from ui.document import (
    MODULES,
    clock,
    config_json,
    document,
    duration,
    head_links,
    page_header,
    script_json,
    social_tags,
)
from ui.site import Site, media_kind, page_path, play_url, say, seconds, web_address
from ui.subjects import made_chapters

QUOTE_CHARACTERS = 200
DESCRIPTION_CHARACTERS = 300
CLIP_S = 30.0
CHAPTERS_OPEN = 12  # a longer list starts folded


def episode_page(
    site: Site, episode: Episode, segments: Sequence[Segment], head: TranscriptHead | None, at_s: float | None, base: str
) -> str:
    """Return an episode's page; with a second, its card and description tell of that moment."""
    quote = quote_at(segments, at_s) if at_s is not None else ""
    description = quote or episode.description or (segments[0].text if segments else "")
    description = " ".join(description.split())[:DESCRIPTION_CHARACTERS]
    address = base + page_path(episode.id, at_s)
    picture = f"{base}/card/{episode.id}.png" + (f"?t={seconds(at_s)}" if at_s is not None else "")
    shown = f"{episode.title} · {episode.show}" if quote else description
    tags = social_tags(site, f"“{quote}”" if quote else episode.title, shown, address, picture, "article")
    extra = Markup(
        '{}<meta name="description" content="{}"><link rel="canonical" href="{}{}">{}<script type="application/ld+json">{}</script>'
        '<script type="application/json" id="earmark-config">{}</script>'
    )
    links = extra.format(
        tags,
        description,
        base,
        page_path(episode.id),
        head_links(site, modules=(*MODULES, "transcript.js")),
        script_json(_json_ld(episode, segments, at_s, base)),
        config_json(site),
    )
    body = Markup("<ear-mark>{}{}</ear-mark>").format(
        page_header(site),
        _article(site, episode, segments, head),
    )
    return document(f"{episode.title} · {episode.show}", links, body)


def _article(site: Site, episode: Episode, segments: Sequence[Segment], head: TranscriptHead | None) -> Markup:
    url = play_url(episode)
    day = Markup('<time datetime="{0}">{0}</time>').format(episode.published[:10]) if episode.published else ""
    facts = [episode.show, day, duration(episode.duration_s)]
    line = Markup(' <span class="dot" aria-hidden="true">·</span> ').join(
        Markup("<bdi>{}</bdi>").format(fact) for fact in facts if fact
    )
    people = ", ".join(person.name for person in episode.people)
    listen = Markup(
        '<button type="button" class="listen" hidden><svg viewBox="0 0 24 24" class="icon" aria-hidden="true">'
        '<path fill="currentColor" d="M8 5.5v13l11-6.5z"/></svg><span>{}</span></button>'
    ).format(say("episode.listen"))
    source = web_address(episode.page_url)
    parts = [
        Markup(
            '<header><img class="cover" src="/picture/{}" alt="" width="136" height="136">'
            '<div class="names"><p class="facts">{}</p><h1 dir="auto">{}</h1>{}</div><div class="actions">{}{}{}</div></header>'
        ).format(
            episode.id,
            line,
            episode.title,
            Markup('<p class="soft" dir="auto">{}</p>').format(say("episode.people", names=people)) if people else "",
            listen if url else "",
            Markup(
                '<button type="button" class="pill copylink" data-what="link" hidden>{}</button>'
                '<button type="button" class="pill copylink" data-what="quote" hidden>{}</button>'
            ).format(say("episode.copy_link"), say("episode.copy_quote")),
            Markup('<a class="pill" href="{}" rel="noopener">{}</a>').format(source, say("episode.source")) if source else "",
        )
    ]
    if episode.description:
        parts.append(
            Markup('<details><summary>{}</summary><p class="about" dir="auto">{}</p></details>').format(
                say("episode.about"), episode.description
            )
        )
    parts.append(_chapters(site, episode))
    if segments:
        parts.append(_take_away(episode))
        parts.append(
            Markup(
                '<div class="takeline"><div class="find" hidden></div></div><div class="heat" role="img" hidden></div>'
                '<p class="made">{} <span class="estimated" hidden>{}</span></p><div class="transcript">{}</div>'
            ).format(_made_by(head), say("episode.estimated"), _turns(episode, segments))
        )
    else:
        parts.append(Markup('<p class="made">{}</p>').format(say("episode.unread")))
    if episode.warning:
        parts.append(Markup('<p class="made">{}</p>').format(episode.warning))
    return Markup(
        '<article class="episode" data-id="{}" data-play="{}" data-kind="{}" data-title="{}" data-show="{}"'
        ' data-duration="{}">{}</article>'
    ).format(
        episode.id,
        url,
        media_kind(episode),
        episode.title,
        episode.show,
        seconds(episode.duration_s or 0.0),
        Markup("").join(parts),
    )


def _turns(episode: Episode, segments: Sequence[Segment]) -> Markup:
    """Return the transcript by speaker and paragraph, one element a sentence with its second and number.

    Escaped piece by piece: `Markup.format` would take a second for the 3,000 sentences of a long talk.
    """
    rows, number, speaker = [], 0, None
    for group in paragraphs(segments):
        sentences = []
        for segment in group:
            gap = " " if writes_spaces(segment.text[-1:]) else ""
            kind = "s suspect" if SUSPECT in segment.flags else "s"
            at = seconds(segment.start_s)
            sentences.append(f'<span class="{kind}" data-i="{number}" data-t="{at}">{html.escape(segment.text)}</span>{gap}')
            number += 1
        first = group[0]
        named = first.speaker and first.speaker != speaker
        who = f'<div class="who" dir="auto">{html.escape(first.speaker or "")}</div>' if named else ""
        speaker = first.speaker
        link = f'<a class="when" href="{page_path(episode.id, first.start_s)}" data-seek="{seconds(first.start_s)}">'
        rows.append(f'<div class="turn">{link}{clock(first.start_s)}</a>{who}<p dir="auto">{"".join(sentences)}</p></div>')
    return Markup("\n".join(rows))


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
    return Markup('<details class="chapters"{}><summary>{}</summary><ol>{}</ol></details>').format(
        Markup(" open") if len(chapters) <= CHAPTERS_OPEN else "", name, rows
    )


def _take_away(episode: Episode) -> Markup:
    kinds = {"srt": "SRT", "vtt": "VTT", "txt": "TXT", "json": "JSON", "md": "Markdown"}
    links = Markup("").join(
        Markup('<a href="/e/{}.{}" download>{}</a>').format(episode.id, suffix, name) for suffix, name in kinds.items()
    )
    zipped = Markup('<a href="/show/{}.zip" download>{}</a>').format(episode.show_id, say("episode.show_zip"))
    return Markup('<details><summary>{}</summary><div class="take">{}{}</div></details>').format(say("episode.take"), links, zipped)


def _made_by(head: TranscriptHead | None) -> str:
    return (
        say(f"episode.made_by.{head.source}", engine=" ".join(part for part in (head.engine, head.model.partition("@")[0]) if part))
        if head
        else ""
    )


def quote_at(segments: Sequence[Segment], at_s: float) -> str:
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
            "name": names.get(start) or quote_at(segments, start) or episode.title,
            "startOffset": round(start),
            "endOffset": round(starts[index + 1] if index + 1 < len(starts) else start + CLIP_S),
            "url": base + page_path(episode.id, start),
        }
        for index, start in enumerate(starts)
    ]
    return data

"""Pictures: covers of shows and episodes, and the card that a shared moment shows.

Comes in: ids. Goes out: image bytes. A picture that the pipeline fetched lies in the data folder under `pictures/`, named as
`store.pictures` says; where there is none, a cover is drawn from the title. Does not know: how a picture is fetched; a page of
ours never names a publisher's picture, so nobody's browser calls a publisher before play is pressed.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from markupsafe import Markup

from store.episodes import get_episode, get_show
from store.errors import EarmarkError, StoreError
from store.files import write_atomic
from store.pictures import FOLDER, picture_name, small_picture
from store.records import Episode
from store.transcripts import read_segments
from ui.answers import find_episode
from ui.article import quote_at
from ui.document import clock
from ui.site import Site, say

CARD_PX = (1200, 630)
CARDS_KEPT = 256
CARD_MARGIN_PX = 76
CARD_FOLD_PX = 120
QUOTE_SIZES_PX = (62, 54, 46, 40, 34)
QUOTE_LINES = 6
CARD_CHARACTERS = 260  # more never fits
PAPER, INK, SOFT, ACCENT = "#faf7f0", "#1d1a16", "#5f574b", "#d2401e"
FACES = {  # first that this machine has wins; the last resort is the face inside Pillow, which knows Latin letters
    "serif": ("DejaVuSerif.ttf", "LiberationSerif-Regular.ttf", "NotoSerif-Regular.ttf", "georgia.ttf", "Georgia.ttf"),
    "sans": ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial.ttf"),
    "wide": ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf"),
}
LATIN_END = 0x250


def add_pictures(app: FastAPI, site: Site) -> None:
    """Add /picture/{show or episode} and /card/{episode}.png."""

    @app.get("/picture/{thing_id}", include_in_schema=False)
    def picture(thing_id: str) -> Response:
        title, address = _named(site, thing_id)
        headers = {"cache-control": "public, max-age=86400"}
        body = kept_picture(site.settings.data_dir / FOLDER, address) if address else None
        if body is not None:
            return Response(body, media_type="image/webp", headers=headers)
        return Response(cover_svg(title), media_type="image/svg+xml", headers=headers)

    @app.get("/card.png", include_in_schema=False)
    def site_card() -> Response:
        settings = site.settings
        body = card_png(settings.tagline or settings.site_name, "", settings.site_name, "", "", site.accent or ACCENT)
        return Response(body, media_type="image/png", headers={"cache-control": "public, max-age=86400"})

    @app.get("/card/{episode_id}.png", include_in_schema=False)
    def card(request: Request, episode_id: str, t: float | None = None) -> Response:
        try:
            episode = find_episode(site, episode_id)
        except StoreError:
            raise HTTPException(404, say("episode.missing")) from None
        quote = ""
        if t is not None and t >= 0 and episode.transcript_id is not None:
            quote = quote_at(read_segments(site.database, episode.transcript_id), t)
        where = clock(t) if quote and t is not None else ""
        body = card_png(
            quote or episode.title,
            episode.title if quote else "",
            episode.show,
            where,
            site.settings.site_name,
            site.accent or ACCENT,
        )
        return Response(body, media_type="image/png", headers={"cache-control": "public, max-age=86400"})


def kept_picture(folder: Path, address: str) -> bytes | None:
    """Return a picture as WebP: one that was fetched, or a local file made small and kept; None where there is neither."""
    path = folder / picture_name(address)
    if path.is_file():
        return path.read_bytes()
    source = Path(address)
    if not source.is_absolute() or not source.is_file():
        return None
    try:
        small = small_picture(source)
    except EarmarkError:
        return None  # no picture after all: a cover is drawn
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, small)
    return small


def cover_svg(title: str) -> str:
    """Return a drawn cover: the title's first letters on a colour of its own, with the turned-down corner."""
    digest = hashlib.sha256(title.encode()).digest()
    hue, turn = digest[0] / 255, digest[1] % 4
    paper, ink, line = (_hex(hue, 0.42, 0.40), _hex(hue, 0.93, 0.55), _hex((hue + 0.06) % 1, 0.52, 0.42))
    words = [word for word in title.replace("#", " ").split() if word[:1].isalnum()]
    letters = "".join(word[0] for word in words[:2]).upper() or "•"
    rings = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="{}" fill="none" stroke="{}" stroke-width="9"/>').format(
            turn % 2 * 100, turn // 2 * 100, radius, line
        )
        for radius in (28, 54, 80, 106)
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" fill="{}"/>{}'
        '<text x="50" y="66" text-anchor="middle" font-family="Georgia,serif" font-size="44" fill="{}">{}</text></svg>'
    ).format(paper, rings, ink, letters)


@lru_cache(maxsize=CARDS_KEPT)
def card_png(text: str, title: str, show: str, where: str, site_name: str, accent: str) -> bytes:
    """Return the card of a moment (1200 x 630 PNG): quote, talk, show, time."""
    from PIL import Image, ImageDraw

    width, height = CARD_PX
    image = Image.new("RGB", CARD_PX, PAPER)
    draw = ImageDraw.Draw(image)
    draw.polygon([(width - CARD_FOLD_PX, 0), (width, CARD_FOLD_PX), (width, 0)], fill="#e2dac9")
    draw.polygon([(width - CARD_FOLD_PX, 0), (width, CARD_FOLD_PX), (width - CARD_FOLD_PX, CARD_FOLD_PX)], fill=accent)
    text = text[:CARD_CHARACTERS]
    shown = f"“{text}”" if title else text
    room = width - 2 * CARD_MARGIN_PX - 40
    for size in QUOTE_SIZES_PX:
        face = _face("serif", size, shown)
        lines = _wrapped(draw, shown, face, room)
        if len(lines) <= QUOTE_LINES and len(lines) * size * 1.3 < height - 240:
            break
    else:
        lines = [*lines[: QUOTE_LINES - 1], lines[QUOTE_LINES - 1] + " …"] if len(lines) > QUOTE_LINES else lines
    y = float(CARD_MARGIN_PX)
    for line in lines:
        draw.text((CARD_MARGIN_PX, y), line, font=face, fill=INK)
        y += size * 1.3
    foot = height - CARD_MARGIN_PX
    draw.rectangle((CARD_MARGIN_PX, foot - 108, CARD_MARGIN_PX + 64, foot - 102), fill=accent)
    first = " · ".join(part for part in (title, where) if part) or show
    _fitted(draw, (CARD_MARGIN_PX, foot - 84), first, 30, INK, room)
    _fitted(
        draw, (CARD_MARGIN_PX, foot - 38), " · ".join(part for part in (show if title else "", site_name) if part), 26, SOFT, room
    )
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _named(site: Site, thing_id: str) -> tuple[str, str]:
    """Return (title, picture address) of an episode or a show; an episode without a picture has its show's."""
    try:
        episode: Episode = get_episode(site.database, thing_id)
        show = get_show(site.database, episode.show_id)
        return show.title, episode.image_url or show.image_url
    except StoreError:
        pass  # then it is a show's id
    try:
        show = get_show(site.database, thing_id)
    except StoreError:
        raise HTTPException(404, say("error.no_picture")) from None
    return show.title, show.image_url


@lru_cache(maxsize=32)
def _font(face: str, size: int) -> Any:
    from PIL import ImageFont

    for name in FACES[face]:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue  # not on this machine
    return ImageFont.load_default(size)


def _face(face: str, size: int, text: str) -> Any:
    return _font("wide" if any(ord(char) >= LATIN_END and char not in "“”‘’–—…·" for char in text) else face, size)


def _wrapped(draw: Any, text: str, face: Any, room: float) -> list[str]:
    lines, line = [], ""
    pieces = text.split() if " " in text else list(text)
    gap = " " if " " in text else ""
    for piece in pieces:
        longer = f"{line}{gap}{piece}" if line else piece
        if line and draw.textlength(longer, font=face) > room:
            lines.append(line)
            line = piece
        else:
            line = longer
        while draw.textlength(line, font=face) > room and len(line) > 1:
            cut = max(1, int(len(line) * room / draw.textlength(line, font=face)) - 1)
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line] if line else lines


def _fitted(draw: Any, place: tuple[float, float], text: str, size: int, colour: str, room: float) -> None:
    face = _face("sans", size, text)
    text = " ".join(text.split())[:200]
    while text and draw.textlength(text, font=face) > room:
        text = text[:-2].rstrip("… ") + "…" if len(text) > 3 else ""
    draw.text(place, text, font=face, fill=colour)


def _hex(hue: float, light: float, strong: float) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in colorsys.hls_to_rgb(hue, light, strong))

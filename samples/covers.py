"""The covers of the two sample shows, drawn from circles and waves.

Comes in: a show's slug and title. Goes out: a square PNG. Does not know: what the show talks about.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

SIZE = 800  # pixels
OVERSAMPLE = 2  # drawn this much larger, then made smaller: smooth edges
COLOURS = 96

NIGHT, RAY, LAMP, PAPER = (17, 28, 51), (37, 58, 96), (255, 191, 92), (250, 243, 228)
DUSK, MOON = (38, 33, 66), (255, 226, 178)
WAVES = ((86, 84, 140), (58, 112, 146), (38, 133, 140), (24, 104, 118), (15, 72, 92))

Draw = Callable[[ImageDraw.ImageDraw, float], None]


def cover_png(slug: str, title: str) -> bytes:
    """Draw the cover of a show: SIZE x SIZE pixels, under 60 KB."""
    background, draw_picture = PICTURES[slug]
    side = SIZE * OVERSAMPLE
    image = Image.new("RGB", (side, side), background)
    pencil = ImageDraw.Draw(image)
    draw_picture(pencil, side)
    pencil.text((side * 0.08, side * 0.06), title, fill=PAPER, font=ImageFont.load_default(side * 0.105))
    small = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS).quantize(COLOURS, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def _lens(pencil: ImageDraw.ImageDraw, side: float) -> None:
    """A lighthouse lens seen from the sea: beams, then rings of glass around a lamp."""
    x, y = side * 0.5, side * 0.6
    for beam in range(12):
        middle, half = beam * 30 + 15, 6.5
        corners = [
            (x + 2 * side * math.cos(math.radians(a)), y + 2 * side * math.sin(math.radians(a)))
            for a in (middle - half, middle + half)
        ]
        pencil.polygon([(x, y), *corners], fill=RAY)
    rings = 8
    for ring in range(rings, 0, -1):
        radius = side * (0.05 + 0.30 * (ring / rings) ** 0.8)
        mix = 1 - ring / (rings + 1)
        glass = tuple(round(a + (b - a) * mix) for a, b in zip(RAY, LAMP, strict=True))
        pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=glass, outline=NIGHT, width=round(side * 0.007))
    radius = side * 0.05
    pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=PAPER)


def _tide(pencil: ImageDraw.ImageDraw, side: float) -> None:
    """A full moon over five rows of waves, the nearest the darkest, and its light on the water."""
    x, y, radius = side * 0.66, side * 0.42, side * 0.15
    pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=MOON)
    for row, colour in enumerate(WAVES):
        top, height, length = side * (0.53 + 0.095 * row), side * (0.012 + 0.006 * row), side * (0.24 + 0.09 * row)
        edge = [(px, top + height * math.sin(2 * math.pi * (px / length + row * 0.37))) for px in range(0, round(side) + 1, 4)]
        pencil.polygon([(0, side), *edge, (side, side)], fill=colour)
        for glint in range(3):
            width, gy = side * (0.10 - 0.014 * row) * (1 - 0.25 * glint), top + side * (0.035 + 0.02 * glint)
            gx = x + side * 0.012 * math.sin(row * 2.1 + glint * 1.7)
            pencil.rounded_rectangle((gx - width, gy, gx + width, gy + side * 0.006), side * 0.003, fill=MOON)


PICTURES: dict[str, tuple[tuple[int, int, int], Draw]] = {"well-made": (NIGHT, _lens), "slow-science": (DUSK, _tide)}

"""How pictures of shows and episodes are kept: small, as WebP, in the data folder, named by the address they came from.

Comes in: an address; an image's bytes. Goes out: a file name; a small image's bytes.
Does not know: how a picture is fetched (`pipeline.pictures`) or shown (`ui.pictures`), which share this place.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from store.errors import EarmarkError

FOLDER = "pictures"
PICTURE_PX = (320, 320)
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_PIXELS = 60_000_000  # of the original; more is refused before anything is decoded
QUALITY = 82


def picture_name(address: str) -> str:
    """Return the file name under which the picture of a web address is kept."""
    return hashlib.sha256(address.encode()).hexdigest()[:32] + ".webp"


def small_picture(image: bytes | Path) -> bytes:
    """Return an image (its bytes or its file) made small, as WebP. Raises `EarmarkError` where it is none that we read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=PICTURE_FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise EarmarkError(f"the picture is too large ({opened.width} x {opened.height})")
            opened.draft("RGB", PICTURE_PX)  # a JPEG is decoded no larger than needed
            small = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EarmarkError(f"this is no picture that can be read ({error})") from error
    small.thumbnail(PICTURE_PX)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=QUALITY)
    return out.getvalue()

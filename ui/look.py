"""How Gradio's widgets look on the admin page: the paper, ink and accent of the other pages.

Comes in: a site. Goes out: a Gradio theme and a few rules of style. Does not know: what is on the page.
The colours are those of `static/earmark.css`, light and dark.
"""

from __future__ import annotations

from typing import Any

from ui.site import Site

ACCENT = "#b0350f"  # Earmark's own, a little darker: white letters stand on it
CONTRAST_LEAST = 4.5  # of white letters on a brand's colour (WCAG AA), else Earmark's own is taken
PAPER, SHEET, RAISED, RULE = ("#faf7f0", "#16151a"), ("#fffdf8", "#1e1d23"), ("#f2ede1", "#29272f"), ("#e2dac9", "#37343e")
INK, SOFT, ACCENT_TEXT = ("#1d1a16", "#f1ece2"), ("#5f574b", "#b3aa9c"), ("#9a3412", "#fdba74")
PAIRS = {  # Gradio's names; each has a `_dark` twin
    "body_background_fill": PAPER,
    "background_fill_primary": SHEET,
    "background_fill_secondary": RAISED,
    "block_background_fill": SHEET,
    "input_background_fill": PAPER,
    "block_border_color": RULE,
    "border_color_primary": RULE,
    "input_border_color": RULE,
    "body_text_color": INK,
    "block_title_text_color": SOFT,
    "block_label_text_color": SOFT,
    "table_even_background_fill": SHEET,
    "table_odd_background_fill": PAPER,
    "button_secondary_background_fill": RAISED,
    "button_secondary_text_color": INK,
    "checkbox_label_background_fill": PAPER,
}
SERIF = '"Iowan Old Style","Palatino Linotype",Palatino,"Noto Serif",Charter,Georgia,"Liberation Serif",serif'
STYLE = (
    f".gradio-container h1{{font:600 1.7rem/1.2 {SERIF}}}"
    f"button.selected{{color:{ACCENT_TEXT[0]}}} .dark button.selected{{color:{ACCENT_TEXT[1]}!important}}"
    f".gradio-container .prose a{{color:{ACCENT_TEXT[0]}}} .dark .prose a{{color:{ACCENT_TEXT[1]}!important}}"
    ".gradio-container .table-wrap *{font-family:system-ui,sans-serif!important}"
    "@media (max-width:30rem){.tab-container button{padding-inline:.5rem!important}}"  # all four tabs fit on a phone
)


def admin_theme(site: Site) -> Any:
    """Return the theme of the admin page."""
    import gradio as gr

    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["monospace"]}  # Gradio's default faces come from a foreign host
    accent = site.accent if site.accent and contrast_with_white(site.accent) >= CONTRAST_LEAST else ACCENT
    names = ("color_accent", "button_primary_background_fill", "button_primary_background_fill_dark")
    colours = dict.fromkeys(names, accent)
    for name, (light, dark) in PAIRS.items():
        colours |= {name: light, f"{name}_dark": dark}
    return gr.themes.Default(primary_hue="orange", neutral_hue="stone", **fonts).set(**colours)


def contrast_with_white(colour: str) -> float:
    """Return the contrast (1 to 21, WCAG) of white on `#rgb` or `#rrggbb`."""
    digits = colour.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)

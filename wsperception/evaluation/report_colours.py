"""Colours of the report: one per track id, the same in timelines and pictures."""

import colorsys

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
RED, AMBER, INK, PALE = (214, 39, 40), (255, 176, 0), (34, 40, 49), (222, 226, 230)
"""Wrong (missed or false), id switch, text, and not found."""
SERIES = ("#0072b2", "#e69f00", "#009e73")
"""Three measures side by side; distinct for colour-blind readers (Okabe and Ito)."""
GOLDEN = 0.61803398875


def track_colour(track_id: int) -> Colour:
    """Colour of a track. Neighbouring ids get distant hues; reds are left out, because red marks errors."""
    hue = 0.09 + 0.80 * ((track_id * GOLDEN) % 1.0)
    red, green, blue = colorsys.hls_to_rgb(hue, (0.50, 0.62, 0.40)[track_id % 3], 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def hex_colour(colour: Colour) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)

"""Masks, ids, class names and boxes drawn on a frame, for people."""

import colorsys
from functools import lru_cache

import cv2
import numpy as np

from wsperception.types import LabelSpace, SegmentMap

_MASK_WEIGHT = 0.45
_STUFF_WEIGHT = 0.35
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STACKED_PLATES = 7
_GOLDEN_RATIO = 0.6180339887
_UNTRACKED_GREY = (170, 170, 170)

Rectangle = tuple[int, int, int, int]
"""x0 y0 x1 y1 in pixels, x1 y1 exclusive."""


def draw_overlay(image: np.ndarray, segments: SegmentMap, labels: LabelSpace, caption: str = "") -> np.ndarray:
    """A copy of the image with its segments: tinted masks with contours, boxes, and plates with class name and id.

    image     (H, W, 3) uint8 RGB
    segments  of the same H and W
    caption   written into the lower left corner; empty: nothing

    A track keeps its colour for all its life, and in every run; things without a track are grey. Stuff is tinted
    faintly by class, without contour, box or plate: its names stand in the upper left corner. No segments give the
    picture as it is.
    """
    assert image.shape[:2] == segments.ids.shape
    colours = segment_colours(segments, labels)
    drawn = image.copy()
    rows = range(1, len(segments.class_ids))
    things = [row for row in rows if labels.is_thing[segments.class_ids[row]]]
    stuff = [row for row in rows if not labels.is_thing[segments.class_ids[row]]]
    _tint(drawn, segments.ids, colours, things)
    if stuff:
        _tint_stuff(drawn, segments.ids, colours, stuff)
    # The nearest objects, which are the largest, are drawn last and lie on top.
    heights = segments.boxes[:, 3] - segments.boxes[:, 1]
    things.sort(key=lambda row: float(heights[row]))
    taken: list[Rectangle] = []
    for line, row in enumerate(stuff):
        _draw_legend(drawn, labels.names[segments.class_ids[row]], line, colours[row], taken)
    thickness = max(1, image.shape[0] // 540)
    for row in things:
        x0, y0, x1, y1 = _whole_box(segments.boxes[row])
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), _channels(colours[row]), thickness)
    for row in reversed(things):
        _draw_plate(drawn, _plate_text(segments, row, labels), _whole_box(segments.boxes[row]), colours[row], taken)
    if caption:
        corner = (0, image.shape[0], 0, image.shape[0])
        _draw_plate(drawn, caption, corner, np.array((30, 30, 30), np.uint8), taken)
    return drawn


def segment_colours(segments: SegmentMap, labels: LabelSpace) -> np.ndarray:
    """(R, 3) uint8 RGB colour of every row; black for the void."""
    colours = np.zeros((len(segments.class_ids), 3), np.uint8)
    for row in range(1, len(colours)):
        track_id, class_id = int(segments.track_ids[row]), int(segments.class_ids[row])
        if track_id > 0:
            colours[row] = track_colour(track_id)
        else:
            colours[row] = _UNTRACKED_GREY if labels.is_thing[class_id] else _stuff_colour(class_id)
    return colours


@lru_cache(maxsize=4096)
def track_colour(track_id: int) -> tuple[int, int, int]:
    """RGB of a track: hues at golden-ratio steps, so that ids that follow each other look different."""
    hue = (track_id * _GOLDEN_RATIO) % 1.0
    saturation = (0.95, 0.65, 0.8)[track_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _stuff_colour(class_id: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((0.58 + class_id * _GOLDEN_RATIO) % 1.0, 0.65, 0.7)
    return round(red * 255), round(green * 255), round(blue * 255)


def _tint(drawn: np.ndarray, ids: np.ndarray, colours: np.ndarray, rows: list[int]) -> None:
    """Blends the colours into the pixels of things, and draws their contours, in `drawn` itself."""
    paint = np.take(colours, ids, axis=0)  # (H, W, 3)
    tinted = cv2.addWeighted(drawn, 1.0 - _MASK_WEIGHT, paint, _MASK_WEIGHT, 0.0)
    shown = _is_one_of(ids, rows, len(colours))
    cv2.copyTo(tinted, shown.view(np.uint8), drawn)
    cv2.copyTo(paint, (_is_edge(ids) & shown).view(np.uint8), drawn)


def _tint_stuff(drawn: np.ndarray, ids: np.ndarray, colours: np.ndarray, rows: list[int]) -> None:
    """Blends some of the colours into the pixels of stuff, in `drawn` itself."""
    tinted = cv2.addWeighted(drawn, 1.0 - _STUFF_WEIGHT, np.take(colours, ids, axis=0), _STUFF_WEIGHT, 0.0)
    cv2.copyTo(tinted, _is_one_of(ids, rows, len(colours)).view(np.uint8), drawn)


def _is_one_of(ids: np.ndarray, rows: list[int], count: int) -> np.ndarray:
    """(H, W) bool: pixels of the rows, of `count` in all."""
    wanted = np.zeros(count, bool)
    wanted[rows] = True
    return np.take(wanted, ids)


def _is_edge(ids: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of a segment beside another row."""
    edge = np.zeros(ids.shape, bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge & (ids > 0)


def _plate_text(segments: SegmentMap, row: int, labels: LabelSpace) -> str:
    name, track_id = labels.names[segments.class_ids[row]], segments.track_ids[row]
    return f"{name} {track_id}" if track_id > 0 else name


def _draw_legend(drawn: np.ndarray, name: str, line: int, colour: np.ndarray, taken: list[Rectangle]) -> None:
    """The name of a class on line `line` of the upper left corner, as long as there is room, in `drawn` itself."""
    (_, height), below = cv2.getTextSize(name, _FONT, _text_scale(drawn), 1)
    bottom = (line + 1) * (height + below + 2)
    if bottom <= drawn.shape[0]:
        _draw_plate(drawn, name, (0, bottom, 0, bottom), colour, taken)


def _draw_plate(drawn: np.ndarray, text: str, box: Rectangle, colour: np.ndarray, taken: list[Rectangle]) -> None:
    """Text on a plate at the box, in `drawn` itself; `taken` holds the plates so far and gets this one."""
    height, width = drawn.shape[:2]
    scale = _text_scale(drawn)
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, scale, 1)
    plate_width, plate_height = text_width + 4, text_height + below + 2
    x0, y0 = _free_place(box, (plate_width, plate_height), (width, height), taken)
    taken.append((x0, y0, x0 + plate_width, y0 + plate_height))
    if not y0 <= box[1] <= y0 + plate_height:
        cv2.line(drawn, (box[0], box[1]), (max(x0, box[0]), y0 + plate_height // 2), _channels(colour), 1)
    cv2.rectangle(drawn, (x0, y0), (x0 + plate_width - 1, y0 + plate_height - 1), _channels(colour), cv2.FILLED)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(drawn, text, (x0 + 2, y0 + text_height + 1), _FONT, scale, ink, 1, cv2.LINE_AA)


def _text_scale(drawn: np.ndarray) -> float:
    return min(max(float(drawn.shape[0]) / 900.0, 0.38), 1.2)


def _free_place(
    box: Rectangle, size: tuple[int, int], image: tuple[int, int], taken: list[Rectangle]
) -> tuple[int, int]:
    """Upper left corner of a plate of `size` inside the image, off the other plates where that is possible.

    It stands on the box, at its left or right edge; or hangs below it; or, in a crowd, stands higher and higher.
    """
    (plate_width, plate_height), (width, height) = size, image
    left, right, above = box[0], box[2] - plate_width, box[1] - plate_height
    choices = [(left, above), (right, above), (left, box[3])]
    choices += [(x, above - step * (plate_height + 1)) for step in range(1, _STACKED_PLATES) for x in (left, right)]
    corners = [
        (min(max(x, 0), max(width - plate_width, 0)), min(max(y, 0), max(height - plate_height, 0))) for x, y in choices
    ]
    for x, y in corners:
        if not any(_overlap((x, y, x + plate_width, y + plate_height), other) for other in taken):
            return x, y
    return corners[0]


def _overlap(first: Rectangle, second: Rectangle) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _whole_box(box: np.ndarray) -> Rectangle:
    x0, y0, x1, y1 = (round(float(edge)) for edge in box)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _channels(colour: np.ndarray) -> tuple[int, int, int]:
    return int(colour[0]), int(colour[1]), int(colour[2])

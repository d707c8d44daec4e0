"""A page of pictures to look at: images, their boxes, and what was made of them round by round."""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from wsperception.learn.panoptic.cleaning import IGNORE
from wsperception.learn.panoptic.labels import PseudoPanoptic
from wsperception.overlay import draw_overlay, track_colour
from wsperception.types import VOID, LabelSpace, SegmentMap

WIDTH = 640
"""Wider pictures are brought to this many pixels."""
IGNORED = 0.25
"""Brightness of ignored pixels."""
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222831;background:#fff;margin:2rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.row{display:flex;flex-wrap:wrap;gap:.6rem}
figure{margin:0}figcaption{font-size:13px;color:#66707a}
"""


@dataclass(frozen=True, eq=False)
class LabelledRounds:
    """One image of the page.

    name     what to call it
    image    (H, W, 3) uint8 RGB
    boxes    (N, 4) float32
    rounds   labels of round 0, 1, ... of that size
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    rounds: Sequence[PseudoPanoptic]


def write_page(path: Path, entries: Sequence[LabelledRounds], space: LabelSpace) -> None:
    """One HTML file that needs nothing beside it, whole or not at all.

    Ignored pixels are dark; every box and its instance have a colour, stuff has one for each class.
    """
    sections = "".join(_section(entry, space) for entry in entries) or "<p>No images.</p>"
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Panoptic labels</title><style>{STYLE}</style></head>\n<body><h1>Panoptic labels, round by round</h1>\n"
        f"{sections}</body></html>\n"
    )
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def labelled_segments(labels: PseudoPanoptic, space: LabelSpace) -> SegmentMap:
    """The labels as segments: instance r of a thing is track r; the SHARED pixels of a thing class are one row."""
    things = np.append(np.asarray(space.is_thing, bool), np.zeros(256 - len(space), bool))[labels.labels]
    known = labels.labels < len(space)
    numbers = np.where(things & (labels.instances > 0), labels.instances, 0).astype(np.int64)
    found, rows = np.unique((numbers * 256 + labels.labels)[known], return_inverse=True)
    stuff = ~np.asarray(space.is_thing, bool)[found % 256]
    order = np.lexsort((found, stuff))  # things come first
    place = np.empty(len(found), np.uint16)
    place[order] = np.arange(1, len(found) + 1)
    ids = np.zeros(labels.labels.shape, np.uint16)
    ids[known] = place[rows.ravel()]
    return SegmentMap(
        ids,
        np.append(VOID, found[order] % 256).astype(np.int32),
        np.append(0, np.ones(len(found))).astype(np.float32),
        np.append(0, found[order] // 256).astype(np.int32),
        np.zeros((len(found) + 1, 4), np.float32),
    )


def _section(entry: LabelledRounds, space: LabelSpace) -> str:
    boxed = entry.image.copy()
    thickness = max(1, entry.image.shape[1] // 600)
    for row, box in enumerate(entry.boxes.round().astype(int).tolist(), start=1):
        cv2.rectangle(boxed, (box[0], box[1]), (box[2] - 1, box[3] - 1), track_colour(row), thickness)
    figures = [_figure(f"{entry.name}: {len(entry.boxes)} boxes", boxed)]
    for number, labels in enumerate(entry.rounds):
        ignored = labels.labels >= len(space)
        picture = draw_overlay(entry.image, labelled_segments(labels, space), space)
        picture[ignored] = (picture[ignored] * IGNORED).astype(np.uint8)
        share = float((labels.labels == IGNORE).mean())
        figures.append(_figure(f"round {number}: {100 * share:.0f} % ignored", picture))
    return f'<h2>{escape(entry.name)}</h2><div class="row">{"".join(figures)}</div>\n'


def _figure(caption: str, picture: np.ndarray) -> str:
    height, width = picture.shape[:2]
    if width > WIDTH:
        picture = cv2.resize(picture, (WIDTH, round(height * WIDTH / width)), interpolation=cv2.INTER_AREA)
    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert ok
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'

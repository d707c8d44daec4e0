"""A short sequence to label: a textured square that moves over a textured ground."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.label_file import BoxLabel, FrameLabels, LabelFile, PointLabel, write_label_file
from wsperception.types import LabelSpace

SIZE = (120, 200)
"""(H, W) of the images."""
SHIFT = (9, 4)
"""x y that the square moves from frame to frame."""
SQUARE = (40, 30, 90, 70)
"""x0 y0 x1 y1 of the square in frame 0."""
LABELS = LabelSpace(("car", "pedestrian"), (True, True))


def picture(step: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB of frame `step`."""
    random = np.random.default_rng(7)
    ground = cv2.GaussianBlur(random.integers(0, 120, (*SIZE, 3), np.uint8), (0, 0), 2)
    x0, y0, x1, y1 = SQUARE
    square = cv2.GaussianBlur(random.integers(60, 255, (y1 - y0, x1 - x0, 3), np.uint8), (0, 0), 1.5)
    x, y = x0 + step * SHIFT[0], y0 + step * SHIFT[1]
    ground[y : y + y1 - y0, x : x + x1 - x0] = square
    return ground


@pytest.fixture
def street(tmp_path) -> Path:
    """A folder of five images, street_0.png to street_4.png."""
    folder = tmp_path / "street"
    folder.mkdir()
    for step in range(5):
        cv2.imwrite(str(folder / f"street_{step}.png"), cv2.cvtColor(picture(step), cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def labelled() -> LabelFile:
    """Three frames: one with everything, one annotated as empty, one not annotated."""
    frames = (
        FrameLabels(
            0,
            "images/000000.png",
            0,
            tags=("pedestrian",),
            boxes=(
                BoxLabel("car", 3, (10.0, 20.25, 60.5, 80.0)),
                BoxLabel("pedestrian", 3, (0.0, 0.0, 20.0, 50.0)),
                BoxLabel("car", None, (100.0, 10.0, 200.0, 120.0)),
            ),
            points=(PointLabel("car", 3, (30.5, 40.0)), PointLabel("pedestrian", None, (199.99, 119.99))),
            ignore=((150.0, 0.0, 200.0, 15.5),),
            seconds={"boxes": 12.5, "points": 1.0},
            revision=4,
        ),
        FrameLabels(5, "images/000005.png", 500, tags=(), boxes=(), points=(), ignore=()),
        FrameLabels(10, "images/000010.png", 1000),
    )
    return LabelFile("0007", "/data/0007", 5, SIZE, LABELS, frames)


@pytest.fixture
def folder(tmp_path, labelled) -> Path:
    """A folder with images for the first two frames of `labelled`, not labelled yet, as frames 0 and 5."""
    place = tmp_path / "labels"
    (place / "images").mkdir(parents=True)
    for step, frame in enumerate(labelled.frames[:2]):
        cv2.imwrite(str(place / frame.image), cv2.cvtColor(picture(step), cv2.COLOR_RGB2BGR))
    bare = tuple(FrameLabels(frame.number, frame.image, frame.stamp_ns) for frame in labelled.frames[:2])
    write_label_file(place, dataclasses.replace(labelled, frames=bare))
    return place

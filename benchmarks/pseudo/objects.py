"""True objects of a few frames, evenly over a data set, and their groups by class and height."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsperception import rle
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
HEIGHTS = (0, 25, 50, 100, 10000)
"""Borders of the groups, in pixels."""


def even_frames(root: Path, count: int) -> list[LabelledFrame]:
    """`count` frames with objects, in even steps over all sequences."""
    frames = [frame for frame in read_labelled_frames((root,), "all", LABELS, "full") if len(frame.boxes)]
    return [frames[round(place)] for place in np.linspace(0, len(frames) - 1, min(count, len(frames)))]


def true_masks(frame: LabelledFrame) -> Iterator[np.ndarray]:
    """(H, W) bool of each object."""
    assert frame.masks is not None
    for counts in frame.masks.objects:
        yield rle.decode(counts, frame.masks.size)


def group(class_ids: np.ndarray, heights: np.ndarray, borders: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and (N,) bool of every group that is not empty: class by class, each by height and then whole."""
    for class_id, name in enumerate(LABELS.names):
        of_class = class_ids == class_id
        for low, high in itertools.pairwise(borders):
            chosen = of_class & (heights >= low) & (heights < high)
            if chosen.any():
                yield f"{name}, {low} px and more", chosen
        if of_class.any():
            yield f"{name}, all", of_class

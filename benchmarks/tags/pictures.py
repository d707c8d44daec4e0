"""What a row finds in some scenes, to look at: scenes above, true masks in the middle, found ones below."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tags.community import INFERENCE, Sample
from benchmarks.tags.scenes import CLASSES, THINGS, Scene
from wsperception.evaluation.panoptic_pictures import class_colour
from wsperception.learn.methods.community import Community
from wsperception.learn.tags.community_inference import find_instances
from wsperception.types import SegmentMap

SHOWN = 0.3
"""Score from which on a mask is drawn."""


def draw(method: Community, samples: Sequence[Sample], path: Path) -> None:
    """Writes a picture with a column for each sample; a colour for each class."""
    columns = []
    for sample in samples:
        found = find_instances(method.net, sample.tagged, INFERENCE)
        rows = np.flatnonzero(found.scores >= SHOWN)[::-1]  # the best on top
        scene = sample.scene
        column = [scene.image, _painted(scene.image, scene.masks, scene.class_ids)]
        columns.append(np.concatenate([*column, _painted(scene.image, found.masks[rows], found.class_ids[rows])]))
    _write(columns, path)


def draw_segments(scenes: Sequence[Scene], found: Sequence[SegmentMap], path: Path) -> None:
    """The same of what was found of things and stuff; nothing is painted where nothing was found."""
    columns = []
    for scene, segments in zip(scenes, found, strict=True):
        stuff = np.arange(len(THINGS), len(CLASSES))
        masks = np.concatenate([scene.masks, scene.semantic == stuff[:, None, None]])
        rows = np.arange(1, len(segments.class_ids))
        truth = _painted(scene.image, masks, np.concatenate([scene.class_ids, stuff]))
        seen = _painted(scene.image, segments.ids == rows[:, None, None], segments.class_ids[rows])
        columns.append(np.concatenate([scene.image, truth, seen]))
    _write(columns, path)


def _write(columns: list[np.ndarray], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(columns, axis=1)[..., ::-1])


def _painted(image: np.ndarray, masks: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """The image with masks (N, H, W) bool half in the colours of their classes (N,), outlined."""
    canvas = image.copy()
    for mask, class_id in zip(masks, class_ids.tolist(), strict=True):
        colour = class_colour(class_id)
        canvas[mask] = 0.5 * canvas[mask] + 0.5 * np.array(colour)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, colour, 1)
    return canvas

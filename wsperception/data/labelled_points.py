"""One point per object: from a file of clicks, from the middle of masks, or from the centres of boxes."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from wsperception import rle
from wsperception.data.box_labels import BoxLabels
from wsperception.data.label_file import read_label_file
from wsperception.data.label_frames import weak_labels
from wsperception.errors import InputError
from wsperception.types import LabelSpace, WeakLabels


def clicked_points(folder: Path, labels: LabelSpace) -> tuple[str, dict[int, Path], dict[int, WeakLabels]]:
    """Name of the sequence, images and points by frame number of a folder written by `wsperception label`.

    Frames whose points were not annotated are left out; InputError where that is all of them, or for a class that is
    not in `labels`.
    """
    file = read_label_file(folder)
    clicked = [frame for frame in file.frames if frame.points is not None]
    if not clicked:
        raise InputError(f"{folder}: no frame has its points annotated")
    images = {frame.number: folder / frame.image for frame in clicked}
    found = {frame.number: weak_labels(frame, labels) for frame in clicked}
    points = {
        number: WeakLabels(points=all_.points, point_classes=all_.point_classes, ignore_boxes=all_.ignore_boxes)
        for number, all_ in found.items()
    }
    return file.sequence, images, points


def points_of_boxes(found: BoxLabels) -> WeakLabels:
    """The centres of boxes, as WISE does on KITTI (section 4.5)."""
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    return WeakLabels(points=centres.astype(np.float32), point_classes=found.class_ids, ignore_boxes=found.ignore_boxes)


def points_of_masks(objects: Sequence[bytes], size: tuple[int, int], found: BoxLabels) -> WeakLabels:
    """The middle of every mask: its pixel farthest from its border, as WISE does on COCO and Cityscapes (section 4.4).

    objects  run lengths of the masks of a frame of `size` (H, W)
    found    boxes and classes of the same objects, in the same order, and the frame's ignore boxes
    """
    assert len(objects) == len(found.boxes)
    points = [mask_middle(rle.decode(counts, size)) for counts in objects]
    return WeakLabels(
        points=np.array(points, np.float32).reshape(-1, 2),
        point_classes=found.class_ids,
        ignore_boxes=found.ignore_boxes,
    )


def mask_middle(mask: np.ndarray) -> tuple[float, float]:
    """x y of the centre of the pixel of a mask (H, W) bool that is farthest from what is not mask, nor image.

    Among equals the first, row by row. The mask has at least one pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    distance = cv2.distanceTransform(np.pad(part, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(left + column) + 0.5, float(top + row) + 0.5

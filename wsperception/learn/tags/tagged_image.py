"""An image of which only its classes are known, and its proposals."""

import logging
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from torch import Tensor

from wsperception.data.clips import ClipFrame
from wsperception.data.segments import OUTSIDE, Segments
from wsperception.errors import InputError
from wsperception.geometry import scale_boxes, tight_boxes
from wsperception.settings import check, setting

logger = logging.getLogger(__name__)

Boxes = TypeVar("Boxes", np.ndarray, Tensor)


@dataclass(frozen=True)
class ProposalChoice:
    """Which proposals a detector looks at."""

    limit: int = setting(2000, "proposals of an image, the likeliest", low=1, high=10000)
    min_side: float = setting(20.0, "boxes with a shorter side are left out", unit="px", low=1.0, high=1000.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class TaggedImage:
    """One training or test image.

    image   (H, W, 3) uint8   RGB
    tags    (C,) bool         which classes are in it; all False where that is not known
    boxes   (P, 4) float32    proposals, x0 y0 x1 y1, each once
    source  for messages
    """

    image: np.ndarray
    tags: np.ndarray
    boxes: np.ndarray
    source: str

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise InputError(f"{self.source}: expected (H, W, 3) uint8, got {self.image.dtype} {self.image.shape}")
        if self.tags.ndim != 1 or self.tags.dtype != np.bool_:
            raise InputError(f"{self.source}: expected tags (C,) bool, got {self.tags.dtype} {self.tags.shape}")
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise InputError(f"{self.source}: expected boxes (P, 4), got {self.boxes.shape}")


def tag_vector(class_ids: list[int], class_count: int, source: str) -> np.ndarray:
    """Tags (C,) bool of a list of classes; InputError for one outside of [0, C)."""
    tags = np.zeros(class_count, bool)
    for class_id in class_ids:
        if not 0 <= class_id < class_count:
            raise InputError(f"{source}: expected tags in 0 to {class_count - 1}, got {class_id}")
        tags[class_id] = True
    return tags


def chosen_boxes(boxes: np.ndarray, choice: ProposalChoice) -> np.ndarray:
    """Rows (P,) int64 of the boxes to look at, of proposals with the likeliest first; of equal boxes the likeliest.

    Different segments often have one box, which a detector of boxes would see more than once.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    rows = np.flatnonzero((sides >= choice.min_side).all(axis=1))
    _, first = np.unique(boxes[rows], axis=0, return_index=True)
    chosen: np.ndarray = rows[np.sort(first)][: choice.limit]
    return chosen


def tagged_frame(frame: ClipFrame, choice: ProposalChoice) -> TaggedImage:
    """A training frame, of which tags and segments are read. Raises InputError where it has none of either."""
    if frame.segments is None:
        raise InputError(f"{frame.source}: expected segment proposals, got none")
    boxes = segment_boxes(frame.segments)
    return TaggedImage(frame.image, frame_tags(frame), boxes[chosen_boxes(boxes, choice)], frame.source)


def check_classes(class_count: int) -> None:
    """InputError for a single class: scores are shares among the classes, so that it would be in every image."""
    if class_count < 2:
        raise InputError(f"data.classes: expected two or more to learn from tags, got {class_count}")


def teaches(image: TaggedImage, idle: set[str]) -> bool:
    """Whether anything can be learnt from the image; one without tags or proposals is named once.

    idle  sources of the images that were named; this one joins them
    """
    if image.tags.any() and len(image.boxes):
        return True
    if image.source not in idle:
        idle.add(image.source)
        missing = "proposals" if image.tags.any() else "tags"
        logger.warning("%s: no %s, so that nothing is learnt from it; %d such images", image.source, missing, len(idle))
    return False


def frame_tags(frame: ClipFrame) -> np.ndarray:
    """Tags (C,) bool of a training frame; InputError where nobody gave any."""
    if frame.weak is None or frame.weak.tags is None:
        raise InputError(f"{frame.source}: expected tags, got none")
    return frame.weak.tags


def segment_boxes(segments: Segments) -> np.ndarray:
    """Tight boxes (P, 4) float32 of segments in what is left of their superpixels; zeros for those without a pixel."""
    count = len(segments.membership)
    labels = np.where(segments.superpixels == OUTSIDE, 0, segments.superpixels.astype(np.int64) + 1)
    parts = tight_boxes(labels, count + 1)[1:, None]  # (S, 1, 4)
    seen = np.bincount(labels.ravel(), minlength=count + 1)[1:] > 0
    members = (segments.membership & seen[:, None])[..., None]  # (S, P, 1)
    low = np.where(members, parts[..., :2], np.inf).min(axis=0, initial=np.inf)
    high = np.where(members, parts[..., 2:], 0.0).max(axis=0, initial=0.0)
    return np.concatenate([np.where(np.isinf(low), 0.0, low), high], axis=1).astype(np.float32)


def resized(sample: TaggedImage, short_side: int, flip: bool) -> TaggedImage:
    """The image with its shorter side brought to `short_side` pixels, and mirrored left to right if `flip`."""
    height, width = sample.image.shape[:2]
    scale = short_side / min(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = cv2.resize(sample.image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    boxes = scale_boxes(sample.boxes, size[1] / width, size[0] / height)
    if flip:
        image, boxes = np.ascontiguousarray(image[:, ::-1]), mirrored(boxes, size[1])
    return TaggedImage(image, sample.tags, boxes, sample.source)


def mirrored(boxes: Boxes, width: float) -> Boxes:
    """Boxes (N, 4) of an image of this width, an array or a tensor, left and right exchanged."""
    turned = boxes[:, [2, 1, 0, 3]]  # a copy
    turned[:, ::2] = width - turned[:, ::2]
    return turned

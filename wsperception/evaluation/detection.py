"""Scores of boxes: average precision in VOC's convention, and CorLoc."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from wsperception.errors import InputError
from wsperception.evaluation.average_precision import ScoredOverlaps, average_precision
from wsperception.evaluation.instance import ImageInstances, InstanceScores
from wsperception.geometry import box_iou, tight_boxes


@dataclass(frozen=True, eq=False)
class ImageBoxes:
    """What was detected in one image, and what is there.

    boxes         (P, 4) float   x0 y0 x1 y1, in pixels
    scores        (P,) float     higher is surer
    class_ids     (P,) int       in [0, C)
    true_boxes    (G, 4) float
    true_classes  (G,) int       in [0, C)
    ignored       (G,) bool      VOC's difficult objects, which count neither for nor against
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    true_boxes: np.ndarray
    true_classes: np.ndarray
    ignored: np.ndarray

    def __post_init__(self) -> None:
        for name, boxes in (("boxes", self.boxes), ("true_boxes", self.true_boxes)):
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise InputError(f"ImageBoxes.{name}: expected (N, 4), got {boxes.shape}")
        for name, count in (
            ("scores", len(self.boxes)),
            ("class_ids", len(self.boxes)),
            ("true_classes", len(self.true_boxes)),
            ("ignored", len(self.true_boxes)),
        ):
            if getattr(self, name).shape != (count,):
                raise InputError(f"ImageBoxes.{name}: expected shape ({count},), got {getattr(self, name).shape}")
        if np.isnan(self.scores).any():
            raise InputError("ImageBoxes.scores: expected numbers, got NaN")


def boxes_of_masks(image: ImageInstances) -> ImageBoxes:
    """The boxes around masks, found and true; a mask without a pixel has one without area."""
    found, true = (
        np.array([tight_boxes(mask.astype(np.uint16), 2)[1] for mask in masks], np.float32).reshape(-1, 4)
        for masks in (image.masks, image.true_masks)
    )
    return ImageBoxes(found, image.scores, image.class_ids, true, image.true_classes, image.ignored)


@dataclass(frozen=True, eq=False)
class CorLoc:
    """How often the best box of a class that is known to be in an image is on an object (Deselaers et al., IJCV 2012).

    by_class  (C,) float64, fractions; NaN for a class that is in no image
    """

    by_class: np.ndarray

    @property
    def mean(self) -> float:
        """Over the classes that are in some image; NaN where there is none."""
        defined = self.by_class[~np.isnan(self.by_class)]
        return float(defined.mean()) if len(defined) else np.nan


def box_scores(images: Iterable[ImageBoxes], class_count: int, thresholds: Sequence[float] = (0.5,)) -> InstanceScores:
    """Average precision of boxes (T, C) as the VOC devkit has it since 2010: the area under the precision made
    monotone; see `average_precision`. Boxes are real intervals: VOC's own code counts pixels and adds 1 to each side.
    """
    found = [
        ScoredOverlaps(
            box_iou(image.boxes, image.true_boxes), image.scores, image.class_ids, image.true_classes, image.ignored
        )
        for image in images
    ]
    by_class = [
        [average_precision(found, number, threshold) for number in range(class_count)] for threshold in thresholds
    ]
    return InstanceScores("VOC", np.array(thresholds, np.float64), np.array(by_class).reshape(-1, class_count))


def correct_localisation(images: Iterable[ImageBoxes], class_count: int, threshold: float = 0.5) -> CorLoc:
    """Per class, the share of the images with an object of it in which the highest of its boxes reaches an IoU of
    `threshold` with one of them. An image without a box of the class is a miss; ignored objects are not there. Of equal
    scores the first counts. By convention it is measured on the training images.
    """
    hits: list[list[bool]] = [[] for _ in range(class_count)]
    for image in images:
        overlaps = box_iou(image.boxes, image.true_boxes)  # (P, G)
        for class_id in np.unique(image.true_classes[~image.ignored]).tolist():
            objects = (image.true_classes == class_id) & ~image.ignored
            rows = np.flatnonzero(image.class_ids == class_id)
            best = rows[image.scores[rows].argmax()] if len(rows) else None
            hits[class_id].append(best is not None and bool((overlaps[best][objects] >= threshold).any()))
    return CorLoc(np.array([np.mean(part) if part else np.nan for part in hits], np.float64))

"""Scores of instance masks: average precision in the conventions of VOC and of COCO, and coverage.

The two conventions differ by a few tenths, so every table must name its own (`InstanceScores.convention`).
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsperception import rle
from wsperception.errors import InputError
from wsperception.evaluation.average_precision import ScoredOverlaps, average_precision

THRESHOLDS = (0.25, 0.5, 0.75)
"""IoU of AP25, AP50 and AP75, the columns of WISE's and other weakly supervised tables."""
COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""IoU over which COCO's AP is a mean."""


@dataclass(frozen=True, eq=False)
class ImageInstances:
    """What was predicted in one image, and what is there.

    masks         (P, H, W) bool    predicted; may overlap
    scores        (P,) float        higher is surer
    class_ids     (P,) int          in [0, C)
    true_masks    (G, H, W) bool
    true_classes  (G,) int          in [0, C)
    ignored       (G,) bool         objects that count neither for nor against: VOC's difficult ones, COCO's crowds
    """

    masks: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    true_masks: np.ndarray
    true_classes: np.ndarray
    ignored: np.ndarray

    def __post_init__(self) -> None:
        for name, masks in (("masks", self.masks), ("true_masks", self.true_masks)):
            if masks.ndim != 3 or masks.dtype != np.bool_:
                raise InputError(f"ImageInstances.{name}: expected bool (N, H, W), got {masks.dtype} {masks.shape}")
        if self.masks.shape[1:] != self.true_masks.shape[1:]:
            sizes = f"{self.masks.shape[1:]} and {self.true_masks.shape[1:]}"
            raise InputError(f"ImageInstances: expected predicted and true masks of one size, got {sizes}")
        for name, count in (
            ("scores", len(self.masks)),
            ("class_ids", len(self.masks)),
            ("true_classes", len(self.true_masks)),
            ("ignored", len(self.true_masks)),
        ):
            if getattr(self, name).shape != (count,):
                raise InputError(f"ImageInstances.{name}: expected shape ({count},), got {getattr(self, name).shape}")
        if np.isnan(self.scores).any():
            raise InputError("ImageInstances.scores: expected numbers, got NaN")


@dataclass(frozen=True, eq=False)
class InstanceScores:
    """Average precision per threshold and class, as fractions.

    convention  "VOC" or "COCO"
    thresholds  (T,) float64   IoU from which a prediction has found an object
    by_class    (T, C) float64 NaN for a class of which there is no object
    """

    convention: str
    thresholds: np.ndarray
    by_class: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """(T,) the mean over the classes of which there are objects; NaN where there is none."""
        defined = ~np.isnan(self.by_class)
        counts = defined.sum(axis=1)
        sums = np.where(defined, self.by_class, 0.0).sum(axis=1)
        means: np.ndarray = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means

    @property
    def volume(self) -> float:
        """The mean over the thresholds: COCO's AP over COCO_THRESHOLDS, AP^r_vol over 0.1 ... 0.9."""
        return float(self.means.mean())

    def at(self, threshold: float) -> float:
        """The class mean at one of the thresholds; InputError where it was not measured."""
        found = np.flatnonzero(np.abs(self.thresholds - threshold) < 1e-9)
        if len(found) == 0:
            known = ", ".join(f"{value:g}" for value in self.thresholds)
            raise InputError(f"threshold {threshold:g}: was not measured; known are {known}")
        return float(self.means[found[0]])


@dataclass(frozen=True)
class CoverageScores:
    """How well the true objects are covered, whatever the scores; fractions, NaN without any object.

    mucov  mean over the objects of an image of the best IoU of any prediction, then over images (Silberman et al. 2014)
    mwcov  the same with the objects of an image weighted by their areas
    abo    mean over the objects of a class of the best IoU of a prediction of that class, then over classes
    """

    mucov: float
    mwcov: float
    abo: float


def mask_overlaps(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (P, G) float64 of every pair of masks (P, H, W) and (G, H, W) bool; 0 for a pair of empty ones."""
    pixels = masks.shape[1] * masks.shape[2]
    ours = masks.reshape(len(masks), pixels).astype(np.float32)  # sums of ones are exact up to 2**24 pixels
    theirs = others.reshape(len(others), pixels).astype(np.float32)
    common = (ours @ theirs.T).astype(np.float64)
    union = ours.sum(axis=1)[:, None] + theirs.sum(axis=1)[None] - common
    overlaps: np.ndarray = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def voc_scores(
    images: Iterable[ImageInstances], class_count: int, thresholds: Sequence[float] = THRESHOLDS
) -> InstanceScores:
    """Average precision as the VOC devkit has it since 2010, with masks in the place of boxes (AP^r).

    A prediction finds the object of its class that it overlaps most, if their IoU reaches the threshold; who comes
    second to an object is a false positive; who meets an ignored one is left out. The area lies under the precision
    made monotone. Equal scores keep their order.
    """
    found = [
        ScoredOverlaps(
            mask_overlaps(image.masks, image.true_masks),
            image.scores,
            image.class_ids,
            image.true_classes,
            image.ignored,
        )
        for image in images
    ]
    by_class = np.full((len(thresholds), class_count), np.nan)
    for row, threshold in enumerate(thresholds):
        for class_id in range(class_count):
            by_class[row, class_id] = average_precision(found, class_id, threshold)
    return InstanceScores("VOC", np.array(thresholds, np.float64), by_class)


def coco_scores(
    images: Iterable[ImageInstances], class_count: int, thresholds: Sequence[float] = COCO_THRESHOLDS
) -> InstanceScores:
    """Average precision as pycocotools computes it: 101 recalls, at most 100 predictions of a class in an image."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth, predicted = _coco_sets(images, class_count)
        evaluation = COCOeval(truth, predicted, "segm")
        evaluation.params.iouThrs = np.array(thresholds, np.float64)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (T, 101, C): all areas, 100 predictions
    by_class = precision.mean(axis=1)
    return InstanceScores("COCO", np.array(thresholds, np.float64), np.where(by_class < 0, np.nan, by_class))


def coverage_scores(images: Iterable[ImageInstances], class_count: int) -> CoverageScores:
    """Coverage of the objects that are not ignored; images without one are left out."""
    means, weighted = [], []
    best_of_class: list[list[float]] = [[] for _ in range(class_count)]
    for image in images:
        counted = ~image.ignored
        if not counted.any():
            continue
        overlaps = mask_overlaps(image.masks, image.true_masks[counted])  # (P, G')
        best = overlaps.max(axis=0, initial=0.0)
        areas = image.true_masks[counted].sum(axis=(1, 2))
        means.append(best.mean())
        weighted.append((best * areas).sum() / max(areas.sum(), 1))
        same = image.class_ids[:, None] == image.true_classes[counted][None]
        own = np.where(same, overlaps, 0.0).max(axis=0, initial=0.0)
        for class_id, value in zip(image.true_classes[counted].tolist(), own.tolist(), strict=True):
            best_of_class[class_id].append(value)
    if not means:
        return CoverageScores(np.nan, np.nan, np.nan)
    abo = np.mean([np.mean(values) for values in best_of_class if values])
    return CoverageScores(float(np.mean(means)), float(np.mean(weighted)), float(abo))


def _coco_sets(images: Iterable[ImageInstances], class_count: int) -> tuple[Any, Any]:
    """Truth and predictions as pycocotools' data sets."""
    from pycocotools.coco import COCO

    sizes: list[dict[str, int]] = []
    true: list[dict[str, Any]] = []
    predicted: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        height, width = image.true_masks.shape[1:]
        sizes.append({"id": number, "height": height, "width": width})
        for mask, class_id, ignored in zip(image.true_masks, image.true_classes, image.ignored, strict=True):
            true.append(_annotation(len(true), number, int(class_id), mask) | {"iscrowd": int(ignored)})
        for mask, class_id, score in zip(image.masks, image.class_ids, image.scores, strict=True):
            entry = _annotation(len(predicted), number, int(class_id), mask)
            predicted.append(entry | {"iscrowd": 0, "score": float(score)})
    sets = []
    for annotations in (true, predicted):
        data = COCO()
        categories = [{"id": class_id} for class_id in range(class_count)]
        data.dataset = {"images": sizes, "categories": categories, "annotations": annotations}
        data.createIndex()
        sets.append(data)
    return sets[0], sets[1]


def _annotation(number: int, image: int, class_id: int, mask: np.ndarray) -> dict[str, Any]:
    counts = {"size": [int(side) for side in mask.shape], "counts": rle.encode(mask)}
    # Numbers from 1: pycocotools takes 0 for "nobody".
    return {
        "id": number + 1, "image_id": image, "category_id": class_id, "segmentation": counts, "area": int(mask.sum()),
    }  # fmt: skip

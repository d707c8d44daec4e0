"""Average precision in the convention of the VOC devkit since 2010, from overlaps: of boxes or of masks alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ScoredOverlaps:
    """What average precision needs of an image.

    overlaps      (P, G) float   IoU of predictions and true objects
    scores        (P,) float     higher is surer
    class_ids     (P,) int
    true_classes  (G,) int
    ignored       (G,) bool      objects that count neither for nor against
    """

    overlaps: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    true_classes: np.ndarray
    ignored: np.ndarray


def average_precision(images: Sequence[ScoredOverlaps], class_id: int, threshold: float) -> float:
    """Area under the monotone precision of a class; NaN where there is no object of it that counts.

    A prediction finds the object of its class that it overlaps most, if their IoU reaches `threshold`; who comes second
    to an object is a false positive; who meets an ignored one is left out. Equal scores keep their order.
    """
    objects = sum(int(((image.true_classes == class_id) & ~image.ignored).sum()) for image in images)
    if objects == 0:
        return np.nan
    rows = [np.flatnonzero(image.class_ids == class_id) for image in images]
    places = np.repeat(np.arange(len(images)), [len(part) for part in rows])
    scores = np.concatenate([image.scores[part] for image, part in zip(images, rows, strict=True)])
    order = np.argsort(-scores, kind="stable")
    taken = [np.zeros(len(image.true_classes), bool) for image in images]
    hits: list[bool] = []
    for place, row in zip(places[order].tolist(), np.concatenate(rows)[order].tolist(), strict=True):
        image = images[place]
        overlaps = np.where(image.true_classes == class_id, image.overlaps[row], -1.0)
        best = int(overlaps.argmax()) if len(overlaps) else -1
        if best < 0 or overlaps[best] < threshold:
            hits.append(False)
        elif not image.ignored[best]:
            hits.append(not taken[place][best])
            taken[place][best] = True
    return area_under_envelope(np.array(hits, bool), objects)


def area_under_envelope(hits: np.ndarray, objects: int) -> float:
    """Area under the precision made monotone, of predictions (K,) bool in the order of falling scores; 0 for none."""
    if len(hits) == 0:
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / objects)  # recall rises by 1 / objects at every hit

"""Panoptic labels from boxes and tags: the first ones, and the next ones from a network's predictions.

Li, Arnab, Torr, "Weakly- and Semi-Supervised Panoptic Segmentation" (LAT), ECCV 2018, sections 3.2 to 3.4. Only pixels
that are sure get a label; the others are ignored. Arrays as in `wsperception.learn.panoptic_cleaning`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from wsperception.learn.mean_field import DEEPLAB, PairwiseSettings, dense_crf
from wsperception.learn.panoptic_cleaning import (
    BACKGROUND,
    IGNORE,
    SHARED,
    instances_in_boxes,
    merged_with_agreed,
    with_filled_boxes,
    within_boxes,
    without_uncertain,
    without_untagged,
)
from wsperception.learn.pseudo import FOREGROUND, VOID, PseudoSettings, box_mask
from wsperception.settings import check, setting


@dataclass(frozen=True)
class CueSettings:
    """How tags become labels."""

    heat: float = setting(0.5, "share of the maximum of a class's heat that makes it a label", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CleaningSettings:
    """How predictions become labels; the defaults are those of the released tool for Cityscapes."""

    lowest_score: float = setting(0.99, "probability below which a prediction is ignored", low=0.0, high=1.0)
    agreed_rounds: int = setting(5, "rounds in which what GrabCut and segments agree on has the word", low=0, high=100)
    filled_share: float = setting(0.5, "share of its box that a class must cover; else it is filled", low=0, high=1)
    stuff_outside: int = setting(
        IGNORE, "label of things outside their boxes: 255 ignores them, a class that is the only stuff", low=0, high=255
    )
    crf: PairwiseSettings = field(default_factory=lambda: DEEPLAB)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class BoxLabels:
    """What an annotator gave of one image: boxes (N, 4) float32 of classes (N,) int64, and tags of its crops.

    crops   (K, 4) int64            as of `fixed_crops`
    tags    (K, C) bool             which classes each of them shows; K = 0 where nobody tagged: then no class is ruled
                                    out
    agreed  (H, W) uint8 or None    `agreed_labels(...).labels`; None from the round on in which they have no word
    """

    boxes: np.ndarray
    classes: np.ndarray
    crops: np.ndarray
    tags: np.ndarray
    agreed: np.ndarray | None


@dataclass(frozen=True, eq=False)
class PseudoPanoptic:
    """Labels of one image.

    labels     (H, W) uint8    class of each pixel, IGNORE where nothing is sure; BACKGROUND in what boxes alone say
    instances  (H, W) int32    row + 1 of the box that it belongs to; 0 where no thing, SHARED where several may be
    """

    labels: np.ndarray
    instances: np.ndarray


def agreed_labels(
    image: np.ndarray, boxes: np.ndarray, classes: np.ndarray, settings: PseudoSettings
) -> PseudoPanoptic:
    """What boxes alone say (section 3.2): a thing where GrabCut and the best segment of its box agree.

    image  (H, W, 3) uint8 RGB

    IGNORE where they differ, where a mask was rejected, and where two classes claim a pixel; BACKGROUND elsewhere. Two
    boxes of one class share a pixel: its class is known, its instance is SHARED.
    """
    labels = np.full(image.shape[:2], BACKGROUND, np.uint8)
    instances = np.zeros(image.shape[:2], np.int32)
    found = [box_mask(image, box, settings) for box in boxes]
    for mask in found:
        part = labels[mask.region]
        part[mask.labels == VOID] = IGNORE
    claimed = np.zeros(image.shape[:2], bool)
    for row, (mask, class_id) in enumerate(zip(found, classes.tolist(), strict=True), start=1):
        region = mask.region
        own, before = mask.labels == FOREGROUND, claimed[region]
        first, again = own & ~before, own & before
        same = labels[region] == class_id
        instances[region][first] = row
        instances[region][again] = SHARED
        labels[region][first] = class_id
        labels[region][again & ~same] = IGNORE
        claimed[region] |= own
    instances[labels == IGNORE] = 0
    return PseudoPanoptic(labels, instances)


def cue_masks(
    heat: Sequence[np.ndarray], crops: np.ndarray, tags: np.ndarray, size: tuple[int, int], share: float
) -> np.ndarray:
    """(C, H, W) bool: where the heat of a class is at least `share` of its maximum in a crop that shows it.

    heat   K maps (C, h, w) float over the crops, of their sizes
    tags   (K, C) bool

    A map without heat above 0 gives nothing (section 3.3; Grad-CAM, at half the maximum for Cityscapes, section 4.1).
    """
    masks = np.zeros((tags.shape[1], *size), bool)
    for maps, (x0, y0, x1, y1), present in zip(heat, crops.tolist(), tags, strict=True):
        highest = maps.max(axis=(1, 2))
        for class_id in np.flatnonzero(present & (highest > 0.0)).tolist():
            masks[class_id, y0:y1, x0:x1] |= maps[class_id] >= share * highest[class_id]
    return masks


def cue_labels(masks: np.ndarray) -> np.ndarray:
    """Label map of masks (C, H, W) bool: of classes that claim one pixel that with the smaller area wins; else IGNORE.

    Areas are those of whole masks. Section 3.3: so that small and thin objects are not missed.
    """
    labels = np.full(masks.shape[1:], IGNORE, np.uint8)
    areas = masks.sum(axis=(1, 2))
    for class_id in np.argsort(-areas, kind="stable").tolist():
        labels[masks[class_id]] = class_id
    return labels


def first_labels(agreed: PseudoPanoptic, cues: np.ndarray, is_thing: Sequence[bool]) -> PseudoPanoptic:
    """Round 0: the things of `agreed_labels`, and the stuff of `cue_labels` (H, W) wherever these are none."""
    return PseudoPanoptic(merged_with_agreed(cues, agreed.labels, is_thing), agreed.instances)


def next_labels(
    probabilities: Tensor, image: np.ndarray, given: BoxLabels, is_thing: Sequence[bool], settings: CleaningSettings
) -> PseudoPanoptic:
    """The labels of the next round from what the network of the round before predicts (section 3.4).

    probabilities  (C, H, W) float    of each class at each pixel, at the size of the image
    image          (H, W, 3) uint8    RGB

    DenseCRF, then the steps of the released tool in its order. Instances are those of `instances_in_boxes`.
    """
    pixels = torch.from_numpy(image).to(probabilities.device).permute(2, 0, 1)
    scores, chosen = dense_crf(probabilities, pixels, settings.crf).max(dim=0)
    labels = without_uncertain(chosen.cpu().numpy().astype(np.uint8), scores.cpu().numpy(), settings.lowest_score)
    labels = without_untagged(labels, given.crops, given.tags)
    if given.agreed is not None:
        labels = merged_with_agreed(labels, given.agreed, is_thing)
    labels = within_boxes(labels, given.boxes, given.classes, is_thing, settings.stuff_outside)
    labels = with_filled_boxes(labels, given.boxes, given.classes, is_thing, settings.filled_share)
    return PseudoPanoptic(labels, instances_in_boxes(labels, given.boxes, given.classes))

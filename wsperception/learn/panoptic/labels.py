"""Panoptic labels from boxes and tags: the first ones, and the next ones from a network's predictions.

Li, Arnab, Torr, "Weakly- and Semi-Supervised Panoptic Segmentation" (LAT), ECCV 2018, sections 3.2 to 3.4. Only pixels
that are sure get a label; the others are ignored. Arrays as in `wsperception.learn.panoptic.cleaning`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from wsperception.learn.crf.mean_field import DEEPLAB, PairwiseSettings, dense_crf
from wsperception.learn.panoptic.cleaning import (
    BACKGROUND,
    IGNORE,
    SHARED,
    instances_in_boxes,
    merged_with_agreed,
    shown_where,
    with_filled_boxes,
    within_boxes,
    without_uncertain,
    without_untagged,
)
from wsperception.learn.pseudo.masks import FOREGROUND, VOID, PseudoSettings, box_mask
from wsperception.settings import check, setting

CUES = PairwiseSettings(5, 0.0, 1.0, 4.0, 67.0, 13.0)
"""For heat, which knows no outlines: pixels of like colour alone, since its cells are larger than what lies near."""


@dataclass(frozen=True)
class CueSettings:
    """How tags become labels."""

    heat: float = setting(0.5, "share of the maximum of a class's heat that makes it a label", low=0.0, high=1.0)
    overlap: str = setting(
        "smaller",
        "of classes that claim one pixel the one of the smaller area (section 3.3), or with the larger share of heat, "
        "or the one that a DenseCRF gives it to, where it is sure",
        choices=("smaller", "hotter", "crf"),
    )
    sharpness: float = setting(2.0, "for crf: logit of a class where its heat is highest", low=0.0, high=100.0)
    lowest_score: float = setting(0.9, "for crf: probability below which a pixel is ignored", low=0.0, high=1.0)
    crf: PairwiseSettings = field(default_factory=lambda: CUES)

    def __post_init__(self) -> None:
        check(self)


RULED_OUT = 20.0
"""Logit, below those of classes that may be, of one that may not."""


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


def relative_heat(heat: Sequence[np.ndarray], crops: np.ndarray, tags: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C, H, W) float32: a class's heat over its maximum in a crop that shows it; 0 elsewhere and where it is below 0.

    heat   K maps (C, h, w) float over the crops, of their sizes
    tags   (K, C) bool

    Where crops overlap the larger value counts.
    """
    relative = np.zeros((tags.shape[1], *size), np.float32)
    for maps, (x0, y0, x1, y1), present in zip(heat, crops.tolist(), tags, strict=True):
        highest = maps.max(axis=(1, 2))
        for class_id in np.flatnonzero(present & (highest > 0.0)).tolist():
            part = relative[class_id, y0:y1, x0:x1]
            np.maximum(part, maps[class_id] / highest[class_id], out=part)
    return relative


def cue_labels(relative: np.ndarray, settings: CueSettings) -> np.ndarray:
    """Label map of the `relative_heat` (C, H, W) of classes; IGNORE where that of none reaches `settings.heat`.

    Section 3.3; Grad-CAM, at half the maximum for Cityscapes, section 4.1. Of classes that claim one pixel that with
    the smaller area in the image wins, so that small and thin objects are not missed; or the one with the larger share.
    """
    masks = (relative > 0.0) & (relative >= settings.heat)
    labels = np.full(masks.shape[1:], IGNORE, np.uint8)
    if settings.overlap == "hotter":
        claimed = masks.any(axis=0)
        labels[claimed] = relative.argmax(axis=0)[claimed]
        return labels
    areas = masks.sum(axis=(1, 2))
    for class_id in np.argsort(-areas, kind="stable").tolist():
        labels[masks[class_id]] = class_id
    return labels


def crf_labels(
    relative: np.ndarray, image: np.ndarray, tags: tuple[np.ndarray, np.ndarray], settings: CueSettings
) -> np.ndarray:
    """Label map of the `relative_heat` (C, H, W) of classes, shared out among pixels of like colour by a DenseCRF.

    image  (H, W, 3) uint8 RGB
    tags   crops (K, 4) int64, and which classes they show (K, C) bool; a pixel has no class that its crop lacks

    Not the paper's: Grad-CAM shows where a class is told by, at cells of 8 pixels, not where it ends. IGNORE where no
    class reaches `settings.lowest_score`.
    """
    ruled_out = torch.from_numpy(~shown_where((image.shape[0], image.shape[1]), *tags))
    logits = (settings.sharpness * torch.from_numpy(relative)).masked_fill(ruled_out, -RULED_OUT)
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    scores, chosen = dense_crf(logits.softmax(dim=0), pixels, settings.crf).max(dim=0)
    labels = without_uncertain(chosen.numpy().astype(np.uint8), scores.numpy(), settings.lowest_score)
    return without_untagged(labels, *tags)


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

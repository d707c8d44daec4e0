"""LAT: Weakly- and Semi-Supervised Panoptic Segmentation (Li, Arnab, Torr, ECCV 2018).

A semantic network learns from partial labels by cross-entropy (Eq. 1); an instance network shares its picture out among
detections, and both learn on end to end (section 3.5). Where labels come from, round by round:
`wsperception.learn.panoptic_labels`. Full and partial labels have one form, so that sets may be mixed (Table 3).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from wsperception.learn.instance_crf import (
    InstanceCrf,
    InstanceCrfSettings,
    instance_labels,
    instance_loss,
    matched_targets,
    panoptic_segments,
)
from wsperception.learn.panoptic_cleaning import IGNORE
from wsperception.learn.panoptic_labels import PseudoPanoptic
from wsperception.learn.semantic import partial_cross_entropy
from wsperception.nets.semantic_net import SemanticNet, SemanticSettings
from wsperception.settings import check, setting
from wsperception.types import LabelSpace, SegmentMap


@dataclass(frozen=True)
class Settings:
    """Both networks and the balance between them."""

    net: SemanticSettings = field(default_factory=SemanticSettings)
    instance: InstanceCrfSettings = field(default_factory=InstanceCrfSettings)
    semantic_weight: float = setting(1.0, "weight of the semantic loss", low=0.0, high=100.0)
    instance_weight: float = setting(
        0.0, "weight of the instance loss; 0 trains the semantic network alone, which comes first", low=0.0, high=100.0
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class DetectedBoxes:
    """Detections of one image: boxes (D, 4) float32, classes (D,) int64, scores (D,) float32."""

    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class PanopticSample:
    """One image to learn from.

    image     (H, W, 3) uint8 RGB
    truth     labels and instances of its pixels; of instance r the class is that of its pixels
    detected  what a detector sees there, or the annotated boxes with score 1
    """

    image: np.ndarray
    truth: PseudoPanoptic
    detected: DetectedBoxes


def build(settings: Settings, space: LabelSpace) -> "Panoptic":
    """The networks together with their losses."""
    return Panoptic(settings, space)


class Panoptic(nn.Module):
    """Losses of a batch; `net` is the semantic network and `instance` the subnetwork behind it."""

    def __init__(self, settings: Settings, space: LabelSpace) -> None:
        super().__init__()
        self.settings, self.space = settings, space
        self.net = SemanticNet(settings.net, len(space))
        self.instance = InstanceCrf(settings.instance)

    def forward(self, samples: list[PanopticSample]) -> dict[str, Tensor]:
        """Weighted loss terms by name, whose sum is the objective, of samples of one size."""
        device = self.net.classify.weight.device
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
        labels = torch.from_numpy(np.stack([sample.truth.labels for sample in samples])).to(device, torch.int64)
        logits = self.net(images).float()
        terms = {"semantic": self.settings.semantic_weight * partial_cross_entropy(logits, labels)}
        if self.settings.instance_weight > 0.0:
            losses = [self._instance_loss(*each) for each in zip(logits.softmax(dim=1), images, samples, strict=True)]
            terms["instance"] = self.settings.instance_weight * torch.stack(losses).mean()
        return terms

    def _instance_loss(self, semantic: Tensor, image: Tensor, sample: PanopticSample) -> Tensor:
        detected = sample.detected
        names = instance_labels(
            detected.class_ids, detected.scores, detected.boxes, self.space.is_thing, sample.truth.labels.shape
        )
        found = self.instance(semantic, image.permute(2, 0, 1), names)
        rows, classes = true_segments(sample.truth, self.space.is_thing)
        return instance_loss(found, matched_targets(found, names, rows, torch.from_numpy(classes)))

    @torch.no_grad()
    def predict(self, image: np.ndarray, detected: DetectedBoxes) -> SegmentMap:
        """The segments of an image (H, W, 3) uint8 RGB: each is one of the detections or a stuff class."""
        semantic = self.probabilities(image)
        names = instance_labels(
            detected.class_ids, detected.scores, detected.boxes, self.space.is_thing, image.shape[:2]
        )
        pixels = torch.from_numpy(image).to(semantic.device).permute(2, 0, 1)
        return panoptic_segments(self.instance(semantic, pixels, names), names)

    @torch.no_grad()
    def probabilities(self, image: np.ndarray) -> Tensor:
        """(C, H, W) of an image (H, W, 3) uint8 RGB: what `next_labels` makes labels of."""
        pixels = torch.from_numpy(image).to(self.net.classify.weight.device)
        logits: Tensor = self.net(pixels[None])
        return logits[0].float().softmax(dim=0)


def true_segments(truth: PseudoPanoptic, is_thing: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Segments to match with: rows (H, W) int64 into classes (S,) int64, -1 where the segment is not known.

    A stuff class is one segment; a thing is its pixels of one instance, and of no known instance where that is SHARED.
    """
    things = np.append(np.asarray(is_thing, bool), np.zeros(256 - len(is_thing), bool))[truth.labels]
    known = (truth.labels != IGNORE) & (~things | (truth.instances > 0))
    keys = np.where(things, truth.instances.astype(np.int64) * 256, 0) + truth.labels
    found, rows = np.unique(keys[known], return_inverse=True)
    segments = np.full(truth.labels.shape, -1, np.int64)
    segments[known] = rows.ravel()
    return segments, found % 256

"""LAT: Weakly- and Semi-Supervised Panoptic Segmentation (Li, Arnab, Torr, ECCV 2018).

A semantic network learns from partial labels by cross-entropy (Eq. 1); an instance network shares its picture out among
detections, and both learn on end to end (section 3.5). Where labels come from, round by round:
`wsperception.learn.panoptic.labels`. Full and partial labels have one form, so that sets may be mixed (Table 3).

Training frames carry panoptic labels; of their boxes, which stand for detections of score 1, only the instance network
knows. Classes of things come before those of stuff.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from wsperception.data.clips import ClipFrame
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.learn.panoptic.instance_crf import (
    InstanceCrf,
    InstanceCrfSettings,
    instance_labels,
    instance_loss,
    matched_targets,
    panoptic_segments,
)
from wsperception.learn.panoptic.labels import CleaningSettings, CueSettings
from wsperception.learn.panoptic.tag_cues import TagSettings
from wsperception.learn.pseudo.masks import PseudoSettings
from wsperception.learn.semantic import (
    IGNORED,
    candidate_loss,
    candidate_maps,
    given_labels,
    partial_cross_entropy,
    semantic_maps,
)
from wsperception.nets.backbone import Backbone
from wsperception.nets.semantic_net import SemanticNet, SemanticSettings
from wsperception.settings import check, setting
from wsperception.types import VOID, SegmentMap

SUPERVISION = ("weak",)


@dataclass(frozen=True)
class Settings:
    """Both networks and the balance between them; and how the labels of a round are made, for `training/panoptic.py`.

    boxes, tags, cues and cleaning say nothing to the networks.
    """

    net: SemanticSettings = field(default_factory=SemanticSettings)
    instance: InstanceCrfSettings = field(default_factory=InstanceCrfSettings)
    stuff_classes: int = setting(0, "how many of the classes, the last ones, are stuff", low=0, high=254)
    semantic_weight: float = setting(1.0, "weight of the semantic loss", low=0.0, high=100.0)
    candidate_weight: float = setting(
        0.0,
        "weight of the candidate loss: a pixel without a label has a class that its crop is tagged with, and is a "
        "thing only in a box; 0 as in the paper",
        low=0.0,
        high=100.0,
    )
    instance_weight: float = setting(
        0.0, "weight of the instance loss; 0 trains the semantic network alone, which comes first", low=0.0, high=100.0
    )
    round_rate: float = setting(0.5, "factor of the learning rate from one round to the next", low=0.0, high=1.0)
    boxes: PseudoSettings = field(default_factory=PseudoSettings)
    tags: TagSettings = field(default_factory=TagSettings)
    cues: CueSettings = field(default_factory=CueSettings)
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class DetectedBoxes:
    """Detections of one image: boxes (D, 4) float32, classes (D,) int64, scores (D,) float32."""

    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray


def build(settings: Settings, class_count: int, supervision: str = "weak") -> "Panoptic":
    """The networks together with their losses; how much the labels say is for them to know, whoever gave them."""
    assert supervision in SUPERVISION
    if settings.stuff_classes > class_count:
        raise InputError(f"stuff_classes: expected at most the {class_count} classes, got {settings.stuff_classes}")
    return Panoptic(settings, class_count)


class PanopticNet(nn.Module):
    """The semantic network, and behind it the instance network, whose labels are the detections of an image."""

    def __init__(self, settings: Settings, class_count: int) -> None:
        super().__init__()
        things = class_count - settings.stuff_classes
        self.is_thing = (True,) * things + (False,) * settings.stuff_classes
        self.semantic = SemanticNet(settings.net, class_count)
        self.instance = InstanceCrf(settings.instance)

    @property
    def settings(self) -> SemanticSettings:
        """Of the semantic network."""
        return self.semantic.settings

    @property
    def backbone(self) -> Backbone:
        return self.semantic.backbone

    @property
    def device(self) -> torch.device:
        return self.semantic.classify.weight.device

    @torch.no_grad()
    def probabilities(self, image: np.ndarray) -> Tensor:
        """(C, H, W) of an image (H, W, 3) uint8 RGB: what `next_labels` makes labels of."""
        logits: Tensor = self.semantic(torch.from_numpy(image).to(self.device)[None])
        return logits[0].float().softmax(dim=0)

    @torch.no_grad()
    def predict(self, image: np.ndarray, semantic: Tensor, detected: DetectedBoxes) -> SegmentMap:
        """The segments of an image (H, W, 3) uint8 RGB: each is one of the detections or a stuff class.

        semantic  (C, H, W)   `probabilities` of the image
        """
        size = (image.shape[0], image.shape[1])
        names = instance_labels(detected.class_ids, detected.scores, detected.boxes, self.is_thing, size)
        pixels = torch.from_numpy(image).to(semantic.device).permute(2, 0, 1)
        return panoptic_segments(self.instance(semantic, pixels, names), names)


class Panoptic(nn.Module):
    """Losses of a batch; `net` is what predicts."""

    def __init__(self, settings: Settings, class_count: int) -> None:
        super().__init__()
        self.settings = settings
        self.net = PanopticNet(settings, class_count)

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted loss terms by name, whose sum is the objective; and figures by name, each (2,): a sum and a count.

        generators and progress are not used. Raises InputError where a frame has no panoptic labels.
        """
        device = self.net.device
        images = torch.from_numpy(np.stack([frame.image for frame in frames])).to(device)
        labels = semantic_maps(frames).to(device)
        logits = self.net.semantic(images).float()
        terms = {"semantic": self.settings.semantic_weight * partial_cross_entropy(logits, labels)}
        if self.settings.candidate_weight > 0.0:
            candidates = candidate_maps(frames, logits.shape[1]).to(device)
            terms["candidates"] = self.settings.candidate_weight * candidate_loss(logits, candidates)
        if self.settings.instance_weight > 0.0:
            losses = [self._instance_loss(*each) for each in zip(logits.softmax(dim=1), images, frames, strict=True)]
            terms["instance"] = self.settings.instance_weight * torch.stack(losses).mean()
        known = (labels != IGNORED).sum()
        return terms, {"labelled_share": torch.stack([known, known.new_tensor(labels.numel())]).float()}

    def _instance_loss(self, semantic: Tensor, image: Tensor, frame: ClipFrame) -> Tensor:
        truth, scores = given_labels(frame), np.ones(len(frame.boxes), np.float32)
        size = (truth.ids.shape[0], truth.ids.shape[1])
        names = instance_labels(frame.class_ids, scores, frame.boxes, self.net.is_thing, size)
        found = self.net.instance(semantic, image.permute(2, 0, 1), names)
        rows, classes = true_segments(truth, self.net.is_thing)
        return instance_loss(found, matched_targets(found, names, rows, torch.from_numpy(classes)))


def true_segments(truth: PanopticLabels, is_thing: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Segments to match with: rows (H, W) int64 into classes (S,) int64, negative where the segment is not known.

    A crowd of things, of which nobody knows which pixel is whose, is not known; one of stuff is its class. Nor is a row
    without a class.
    """
    classes = truth.class_ids.astype(np.int64)
    things = np.append(np.asarray(is_thing, bool), False)[classes]  # VOID is -1
    rows = np.where((classes == VOID) | (things & truth.is_crowd), -1, np.arange(len(classes)) - 1)
    return rows[truth.ids], classes[1:]

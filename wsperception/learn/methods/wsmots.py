"""WSMOTS: Weakly Supervised Multi-Object Tracking and Segmentation (Ruiz et al., WACVW 2021), fully supervised part.

L = L_T + lambda (L_RPH + L_RSH)  (Eq. 1), L_RSH = class + box + mask  (Eq. 5), L_T = batch-hard triplets  (Eq. 2).
Each loss is a mean over the frames of a mean inside the frame, L_T a mean over the clips: with equally many frames per
process, the mean over processes is the loss of the joint batch.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from wsperception.data.clips import ClipFrame
from wsperception.learn import detection, sampling
from wsperception.learn.metric import batch_hard_triplet
from wsperception.nets.detect import proposal_boxes
from wsperception.nets.heads import mask_boxes
from wsperception.nets.perception_net import PerceptionNet, Proposals
from wsperception.nets.settings import DetectSettings, NetSettings
from wsperception.settings import check, setting


@dataclass(frozen=True)
class Settings:
    """Losses and sampling; defaults are Table 1 and, where it is silent, the values of the code that WSMOTS cites."""

    net: NetSettings = field(default_factory=NetSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    clip_frames: int = setting(2, "consecutive frames of a batch that come from one clip", low=1, high=16)
    balance: float = setting(1.0, "lambda of Eq. 1", low=0.0, high=100.0)
    margin: float = setting(0.2, "alpha of Eq. 2", low=0.0, high=2.0)
    track_weight: float = setting(1.0, "weight of L_T", low=0.0, high=100.0)
    track_to_masks: bool = setting(True, "L_T reaches the mask branch through mask pooling (section 3.1)")
    anchor_samples: int = setting(256, "anchors per frame", low=2, high=4096)
    anchor_positive_iou: float = setting(0.7, "IoU of a positive anchor", low=0.0, high=1.0)
    anchor_negative_iou: float = setting(0.3, "IoU below which an anchor is background", low=0.0, high=1.0)
    pre_nms: int = setting(2000, "proposals per level before suppression", low=1, high=12000)
    proposals: int = setting(1000, "proposals after suppression", low=1, high=4000)
    proposal_nms: float = setting(0.7, "IoU above which a proposal is suppressed", low=0.0, high=1.0)
    roi_samples: int = setting(128, "RoIs per frame", low=2, high=2048)
    roi_positive_share: float = setting(0.25, "share of positive RoIs", low=0.0, high=1.0)
    roi_iou: float = setting(0.5, "IoU of a positive RoI", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class _Rois:
    """The sampled RoIs of one frame, positives first."""

    boxes: Tensor  # (R, 4)
    classes: Tensor  # (R,) int64, 0 = background
    truth: Tensor  # (R,) int64 row of the frame's ground truth; 0 for background
    positives: int


def build(settings: Settings, class_count: int) -> "Wsmots":
    """The network together with its losses, ready for a trainer."""
    return Wsmots(settings, class_count)


class Wsmots(nn.Module):
    """Losses of a batch of clips; `net` is what is exported."""

    def __init__(self, settings: Settings, class_count: int) -> None:
        super().__init__()
        self.settings = settings
        self.net = PerceptionNet(settings.net, class_count)

    def forward(self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float) -> dict[str, Tensor]:
        """Weighted loss terms, by name; their sum is the objective.

        frames      B training frames, `clip_frames` consecutive ones to a clip
        generators  B CPU generators, one per frame: a frame samples alike whichever process holds it
        progress    share of the training done, in [0, 1]
        """
        device = self.net.mean.device
        truths = [_Truth(frame, device) for frame in frames]
        images = torch.from_numpy(np.stack([frame.image for frame in frames])).to(device)
        size = (images.shape[1], images.shape[2])
        pyramid = self.net.pyramid(images)
        raw = self.net.propose(pyramid)
        objectness, anchor_box = self._proposal_losses(raw, truths, size, generators)
        rois = [self._sample(raw, index, truth, size, generators[index]) for index, truth in enumerate(truths)]
        box_class, box_delta = self._box_losses(pyramid, rois, truths)
        mask, track = self._mask_and_track_losses(pyramid, rois, truths)
        balance = self.settings.balance
        return {
            "rpn_objectness": balance * objectness,
            "rpn_box": balance * anchor_box,
            "box_class": balance * box_class,
            "box_delta": balance * box_delta,
            "mask": balance * mask,
            "track": self.settings.track_weight * track,
        }

    def _proposal_losses(
        self, raw: Proposals, truths: list["_Truth"], size: tuple[int, int], generators: list[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        settings = self.settings
        terms = []
        for index, truth in enumerate(truths):
            matches = sampling.match(
                raw.anchors, truth.boxes, settings.anchor_positive_iou, settings.anchor_negative_iou, best_always=True
            )
            matches = sampling.without_ignored(matches, raw.anchors, truth.ignore)
            rows = sampling.balanced(matches, settings.anchor_samples, 0.5, generators[index])
            terms.append(
                detection.proposal_losses(
                    raw.objectness[index], raw.deltas[index], raw.anchors, matches, truth.boxes, rows
                )
            )
        return _mean_of_pairs(terms)

    @torch.no_grad()
    def _sample(
        self, raw: Proposals, index: int, truth: "_Truth", size: tuple[int, int], generator: torch.Generator
    ) -> _Rois:
        """Proposals and the true boxes themselves, which guarantee positives from the first step on."""
        settings = self.settings
        found = proposal_boxes(raw, index, size, settings.pre_nms, settings.proposals, settings.proposal_nms)
        candidates = torch.cat([truth.boxes, found])
        matches = sampling.match(candidates, truth.boxes, settings.roi_iou, settings.roi_iou, best_always=False)
        matches = sampling.without_ignored(matches, candidates, truth.ignore)
        positives, negatives = sampling.balanced(matches, settings.roi_samples, settings.roi_positive_share, generator)
        rows = torch.cat([positives, negatives])
        rows_of_truth = matches[rows].clamp(min=0)
        classes = torch.zeros_like(rows)
        classes[: len(positives)] = truth.classes[rows_of_truth[: len(positives)]] + 1
        return _Rois(candidates[rows], classes, rows_of_truth, len(positives))

    def _box_losses(self, pyramid: list[Tensor], rois: list[_Rois], truths: list["_Truth"]) -> tuple[Tensor, Tensor]:
        boxes, frame_of = _joined([roi.boxes for roi in rois])
        logits, deltas = self.net.box(self.net.pool(pyramid, boxes, frame_of))
        counts = [len(roi.boxes) for roi in rois]
        terms = []
        for roi, truth, logit, delta in zip(rois, truths, logits.split(counts), deltas.split(counts), strict=True):
            matched = truth.boxes[roi.truth] if len(truth.boxes) else roi.boxes
            terms.append(detection.box_losses(logit.float(), delta.float(), roi.boxes, roi.classes, matched))
        return _mean_of_pairs(terms)

    def _mask_and_track_losses(
        self, pyramid: list[Tensor], rois: list[_Rois], truths: list["_Truth"]
    ) -> tuple[Tensor, Tensor]:
        counts = [roi.positives for roi in rois]
        boxes, frame_of = _joined([roi.boxes[: roi.positives] for roi in rois])
        extents = mask_boxes(boxes, self.settings.net.mask_context)
        features = self.net.pool(pyramid, extents, frame_of, self.settings.net.mask_sampling)
        classes = torch.cat([roi.classes[: roi.positives] for roi in rois]) - 1
        index = torch.arange(len(boxes), device=boxes.device)
        logits = self.net.mask(features)[index, classes].float()  # (P, M, M)
        losses = []
        for roi, truth, logit, extent in zip(rois, truths, logits.split(counts), extents.split(counts), strict=True):
            targets = detection.mask_targets(truth.masks, roi.truth[: roi.positives], extent)
            losses.append(detection.mask_loss(logit, targets))
        masks = logits.sigmoid() if self.settings.track_to_masks else logits.detach().sigmoid()
        embeddings = self.net.track(features, masks)[index, classes]
        keys = torch.cat([truth.keys[roi.truth[: roi.positives]] for roi, truth in zip(rois, truths, strict=True)])
        return torch.stack(losses).mean(), self._track_loss(embeddings, keys, classes, counts)

    def _track_loss(self, embeddings: Tensor, keys: Tensor, classes: Tensor, counts: list[int]) -> Tensor:
        step = self.settings.clip_frames
        clips = [sum(counts[start : start + step]) for start in range(0, len(counts), step)]
        terms = [
            batch_hard_triplet(embedding, key, kind, self.settings.margin)
            for embedding, key, kind in zip(
                embeddings.split(clips), keys.split(clips), classes.split(clips), strict=True
            )
        ]
        return torch.stack(terms).mean()


class _Truth:
    """The annotation of one frame as tensors on the network's device."""

    def __init__(self, frame: ClipFrame, device: torch.device) -> None:
        assert frame.masks is not None, "full supervision needs masks"
        self.boxes = torch.from_numpy(frame.boxes).to(device)
        self.classes = torch.from_numpy(frame.class_ids).to(device)
        self.keys = torch.from_numpy(frame.track_keys).to(device)
        self.masks = torch.from_numpy(frame.masks).to(device)
        self.ignore = torch.from_numpy(frame.ignore_boxes).to(device)


def _joined(boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """All boxes (R, 4) and the frame (R,) int64 that each lies in."""
    frame_of = torch.cat([torch.full((len(part),), index, device=part.device) for index, part in enumerate(boxes)])
    return torch.cat(boxes), frame_of


def _mean_of_pairs(terms: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    first, second = zip(*terms, strict=True)
    return torch.stack(first).mean(), torch.stack(second).mean()

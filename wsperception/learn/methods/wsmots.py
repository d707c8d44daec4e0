"""WSMOTS: Weakly Supervised Multi-Object Tracking and Segmentation (Ruiz et al., WACVW 2021).

L = L_T + lambda (L_RPH + L_RSH)  (Eq. 1), L_RSH = class + box + mask  (Eq. 5), L_T = batch-hard triplets  (Eq. 2).
The mask part is cross-entropy with masks under full supervision. Under weak supervision it needs boxes only:
L_loc + lambda_CRF L_CRF  (Eq. 6), and what goes beyond the paper, see `wsperception.learn.weak_masks.terms`.
Each loss is a mean over the frames of a mean inside the frame, L_T a mean over the clips: with equally many frames per
process, the mean over processes is the loss of the joint batch.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from wsperception.data.clips import ClipFrame
from wsperception.errors import InputError
from wsperception.learn import detection, sampling
from wsperception.learn.metric import batch_hard_triplet
from wsperception.learn.pseudo.masks import PseudoSettings
from wsperception.learn.semantic import semantic_loss, semantic_maps
from wsperception.learn.weak_masks.mask_rois import MaskRois, Scene, mask_area_share
from wsperception.learn.weak_masks.terms import WeakSettings, weak_mask_losses
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
    semantic_weight: float = setting(
        1.0, "weight of the semantic branch's loss, where net.stuff_classes asks for one", low=0.0, high=100.0
    )
    semantic_only: bool = setting(False, "only the semantic branch learns; all else stays as it started")
    weak: WeakSettings = field(default_factory=WeakSettings)

    def __post_init__(self) -> None:
        check(self)

    @property
    def stuff_classes(self) -> int:
        """How many of the classes, the last ones, are stuff: the semantic branch learns them from panoptic labels."""
        return self.net.stuff_classes

    @property
    def needs_average(self) -> bool:
        """Whether training must keep a moving average of the weights, for `Wsmots.teacher`."""
        return self.weak.teacher_weight > 0.0

    @property
    def pseudo_masks(self) -> PseudoSettings | None:
        """How pseudo masks are to be made for weak supervision; None where they have no weight."""
        return self.weak.pseudo if self.weak.pseudo_weight > 0.0 else None


@dataclass(frozen=True)
class SampledRois:
    """The sampled RoIs of one frame, positives first."""

    boxes: Tensor  # (R, 4)
    classes: Tensor  # (R,) int64, 0 = background
    truth: Tensor  # (R,) int64 row of the frame's ground truth; 0 for background
    positives: int


def build(settings: Settings, class_count: int, supervision: str = "weak") -> "Wsmots":
    """The network together with its losses, ready for a trainer; supervision "weak" (boxes, ids) or "full" (masks)."""
    return Wsmots(settings, class_count, supervision)


class Wsmots(nn.Module):
    """Losses of a batch of clips; `net` is what is exported.

    Where the settings say so it needs a teacher: a network with the moving average of the weights, from whoever trains.
    The teacher is no submodule, so nothing of it is optimised, saved with the model or sent between processes.
    """

    def __init__(self, settings: Settings, class_count: int, supervision: str) -> None:
        super().__init__()
        self.settings, self.full = settings, supervision == "full"
        self.net = PerceptionNet(settings.net, class_count)
        if settings.semantic_only:
            if self.net.semantic is None:
                raise InputError("semantic_only: expected net.stuff_classes above 0, got 0")
            self.net.requires_grad_(False)
            self.net.semantic.requires_grad_(True)
        self._teacher: tuple[PerceptionNet, ...] = ()

    def learn_from(self, teacher: PerceptionNet) -> None:
        """Sets the teacher."""
        self._teacher = (teacher,)

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted loss terms by name, whose sum is the objective; and figures by name, each (2,): a sum and a count.

        frames      B training frames, `clip_frames` consecutive ones to a clip
        generators  B CPU generators, one per frame: a frame samples alike whichever process holds it
        progress    share of the training done, in [0, 1]

        Raises InputError where a frame has masks under weak supervision, or none under full, and where the semantic
        branch finds no panoptic labels.
        """
        device = self.net.mean.device
        images = torch.from_numpy(np.stack([frame.image for frame in frames])).to(device)
        if self.settings.semantic_only:
            with torch.no_grad():
                frozen = self.net.pyramid(images)
            return self._semantic_loss(frozen, frames), {}
        truths = [self._truth(frame, device) for frame in frames]
        size = (images.shape[1], images.shape[2])
        pyramid = self.net.pyramid(images)
        raw = self.net.propose(pyramid)
        objectness, anchor_box = self._proposal_losses(raw, truths, size, generators)
        rois = [self._sample(raw, index, truth, size, generators[index]) for index, truth in enumerate(truths)]
        box_class, box_delta = self._box_losses(pyramid, rois, truths)
        found, features = self._mask_rois(pyramid, rois, truths)
        mask_terms, figures = self._mask_losses(pyramid, images, found, truths, progress)
        heads = {"rpn_objectness": objectness, "rpn_box": anchor_box, "box_class": box_class, "box_delta": box_delta}
        terms = {name: self.settings.balance * value for name, value in (heads | mask_terms).items()}
        terms["track"] = self.settings.track_weight * self._track_loss(features, found)
        return terms | self._semantic_loss(pyramid, frames), figures

    def _semantic_loss(self, pyramid: list[Tensor], frames: list[ClipFrame]) -> dict[str, Tensor]:
        """Nothing where the network has no semantic branch."""
        if self.net.semantic is None:
            return {}
        maps = semantic_maps(frames).to(pyramid[0].device)
        loss = semantic_loss(self.net.semantic(pyramid), maps, self.net.class_count)
        return {"semantic": self.settings.semantic_weight * loss}

    def _truth(self, frame: ClipFrame, device: torch.device) -> "_Truth":
        masked = self.full or self.settings.weak.pseudo_weight > 0.0
        if (frame.masks is not None) != masked:
            wanted, got = ("masks", "none") if masked else ("boxes and no masks", "masks")
            kind = "full supervision" if self.full else "weak supervision"
            raise InputError(f"{frame.source}: expected {wanted} under {kind}, got {got}")
        return _Truth(frame, device)

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
    ) -> SampledRois:
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
        return SampledRois(candidates[rows], classes, rows_of_truth, len(positives))

    def _box_losses(
        self, pyramid: list[Tensor], rois: list[SampledRois], truths: list["_Truth"]
    ) -> tuple[Tensor, Tensor]:
        boxes, frame_of = _joined([roi.boxes for roi in rois])
        logits, deltas = self.net.box(self.net.pool(pyramid, boxes, frame_of))
        counts = [len(roi.boxes) for roi in rois]
        terms = []
        for roi, truth, logit, delta in zip(rois, truths, logits.split(counts), deltas.split(counts), strict=True):
            matched = truth.boxes[roi.truth] if len(truth.boxes) else roi.boxes
            terms.append(detection.box_losses(logit.float(), delta.float(), roi.boxes, roi.classes, matched))
        return _mean_of_pairs(terms)

    def _mask_rois(
        self, pyramid: list[Tensor], rois: list[SampledRois], truths: list["_Truth"]
    ) -> tuple[MaskRois, Tensor]:
        """The positive RoIs as the mask branch sees them, and its features (P, F, 14, 14)."""
        boxes, frame_of = _joined([roi.boxes[: roi.positives] for roi in rois])
        extents = mask_boxes(boxes, self.settings.net.mask_context)
        features = self.net.pool(pyramid, extents, frame_of, self.settings.net.mask_sampling)
        classes = torch.cat([roi.classes[: roi.positives] for roi in rois]) - 1
        index = torch.arange(len(boxes), device=boxes.device)
        logits = self.net.mask(features)[index, classes].float()  # (P, M, M)
        rows = [roi.truth[: roi.positives] for roi in rois]
        keys = torch.cat([truth.keys[row] for row, truth in zip(rows, truths, strict=True)])
        return MaskRois(boxes, extents, frame_of, rows, classes, keys, logits), features

    def _mask_losses(
        self, pyramid: list[Tensor], images: Tensor, found: MaskRois, truths: list["_Truth"], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        figures = {"mask_area_share": mask_area_share(found)}
        if not self.full:
            scene = Scene(
                self.net,
                self._teacher,
                images,
                pyramid,
                [truth.boxes for truth in truths],
                [truth.classes for truth in truths],
                [truth.masks for truth in truths],
                [truth.void for truth in truths],
                self.settings.clip_frames,
            )
            terms, more = weak_mask_losses(scene, found, self.settings.weak, progress)
            return terms, figures | more
        losses = []
        parts = zip(
            truths, found.rows, found.extents.split(found.counts), found.logits.split(found.counts), strict=True
        )
        for truth, rows, extents, logits in parts:
            losses.append(detection.mask_loss(logits, detection.mask_targets(truth.masks, rows, extents)))
        return {"mask": torch.stack(losses).mean()}, figures

    def _track_loss(self, features: Tensor, found: MaskRois) -> Tensor:
        masks = found.logits.sigmoid() if self.settings.track_to_masks else found.logits.detach().sigmoid()
        index = torch.arange(len(masks), device=masks.device)
        embeddings = self.net.track(features, masks)[index, found.classes]
        step = self.settings.clip_frames
        clips = [sum(found.counts[start : start + step]) for start in range(0, len(found.counts), step)]
        parts = zip(embeddings.split(clips), found.keys.split(clips), found.classes.split(clips), strict=True)
        return torch.stack([batch_hard_triplet(*part, self.settings.margin) for part in parts]).mean()


class _Truth:
    """The annotation of one frame as tensors on the network's device; no masks (0, h, w) where it has none."""

    def __init__(self, frame: ClipFrame, device: torch.device) -> None:
        size = frame.image.shape[:2]
        masks = np.zeros((0, *size), bool) if frame.masks is None else frame.masks
        void = np.zeros(size, bool) if frame.ignore_mask is None else frame.ignore_mask
        self.boxes = torch.from_numpy(frame.boxes).to(device)
        self.classes = torch.from_numpy(frame.class_ids).to(device)
        self.keys = torch.from_numpy(frame.track_keys).to(device)
        self.masks = torch.from_numpy(masks).to(device)
        self.void = torch.from_numpy(void).to(device)
        self.ignore = torch.from_numpy(frame.ignore_boxes).to(device)


def _joined(boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """All boxes (R, 4) and the frame (R,) int64 that each lies in."""
    frame_of = torch.cat([torch.full((len(part),), index, device=part.device) for index, part in enumerate(boxes)])
    return torch.cat(boxes), frame_of


def _mean_of_pairs(terms: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    first, second = zip(*terms, strict=True)
    return torch.stack(first).mean(), torch.stack(second).mean()

"""Everything that trains masks without masks: weighted terms over the positive RoIs of a batch.

The paper's own are L_loc and L_CRF (WSMOTS Eq. 6); the others go beyond it and are off by default. A term of weight 0
is not computed. Each is a value per RoI, averaged inside a frame and then over the frames.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn.cam import SCALES, VARIANTS, heat_of_boxes
from wsperception.learn.crf.loss import CrfSettings, crf_loss
from wsperception.learn.detection import mask_shares
from wsperception.learn.pseudo.masks import PseudoSettings
from wsperception.learn.weak_masks.box_terms import PairwiseSettings, pairwise_loss, projection_loss
from wsperception.learn.weak_masks.mask_rois import (
    MaskRois,
    Scene,
    image_crops,
    inside_true_box,
    mean_over_frames,
    mean_share,
    track_pairs,
)
from wsperception.learn.weak_masks.pseudo_labels import (
    OVERLAPS,
    VOID,
    cell_centres,
    localisation_loss,
    pseudo_labels,
    sampled_maps,
    weighted_cross_entropy,
)
from wsperception.learn.weak_masks.teacher import teacher_masks
from wsperception.learn.weak_masks.temporal import TemporalSettings, agreement_loss, temporal_loss
from wsperception.settings import check, setting


@dataclass(frozen=True)
class WeakSettings:
    """Weights and parameters of the terms; the defaults are the paper's method."""

    loc_weight: float = setting(1.0, "weight of L_loc (Eq. 8)", low=0.0, high=100.0)
    cam: str = setting("absolute", "Grad-CAM with |alpha| (section 3.2), or with ReLU (Eq. 10)", choices=VARIANTS)
    cam_scale: str = setting("range", "heat brought to [0, 1] by its range, or by its maximum", choices=SCALES)
    cam_threshold: float = setting(0.5, "mu_A of Table 1", low=0.0, high=1.0)
    cam_overlap: str = setting("tight", "background outside of the matched box; or Eq. 7 literally", choices=OVERLAPS)
    crf_weight: float = setting(0.3, "weight of L_CRF (Eq. 9), scaled as crf.scale says", low=0.0, high=100.0)
    crf_side: int = setting(128, "side to which masks and image crops are brought for it", unit="px", low=8, high=512)
    crf_rois: int = setting(0, "RoIs per frame that have it, to save time; 0: all", low=0)
    crf: CrfSettings = field(default_factory=CrfSettings)
    projection_weight: float = setting(0.0, "weight of BoxInst's projection term", low=0.0, high=100.0)
    pairwise_weight: float = setting(0.0, "weight of BoxInst's colour term", low=0.0, high=100.0)
    pairwise: PairwiseSettings = field(default_factory=PairwiseSettings)
    temporal_weight: float = setting(0.0, "weight of MaskFreeVIS's patch term", low=0.0, high=100.0)
    agreement_weight: float = setting(0.0, "weight of one mask over a track's frames", low=0.0, high=100.0)
    temporal: TemporalSettings = field(default_factory=TemporalSettings)
    ramp: float = setting(
        0.3, "share of the run over which L_CRF and the other terms on colours rise to their weight", low=0.0, high=1.0
    )
    pseudo_weight: float = setting(0.0, "weight of pseudo masks from GrabCut and segments", low=0.0, high=100.0)
    pseudo: PseudoSettings = field(default_factory=PseudoSettings)
    fill_weight: float = setting(0.0, "weight of filled boxes as masks: the floor of benchmarks", low=0.0, high=100.0)
    teacher_weight: float = setting(0.0, "weight of the masks of a mean teacher", low=0.0, high=100.0)
    teacher_start: float = setting(0.3, "share of the run after which the teacher is heard", low=0.0, high=1.0)
    teacher_iou: float = setting(0.5, "IoU with the true box below which a teacher's mask is refused", low=0, high=1)

    def __post_init__(self) -> None:
        check(self)


def weak_mask_losses(
    scene: Scene, found: MaskRois, settings: WeakSettings, progress: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weighted loss terms by name; and figures by name, each (2,): a sum and a count.

    progress  share of the training done, in [0, 1]
    """
    terms, figures = _located(scene, found, settings)
    terms |= _box_terms(scene, found, settings)
    terms |= _colour_terms(scene, found, settings, ramp(progress, settings.ramp))
    if settings.pseudo_weight > 0.0:
        losses = localisation_loss(found.logits, _labels_of_pseudo_masks(scene, found))
        terms["mask_pseudo"] = settings.pseudo_weight * mean_over_frames(losses, found.counts)
    if settings.teacher_weight > 0.0:
        terms["mask_teacher"] = found.logits.sum() * 0.0
        if progress >= settings.teacher_start:
            losses, weights = _teacher_losses(scene, found, settings)
            terms["mask_teacher"] = settings.teacher_weight * mean_over_frames(losses, found.counts)
            figures["teacher_weight"] = torch.stack([weights.sum(), weights.new_tensor(len(weights))])
    return terms, figures


def ramp(progress: float, share: float) -> float:
    """What of its weight a term has after `progress` of the run, when it rises evenly over the first `share` of it."""
    return min(1.0, progress / share) if share > 0.0 else 1.0


def _located(scene: Scene, found: MaskRois, settings: WeakSettings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What Grad-CAM says, and how much that is."""
    if settings.loc_weight == 0.0:
        return {}, {}
    labels = _labels(scene, found, settings)
    loss = mean_over_frames(localisation_loss(found.logits, labels), found.counts)
    shares = {"mask_void_share": mean_share(labels == VOID), "mask_positive_share": mean_share(labels == 1)}
    return {"mask_loc": settings.loc_weight * loss}, shares


def _box_terms(scene: Scene, found: MaskRois, settings: WeakSettings) -> dict[str, Tensor]:
    """What the boxes alone say."""
    terms = {}
    if settings.projection_weight > 0.0:
        losses = projection_loss(found.logits.sigmoid(), scene.true_boxes(found), found.extents)
        terms["mask_projection"] = settings.projection_weight * mean_over_frames(losses, found.counts)
    if settings.fill_weight > 0.0:
        filled = inside_true_box(scene, found).to(found.logits.dtype)
        losses = weighted_cross_entropy(found.logits, filled, torch.ones_like(found.logits))
        terms["mask_fill"] = settings.fill_weight * mean_over_frames(losses, found.counts)
    return terms


def _colour_terms(scene: Scene, found: MaskRois, settings: WeakSettings, risen: float) -> dict[str, Tensor]:
    """What colours say, in one image and over a track; `risen`: the share of their weight that these terms have."""
    terms = {}
    if settings.crf_weight > 0.0:
        chosen = found.first(settings.crf_rois)
        loss = mean_over_frames(_crf_losses(scene, chosen, settings), chosen.counts)
        terms["mask_crf"] = settings.crf_weight * risen * loss
    if settings.pairwise_weight > 0.0:
        crops = image_crops(scene.images, found, found.logits.shape[-1])
        losses = pairwise_loss(found.logits, crops, inside_true_box(scene, found), settings.pairwise)
        terms["mask_pairwise"] = settings.pairwise_weight * risen * mean_over_frames(losses, found.counts)
    for name, loss_of_pairs, weight in (
        ("mask_temporal", temporal_loss, settings.temporal_weight),
        ("mask_agreement", agreement_loss, settings.agreement_weight),
    ):
        if weight > 0.0:
            losses, counts = _pair_losses(scene, found, loss_of_pairs, settings.temporal)
            terms[name] = weight * risen * mean_over_frames(losses, counts)
    return terms


def _labels(scene: Scene, found: MaskRois, settings: WeakSettings) -> Tensor:
    """Pseudo-labels (P, M, M) of all frames; one Grad-CAM for all true boxes of the batch."""
    boxes, frame_of = scene.joined()
    with torch.no_grad():
        features = scene.net.pool(scene.pyramid, boxes, frame_of)
    heat = heat_of_boxes(scene.net.box, features, torch.cat(scene.classes), settings.cam, settings.cam_scale)
    side = found.logits.shape[-1]
    parts = zip(
        found.extents.split(found.counts), found.rows, scene.boxes, heat.split([len(part) for part in scene.boxes]),
        strict=True,
    )  # fmt: skip
    return torch.cat([pseudo_labels(*part, settings.cam_threshold, settings.cam_overlap, side) for part in parts])


def _crf_losses(scene: Scene, found: MaskRois, settings: WeakSettings) -> Tensor:
    side = (settings.crf_side, settings.crf_side)
    masks = functional.interpolate(found.logits.sigmoid()[:, None], side, mode="bilinear", align_corners=False)[:, 0]
    return crf_loss(masks, image_crops(scene.images, found, settings.crf_side), settings.crf)


def _pair_losses(
    scene: Scene, found: MaskRois, loss: Callable[..., Tensor], settings: TemporalSettings
) -> tuple[Tensor, list[int]]:
    """A loss (Q,) on the pairs of RoIs that show one object in two frames of a clip, and the pairs of each clip."""
    first, second, counts = track_pairs(found, scene.true_boxes(found), scene.clip_frames, len(scene.boxes))
    crops, inside = image_crops(scene.images, found, found.logits.shape[-1]), inside_true_box(scene, found)
    sides = [part[rows] for part in (found.logits, crops, inside) for rows in (first, second)]
    return loss(*sides, settings), counts


def _labels_of_pseudo_masks(scene: Scene, found: MaskRois) -> Tensor:
    """Labels (P, M, M) in {0, 1, VOID}: void is only what is undecided inside of the true box."""
    inside = inside_true_box(scene, found)
    parts = []
    for masks, void, rows, extents in zip(
        scene.masks, scene.void, found.rows, found.extents.split(found.counts), strict=True
    ):
        foreground = mask_shares(masks, rows, extents)
        undecided = mask_shares(void[None], torch.zeros_like(rows), extents)
        labels = (foreground >= 0.5).to(torch.int8)
        parts.append(labels.masked_fill((foreground < 0.5) & (foreground + undecided >= 0.5), VOID))
    return torch.where(inside, torch.cat(parts), 0)


def _teacher_losses(scene: Scene, found: MaskRois, settings: WeakSettings) -> tuple[Tensor, Tensor]:
    """Cross-entropy (P,) with the teacher's masks, times their weights; and the weights (P,)."""
    (teacher,) = scene.teacher
    boxes, frame_of = scene.joined()
    taught = teacher_masks(teacher, scene.images, boxes, torch.cat(scene.classes), frame_of, settings.teacher_iou)
    rows = found.true_rows(scene.boxes)
    centres = cell_centres(found.extents, found.logits.shape[-1])
    read = sampled_maps(taught.masks[rows], taught.extents[rows], centres)
    targets = ((read >= 0.5) & inside_true_box(scene, found)).to(read.dtype)
    weights = taught.weights[rows]
    losses = functional.binary_cross_entropy_with_logits(found.logits, targets, reduction="none").mean(dim=(1, 2))
    return losses * weights, weights

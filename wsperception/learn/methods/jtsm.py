"""JTSM: Joint Thing-and-Stuff Mining for weakly supervised panoptic segmentation (Shen et al., CVPR 2021).

L = L_PM + L_IS + L_SS  (Eq. 1), L_PM = L_MIL + sum_r L_PR^r  (Eq. 4). Segments of things and of stuff are labelled
alike from image tags; the best of each class, re-estimated by GrabCut, teach an instance and a semantic branch. Classes
of things come before those of stuff.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from wsperception.data.clips import ClipFrame
from wsperception.errors import InputError
from wsperception.learn import mil
from wsperception.learn.proposals.segments import ProposalSettings
from wsperception.learn.semantic import semantic_loss
from wsperception.learn.tags.box_regression import regression_loss
from wsperception.learn.tags.mined_masks import (
    MinedMasks,
    instance_loss,
    instance_rois,
    mined_masks,
    semantic_labels,
)
from wsperception.learn.tags.reestimate import ReestimateSettings
from wsperception.learn.tags.segmented_image import SegmentedImage, recoloured, resized_segments, segmented_frame
from wsperception.learn.tags.tagged_image import check_classes, teaches
from wsperception.nets.jtsm_net import JtsmNet, JtsmNetSettings, Mined
from wsperception.settings import check, setting

SUPERVISION = ("tags",)


@dataclass(frozen=True)
class Settings:
    """Defaults are section 4.1's, and where the paper is silent the released code's."""

    net: JtsmNetSettings = field(default_factory=JtsmNetSettings)
    stuff_classes: int = setting(0, "how many of the classes, the last ones, are stuff", low=0, high=254)
    segments: ProposalSettings = field(default_factory=ProposalSettings)
    largest_segment: float = setting(1.0, "share of the image above which a segment is no proposal", low=0.0, high=1.0)
    proposal_limit: int = setting(4000, "segments of an image, the likeliest", low=1, high=10000)
    refinement: mil.RefinementSettings = field(default_factory=lambda: mil.RefinementSettings(weighting="image"))
    regression_iou: float = setting(
        0.5, "IoU from which a segment learns the pseudo box, where boxes are moved", low=0.0, high=1.0
    )
    mask_rois: int = setting(10, "boxes closest to each pseudo box on which its mask is learnt", low=1, high=100)
    reestimate: ReestimateSettings = field(default_factory=ReestimateSettings)
    scales: tuple[int, ...] = setting(
        tuple(range(480, 1217, 32)), "shorter sides of images, one drawn per image", unit="px", low=16, high=4096
    )
    flip: bool = setting(True, "mirror every other image")
    colour: float = setting(1.5, "exposure and saturation are changed up to this factor; 1: not", low=1.0, high=4.0)

    def __post_init__(self) -> None:
        check(self)
        if not self.scales:
            raise InputError("scales: expected at least one, got none")


def build(settings: Settings, class_count: int, supervision: str = "tags") -> "Jtsm":
    """The network together with its losses, ready for a trainer. InputError for one class."""
    assert supervision in SUPERVISION
    check_classes(class_count)
    if settings.stuff_classes > class_count:
        raise InputError(f"stuff_classes: expected at most the {class_count} classes, got {settings.stuff_classes}")
    return Jtsm(settings, class_count)


class Jtsm(nn.Module):
    """Losses of a batch of images; `net` is what predicts."""

    def __init__(self, settings: Settings, class_count: int) -> None:
        super().__init__()
        self.settings = settings
        self.net = JtsmNet(settings.net, class_count, settings.stuff_classes)
        self._idle: set[str] = set()

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`losses` of B training frames with segments.

        progress  is not used

        Raises InputError where a frame has no tags or no segments.
        """
        limit = self.settings.proposal_limit
        return self.losses([segmented_frame(frame, limit) for frame in frames], generators)

    def losses(
        self, images: list[SegmentedImage], generators: list[torch.Generator]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss terms by name, whose sum is the objective; and figures by name, each (2,): a sum and a count.

        images      B training images of any size; one without tags or segments costs nothing, and is counted
        generators  B CPU generators, one per image: an image is augmented alike whichever process holds it

        Each term is a mean over the images. Raises InputError where tags are not those of the network's classes.
        """
        terms, figures = [], []
        for image, generator in zip(images, generators, strict=True):
            if len(image.tags) != self.net.class_count:
                raise InputError(f"{image.source}: expected {self.net.class_count} tags, got {len(image.tags)}")
            more_terms, more_figures = self._image(self._drawn(image, generator))
            terms.append(more_terms)
            figures.append(more_figures)
        mean = {name: torch.stack([part[name] for part in terms]).mean() for name in terms[0]}
        return mean, {name: torch.stack([part[name] for part in figures]).sum(dim=0) for name in figures[0]}

    def _drawn(self, image: SegmentedImage, generator: torch.Generator) -> SegmentedImage:
        """The image at one of the scales, perhaps mirrored, in other colours."""
        settings = self.settings
        scale = int(torch.randint(len(settings.scales), (), generator=generator))
        flip, exposure, saturation = torch.rand(3, generator=generator).tolist()
        drawn = resized_segments(image, settings.scales[scale], settings.flip and flip < 0.5)
        if settings.colour == 1.0:
            return drawn
        factors = [settings.colour ** (2.0 * share - 1.0) for share in (exposure, saturation)]
        return drawn.with_image(recoloured(drawn.image, *factors))

    def _image(self, image: SegmentedImage) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        net, settings = self.net, self.settings
        device = net.mean.device
        tags = torch.from_numpy(image.tags).to(device)
        segments = image.segments(device)
        objectness = torch.from_numpy(image.objectness).to(device)
        idle = not teaches(image, self._idle)
        if idle:  # without segments every loss is zero, yet reaches every parameter
            segments, objectness = segments.select(torch.arange(0, device=device)), objectness[:0]
        features = net.features(torch.from_numpy(image.image).to(device)[None])[0]
        found = net.mine(features, segments, objectness)
        scores = mil.mil_scores(found.class_logits, found.segment_logits)
        terms = {"image": mil.image_loss(found.class_logits, found.segment_logits, tags)}
        if found.refined:
            losses = mil.refinement_losses(scores, found.refined, segments.boxes, tags, settings.refinement)
            terms["refine"] = torch.stack(losses).sum()
        if found.deltas:
            terms["box"] = self._box_loss(found, scores, segments.boxes, tags)
        figures = {"idle_images": torch.tensor([float(idle), 1.0], device=device)}
        if net.mask is None and net.semantic is None:
            return terms, figures
        last = found.refined[-1].softmax(dim=1)[:, 1:] if found.refined else scores
        mined = mined_masks(image.image, segments, last, tags, mil.image_scores(scores).detach(), settings.reestimate)
        return terms | self._branch_losses(features, mined, segments.boxes), figures

    def _box_loss(self, found: Mined, scores: Tensor, boxes: Tensor, tags: Tensor) -> Tensor:
        """Each head learns the pseudo boxes of the stage before it, as it does their classes."""
        losses, before = [], scores
        for logits, deltas in zip(found.refined, found.deltas, strict=True):
            seeds = mil.find_seeds(before, tags)
            pseudo = boxes[seeds.rows]
            losses.append(regression_loss(deltas[:, None], boxes, pseudo, seeds.classes, self.settings.regression_iou))
            before = logits.softmax(dim=1)[:, 1:]
        return torch.stack(losses).sum()

    def _branch_losses(self, features: Tensor, mined: MinedMasks, boxes: Tensor) -> dict[str, Tensor]:
        net, terms = self.net, {}
        size = mined.masks.shape[1:]
        if net.mask is not None:
            things = mined.select(torch.nonzero(mined.classes < net.thing_count).flatten())
            rows, seeds = instance_rois(boxes, things.boxes, self.settings.mask_rois)
            terms["instance"] = instance_loss(net.mask_logits(features, boxes[rows]), boxes[rows], seeds, things)
        if net.semantic is not None:
            labels = semantic_labels(mined, (size[0], size[1]))
            terms["semantic"] = semantic_loss(net.semantic_logits(features[None]), labels[None], net.thing_count)
        return terms

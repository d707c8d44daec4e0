"""Community Learning: instances from image tags (Hwang et al., WACV 2021).

L = L_det + L_img + L_seg  (Eq. 2), L_det = L_cls + L_reg + sum_k L_refine^k  (Eq. 6). The detector labels proposals,
the maps of classes in them become masks, and the segmentation module learns these; all share the features. An image
needs nothing but its tags, and proposals, which are made without training.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from wsperception.data.clips import ClipFrame
from wsperception.errors import InputError
from wsperception.learn import mil
from wsperception.learn.proposals.segments import ProposalSettings
from wsperception.learn.tags.box_regression import regression_loss
from wsperception.learn.tags.class_maps import TARGETS, map_loss, mean_map, pseudo_masks, segmentation_loss
from wsperception.learn.tags.tagged_image import (
    ProposalChoice,
    TaggedImage,
    check_classes,
    resized,
    tagged_frame,
    teaches,
)
from wsperception.nets.community_net import CommunityNet, CommunityNetSettings
from wsperception.settings import check, setting

SUPERVISION = ("tags",)


@dataclass(frozen=True)
class Settings:
    """Defaults are sections 4.1 and A; where the paper is silent the `help` says so."""

    net: CommunityNetSettings = field(default_factory=CommunityNetSettings)
    segments: ProposalSettings = field(default_factory=ProposalSettings)
    largest_segment: float = setting(1.0, "share of the image above which a segment is no proposal", low=0.0, high=1.0)
    choice: ProposalChoice = field(default_factory=ProposalChoice)
    refinement: mil.RefinementSettings = field(default_factory=mil.RefinementSettings)
    scales: tuple[int, ...] = setting(
        (480, 576, 688, 864, 1000), "shorter sides of images, one drawn per image", unit="px", low=16, high=4096
    )
    flip: bool = setting(True, "mirror every other training image; the paper tells of flipping in tests only")
    regression_iou: float = setting(0.6, "IoU from which a proposal learns its pseudo box", low=0.0, high=1.0)
    foreground_share: float = setting(
        0.5,
        "score, over the best of the class, from which a proposal is foreground; the paper is silent",
        low=0,
        high=1,
    )
    foreground_nms: float = setting(0.3, "IoU above which foreground of one class is suppressed", low=0.0, high=1.0)
    foreground: int = setting(32, "foreground proposals of an image at most; the paper is silent", low=1, high=2000)
    background: int = setting(32, "background proposals drawn from an image; the paper is silent", low=0, high=2000)
    background_iou: float = setting(
        0.3, "IoU with all foreground below which a proposal is background; the paper is silent", low=0.0, high=1.0
    )
    mask_threshold: float = setting(0.4, "xi of Eq. 1 and 10", low=0.0, high=1.0)
    mask_targets: str = setting("label", "maps that the segmentation module learns", choices=TARGETS)

    def __post_init__(self) -> None:
        check(self)
        if not self.scales:
            raise InputError("scales: expected at least one, got none")


def build(settings: Settings, class_count: int, supervision: str = "tags") -> "Community":
    """The network together with its losses, ready for a trainer. InputError for one class."""
    assert supervision in SUPERVISION
    check_classes(class_count)
    return Community(settings, class_count)


class Community(nn.Module):
    """Losses of a batch of images; `net` is what detects."""

    def __init__(self, settings: Settings, class_count: int) -> None:
        super().__init__()
        self.settings = settings
        self.net = CommunityNet(settings.net, class_count)
        self._idle: set[str] = set()

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`losses` of B training frames with segments.

        progress  is not used

        Raises InputError where a frame has no tags or no segments.
        """
        images = [tagged_frame(frame, self.settings.choice) for frame in frames]
        return self.losses(images, generators)

    def losses(
        self, images: list[TaggedImage], generators: list[torch.Generator]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss terms by name, whose sum is the objective; and figures by name, each (2,): a sum and a count.

        images      B training images of any size; one without tags or proposals costs nothing, and is counted
        generators  B CPU generators, one per image: an image samples alike whichever process holds it

        Each term is a mean over the images. Raises InputError where tags are not those of the network's classes.
        """
        terms, figures = [], []
        for image, generator in zip(images, generators, strict=True):
            _check_tags(image, self.net.class_count)
            more_terms, more_figures = self._image(self._drawn(image, generator), generator)
            terms.append(more_terms)
            figures.append(more_figures)
        mean = {name: torch.stack([part[name] for part in terms]).mean() for name in terms[0]}
        return mean, {name: torch.stack([part[name] for part in figures]).sum(dim=0) for name in figures[0]}

    def _drawn(self, image: TaggedImage, generator: torch.Generator) -> TaggedImage:
        """The image at one of the scales, perhaps mirrored (section 4.1)."""
        scale = int(torch.randint(len(self.settings.scales), (), generator=generator))
        flip = self.settings.flip and bool(torch.rand((), generator=generator) < 0.5)
        return resized(image, self.settings.scales[scale], flip)

    def _image(self, image: TaggedImage, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        net, settings = self.net, self.settings
        device = net.mean.device
        tags = torch.from_numpy(image.tags).to(device)
        boxes = torch.from_numpy(image.boxes).to(device)
        idle = not teaches(image, self._idle)
        boxes = boxes[:0] if idle else boxes  # without proposals every loss is zero, yet reaches every parameter
        levels = net.levels(torch.from_numpy(image.image).to(device))
        features = net.proposal_features(levels, boxes)
        found = net.detect(features)
        scores = mil.mil_scores(found.classes, found.proposals)
        terms = {"image": mil.image_loss(found.classes, found.proposals, tags)}
        losses = mil.refinement_losses(scores, found.heads, boxes, tags, settings.refinement)
        terms["refine"] = torch.stack(losses).sum()
        mean = mil.mean_of_heads(found.heads).detach()[:, 1:]
        if net.regressor is not None:
            seeds = mil.find_seeds(mean, tags)
            terms["box"] = regression_loss(
                found.deltas, boxes, boxes[seeds.rows], seeds.classes, settings.regression_iou
            )
        figures = {"idle_images": torch.tensor([float(idle), 1.0], device=device)}
        if settings.net.cams:
            rows, labels = self._selected(mean, boxes, tags, generator)
            mask_terms, share = self._mask_terms(levels, boxes[rows], features[rows], labels)
            terms, figures = terms | mask_terms, figures | {"mask_area_share": share}
        return terms, figures

    def _selected(
        self, scores: Tensor, boxes: Tensor, tags: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Proposals (R,) for class maps and masks, and their labels (R,): foreground, then background."""
        settings = self.settings
        foreground, classes = mil.foreground_proposals(
            scores, boxes, tags, settings.foreground_share, settings.foreground_nms
        )
        background = mil.background_proposals(
            boxes, foreground, settings.background_iou, settings.background, generator
        )
        foreground, classes = foreground[: settings.foreground], classes[: settings.foreground]
        labels = torch.cat([classes + 1, torch.full_like(background, mil.BACKGROUND)])
        return torch.cat([foreground, background]), labels

    def _mask_terms(
        self, levels: list[Tensor], boxes: Tensor, features: Tensor, labels: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """L_img and L_seg of the selected proposals; and the summed area shares of their pseudo masks, and how many."""
        net, settings = self.net, self.settings
        maps = net.class_maps(levels, boxes, features)
        losses = [map_loss(net.map_logits(part), labels, settings.net.background) for part in maps]
        terms = {"map": torch.stack(losses).sum()}  # Eq. 8
        masks = pseudo_masks(mean_map([part.detach() for part in maps]), settings.mask_threshold)
        if net.segmentation is not None:
            # Of a background without a map there is nothing to learn.
            first = 1 if settings.mask_targets == "all" and not settings.net.background else 0
            logits = net.masks(features)[:, first:]
            terms["mask"] = segmentation_loss(logits, masks[:, first:], labels, settings.mask_targets)
        rows = torch.nonzero(labels != mil.BACKGROUND).flatten()
        own = masks[rows, labels[rows]].float().mean(dim=(1, 2))
        return terms, torch.stack([own.sum(), own.new_tensor(float(len(rows)))])


def _check_tags(image: TaggedImage, class_count: int) -> None:
    if len(image.tags) != class_count:
        raise InputError(f"{image.source}: expected tags of {class_count} classes, got {len(image.tags)}")

"""WISE: Instance Segmentation with Point Supervision (Laradji et al., arXiv:1906.06392).

L_W = lambda L_L + (1 - lambda) L_E  (Eq. 4). L-Net learns where objects are with LC-FCN's four terms (Eq. 1,
`wsperception.learn.points.lcfcn`); E-Net learns which pixels belong together from pseudo masks, drawn anew at every
step among the segment proposals that hold an object's point (Eq. 3, `wsperception.learn.points.affinity`). Each image
is a sample of its own: with a batch of one, as in the paper, the losses are those of the equations, otherwise their
mean.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from wsperception.data.clips import ClipFrame
from wsperception.data.segments import Segments
from wsperception.errors import InputError
from wsperception.learn.points import affinity
from wsperception.learn.points.lcfcn import location_terms, point_pixels
from wsperception.learn.points.peak_responses import response_peaks, tag_loss
from wsperception.learn.proposals.learnt_objectness import PointObjectness, judged, point_loss, segment_looks
from wsperception.learn.proposals.segment_store import image_segments
from wsperception.learn.proposals.segments import OUTLINE, ProposalSettings
from wsperception.nets.wise_net import WiseNet, WiseNetSettings, sampled, upsampled
from wsperception.settings import check, setting

SUPERVISION = ("points",)
POINTS, TAGS = "points", "tags"
JUDGE_WEIGHT = 0.1
"""Of the objectness' term. It has weights of its own, so that this only keeps it from filling the gradient's norm."""


@dataclass(frozen=True)
class Settings:
    """Losses and sampling; defaults are section 4.2 and, where the paper is silent, its equations."""

    net: WiseNetSettings = field(default_factory=WiseNetSettings)
    segments: ProposalSettings = field(default_factory=lambda: ProposalSettings(trees=2, objectness=OUTLINE))
    places: str = setting(
        POINTS, "L-Net learns from points (LC-FCN), or from the image's tags (PRM); E-Net's points are its peaks then",
        choices=(POINTS, TAGS),
    )  # fmt: skip
    learn_objectness: bool = setting(
        False, "also learn from the points which proposals look like objects; the paper's were learnt from masks"
    )
    largest_segment: float = setting(0.25, "share of the image above which a segment is no object", low=0.0, high=1.0)
    balance: float = setting(0.1, "lambda of Eq. 4", low=0.0, high=1.0)
    pixels_per_object: int = setting(
        0, "random pixels of each pseudo mask that are paired with every point; 0: as many as objects (footnote 2)",
        low=0, high=10000,
    )  # fmt: skip
    background_pairs: bool = setting(
        False, "also pair background pixels with each other and with the points, as the released code does"
    )
    mean_pairs: bool = setting(False, "Eq. 3 as a mean over the pairs instead of a sum")

    def __post_init__(self) -> None:
        check(self)


def wise_segments(image: np.ndarray, settings: Settings) -> Segments:
    """The segment proposals of an image (h, w, 3) uint8 RGB, with the objectness that the settings ask for."""
    return image_segments(image, settings.segments, settings.largest_segment)


def build(settings: Settings, class_count: int, supervision: str = "points") -> "Wise":
    """The network together with its losses, ready for a trainer."""
    assert supervision in SUPERVISION
    return Wise(settings, class_count)


class JudgingNet(WiseNet):
    """A WiseNet that learns from the same points which proposals look like objects."""

    def __init__(self, settings: WiseNetSettings, class_count: int) -> None:
        super().__init__(settings, class_count)
        self.judge = PointObjectness()

    @torch.no_grad()
    def judged(self, image: np.ndarray, segments: Segments) -> Segments:
        """The proposals of an image (h, w, 3) uint8 RGB with what was learnt in their objectness."""
        features = torch.from_numpy(segment_looks(image, segments).features).to(self.mean.device)
        return judged(segments, self.judge(features).cpu().numpy())


class Wise(nn.Module):
    """Losses of a batch of images with points; `net` is what is kept."""

    def __init__(self, settings: Settings, class_count: int) -> None:
        super().__init__()
        self.settings = settings
        self.net = (JudgingNet if settings.learn_objectness else WiseNet)(settings.net, class_count)

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted loss terms by name, whose sum is the objective; and figures by name, each (2,): a sum and a count.

        frames      B training frames with points and segments
        generators  B CPU generators, one per frame: a frame samples alike whichever process holds it
        progress    is not used

        Raises InputError where a frame has no points or no segments.
        """
        images = torch.from_numpy(np.stack([frame.image for frame in frames])).to(self.net.mean.device)
        logits, embeddings = self.net(images)
        logits, embeddings = logits.float(), embeddings.float()
        size = (images.shape[1], images.shape[2])
        full = upsampled(logits, size)
        terms: list[dict[str, Tensor]] = []
        for index, frame in enumerate(frames):
            pixels, class_ids = _points(frame, size)
            if self.settings.places == TAGS:
                places, pixels = self._tag_term(logits[index, 1:], class_ids, size)
            else:
                places = location_terms(full[index], pixels, class_ids, _ignored(frame))
            weighted = {name: self.settings.balance * value for name, value in places.items()}
            segments = _segments(frame)
            if isinstance(self.net, JudgingNet) and self.settings.places == POINTS:
                segments, judging = self._judged(self.net, frame, segments, pixels)
                weighted["objectness"] = JUDGE_WEIGHT * judging
            pairs = self._pair_term(embeddings[index], segments, pixels, generators[index])
            terms.append(weighted | {"pair": (1.0 - self.settings.balance) * pairs})
        return {name: torch.stack([each[name] for each in terms]).mean() for name in terms[0]}, {}

    def _tag_term(
        self, responses: Tensor, class_ids: np.ndarray, size: tuple[int, int]
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        """PRM's term of one image, of whose points only the classes are read; and pixels (P, 2) of the peaks.

        A peak of a class that is not in the image is no object: this much the tags say of peaks.
        """
        tags = torch.zeros(len(responses), device=responses.device)
        tags[torch.from_numpy(class_ids).to(responses.device)] = 1.0
        peaks = response_peaks(responses, size)
        return {"tags": tag_loss(responses, tags)}, peaks.pixels[np.isin(peaks.class_ids, class_ids)]

    def _judged(
        self, net: JudgingNet, frame: ClipFrame, segments: Segments, pixels: np.ndarray
    ) -> tuple[Segments, Tensor]:
        """The segments of one image as they are judged now, and the term that the judge learns from."""
        looks = segment_looks(frame.image, segments)
        logits = net.judge(torch.from_numpy(looks.features).to(net.mean.device)).float()
        term = point_loss(logits, looks, segments, pixels, _ignored(frame))
        return judged(segments, logits.detach().cpu().numpy()), term

    def _pair_term(self, maps: Tensor, segments: Segments, pixels: np.ndarray, generator: torch.Generator) -> Tensor:
        """L_E of one image (Eq. 3) from embeddings (D, h', w')."""
        settings, size = self.settings, segments.superpixels.shape
        drawn = affinity.draw_segments(segments, pixels, generator)
        pixels, drawn = pixels[drawn >= 0], drawn[drawn >= 0]
        if len(pixels) == 0:
            return maps.sum() * 0.0
        count = settings.pixels_per_object or len(pixels)
        masks = [segments.mask(segment) for segment in drawn.tolist()]
        groups = [affinity.draw_pixels(mask, count, generator) for mask in masks]
        behind = affinity.draw_pixels(affinity.background(segments, drawn), count, generator)
        owners = np.repeat(np.arange(len(groups) + 1), [len(group) for group in (*groups, behind)])
        anchors, anchor_owners = pixels, np.arange(len(pixels))
        if settings.background_pairs and len(behind):
            anchors = np.concatenate([anchors, behind])
            anchor_owners = np.append(anchor_owners, np.full(len(behind), len(groups)))
        chosen = torch.from_numpy(np.concatenate([anchors, *groups, behind])).to(maps.device)
        found = sampled(maps, chosen, size)
        same = torch.from_numpy(anchor_owners[:, None] == owners).to(maps.device)
        losses = affinity.pair_losses(found[: len(anchors)], found[len(anchors) :], same)
        return losses.mean() if settings.mean_pairs else losses.sum()


def _points(frame: ClipFrame, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (P, 2) int64 row, column and classes (P,) int64 of the objects of a frame."""
    if frame.weak is None or frame.weak.points is None or frame.weak.point_classes is None:
        raise InputError(f"{frame.source}: expected points, got none")
    return point_pixels(frame.weak.points, size), frame.weak.point_classes.astype(np.int64)


def _segments(frame: ClipFrame) -> Segments:
    if frame.segments is None:
        raise InputError(f"{frame.source}: expected segment proposals, got none")
    return frame.segments


def _ignored(frame: ClipFrame) -> np.ndarray:
    """(h, w) bool: the pixels of the ignore boxes."""
    ignored = np.zeros(frame.image.shape[:2], bool)
    for x0, y0, x1, y1 in frame.ignore_boxes.tolist():
        ignored[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    return ignored

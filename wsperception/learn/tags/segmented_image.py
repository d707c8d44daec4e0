"""An image of which only its classes are known, and its segment proposals."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from wsperception.data.clips import ClipFrame
from wsperception.errors import InputError
from wsperception.geometry import scale_boxes
from wsperception.learn.proposals.segments import Proposals
from wsperception.learn.tags.tagged_image import TaggedImage, frame_tags, mirrored, segment_boxes
from wsperception.nets.segment_set import SegmentSet


@dataclass(frozen=True, eq=False)
class SegmentedImage(TaggedImage):
    """A tagged image whose P boxes are those of segments; different segments may have one box.

    superpixels  (H, W) int32      superpixel of every pixel, below S
    membership   (S, P) bool       which superpixels make up segment p
    objectness   (P,) float32      in [0, 1]
    """

    superpixels: np.ndarray
    membership: np.ndarray
    objectness: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.superpixels.shape != self.image.shape[:2]:
            raise InputError(
                f"{self.source}: expected superpixels of {self.image.shape[:2]}, got {self.superpixels.shape}"
            )

    def with_image(self, image: np.ndarray) -> "SegmentedImage":
        """The same labels and proposals on another image of this size."""
        return replace(self, image=image)

    def segments(self, device: torch.device) -> SegmentSet:
        """The proposals as tensors."""
        return SegmentSet(
            torch.from_numpy(self.superpixels).to(device).long(),
            torch.from_numpy(self.membership).to(device),
            torch.from_numpy(self.boxes).to(device),
        )


def segmented_image(
    image: np.ndarray, tags: np.ndarray, proposals: Proposals, limit: int, source: str
) -> SegmentedImage:
    """The image with its likeliest `limit` proposals."""
    return SegmentedImage(
        image,
        tags,
        proposals.boxes[:limit],
        source,
        proposals.superpixels,
        np.ascontiguousarray(proposals.membership[:, :limit]),
        proposals.objectness[:limit],
    )


def segmented_frame(frame: ClipFrame, limit: int) -> SegmentedImage:
    """A training frame, of which tags and segments are read. Raises InputError where it has none of either.

    Segments that augmentation moved out of the image are left out.
    """
    tags = frame_tags(frame)
    if frame.segments is None:
        raise InputError(f"{frame.source}: expected segment proposals, got none")
    boxes = segment_boxes(frame.segments)
    rows = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))[:limit]
    return SegmentedImage(
        frame.image,
        tags,
        boxes[rows],
        frame.source,
        frame.segments.rows().astype(np.int32),
        np.ascontiguousarray(frame.segments.members()[:, rows]),
        frame.segments.objectness[rows],
    )


def resized_segments(sample: SegmentedImage, short_side: int, flip: bool) -> SegmentedImage:
    """The image with its shorter side brought to `short_side` pixels, and mirrored left to right if `flip`.

    A superpixel that has no pixel left stays in the membership; nothing is pooled from it.
    """
    height, width = sample.image.shape[:2]
    scale = short_side / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_LINEAR)
    superpixels = cv2.resize(sample.superpixels, size, interpolation=cv2.INTER_NEAREST)
    boxes = scale_boxes(sample.boxes, size[0] / width, size[1] / height)
    if flip:
        image, superpixels = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(superpixels[:, ::-1])
        boxes = mirrored(boxes, size[0])
    return SegmentedImage(image, sample.tags, boxes, sample.source, superpixels, sample.membership, sample.objectness)


def recoloured(image: np.ndarray, exposure: float, saturation: float) -> np.ndarray:
    """An image (H, W, 3) uint8 RGB with its value and saturation in HSV times these factors (JTSM, section 4.1)."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2HSV)
    hsv[..., 1:] = np.clip(hsv[..., 1:] * np.array([saturation, exposure], np.float32), 0.0, 1.0)
    changed: np.ndarray = np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255.0).astype(np.uint8)
    return changed

"""Pseudo masks from boxes alone: where GrabCut and a segment proposal agree (LAT, Li et al., ECCV 2018, section 3.2).

A pixel of a box is foreground where both say so, background where neither does, and void where they differ; outside
its box an object has no pixel. What two objects claim is void. A mask that fills too little or too much of its box is
rejected: all of the box is void then, and the object is learnt by its box only.
"""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from wsperception import rle
from wsperception.data.labelled_frames import FrameMasks
from wsperception.geometry import clip_boxes, pixel_range
from wsperception.learn.proposals.segments import ProposalSettings, segment_proposals
from wsperception.settings import check, setting

BACKGROUND, FOREGROUND, VOID = 0, 1, 2
"""Labels of a pixel."""

VERSION = 1
"""Goes up with every change of what this file gives for the same image, box and settings."""


@dataclass(frozen=True)
class PseudoSettings:
    """How pseudo masks are made."""

    context: float = setting(1.5, "side of the crop over the side of the box", low=1.05, high=4.0)
    side: int = setting(128, "the crop is brought to the area of a square of this side", unit="px", low=16, high=1024)
    iterations: int = setting(2, "rounds of GrabCut; 5 take 2.5 times as long and are no better", low=1, high=50)
    core: float = setting(
        0.5, "sides, over those of the box, of the ellipse in its middle that GrabCut must keep; 0: none", low=0, high=1
    )
    superpixels: int = setting(150, "superpixels of a crop, about", low=2, high=2000)
    smallest_fill: float = setting(0.2, "a mask that fills less of its box is rejected", low=0.0, high=1.0)
    largest_fill: float = setting(0.98, "a mask that fills more of its box is rejected", low=0.0, high=1.0)
    seed: int = setting(0, "seed of GrabCut's colour models", low=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class BoxMask:
    """The pseudo mask of one box.

    labels    (h, w) uint8     BACKGROUND, FOREGROUND or VOID around the box
    corner    (x, y)           place of labels[0, 0] in the image
    accepted  bool             False: the whole box is VOID
    """

    labels: np.ndarray
    corner: tuple[int, int]
    accepted: bool

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns of the image that `labels` covers."""
        (x, y), (height, width) = self.corner, self.labels.shape
        return slice(y, y + height), slice(x, x + width)


def frame_pseudo_masks(
    image: np.ndarray, boxes: np.ndarray, class_ids: np.ndarray, settings: PseudoSettings
) -> FrameMasks:
    """Pseudo masks of all boxes of one image.

    image      (H, W, 3) uint8 RGB
    boxes      (N, 4) float32
    class_ids  (N,) int

    Returns N masks, some of them empty: those of rejected boxes; `ignored` is the void of all of them, without what
    another object alone claims. Two claims of one pixel make it void, whatever the classes: LAT says so of one class,
    and box labels know of no front and back between two.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    claims = np.zeros(size, np.uint8)
    void = np.zeros(size, bool)
    found = [box_mask(image, box, settings) for box in boxes]
    for mask in found:
        region = mask.region
        claims[region] += mask.labels == FOREGROUND
        void[region] |= mask.labels == VOID
    void = (void & (claims == 0)) | (claims > 1)
    objects = []
    for mask in found:
        whole = np.zeros(size, bool)
        whole[mask.region] = (mask.labels == FOREGROUND) & (claims[mask.region] == 1)
        objects.append(rle.encode(whole))
    assert len(class_ids) == len(objects)
    return FrameMasks(size, tuple(objects), (rle.encode(void),), drawn=False)


def box_mask(image: np.ndarray, box: np.ndarray, settings: PseudoSettings) -> BoxMask:
    """The pseudo mask of one box (4,) in an image (H, W, 3) uint8 RGB.

    A box without a pixel inside the image gives labels of shape (0, 0). The same pixels and box give the same mask,
    whatever was computed before.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = clip_boxes(box[None], (height, width))[0].tolist()
    reach_x, reach_y = (x1 - x0) * (settings.context - 1) / 2 + 1, (y1 - y0) * (settings.context - 1) / 2 + 1
    left, right = pixel_range(x0 - reach_x, x1 + reach_x, width)
    top, bottom = pixel_range(y0 - reach_y, y1 + reach_y, height)
    columns, rows = pixel_range(x0 - left, x1 - left, right - left), pixel_range(y0 - top, y1 - top, bottom - top)
    if columns[0] == columns[1] or rows[0] == rows[1]:
        return BoxMask(np.zeros((0, 0), np.uint8), (left, top), False)
    crop = image[top:bottom, left:right]
    inside = np.zeros(crop.shape[:2], bool)
    inside[slice(*rows), slice(*columns)] = True
    labels = np.zeros(crop.shape[:2], np.uint8)
    agreed, differing = _opinions(crop, np.array([x0 - left, y0 - top, x1 - left, y1 - top]), settings)
    labels[inside & differing] = VOID
    labels[inside & agreed] = FOREGROUND
    fill = (labels == FOREGROUND).sum() / inside.sum()
    # Where the box is all there is, nothing shows what background looks like.
    accepted = bool(settings.smallest_fill <= fill <= settings.largest_fill) and not bool(inside.all())
    if not accepted:
        labels[inside] = VOID
    return BoxMask(labels, (left, top), accepted)


def grabcut(image: np.ndarray, box: np.ndarray, settings: PseudoSettings) -> np.ndarray:
    """Foreground (H, W) bool of GrabCut, started with the box as probable foreground and the rest as background.

    LAT starts it from the box alone. In traffic what surrounds a car is often of its colours, and the foreground then
    shrinks to nothing, so that the mask is rejected; the ellipse `core` in the middle prevents that. Without any
    background pixel everything is foreground.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box.tolist()
    columns, rows = slice(*pixel_range(x0, x1, width)), slice(*pixel_range(y0, y1, height))
    state = np.full((height, width), cv2.GC_BGD, np.uint8)
    state[rows, columns] = cv2.GC_PR_FGD
    if settings.core > 0:
        x = (np.arange(width) + 0.5 - (x0 + x1) / 2) / max(settings.core * (x1 - x0) / 2, 1.0)
        y = (np.arange(height) + 0.5 - (y0 + y1) / 2) / max(settings.core * (y1 - y0) / 2, 1.0)
        state[(x[None] ** 2 + y[:, None] ** 2 <= 1.0) & (state == cv2.GC_PR_FGD)] = cv2.GC_FGD
    if not (state == cv2.GC_BGD).any() or not (state != cv2.GC_BGD).any():
        everything: np.ndarray = state != cv2.GC_BGD
        return everything
    pixels = np.ascontiguousarray(image)
    cv2.setRNGSeed(_seed(pixels, state, settings.seed))  # of this thread only
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels, state, None, *models, settings.iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore
    foreground: np.ndarray = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
    return foreground


def best_segment(image: np.ndarray, box: np.ndarray, superpixels: int) -> np.ndarray:
    """(H, W) bool: the proposal with the highest IoU with the filled box (LAT section 3.2), of `superpixels` about.

    Among equal ones the one with the highest objectness; all False where the image gives no proposal.
    """
    found = segment_proposals(image, ProposalSettings(superpixels=superpixels, paired=150))
    if len(found) == 0:
        return np.zeros(image.shape[:2], bool)
    inside = np.zeros(image.shape[:2], bool)
    x0, y0, x1, y1 = box.tolist()
    rows, columns = pixel_range(y0, y1, image.shape[0]), pixel_range(x0, x1, image.shape[1])
    inside[slice(*rows), slice(*columns)] = True
    common = np.bincount(found.superpixels[inside], minlength=len(found.membership)) @ found.membership  # (P,)
    return found.mask(int(np.argmax(common / (inside.sum() + found.areas - common))))


def _opinions(crop: np.ndarray, box: np.ndarray, settings: PseudoSettings) -> tuple[np.ndarray, np.ndarray]:
    """Where both say foreground, and where one does, (h, w) bool each, of a crop (h, w, 3)."""
    height, width = crop.shape[:2]
    # To the same area up or down: GrabCut weighs a contour by its length, so that on a crop of 40 pixels it removes
    # the object (IoU 0.16 against 0.31 on real cars).
    scale = settings.side / float(np.sqrt(height * width))
    size = (max(round(width * scale), 2), max(round(height * scale), 2))
    scaled = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    scaled_box = box * np.tile([size[0] / width, size[1] / height], 2)
    cut, segment = grabcut(scaled, scaled_box, settings), best_segment(scaled, scaled_box, settings.superpixels)
    return _resized(cut & segment, (width, height)), _resized(cut ^ segment, (width, height))


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized: np.ndarray = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
    return resized


def _seed(pixels: np.ndarray, state: np.ndarray, seed: int) -> int:
    """31 bits that depend on what is segmented, not on when."""
    digest = hashlib.sha256(pixels.tobytes() + state.tobytes() + str(seed).encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1

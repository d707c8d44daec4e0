"""Masks of mined segments drawn anew by GrabCut, with the segment as evidence (JTSM, section 3.4)."""

from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.geometry import clip_boxes, pixel_range
from wsperception.settings import check, setting


@dataclass(frozen=True)
class ReestimateSettings:
    """How masks are re-estimated."""

    evidence: str = setting(
        "segment", "segment: it is surely foreground, as in the paper; box: the rectangle alone, as in the code; "
        "none: the segment stays as it is",
        choices=("segment", "box", "none"),
    )  # fmt: skip
    side: int = setting(400, "longer side of the image that GrabCut sees at most; the code's", unit="px", low=16)
    iterations: int = setting(5, "rounds of GrabCut; the code's", low=1, high=50)
    seed: int = setting(0, "seed of GrabCut's colour models", low=0)

    def __post_init__(self) -> None:
        check(self)


def reestimated_mask(
    image: np.ndarray, segment: np.ndarray, box: np.ndarray, settings: ReestimateSettings
) -> np.ndarray:
    """Mask (H, W) bool of what a segment shows.

    image    (H, W, 3) uint8 RGB
    segment  (H, W) bool
    box      (4,) around the segment: outside is surely background

    Where nothing is outside of the box, or GrabCut leaves no foreground, the segment is the mask: there is no evidence
    for another. The same input gives the same mask.
    """
    height, width = segment.shape
    scale = min(1.0, settings.side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    inner = clip_boxes((box * np.tile([size[0] / width, size[1] / height], 2))[None], (size[1], size[0]))[0]
    rows, columns = pixel_range(inner[1], inner[3], size[1]), pixel_range(inner[0], inner[2], size[0])
    state = np.full((size[1], size[0]), cv2.GC_BGD, np.uint8)
    state[slice(*rows), slice(*columns)] = cv2.GC_PR_FGD
    if settings.evidence == "segment":
        state[(_resized(segment, size)) & (state == cv2.GC_PR_FGD)] = cv2.GC_FGD
    background = state == cv2.GC_BGD
    if settings.evidence == "none" or not background.any() or background.all():
        return segment
    cv2.setRNGSeed(settings.seed)  # of this thread only
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, state, None, *models, settings.iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore
    found = _resized((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD), (width, height))
    return found if found.any() else segment


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized: np.ndarray = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
    return resized

"""Regions of one image that touch: what colours they have, and how strong the contours between them are."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, eq=False)
class RegionGraph:
    """What the merging knows of S regions and of the E pairs of them that touch.

    areas       (S,) int64       pixels
    histograms  (S, B) float64   colours, each row sums to 1
    pairs       (E, 2) int64     i < j, each pair once
    lengths     (E,) float64     length of the common contour
    strengths   (E,) float64     mean strength of that contour, in [0, 1]
    """

    areas: np.ndarray
    histograms: np.ndarray
    pairs: np.ndarray
    lengths: np.ndarray
    strengths: np.ndarray


def region_graph(image: np.ndarray, superpixels: np.ndarray, bins: int, contrast: float) -> RegionGraph:
    """Colours of the regions of a label map (H, W) of an image (H, W, 3) uint8 RGB, and the contours between them.

    bins      of the colour histogram per channel of Lab
    contrast  difference in Lab that makes a contour a strong one
    """
    count = int(superpixels.max()) + 1
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)  # L in [0, 100], a and b about [-100, 100]
    areas = np.bincount(superpixels.ravel(), minlength=count)
    histograms = np.zeros((count, 3 * bins))
    for channel, (low, high) in enumerate(((0.0, 100.0), (-60.0, 60.0), (-60.0, 60.0))):
        values = ((lab[..., channel] - low) * (bins / (high - low))).astype(np.int64)
        values = np.clip(values, 0, bins - 1) + superpixels * bins
        counted = np.bincount(values.ravel(), minlength=count * bins).reshape(count, bins)
        histograms[:, channel * bins : (channel + 1) * bins] = counted / (3.0 * areas[:, None])
    pairs, lengths, strengths = _contours(lab, superpixels, count, contrast)
    return RegionGraph(areas, histograms, pairs, lengths, strengths)


def _contours(
    lab: np.ndarray, superpixels: np.ndarray, count: int, contrast: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of `count` regions that touch, with length and mean strength of their contour; see RegionGraph."""
    # Measured from one pixel before the cut to one behind it: an edge of a photograph is two or three pixels wide.
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.7)
    keys, strengths = [], []
    for axis in (0, 1):
        wide = np.concatenate([np.take(smooth, [0], axis), smooth, np.take(smooth, [-1], axis)], axis)
        size = superpixels.shape[axis]
        near, far = np.arange(size - 1), np.arange(3, size + 2)  # in `wide`: before a pair, and behind it
        difference = np.linalg.norm(np.take(wide, near, axis) - np.take(wide, far, axis), axis=2)
        a, b = np.take(superpixels, np.arange(size - 1), axis), np.take(superpixels, np.arange(1, size), axis)
        cut = a != b
        low, high = np.minimum(a[cut], b[cut]).astype(np.int64), np.maximum(a[cut], b[cut])
        keys.append(low * count + high)
        strengths.append(1.0 - np.exp(-difference[cut] / contrast))
    present, rows = np.unique(np.concatenate(keys), return_inverse=True)
    lengths = np.bincount(rows, minlength=len(present)).astype(np.float64)
    sums = np.bincount(rows, np.concatenate(strengths), minlength=len(present))
    return np.stack([present // count, present % count], axis=1), lengths, sums / np.maximum(lengths, 1.0)

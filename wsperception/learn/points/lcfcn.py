"""Objects from one labelled pixel each: the loss of LC-FCN (Laradji et al., ECCV 2018) as WISE uses it, and peaks.

L_L = L_I + L_P + L_S + L_F with equal weights (WISE Eq. 1): image level, point level, split level, false positives. The
terms are those of LC-FCN's paper for several classes, with the weights of its maintained code: a split counts one less
than the points that it parts, and L_S and L_F are means over the pixels of a boundary or blob.

Everywhere: C classes of objects; `log_probabilities` (C + 1, h, w) is a log-softmax over its first axis, and channel 0
is background; `pixels` (P, 2) int64 are row and column of the labelled pixels, `class_ids` (P,) int64 lie in [0, C).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from skimage.segmentation import watershed
from torch import Tensor

TOP_HAT = 7
"""Side of the black top-hat that makes the valleys between two maxima the ridges of the watershed."""


@dataclass(frozen=True, eq=False)
class Blobs:
    """Connected pixels at which one class of objects is the likeliest.

    labels     (h, w) int32   0 outside of blobs, else 1 + row
    class_ids  (B,) int64     in [0, C)
    """

    labels: np.ndarray
    class_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class Peaks:
    """The pixels at which blobs have their highest probability: where objects are said to be (WISE Fig. 4).

    pixels     (B, 2) int64    row, column
    class_ids  (B,) int64
    scores     (B,) float32    the probability there
    """

    pixels: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray


def location_terms(
    logits: Tensor, pixels: np.ndarray, class_ids: np.ndarray, ignored: np.ndarray | None = None
) -> dict[str, Tensor]:
    """The four terms of Eq. 1 for one image, by name: image, point, split, false_positive.

    logits   (C + 1, h, w)
    ignored  (h, w) bool   pixels that may be object or not: they push nothing to background; None: no such pixel

    Without a point everything is pushed to background.
    """
    log_probabilities = logits.float().log_softmax(dim=0)
    probabilities = log_probabilities.detach().exp().cpu().numpy()
    if ignored is None:
        ignored = np.zeros(probabilities.shape[1:], bool)
    blobs = find_blobs(probabilities)
    background = log_probabilities[0]
    split = split_weights(probabilities, blobs, pixels, class_ids)
    false = false_positive_weights(blobs, pixels, class_ids, ignored)
    return {
        "image": image_term(log_probabilities, class_ids, ignored),
        "point": point_term(log_probabilities, pixels, class_ids),
        "split": -(torch.from_numpy(split).to(background.device) * background).sum(),
        "false_positive": -(torch.from_numpy(false).to(background.device) * background).sum(),
    }


def image_term(log_probabilities: Tensor, class_ids: np.ndarray, ignored: np.ndarray) -> Tensor:
    """L_I: for classes in the image -log of their highest probability, for the others -log(1 - it).

    Background is always in the image. Each of the two groups is averaged over its classes; pixels of `ignored` (h, w)
    bool have no maximum.
    """
    flat = log_probabilities.flatten(1)  # (C + 1, h w)
    hidden = torch.from_numpy(ignored.ravel()).to(flat.device)
    places = flat.detach().masked_fill(hidden, -torch.inf).argmax(dim=1)  # (C + 1,)
    there = flat[:, places]  # (C + 1 channels, C + 1 maxima)
    present = torch.zeros(len(flat), dtype=torch.bool)
    present[0] = True
    present[torch.from_numpy(np.unique(class_ids)) + 1] = True
    term = -there.diagonal()[present].mean()
    absent = (~present).nonzero()[:, 0].to(flat.device)
    if len(absent) == 0:
        return term
    # log(1 - p) as the sum over the other channels: exact also where p is 1 to the last bit.
    own = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    others = there.masked_fill(own, -torch.inf).logsumexp(dim=0)  # (C + 1,)
    return term - others[absent].mean()


def point_term(log_probabilities: Tensor, pixels: np.ndarray, class_ids: np.ndarray) -> Tensor:
    """L_P: the sum over the points of -log of the probability of their class; zero without a point."""
    rows, columns, classes = (torch.from_numpy(part) for part in (pixels[:, 0], pixels[:, 1], class_ids))
    return -log_probabilities[classes + 1, rows, columns].sum()


def split_weights(probabilities: np.ndarray, blobs: Blobs, pixels: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """(h, w) float32: how much L_S pushes each pixel to background, L_S = -sum(weight * log of background).

    Between the n > 1 points of a class in the image a boundary is drawn over the whole image, and weighs n - 1; between
    the m > 1 points of a class in a blob of that class another one inside the blob, which weighs m - 1. What a boundary
    weighs is spread evenly over its pixels. The boundaries are those of the watershed of the black top-hat of the
    class's probability, seeded by its points.
    """
    classes = [class_id for class_id in np.unique(class_ids).tolist() if (class_ids == class_id).sum() > 1]
    weights = np.zeros(probabilities.shape[1:], np.float32)
    inside = _points_in_blobs(blobs, pixels, class_ids)

    def split(class_id: int) -> np.ndarray:
        own = class_ids == class_id
        return _class_split(probabilities[class_id + 1], blobs.labels, pixels[own], inside[own])

    if len(classes) < 2:
        return sum(map(split, classes), weights)
    with ThreadPoolExecutor(len(classes)) as pool:  # the watershed, which takes almost all the time, lets others run
        return sum(pool.map(split, classes), weights)


def false_positive_weights(blobs: Blobs, pixels: np.ndarray, class_ids: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """(h, w) float32: how much L_F pushes each pixel to background.

    Every blob without a point of its class weighs one, spread evenly over those of its pixels that are not in `ignored`
    (h, w) bool.
    """
    counts = np.bincount(_points_in_blobs(blobs, pixels, class_ids) + 1, minlength=len(blobs) + 1)
    areas = np.bincount(blobs.labels[~ignored], minlength=len(blobs) + 1)
    per_blob = np.where(counts == 0, 1.0 / np.maximum(areas, 1), 0.0)
    per_blob[0] = 0.0  # outside of blobs
    weights: np.ndarray = np.where(ignored, 0.0, per_blob[blobs.labels]).astype(np.float32)
    return weights


def boundaries(relief: np.ndarray, seeds: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(h, w) bool: the pixels with a neighbour, up, down, left or right, in the basin of another seed.

    relief  (h, w) float       what is flooded
    seeds   (P, 2) int64       row, column; of two in one pixel the last one counts
    mask    (h, w) bool        the water stays in there; None: everywhere
    """
    markers = np.zeros(relief.shape, np.int32)
    markers[seeds[:, 0], seeds[:, 1]] = np.arange(1, len(seeds) + 1)
    basins: np.ndarray = watershed(relief, markers, mask=mask)  # type: ignore[no-untyped-call]
    found = np.zeros(relief.shape, bool)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = basins[first], basins[second]
        differ = (a != b) & (a > 0) & (b > 0)
        found[first] |= differ
        found[second] |= differ
    return found


def find_blobs(probabilities: np.ndarray) -> Blobs:
    """The blobs of (C + 1, h, w) probabilities; pixels that touch at a corner are connected."""
    winners = probabilities.argmax(axis=0)
    labels = np.zeros(winners.shape, np.int32)
    classes: list[int] = []
    for channel in (np.flatnonzero(np.bincount(winners.ravel())[1:]) + 1).tolist():  # np.unique would sort all pixels
        mask = (winners == channel).view(np.uint8)
        count, parts = cv2.connectedComponents(mask, connectivity=8)
        labels += np.where(parts > 0, parts + len(classes), 0).astype(np.int32)
        classes += [channel - 1] * (count - 1)
    return Blobs(labels, np.array(classes, np.int64))


def find_peaks(probabilities: np.ndarray, blobs: Blobs) -> Peaks:
    """The peak of every blob of (C + 1, h, w) probabilities, in their order; among equals the first pixel."""
    flat = blobs.labels.ravel()
    where = np.flatnonzero(flat)
    rows = flat[where] - 1
    values = probabilities.reshape(len(probabilities), -1)[blobs.class_ids[rows] + 1, where]
    order = np.lexsort((where, -values, rows))
    first = order[np.searchsorted(rows[order], np.arange(len(blobs)))]
    pixels = np.stack(np.divmod(where[first], blobs.labels.shape[1]), axis=1)
    return Peaks(pixels.reshape(-1, 2), blobs.class_ids, values[first].astype(np.float32))


def point_pixels(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(P, 2) int64 row and column of the pixels of an image of `size` (h, w) that points (P, 2) x y lie in.

    A point on the far border belongs to the last pixel.
    """
    pixels = np.floor(points[:, ::-1]).astype(np.int64)
    inside: np.ndarray = np.clip(pixels, 0, np.array(size) - 1)
    return inside


def _class_split(probability: np.ndarray, labels: np.ndarray, pixels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(h, w) float32: the part of L_S's weights that is due to one class, of which there are at least two points.

    probability  (h, w) float32
    labels       (h, w) int32     of all blobs
    inside       (P,) int64       row of the blob of each point of the class; -1 where it lies in none of its class
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (TOP_HAT, TOP_HAT))
    relief = cv2.morphologyEx(probability, cv2.MORPH_BLACKHAT, kernel)
    weights = np.zeros(probability.shape, np.float32)
    whole = boundaries(relief, pixels)
    weights[whole] += (len(pixels) - 1) / max(whole.sum(), 1)
    points = np.bincount(inside + 1, minlength=int(labels.max()) + 1)  # by label
    points[0] = 0
    crowded = points > 1
    seeds = pixels[crowded[inside + 1]]
    if len(seeds):
        parts = boundaries(relief, seeds, crowded[labels])
        found = labels[parts]
        weights[parts] += (points[found] - 1) / np.bincount(found)[found]
    return weights


def _points_in_blobs(blobs: Blobs, pixels: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """(P,) int64: the row of the blob of a point's own class that it lies in, -1 where there is none."""
    rows: np.ndarray = blobs.labels[pixels[:, 0], pixels[:, 1]].astype(np.int64) - 1
    other = blobs.class_ids[rows] != class_ids if len(blobs) else np.ones(len(rows), bool)
    rows[other] = -1
    return rows

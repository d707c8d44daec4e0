"""What boxes and tags say of a label map: the cleaning steps of LAT's released tool, as functions of arrays.

Li, Arnab, Torr, "Weakly- and Semi-Supervised Panoptic Segmentation", ECCV 2018, section 3.4, names the DenseCRF and the
box prior; thresholds, order and the other steps are those of the tool that its authors published with their labels.

Letters: H W image, C classes, N boxes, K crops. A label map is (H, W) uint8, class ids and IGNORE. Boxes are (N, 4)
float32, x0 y0 x1 y1 exclusive, of classes (N,) int; a box of a group of objects is left out by the caller. `is_thing`
is (C,) bool. Every function gives a new map.
"""

from collections.abc import Sequence

import numpy as np

from wsperception.geometry import box_areas, pixel_range

IGNORE = 255
"""Label of a pixel that no loss counts."""
BACKGROUND = 254
"""Label, in what GrabCut and segments agree on, of a pixel that is no thing."""
SHARED = -1
"""Instance of a pixel that may be of several boxes of its class."""


def fixed_crops(size: tuple[int, int], crop: tuple[int, int]) -> np.ndarray:
    """Crops (K, 4) int64, x0 y0 x1 y1, of size `crop` (h, w) that cover an image of `size` (H, W), row by row.

    As few as cover it, evenly spread: 15 of 400 x 500 in 1024 x 2048 (appendix B.2). Where a crop is larger than the
    image it is cut to it.
    """
    starts = []
    for side, length in zip(size, crop, strict=True):
        count = -(-side // length)
        starts.append(np.linspace(0, max(side - length, 0), count).round().astype(np.int64))
    top, left = (grid.ravel() for grid in np.meshgrid(*starts, indexing="ij"))
    return np.stack([left, top, np.minimum(left + crop[1], size[1]), np.minimum(top + crop[0], size[0])], axis=1)


def shown_where(size: tuple[int, int], crops: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """(C, H, W) bool: the classes that a crop (K, 4) around the pixel is tagged with (K, C), for an image of `size`."""
    shown = np.zeros((tags.shape[1], *size), bool)
    for (x0, y0, x1, y1), present in zip(crops.tolist(), tags, strict=True):
        shown[present, y0:y1, x0:x1] = True
    return shown


def without_uncertain(labels: np.ndarray, scores: np.ndarray, lowest: float) -> np.ndarray:
    """Step 1: what the network gave a probability (H, W) below `lowest` is ignored."""
    return np.where(scores < lowest, np.uint8(IGNORE), labels)


def without_untagged(labels: np.ndarray, crops: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Step 2: a class that is not in a crop is ignored there.

    crops  (K, 4) int        as of `fixed_crops`
    tags   (K, C) bool       which classes each crop shows; where crops overlap all of them must show it
    """
    cleaned = labels.copy()
    for (x0, y0, x1, y1), present in zip(crops.tolist(), tags, strict=True):
        # BACKGROUND does not come here, and IGNORE stays what it is.
        known = np.append(present, np.zeros(256 - len(present), bool))
        part = cleaned[y0:y1, x0:x1]
        part[~known[part]] = IGNORE
    return cleaned


def merged_with_agreed(labels: np.ndarray, agreed: np.ndarray, is_thing: Sequence[bool] | np.ndarray) -> np.ndarray:
    """Step 3: `agreed` (H, W) knows of things, with BACKGROUND and IGNORE, and `labels` of stuff.

    A thing of `agreed` always wins. Elsewhere stuff is kept and things are ignored: there `agreed` says that they are
    none, or does not know.
    """
    things = np.append(np.asarray(is_thing, bool), np.zeros(256 - len(is_thing), bool))
    rest = np.where(things[labels], np.uint8(IGNORE), labels)
    merged: np.ndarray = np.where(things[agreed], agreed, rest)
    return merged


def within_boxes(
    labels: np.ndarray, boxes: np.ndarray, classes: np.ndarray, is_thing: Sequence[bool] | np.ndarray, outside: int
) -> np.ndarray:
    """Step 4, the box prior of section 3.4: a thing outside all boxes of its class becomes `outside`.

    That is IGNORE, or the background class where a data set has one kind of stuff, as VOC has (section 3.4).
    """
    allowed = np.zeros((len(is_thing), *labels.shape), bool)
    for box, class_id in zip(boxes, classes.tolist(), strict=True):
        allowed[class_id][_pixels(box, labels.shape)] = True
    cleaned = labels.copy()
    for class_id in np.flatnonzero(np.asarray(is_thing, bool)).tolist():
        cleaned[(labels == class_id) & ~allowed[class_id]] = outside
    return cleaned


def with_filled_boxes(
    labels: np.ndarray, boxes: np.ndarray, classes: np.ndarray, is_thing: Sequence[bool] | np.ndarray, share: float
) -> np.ndarray:
    """Step 5: where its class covers less than `share` of a box, the whole box becomes of its class.

    The smaller of two boxes lies in front. What `labels` says to be a thing of another class stays. Coverage is that in
    `labels`, whatever was filled before. A box without a pixel inside the image does nothing.
    """
    things = np.append(np.asarray(is_thing, bool), np.zeros(256 - len(is_thing), bool))
    free = ~things[labels]
    filled = labels.copy()
    for row in np.argsort(-box_areas(boxes), kind="stable").tolist():
        region = _pixels(boxes[row], labels.shape)
        own = labels[region] == classes[row]
        if own.size and own.mean() < share:
            filled[region][free[region] | own] = classes[row]
    return filled


def instances_in_boxes(labels: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Which box each pixel of a thing belongs to: (H, W) int32, row + 1, 0 where none, SHARED where several.

    A pixel belongs to the boxes of its class that it lies in (section 3.2): where these overlap nobody can tell.
    """
    instances = np.zeros(labels.shape, np.int32)
    for row, (box, class_id) in enumerate(zip(boxes, classes.tolist(), strict=True), start=1):
        region = _pixels(box, labels.shape)
        own, before = labels[region] == class_id, instances[region]
        instances[region] = np.where(own, np.where(before == 0, row, SHARED), before)
    return instances


def _pixels(box: np.ndarray, size: tuple[int, ...]) -> tuple[slice, slice]:
    """The pixels whose centres lie in a box, as a part of an image of `size` (H, W)."""
    x0, y0, x1, y1 = box.tolist()
    return slice(*pixel_range(y0, y1, size[0])), slice(*pixel_range(x0, x1, size[1]))

"""PASCAL VOC 2012's segmentation labels in the published layout.

ROOT/SegmentationClass/2007_000032.png    palette: class; 0 background, 255 void
ROOT/SegmentationObject/2007_000032.png   palette: number of the object; 0 background, 255 void
ROOT/JPEGImages/2007_000032.jpg           camera image
ROOT/Annotations/2007_000032.xml          boxes; its n-th object is object n, and says whether it is difficult
ROOT/ImageSets/Segmentation/train.txt     names

Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010.
"""

import logging
from functools import partial
from pathlib import Path

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet, check_size, read_image, relabelled
from wsperception.data.voc_annotations import THINGS, read_voc_objects
from wsperception.errors import InputError
from wsperception.types import VOID, LabelSpace

logger = logging.getLogger(__name__)

LABEL_SPACE = LabelSpace((*THINGS, "background"), (*[True] * len(THINGS), False))
"""The 20 things in VOC's order, then the background as stuff: class id = VOC's number - 1, background 20."""
BACKGROUND = len(THINGS)
BOUNDARY = 255
"""VOC's void: the outlines of objects, and what is too difficult."""


def open_voc(root: Path, image_set: str | None = None) -> PanopticSet:
    """The images of a set, by name (`2007_000032`).

    root       VOC2012, or a folder that holds it directly or below VOCdevkit
    image_set  train, val, trainval, ...: a list below ImageSets/Segmentation; None: every image with object labels

    Raises InputError where folders or the list are missing.
    """
    folder = next((place for place in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012") if _is_voc(place)), None)
    if folder is None:
        raise InputError(f"{root}: expected folders SegmentationClass and SegmentationObject, as in VOC2012")
    names = _all_names(folder) if image_set is None else read_names(folder / f"ImageSets/Segmentation/{image_set}.txt")
    return PanopticSet(str(folder), LABEL_SPACE, names, partial(_read_named, folder))


def read_names(path: Path) -> tuple[str, ...]:
    """The names in a list, the first word of each line. InputError where it is missing or empty."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a list of image names")
    names = tuple(
        line.split()[0] for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    )
    if not names:
        raise InputError(f"{path}: expected image names, found none")
    return names


def panoptic_of_voc(
    name: str, classes: np.ndarray, objects: np.ndarray, difficult: frozenset[int], where: str, image: Path | None
) -> PanopticLabels:
    """The labels of one image.

    classes, objects  (H, W) uint8: VOC's numbers, BOUNDARY void
    difficult         numbers of the objects that count neither for nor against

    An object has the class of most of its pixels. Void is what either map calls so, and what has a class of things but
    no object. InputError naming `where` for an unknown class, and for an object without a class.
    """
    unknown = (classes > len(THINGS)) & (classes != BOUNDARY)
    if unknown.any():
        raise InputError(f"{where}: expected classes 0 to {len(THINGS)} or {BOUNDARY}, got {classes[unknown].max()}")
    void = (classes == BOUNDARY) | (objects == BOUNDARY) | ((classes > 0) & (objects == 0))
    values = objects.astype(np.uint16) + 1  # 1 background, n + 1 object n
    values[void] = 0
    ids, numbers = relabelled(values, where)
    class_ids, crowd = np.full(len(numbers), VOID, np.int32), np.zeros(len(numbers), np.bool_)
    votes = np.zeros((len(numbers), len(THINGS) + 1), np.int64)
    np.add.at(votes, (ids[~void], classes[~void]), 1)
    for row, value in enumerate(numbers.tolist()):
        if value == 1:
            class_ids[row] = BACKGROUND
        elif value > 1:
            if not votes[row, 1:].any():
                raise InputError(f"{where}: object {value - 1}: expected a class in SegmentationClass, got background")
            class_ids[row] = int(votes[row, 1:].argmax())
            crowd[row] = value - 1 in difficult
    scores = (class_ids != VOID).astype(np.float32)
    return PanopticLabels(name, ids, class_ids, crowd, scores, image)


def read_palette_image(path: Path) -> np.ndarray:
    """(H, W) uint8 numbers of an image with VOC's palette, or of one plain 8-bit channel, as some tools write.

    InputError naming the file for any other image.
    """
    values = read_image(path)
    if values.dtype == np.uint8 and values.ndim == 2:
        return values
    if values.dtype != np.uint8 or values.ndim != 3:
        raise InputError(f"{path}: expected VOC's palette or one 8-bit channel, got {values.dtype} {values.shape}")
    numbers = np.zeros(values.shape[:2], np.uint8)
    for bit, channel in enumerate((2, 1, 0)):  # OpenCV: blue first
        for place in range(3):
            numbers |= (values[..., channel] >> 7 - place & 1) << 3 * place + bit
    if not (PALETTE[numbers] == values[..., 2::-1]).all():
        raise InputError(f"{path}: expected VOC's palette or one 8-bit channel, got other colours")
    return numbers


def _palette() -> np.ndarray:
    """(256, 3) uint8 RGB: bit 0, 1, 2 of a number are the highest bits of red, green, blue; 3, 4, 5 the next, ..."""
    numbers = np.arange(256)
    channels = [sum(((numbers >> 3 * place + channel) & 1) << 7 - place for place in range(3)) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


PALETTE = _palette()
"""(256, 3) uint8 RGB of VOC's label images."""


def _is_voc(folder: Path) -> bool:
    return (folder / "SegmentationClass").is_dir() and (folder / "SegmentationObject").is_dir()


def _all_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(path.stem for path in (folder / "SegmentationObject").glob("*.png")))
    if not names:
        raise InputError(f"{folder / 'SegmentationObject'}: expected label images (*.png), found none")
    return names


def _read_named(folder: Path, name: str) -> PanopticLabels:
    path = folder / "SegmentationObject" / f"{name}.png"
    objects = read_palette_image(path)
    classes = read_palette_image(folder / "SegmentationClass" / f"{name}.png")
    check_size(path, objects, (classes.shape[0], classes.shape[1]), "SegmentationClass")
    image = folder / "JPEGImages" / f"{name}.jpg"
    difficult = _difficult(folder / "Annotations" / f"{name}.xml")
    return panoptic_of_voc(name, classes, objects, difficult, str(path), image if image.is_file() else None)


def _difficult(path: Path) -> frozenset[int]:
    """Numbers of the difficult objects; none where there is no annotation, as in results."""
    if not path.is_file():
        return frozenset()
    return frozenset(number for number, entry in enumerate(read_voc_objects(path), start=1) if entry.difficult)

"""Cityscapes' panoptic labels, fine and coarse, in the published layout.

ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png      16 bit: label, or label * 1000 + instance
ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png         8 bit: label
ROOT/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png        camera image

gtCoarse the same. Cordts et al., "The Cityscapes Dataset", CVPR 2016: 34 labels, of which 19 are evaluated; the others
are void. A label of things without an instance number is a group (persongroup, cargroup, ...).
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from wsperception.data.panoptic_labels import UNLABELLED, PanopticLabels, PanopticSet, read_label_image, relabelled
from wsperception.errors import InputError
from wsperception.types import VOID, LabelSpace

KINDS = ("gtFine", "gtCoarse")
_NAMES_OF_LABELS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_FIRST_THING, _LABELS = 24, 34
LABEL_SPACE = LabelSpace(tuple(_NAMES_OF_LABELS.values()), tuple(label >= _FIRST_THING for label in _NAMES_OF_LABELS))
"""The 19 evaluated classes in the order of their train ids."""

TRAIN_IDS = np.full(256, UNLABELLED, np.uint8)
"""(256,) uint8: train id of each label id; UNLABELLED for what is not evaluated."""
TRAIN_IDS[list(_NAMES_OF_LABELS)] = np.arange(len(_NAMES_OF_LABELS))

_LABEL_FILE = re.compile(r"(?P<name>.+?)(_gtFine|_gtCoarse|_leftImg8bit)?_instanceIds\.png")


def open_cityscapes(root: Path, split: str | None = None, kind: str = "gtFine") -> PanopticSet:
    """The images below `root`, by name (`aachen_000000_000019`).

    root   the data set, or any folder with *_instanceIds.png below it, as for predictions
    split  train, val, train_extra, ...; None: whatever lies below `root`, or below ROOT/`kind`
    kind   one of KINDS: which labels, where there are both

    Raises InputError where the folder or its label images are missing, or one name comes twice.
    """
    folder = _label_folder(root, split, kind)
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*_instanceIds.png")):
        match = _LABEL_FILE.fullmatch(path.name)
        assert match
        name = match["name"]
        if name in files:
            raise InputError(f"{path}: expected one label image of {name}, got {files[name]} too")
        files[name] = path
    if not files:
        raise InputError(f"{folder}: expected label images (*_instanceIds.png), found none")
    return PanopticSet(str(folder), LABEL_SPACE, tuple(files), partial(_read_named, files))


def read_instance_ids(path: Path, name: str, image: Path | None = None) -> PanopticLabels:
    """The labels of one *_instanceIds.png.

    Pixels of labels that are not evaluated are void. InputError naming the file for another kind of image and for a
    label that Cityscapes does not have.
    """
    values = read_label_image(path, np.uint16, 1, "one 16-bit channel of instance ids")
    ids, numbers = relabelled(values.astype(np.int32) + 1, str(path))  # label 0 (unlabeled) is a number of its own
    numbers = numbers.astype(np.int64) - 1  # (R,) -1 in row 0, which has no pixel
    labels = np.where(numbers < 1000, numbers, numbers // 1000)
    unknown = np.flatnonzero(labels >= _LABELS)
    if len(unknown):
        raise InputError(f"{path}: expected labels 0 to {_LABELS - 1}, got value {numbers[unknown[0]]}")
    train_ids = TRAIN_IDS[labels]  # of row 0, whose label is -1, the last: UNLABELLED
    kept = np.append(0, np.flatnonzero(train_ids != UNLABELLED))
    rows = np.zeros(len(numbers), np.uint16)
    rows[kept] = np.arange(len(kept))
    class_ids = np.append(VOID, train_ids[kept[1:]]).astype(np.int32)
    crowd = (numbers[kept] < 1000) & (labels[kept] >= _FIRST_THING)
    scores = np.append(0.0, np.ones(len(kept) - 1)).astype(np.float32)
    return PanopticLabels(name, rows[ids], class_ids, crowd, scores, image)


def read_train_ids(path: Path) -> np.ndarray:
    """(H, W) uint8 train ids of one *_labelIds.png, UNLABELLED for what is not evaluated.

    InputError naming the file for another kind of image and for a label that Cityscapes does not have.
    """
    values = read_label_image(path, np.uint8, 1, "one 8-bit channel of label ids")
    known = values < _LABELS
    # 255 is how an 8-bit image holds -1, the licence plate.
    if not (known | (values == 255)).all():
        raise InputError(f"{path}: expected labels 0 to {_LABELS - 1}, got {values[~known & (values != 255)].max()}")
    train_ids: np.ndarray = TRAIN_IDS[values]
    return train_ids


def _label_folder(root: Path, split: str | None, kind: str) -> Path:
    if kind not in KINDS:
        raise InputError(f"kind of labels '{kind}': unknown; expected {' or '.join(KINDS)}")
    folder = root / kind if (root / kind).is_dir() else root
    folder = folder / split if split else folder
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected Cityscapes labels (*_instanceIds.png)")
    return folder


def _read_named(files: Mapping[str, Path], name: str) -> PanopticLabels:
    return read_instance_ids(files[name], name, _image_of(files[name], name))


def _image_of(path: Path, name: str) -> Path | None:
    """The camera image in the folder leftImg8bit that mirrors the one of the labels."""
    for folder in path.parents:
        if folder.name in KINDS:
            image = folder.parent / "leftImg8bit" / path.parent.relative_to(folder) / f"{name}_leftImg8bit.png"
            return image if image.is_file() else None
    return None

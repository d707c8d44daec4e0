"""BDD100K's panoptic bitmasks: one RGBA PNG per image.

FOLDER/NAME.png   red = category, green = attributes, blue * 256 + alpha = number of the segment; category 0 is void

Yu et al., "BDD100K", CVPR 2020. Bit 0 of the attributes is "ignore", bit 1 "crowd".
"""

from functools import partial
from pathlib import Path

import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet, read_label_image, relabelled
from wsperception.errors import InputError
from wsperception.types import VOID, LabelSpace

_STUFF = (
    "dynamic", "ego vehicle", "ground", "static", "parking", "rail track", "road", "sidewalk", "bridge", "building",
    "fence", "garage", "guard rail", "tunnel", "wall", "banner", "billboard", "lane divider", "parking sign", "pole",
    "polegroup", "street light", "traffic cone", "traffic device", "traffic light", "traffic sign",
    "traffic sign frame", "terrain", "vegetation", "sky",
)  # fmt: skip
_THINGS = (
    "person", "rider", "bicycle", "bus", "car", "caravan", "motorcycle", "trailer", "train", "truck",
)  # fmt: skip
LABEL_SPACE = LabelSpace((*_STUFF, *_THINGS), (*[False] * len(_STUFF), *[True] * len(_THINGS)))
"""BDD100K's 40 categories in their order: class id = category - 1."""
_NOT_COUNTED = 0b11
"""Attributes ignore and crowd."""


def open_bdd_bitmasks(folder: Path) -> PanopticSet:
    """The images of a folder, by name. InputError where there is none."""
    names = tuple(sorted(path.stem for path in folder.glob("*.png")))
    if not names:
        raise InputError(f"{folder}: expected panoptic bitmasks (*.png), found none")
    return PanopticSet(str(folder), LABEL_SPACE, names, partial(_read_named, folder))


def _read_named(folder: Path, name: str) -> PanopticLabels:
    path = folder / f"{name}.png"
    values = read_label_image(path, np.uint8, 4, "four 8-bit channels of a panoptic bitmask")
    segment_high, attributes, category, segment = (values[..., place].astype(np.uint32) for place in range(4))
    packed = category << 24 | attributes << 16 | segment_high << 8 | segment
    ids, numbers = relabelled(np.where(category > 0, packed, 0), str(path))
    categories = numbers >> 24
    if categories.max() > len(LABEL_SPACE):
        raise InputError(f"{path}: expected categories 0 to {len(LABEL_SPACE)}, got {categories.max()}")
    class_ids = categories.astype(np.int32) - 1
    assert class_ids[0] == VOID
    crowd = (numbers >> 16 & _NOT_COUNTED) > 0
    return PanopticLabels(name, ids, class_ids, crowd, (categories > 0).astype(np.float32))

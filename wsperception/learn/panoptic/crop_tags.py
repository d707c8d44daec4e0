"""Tags of the crops of a training set: a file that says which classes each crop of each image shows.

    {"crop": [400, 500], "tags": {"0000/000000": [["road"], ["road", "sky"]]}}

Crops are those of `fixed_crops`, row by row; a crop at least as large as the image makes them tags of images.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsperception.data.coco_panoptic import read_json
from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.errors import InputError
from wsperception.learn.kept_work import whole_file
from wsperception.learn.panoptic.cleaning import fixed_crops
from wsperception.types import VOID, LabelSpace


@dataclass(frozen=True, eq=False)
class CropTags:
    """The tags of a set of images.

    path   of the file, for messages
    crop   (h, w) of the crops
    tags   name of an image -> (K, C) bool
    """

    path: Path
    crop: tuple[int, int]
    tags: Mapping[str, np.ndarray]

    def of_image(self, name: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Crops (K, 4) and tags (K, C) of an image of `size` (H, W); an image that nobody tagged has K = 0.

        Raises InputError where the file has another number of crops for it.
        """
        if name not in self.tags:
            return np.zeros((0, 4), np.int64), np.zeros((0, 0), bool)
        crops, tags = fixed_crops(size, self.crop), self.tags[name]
        if len(crops) != len(tags):
            raise InputError(
                f"{self.path}: {name}: expected tags of {len(crops)} crops of {self.crop[1]} x {self.crop[0]} px, "
                f"got {len(tags)}"
            )
        return crops, tags


def read_tags(path: Path, labels: LabelSpace) -> CropTags:
    """The file; InputError naming it where it is missing, broken, or names a class that is not in `labels`."""
    content = read_json(path)
    crop, listed = content.get("crop"), content.get("tags")
    if not isinstance(crop, list) or [type(side) for side in crop] != [int, int] or min(crop) < 1:
        raise InputError(f"{path}: crop: expected height and width in pixels, got {crop!r}"[:200])
    if not isinstance(listed, dict):
        raise InputError(f"{path}: tags: expected an image's name -> a list of classes for each crop")
    rows = {name: class_id for class_id, name in enumerate(labels.names)}
    tags = {}
    for name, crops in listed.items():
        if not isinstance(crops, list) or not all(isinstance(names, list) for names in crops):
            raise InputError(f"{path}: tags: {name}: expected a list of classes for each crop")
        tags[name] = np.zeros((len(crops), len(labels)), bool)
        for place, names in enumerate(crops):
            for one in names:
                if not isinstance(one, str) or one not in rows:
                    known = ", ".join(labels.names)
                    raise InputError(f"{path}: tags: {name}: unknown class {one!r}; known are {known}"[:300])
                tags[name][place, rows[one]] = True
    return CropTags(path, (crop[0], crop[1]), tags)


def write_tags(path: Path, sequences: Mapping[str, PanopticSet], crop: tuple[int, int], share: float) -> None:
    """Writes what an annotator would have said of full labels: the file, whole or not at all.

    sequences  name -> its images
    share      part of a crop that a class must cover to be named
    """
    tags = {}
    for sequence, found in sequences.items():
        for labels in found:
            crops = fixed_crops((labels.ids.shape[0], labels.ids.shape[1]), crop)
            shown = shown_classes(labels, crops, len(found.labels), share)
            named = [[found.labels.names[row] for row in np.flatnonzero(one)] for one in shown]
            tags[f"{sequence}/{labels.name}"] = named
    values = {"crop": list(crop), "tags": tags}
    with whole_file(path) as file:
        file.write(json.dumps(values).encode())


def shown_classes(labels: PanopticLabels, crops: np.ndarray, class_count: int, share: float) -> np.ndarray:
    """(K, C) bool: which classes have a pixel in a crop, and at least the part `share` of it."""
    classes = np.where(labels.class_ids == VOID, class_count, labels.class_ids)[labels.ids]
    shown = np.zeros((len(crops), class_count), bool)
    for row, (x0, y0, x1, y1) in enumerate(crops.tolist()):
        areas = np.bincount(classes[y0:y1, x0:x1].ravel(), minlength=class_count + 1)[:class_count]
        shown[row] = (areas > 0) & (areas >= share * (x1 - x0) * (y1 - y0))
    return shown

"""Drives as panoptic labels: every pixel has a class, every car and pedestrian its number.

Segment numbers are `category * 1000 + instance`: a thing keeps the number that it has in the masks of KITTI MOTS, which
is constant over time; stuff and crowds have instance 0.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wsperception.data.coco_panoptic import Categories, category_entries, segment_colours, segment_entries
from wsperception.data.drive.canvas import SEMANTICS
from wsperception.data.drive.png import encode_png
from wsperception.data.drive.sequence import CLASS_NUMBERS, IGNORE_ID, DriveFrame
from wsperception.data.panoptic_labels import PanopticLabels, relabelled
from wsperception.types import VOID, LabelSpace

STUFF = ("road", "pavement", "building", "vegetation", "sky", "object")
"""Stuff of a drive; "object" is what stands in the street: poles, signs, boxes."""
LABEL_SPACE = LabelSpace((*CLASS_NUMBERS, *STUFF), (*[True] * len(CLASS_NUMBERS), *[False] * len(STUFF)))
"""Cars and pedestrians, then stuff. "other vehicle" is in no class: it is void, as nobody told its instances apart."""
CATEGORIES = (*CLASS_NUMBERS.values(), *range(11, 11 + len(STUFF)))
"""Category of each class in files: things as in KITTI MOTS, stuff from 11 on, since 10 is its ignore region."""

_CLASS_OF_SEMANTIC = np.array(
    [LABEL_SPACE.names.index(name) if name in LABEL_SPACE.names else VOID for name in SEMANTICS], np.int32
)
_CATEGORY_OF_SEMANTIC = np.array([0 if row == VOID else CATEGORIES[row] for row in _CLASS_OF_SEMANTIC], np.uint16)


def segment_numbers_of(frame: DriveFrame) -> np.ndarray:
    """(H, W) uint16 `category * 1000 + instance` of every pixel; 0 void.

    Cars and pedestrians that are too small or too far to count are crowds of their class, instance 0. What the ignore
    region of KITTI MOTS adds around them is street, and labelled as such.
    """
    numbers: np.ndarray = (_CATEGORY_OF_SEMANTIC * np.uint16(1000))[frame.semantic]
    counted = (frame.object_ids > 0) & (frame.object_ids != IGNORE_ID)
    return np.where(counted, frame.object_ids, numbers)


def panoptic_of(frame: DriveFrame, name: str, image: Path | None = None) -> PanopticLabels:
    """The labels of a frame over LABEL_SPACE. They are exact, so every score is 1."""
    ids, numbers = relabelled(segment_numbers_of(frame), name)
    class_of = {category: class_id for class_id, category in enumerate(CATEGORIES)} | {0: VOID}
    class_ids = np.array([class_of[number // 1000] for number in numbers.tolist()], np.int32)
    return PanopticLabels(name, ids, class_ids, _is_crowd(numbers), (class_ids != VOID).astype(np.float32), image)


class PanopticWriter:
    """Writes a sequence in COCO's panoptic format; a context manager.

    FOLDER/NAME/000000.png, ..., and FOLDER/NAME.json when it ends without an error.

    folder  made where it is missing
    name    of the sequence; its images are called NAME/000000.png in the JSON
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._json, self._place, self._name = folder / f"{name}.json", folder / name, name
        self._place.mkdir(parents=True)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, frame: DriveFrame) -> None:
        """One frame."""
        numbers = segment_numbers_of(frame)
        file, (height, width) = f"{frame.index:06d}.png", numbers.shape
        (self._place / file).write_bytes(encode_png(segment_colours(numbers)))
        ids, present = relabelled(numbers, file)
        image = {"id": frame.index, "file_name": f"{self._name}/{file}", "height": height, "width": width}
        self._images.append(image)
        listed = present.tolist()
        segments = segment_entries(ids, listed, [number // 1000 for number in listed], _is_crowd(present).tolist())
        self._annotations.append({"image_id": frame.index, "file_name": file, "segments_info": segments})

    def __enter__(self) -> "PanopticWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write_json()

    def _write_json(self) -> None:
        categories = category_entries(Categories(LABEL_SPACE, CATEGORIES))
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        self._json.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _is_crowd(numbers: np.ndarray) -> np.ndarray:
    """(R,) bool of segment numbers: things without an instance."""
    return np.asarray(np.isin(numbers // 1000, list(CLASS_NUMBERS.values())) & (numbers % 1000 == 0))

"""The panoptic labels of a training set: for each of its images those of the same sequence and number."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsperception.data.coco_panoptic import open_sequences
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.errors import InputError
from wsperception.types import VOID, LabelSpace


class PanopticFrames:
    """Row of a training set -> the labels of its image, over `labels`; read at every access.

    frames   the training set, of `roots`
    folders  one for each of `roots`: COCO panoptic JSON files, SEQUENCE.json beside SEQUENCE/NUMBER.png
    labels   the classes to learn; a class of the files that is none of them is void

    So full and partial labels mix: how much of an image is labelled depends on the folder of its root. Raises
    InputError where there is not one folder for each root, where a file lacks a class or takes a thing for stuff, and
    for an image without labels.
    """

    def __init__(
        self, frames: Sequence[LabelledFrame], roots: Sequence[Path], folders: Sequence[Path], labels: LabelSpace
    ) -> None:
        if len(folders) != len(roots):
            raise InputError(f"panoptic labels: expected one folder for each of {len(roots)} data, got {len(folders)}")
        self._labels = labels
        opened = {root: _sequences(folder, labels) for root, folder in zip(roots, folders, strict=True)}
        self._places: list[tuple[PanopticSet, str]] = []
        for frame in frames:
            folder, sets = next((str(root), sets) for root, sets in opened.items() if frame.path.is_relative_to(root))
            found = sets.get(frame.path.parent.name)
            if found is None or frame.path.stem not in found.names:
                raise InputError(f"{frame.path}: no panoptic labels of this image among those for {folder}")
            self._places.append((found, frame.path.stem))

    def __len__(self) -> int:
        return len(self._places)

    def __call__(self, row: int) -> PanopticLabels:
        found, name = self._places[row]
        return with_classes(found.read(name), found.labels, self._labels)


def frame_name(path: Path) -> str:
    """SEQUENCE/NUMBER of an image file: its name in files about a training set."""
    return f"{path.parent.name}/{path.stem}"


def with_classes(labels: PanopticLabels, own: LabelSpace, wanted: LabelSpace) -> PanopticLabels:
    """Labels over `own` classes as labels over `wanted` ones, by name; segments of other classes become void."""
    table = np.array([wanted.names.index(name) if name in wanted.names else VOID for name in own.names], np.int32)
    class_ids = np.append(VOID, table[labels.class_ids[1:]]).astype(np.int32)
    kept = class_ids != VOID
    rows = np.where(kept, np.cumsum(kept), 0).astype(np.uint16)
    kept[0] = True
    return PanopticLabels(
        labels.name, rows[labels.ids], class_ids[kept], labels.is_crowd[kept], labels.scores[kept], labels.image
    )


def _sequences(folder: Path, labels: LabelSpace) -> dict[str, PanopticSet]:
    sets = open_sequences(folder)
    for found in sets.values():
        missing = [name for name in labels.names if name not in found.labels.names]
        if missing:
            raise InputError(f"{found.source}: expected the class {missing[0]}, got {', '.join(found.labels.names)}")
        for name, thing in zip(labels.names, labels.is_thing, strict=True):
            if found.labels.is_thing[found.labels.id_of(name)] != thing:
                wanted, got = ("a thing", "stuff") if thing else ("stuff", "a thing")
                raise InputError(f"{found.source}: expected the class {name} to be {wanted}, got {got}")
    return sets

"""What tags and boxes say of pixels without a label: the classes that they may have. LAT ignores these pixels.

But a crop's tags name all that it shows, and nothing outside the boxes is a thing: every such pixel has one class of
few, and a network can learn that much (`wsperception.learn.semantic.candidate_loss`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.panoptic_frames import PanopticFrames, frame_name
from wsperception.data.panoptic_labels import PanopticLabels, relabelled
from wsperception.geometry import pixel_range
from wsperception.learn.panoptic.cleaning import shown_where
from wsperception.learn.panoptic.crop_tags import CropTags, read_tags
from wsperception.types import VOID, LabelSpace

TAGS = "made-from/tags.json"
"""In a folder of labels that were made from boxes and tags: the tags."""


def training_labels(
    frames: Sequence[LabelledFrame], roots: Sequence[Path], folders: Sequence[Path], labels: LabelSpace
) -> Callable[[int], PanopticLabels]:
    """Row of a training set -> its labels as of `PanopticFrames`, with candidates where their folder holds TAGS.

    Raises InputError as `PanopticFrames` and `read_tags` do.
    """
    given = PanopticFrames(frames, roots, folders, labels)
    files = {root: folder / TAGS for root, folder in zip(roots, folders, strict=True)}
    tags = {root: read_tags(file, labels) for root, file in files.items() if file.exists()}

    def labels_of(row: int) -> PanopticLabels:
        found, frame = given(row), frames[row]
        own = _of_root(frame.path, tags)
        if own is None:
            return found
        size = (found.ids.shape[0], found.ids.shape[1])
        crops, shown = own.of_image(frame_name(frame.path), size)
        if len(crops) == 0:
            return found
        return with_candidates(found, possible_classes(size, (crops, shown), frame, labels.is_thing))

    return labels_of


def possible_classes(
    size: tuple[int, int], tags: tuple[np.ndarray, np.ndarray], frame: LabelledFrame, is_thing: Sequence[bool]
) -> np.ndarray:
    """(C, H, W) bool: stuff that a crop around the pixel is tagged with, and things whose boxes hold the pixel.

    tags  crops (K, 4) int64, and which classes they show (K, C) bool
    """
    things = np.asarray(is_thing, bool)
    possible: np.ndarray = shown_where(size, *tags) & ~things[:, None, None]
    for (x0, y0, x1, y1), class_id in zip(frame.boxes.tolist(), frame.class_ids.tolist(), strict=True):
        possible[class_id, slice(*pixel_range(y0, y1, size[0])), slice(*pixel_range(x0, x1, size[1]))] = True
    return possible


def with_candidates(labels: PanopticLabels, possible: np.ndarray) -> PanopticLabels:
    """The labels with a void row for each set of classes (C, H, W) bool that void pixels may have."""
    sets, members = _sets(possible, labels.ids == 0, labels.name)
    first, more = len(labels.class_ids), len(members)
    return replace(
        labels,
        ids=np.where(sets > 0, sets + np.uint16(first - 1), labels.ids),
        class_ids=np.append(labels.class_ids, np.full(more, VOID, np.int32)),
        is_crowd=np.append(labels.is_crowd, np.zeros(more, bool)),
        scores=np.append(labels.scores, np.zeros(more, np.float32)),
        candidates=np.append(np.zeros((first, len(possible)), bool), members, axis=0),
    )


def _sets(possible: np.ndarray, where: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The different sets (S, C) bool among the classes (C, H, W) of the pixels of a mask (H, W) bool.

    And which of them, from 1 on, each pixel has: (H, W) uint16, 0 outside the mask.
    """
    codes = np.ones(where.shape, np.int64)
    for row in possible:
        codes = 2 * codes + row
        if codes.size and codes.max() >= 2**61:
            codes = relabelled(codes, name)[0].astype(np.int64)
    places = relabelled(np.where(where, codes, 0), name)[0]
    first = np.zeros(int(places.max(initial=0)) + 1, np.int64)
    first[places.ravel()[::-1]] = np.arange(places.size)[::-1]
    return places, possible.reshape(len(possible), -1)[:, first[1:]].T


def _of_root(path: Path, tags: Mapping[Path, CropTags]) -> CropTags | None:
    return next((found for root, found in tags.items() if path.is_relative_to(root)), None)

"""Labels of the weak-label file as the types that training reads."""

from pathlib import Path

import numpy as np

from wsperception.data.box_labels import BoxLabels, BoxSequence, TrackingLabels
from wsperception.data.label_file import FrameLabels, LabelFile
from wsperception.errors import InputError
from wsperception.types import LabelSpace, WeakLabels


def weak_labels(frame: FrameLabels, labels: LabelSpace) -> WeakLabels:
    """What was annotated in `frame`; kinds that were not annotated are None.

    `track_ids` is None unless every box has an id. WeakLabels has no place for the ids of points: they stay in
    `frame.points`. Raises InputError for a class that is not in `labels`.
    """
    boxes, points = frame.boxes, frame.points
    tags = None
    if frame.tags is not None:
        tags = np.zeros(len(labels), bool)
        tags[[labels.id_of(name) for name in frame.tags]] = True
    ids = None if boxes is None else [entry.track_id for entry in boxes]
    return WeakLabels(
        tags=tags,
        boxes=None if boxes is None else _floats([entry.box for entry in boxes], 4),
        box_classes=None if boxes is None else _classes([entry.class_name for entry in boxes], labels),
        track_ids=None if ids is None or None in ids else np.array(ids, np.int32),
        points=None if points is None else _floats([entry.point for entry in points], 2),
        point_classes=None if points is None else _classes([entry.class_name for entry in points], labels),
        ignore_boxes=None if frame.ignore is None else _floats(list(frame.ignore), 4),
    )


def box_sequence(folder: Path, file: LabelFile, labels: LabelSpace) -> BoxSequence:
    """Images and boxes of the frames whose boxes were annotated, as training with boxes reads them.

    folder  of the label file
    labels  the model's classes, in their order

    Ids are known only if every box has one. Raises InputError for a box of a class that is not in `labels`, and where
    no frame has its boxes annotated.
    """
    boxed = [frame for frame in file.frames if frame.boxes is not None]
    if not boxed:
        raise InputError(f"{folder}: no frame has its boxes annotated")
    has_ids = all(entry.track_id is not None for frame in boxed for entry in frame.boxes or ())
    frames = {frame.number: _box_labels(frame, labels, has_ids) for frame in boxed}
    images = {frame.number: folder / frame.image for frame in boxed}
    return BoxSequence(file.sequence, images, TrackingLabels(frames, {}), has_ids)


def _box_labels(frame: FrameLabels, labels: LabelSpace, has_ids: bool) -> BoxLabels:
    boxes = frame.boxes or ()
    ids = [entry.track_id if has_ids else row for row, entry in enumerate(boxes)]
    return BoxLabels(
        _floats([entry.box for entry in boxes], 4),
        _classes([entry.class_name for entry in boxes], labels),
        np.array(ids, np.int32),
        _floats(list(frame.ignore or ()), 4),
    )


def _floats(rows: list[tuple[float, ...]], columns: int) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, columns)


def _classes(names: list[str], labels: LabelSpace) -> np.ndarray:
    return np.array([labels.id_of(name) for name in names], np.int32)

"""Labels of the weak-label file as the types that training reads."""

from pathlib import Path

import numpy as np

from wsperception.data.label_file import FrameLabels, LabelFile
from wsperception.data.labelled_frames import LabelledFrame, TrackKeys
from wsperception.types import LabelSpace, WeakLabels

_ROWS = 2**20  # more than any frame has boxes


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


def boxed_frames(
    folder: Path, file: LabelFile, labels: LabelSpace, sequence: int, keys: TrackKeys
) -> list[LabelledFrame]:
    """The frames whose boxes were annotated, as training with boxes reads them; empty where there are none.

    folder    of the label file
    labels    the model's classes, in their order; InputError where the file has a box of another
    sequence  index of the sequence in the training set
    keys      numbers the tracks over the whole training set; a box without an id becomes a track of its own
    """
    return [_boxed_frame(folder, frame, labels, sequence, keys) for frame in file.frames if frame.boxes is not None]


def _boxed_frame(folder: Path, frame: FrameLabels, labels: LabelSpace, sequence: int, keys: TrackKeys) -> LabelledFrame:
    boxes = frame.boxes or ()
    classes = _classes([entry.class_name for entry in boxes], labels)
    # Ids are never negative: negative numbers, one per frame and row, are free for boxes that have none.
    alone = [-1 - (frame.number * _ROWS + row) for row in range(len(boxes))]
    ids = [alone[row] if entry.track_id is None else entry.track_id for row, entry in enumerate(boxes)]
    track_keys = [keys.key(sequence, int(class_id), number) for class_id, number in zip(classes, ids, strict=True)]
    return LabelledFrame(
        folder / frame.image,
        sequence,
        frame.number,
        _floats([entry.box for entry in boxes], 4),
        classes.astype(np.int64),
        np.array(track_keys, np.int64),
        _floats(list(frame.ignore or ()), 4),
        None,
    )


def _floats(rows: list[tuple[float, ...]], columns: int) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, columns)


def _classes(names: list[str], labels: LabelSpace) -> np.ndarray:
    return np.array([labels.id_of(name) for name in names], np.int32)

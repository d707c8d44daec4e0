"""Boxes and ids of video frames, whatever file they came from."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsperception.errors import InputError
from wsperception.types import LabelSpace

IGNORED_NAMES = ("ignore", "__ignore__", "DontCare")
"""Labels of a region that counts neither for nor against, in tools whose labels are free."""


@dataclass(frozen=True, eq=False)
class BoxLabels:
    """What was annotated in one frame.

    boxes         (N, 4) float32   x0 y0 x1 y1, image pixels
    class_ids     (N,) int32       index into the LabelSpace
    track_ids     (N,) int32       >= 0, unique in the frame per class
    ignore_boxes  (I, 4) float32
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray
    ignore_boxes: np.ndarray


@dataclass(frozen=True)
class TrackingLabels:
    """Boxes and ids of one sequence.

    frames   frame number -> boxes and ids; a frame without a row is annotated, and empty
    dropped  reason -> number of rows that were left out, or became ignore boxes
    """

    frames: dict[int, BoxLabels]
    dropped: dict[str, int]


@dataclass(frozen=True)
class BoxSequence:
    """Images and boxes of one sequence.

    name     of the sequence
    images   frame number -> image file, in order of the numbers, which start at 0
    labels   what was annotated
    has_ids  False: no box is known to show the same object as another, and `track_ids` are rows
    """

    name: str
    images: dict[int, Path]
    labels: TrackingLabels
    has_ids: bool = True


def no_labels() -> BoxLabels:
    """A frame in which there is nothing."""
    none = np.zeros((0, 4), np.float32)
    return BoxLabels(none, np.zeros(0, np.int32), np.zeros(0, np.int32), none)


def class_of_name(name: str, labels: LabelSpace, ignored: tuple[str, ...], where: str) -> int | None:
    """Index into `labels` of a free label, whatever its case; None for one of `ignored`.

    Raises InputError naming `where` for a label that is neither.
    """
    known = {known.lower(): row for row, known in enumerate(labels.names)}
    if name.lower() in known:
        return known[name.lower()]
    if name.lower() in {other.lower() for other in ignored}:
        return None
    expected = f"{', '.join(labels.names)}, or to be ignored {', '.join(ignored)}"
    raise InputError(f"{where}: class '{name}' is unknown; expected one of {expected}")


@dataclass
class SequenceRows:
    """The rows of a sequence while its file is read.

    without_id  rows that were added without an id
    """

    frames: dict[int, "FrameRows"] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    without_id: int = 0

    def frame(self, number: int) -> "FrameRows":
        """The rows of one frame, so far."""
        return self.frames.setdefault(number, FrameRows())

    def has_area(self, box: np.ndarray, where: str) -> bool:
        """Whether a box x0 y0 x1 y1 has any; one that has none is counted, one of negative size raises InputError."""
        if (box[2:] < box[:2]).any():
            raise InputError(f"{where}: expected x0 <= x1 and y0 <= y1, got {' '.join(f'{value:g}' for value in box)}")
        if (box[2:] == box[:2]).any():
            self.dropped["box without area"] += 1
            return False
        return True

    def labels(self) -> TrackingLabels:
        """What was read."""
        frames = {number: rows.labels() for number, rows in sorted(self.frames.items())}
        return TrackingLabels(frames, dict(self.dropped))


@dataclass
class FrameRows:
    """The rows of one frame while its file is read."""

    boxes: list[np.ndarray] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)
    track_ids: list[int] = field(default_factory=list)
    ignored: list[np.ndarray] = field(default_factory=list)

    def add(self, class_id: int, track_id: int, box: np.ndarray, name: str, where: str) -> None:
        """One object; InputError naming `where` if it is there already. `name` is the class in the file."""
        if (class_id, track_id) in zip(self.class_ids, self.track_ids, strict=True):
            raise InputError(f"{where}: {name} {track_id} is there twice in one frame")
        self.boxes.append(box)
        self.class_ids.append(class_id)
        self.track_ids.append(track_id)

    def ignore(self, box: np.ndarray) -> None:
        """A region that counts neither for nor against."""
        self.ignored.append(box)

    def labels(self) -> BoxLabels:
        """What was read."""
        return BoxLabels(
            np.array(self.boxes, np.float32).reshape(-1, 4),
            np.array(self.class_ids, np.int32),
            np.array(self.track_ids, np.int32),
            np.array(self.ignored, np.float32).reshape(-1, 4),
        )


def add_tracked(
    rows: SequenceRows, frame: int, class_id: int, track_id: int | None, box: np.ndarray, name: str, where: str
) -> None:
    """One object, whose id may be missing: it gets the number of its row then, and is counted."""
    of_frame = rows.frame(frame)
    if track_id is None:
        rows.without_id += 1
        track_id = -1 - len(of_frame.boxes)  # negative until it is known whether any row has an id
    of_frame.add(class_id, track_id, box, name, where)


def settle_missing_ids(rows: SequenceRows) -> bool:
    """Whether the sequence has ids.

    Where only some boxes lack one, those become ignore boxes and are counted: as objects of their own they would teach
    the network to tell an object from itself. Where all lack one, their rows become their ids.
    """
    total = sum(len(frame.boxes) for frame in rows.frames.values())
    if rows.without_id == 0:
        return True
    for frame in rows.frames.values():
        if rows.without_id == total:
            frame.track_ids = list(range(len(frame.boxes)))
            continue
        kept = [row for row, track_id in enumerate(frame.track_ids) if track_id >= 0]
        frame.ignored += [box for box, track_id in zip(frame.boxes, frame.track_ids, strict=True) if track_id < 0]
        frame.boxes = [frame.boxes[row] for row in kept]
        frame.class_ids = [frame.class_ids[row] for row in kept]
        frame.track_ids = [frame.track_ids[row] for row in kept]
    if rows.without_id == total:
        return False
    rows.dropped["box without an id, ignored"] += rows.without_id
    return True

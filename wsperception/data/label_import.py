"""Annotations of another tool, joined with the frames of a weak-label file."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from wsperception.data.label_file import (
    KINDS,
    BoxLabel,
    FrameLabels,
    LabelFile,
    PointLabel,
    Rectangle,
    frame_from,
    frame_mapping,
)
from wsperception.errors import InputError

WRITTEN_IGNORE = "DontCare"
"""Label of an ignore region in what we write for other tools; we read all of IGNORED_NAMES."""


@dataclass(frozen=True)
class ImportedFrame:
    """What another tool knows of one image.

    name       of the image file, or its path; empty where the format has none
    position   of the image in its task, from 0; -1 where the format has none
    annotated  the kinds that were annotated, where the format tells; None: those found in any image of the import
    """

    name: str
    position: int
    tags: tuple[str, ...] = ()
    boxes: tuple[BoxLabel, ...] = ()
    points: tuple[PointLabel, ...] = ()
    ignore: tuple[Rectangle, ...] = ()
    annotated: tuple[str, ...] | None = None


def with_imported(file: LabelFile, imported: list[ImportedFrame], where: str, replace: bool) -> LabelFile:
    """`file` with the annotations of another tool in the frames that they belong to.

    where    the imported file, for messages
    replace  whether kinds that are annotated already may be replaced

    An image belongs to the frame of the same file name without its ending, else of the same number (0007.png to frame
    7), else, where it has no name, of the same position. Boxes are cut at the border of the image.

    Raises InputError for an image without a frame, an unknown class, and labels that would be replaced.
    """
    frames = {frame.number: frame for frame in file.frames}
    present = tuple(kind for kind in KINDS if any(getattr(entry, kind) for entry in imported))
    for entry in imported:
        frame = _frame_of(entry, file, where)
        kinds = present if entry.annotated is None else entry.annotated
        taken = [kind for kind in kinds if getattr(frame, kind) is not None]
        place = f"{where}: {entry.name or f'frame {entry.position}'}"
        if taken and not replace:
            raise InputError(f"{place}: frame {frame.number} has {', '.join(taken)} already; --overwrite replaces them")
        frames[frame.number] = _joined(file, frames[frame.number], entry, kinds, place)
    return dataclasses.replace(file, frames=tuple(frames.values()))


def clipped(box: Rectangle, image_size: tuple[int, int]) -> Rectangle | None:
    """`box` cut at the border of an image of `image_size` (H, W); None where nothing is left."""
    height, width = image_size
    x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))
    return (x0, y0, x1, y1) if x1 - x0 > 0.01 and y1 - y0 > 0.01 else None


def _frame_of(entry: ImportedFrame, file: LabelFile, where: str) -> FrameLabels:
    if not entry.name:
        if entry.position < len(file.frames):
            return file.frames[entry.position]
        raise InputError(f"{where}: frame {entry.position}: expected below {len(file.frames)}, the number of frames")
    stem = Path(entry.name.replace("\\", "/")).stem
    for frame in file.frames:
        if Path(frame.image).stem == stem:
            return frame
    for frame in file.frames:
        if stem.isdecimal() and frame.number == int(stem):
            return frame
    raise InputError(f"{where}: image '{entry.name}' is none of the {len(file.frames)} frames")


def _joined(
    file: LabelFile, frame: FrameLabels, entry: ImportedFrame, kinds: tuple[str, ...], where: str
) -> FrameLabels:
    places = [(label, clipped(label.box, file.image_size)) for label in entry.boxes]
    boxes = tuple(dataclasses.replace(label, box=box) for label, box in places if box is not None)
    ignored = (clipped(box, file.image_size) for box in entry.ignore)
    found = dataclasses.replace(
        frame,
        tags=entry.tags,
        boxes=boxes,
        points=entry.points,
        ignore=tuple(box for box in ignored if box is not None),
    )
    kept = {kind: getattr(frame, kind) for kind in KINDS if kind not in kinds}
    joined = dataclasses.replace(found, revision=frame.revision + 1, **kept)
    # Through the reader of our own file: it checks classes, ids and places, and rounds.
    return frame_from(frame_mapping(joined), file.labels, file.image_size, where)

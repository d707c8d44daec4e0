"""The weak-label file: what a person annotated in the frames of one sequence, as plain JSON beside their images.

One folder holds `labels.json` and `images/`. A kind of label (tags, boxes, points, ignore) that is null was not
annotated in that frame; an empty list says that a person looked and there is nothing.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsperception.data.label_values import check_keys, flag_of, list_of, numbers, text_of, track_id_of, whole_number
from wsperception.errors import InputError
from wsperception.types import LabelSpace

FORMAT, VERSION = "wsperception weak labels", 1
FILE_NAME, IMAGE_FOLDER = "labels.json", "images"
KINDS = ("tags", "boxes", "points", "ignore")
"""Kinds of label, each annotated or not for itself."""
ACTIVITIES = ("tags", "boxes", "points", "ids", "ignore", "review")
"""What labelling time is booked on; review is looking without a change."""

Rectangle = tuple[float, float, float, float]
"""x0 y0 x1 y1 in pixels of the image, x1 y1 exclusive."""

_HEAD = ("format", "version", "sequence", "source", "every", "image_size", "classes", "is_thing", "frames")
_FRAME = ("number", "image", "stamp_ns", "revision", *KINDS, "seconds")
_IMAGE_NAME = re.compile(rf"{IMAGE_FOLDER}/[A-Za-z0-9_-][A-Za-z0-9._-]*\.(png|jpg)")


@dataclass(frozen=True)
class BoxLabel:
    """A box, its class, and the id of its object over the frames; None where no id was given."""

    class_name: str
    track_id: int | None
    box: Rectangle


@dataclass(frozen=True)
class PointLabel:
    """A pixel (x, y) inside an object, its class, and its id; None where no id was given."""

    class_name: str
    track_id: int | None
    point: tuple[float, float]


@dataclass(frozen=True)
class FrameLabels:
    """What was annotated in one frame; None: this kind not annotated, empty: annotated, nothing there.

    number    frame number in the source, >= 0
    image     file below the folder, as in images/000010.png
    stamp_ns  nanoseconds, >= 0
    tags      names of the classes in the image
    ignore    regions that count neither for nor against
    seconds   activity -> labelling time
    revision  raised by one with every save

    Within one frame a class has an id at most once among the boxes, and once among the points.
    """

    number: int
    image: str
    stamp_ns: int
    tags: tuple[str, ...] | None = None
    boxes: tuple[BoxLabel, ...] | None = None
    points: tuple[PointLabel, ...] | None = None
    ignore: tuple[Rectangle, ...] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    revision: int = 0

    @property
    def annotated(self) -> tuple[str, ...]:
        """The kinds that were annotated."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)


@dataclass(frozen=True)
class LabelFile:
    """The labels of one sequence.

    sequence    name of the source
    source      where the frames were taken from, for people
    every       the frames' step in the source, >= 1
    image_size  (H, W) of all frames
    labels      the classes, in the order of their ids
    frames      in the order of their numbers, which are distinct
    """

    sequence: str
    source: str
    every: int
    image_size: tuple[int, int]
    labels: LabelSpace
    frames: tuple[FrameLabels, ...]


def read_label_file(path: Path) -> LabelFile:
    """The labels in `path`, a labels.json or the folder that holds it.

    Raises InputError naming the file and the key where it is missing, damaged, or of another version.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected labels written by 'wsperception label'") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {' '.join(str(error).split())}") from None
    try:
        return _file_from(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_label_file(folder: Path, file: LabelFile) -> None:
    """Writes `labels.json` into `folder`, whole or not at all: an error leaves the earlier file as it was.

    Raises OSError, as on a full disk.
    """
    path, part = folder / FILE_NAME, folder / f".{FILE_NAME}.part"
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.write(label_text(file))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def label_text(file: LabelFile) -> str:
    """The text of `labels.json`: one line per key, then one per frame, so that differences stay readable."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "sequence": file.sequence,
        "source": file.source,
        "every": file.every,
        "image_size": file.image_size,
        "classes": file.labels.names,
        "is_thing": file.labels.is_thing,
    }
    lines = [f" {json.dumps(key)}: {_json(value)},\n" for key, value in head.items()]
    frames = ",\n".join(f"  {_json(frame_mapping(frame))}" for frame in file.frames)
    return "{\n" + "".join(lines) + ' "frames": [\n' + frames + "\n ]\n}\n"


def frame_mapping(frame: FrameLabels) -> dict[str, Any]:
    """Plain values of a frame, ready for JSON: the inverse of `frame_from`."""
    boxes, points = frame.boxes, frame.points
    return {
        "number": frame.number,
        "image": frame.image,
        "stamp_ns": frame.stamp_ns,
        "revision": frame.revision,
        "tags": None if frame.tags is None else list(frame.tags),
        "boxes": None if boxes is None else [_object(entry, "box", entry.box) for entry in boxes],
        "points": None if points is None else [_object(entry, "point", entry.point) for entry in points],
        "ignore": None if frame.ignore is None else [list(box) for box in frame.ignore],
        "seconds": dict(frame.seconds),
    }


def frame_from(values: Any, labels: LabelSpace, image_size: tuple[int, int], where: str) -> FrameLabels:
    """A frame from plain values; coordinates are rounded to hundredths of a pixel.

    where  the key that is read, for messages

    Raises InputError naming the key, for a wrong type, an unknown class, an id twice, or what lies outside the image.
    """
    check_keys(values, _FRAME, where)
    image = text_of(values["image"], f"{where}.image")
    if not _IMAGE_NAME.fullmatch(image):
        raise InputError(f"{where}.image: expected a file in {IMAGE_FOLDER}/ as in images/000010.png, got {image!r}")
    inside = _Inside(labels, image_size)
    tags = list_of(values["tags"], f"{where}.tags", inside.class_name)
    if tags is not None and len(set(tags)) < len(tags):
        raise InputError(f"{where}.tags: expected each class once")
    boxes = list_of(values["boxes"], f"{where}.boxes", inside.box_label)
    points = list_of(values["points"], f"{where}.points", inside.point_label)
    _check_distinct(boxes or (), f"{where}.boxes")
    _check_distinct(points or (), f"{where}.points")
    return FrameLabels(
        whole_number(values["number"], f"{where}.number"),
        image,
        whole_number(values["stamp_ns"], f"{where}.stamp_ns"),
        tags,
        boxes,
        points,
        list_of(values["ignore"], f"{where}.ignore", inside.rectangle),
        _seconds(values["seconds"], f"{where}.seconds"),
        whole_number(values["revision"], f"{where}.revision"),
    )


def _file_from(values: Any) -> LabelFile:
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"format: expected '{FORMAT}'")
    if values.get("version") != VERSION:
        raise InputError(f"version: expected {VERSION}, got {values.get('version')!r}")
    check_keys(values, _HEAD, "")
    names = list_of(values["classes"], "classes", text_of) or ()
    is_thing = list_of(values["is_thing"], "is_thing", flag_of) or ()
    sides = list_of(values["image_size"], "image_size", whole_number) or ()
    if len(sides) != 2 or min(sides) < 1:
        raise InputError("image_size: expected [height, width]")
    labels, size = LabelSpace(names, is_thing), (sides[0], sides[1])
    frames = list_of(values["frames"], "frames", lambda entry, where: frame_from(entry, labels, size, where)) or ()
    numbers = [frame.number for frame in frames]
    if numbers != sorted(set(numbers)):
        raise InputError("frames: expected distinct numbers in rising order")
    every = whole_number(values["every"], "every")
    if every < 1:
        raise InputError(f"every: expected 1 or more, got {every}")
    return LabelFile(
        text_of(values["sequence"], "sequence"), text_of(values["source"], "source"), every, size, labels, frames
    )


@dataclass(frozen=True)
class _Inside:
    """Reads what must lie within one image and name a known class."""

    labels: LabelSpace
    image_size: tuple[int, int]

    def class_name(self, value: Any, where: str) -> str:
        if value not in self.labels.names:
            raise InputError(f"{where}: unknown class {value!r}; expected one of {', '.join(self.labels.names)}")
        return str(value)

    def rectangle(self, value: Any, where: str) -> Rectangle:
        height, width = self.image_size
        x0, y0, x1, y1 = numbers(value, 4, where)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(f"{where}: expected x0 y0 x1 y1 within {width} x {height} pixels, got {value}")
        return x0, y0, x1, y1

    def point(self, value: Any, where: str) -> tuple[float, float]:
        height, width = self.image_size
        x, y = numbers(value, 2, where)
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"{where}: expected x y within {width} x {height} pixels, got {value}")
        return x, y

    def box_label(self, value: Any, where: str) -> BoxLabel:
        check_keys(value, ("class", "id", "box"), where)
        box = self.rectangle(value["box"], f"{where}.box")
        return BoxLabel(self.class_name(value["class"], f"{where}.class"), track_id_of(value["id"], f"{where}.id"), box)

    def point_label(self, value: Any, where: str) -> PointLabel:
        check_keys(value, ("class", "id", "point"), where)
        point = self.point(value["point"], f"{where}.point")
        name = self.class_name(value["class"], f"{where}.class")
        return PointLabel(name, track_id_of(value["id"], f"{where}.id"), point)


def _object(entry: BoxLabel | PointLabel, name: str, place: tuple[float, ...]) -> dict[str, Any]:
    return {"class": entry.class_name, "id": entry.track_id, name: list(place)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_distinct(entries: tuple[BoxLabel, ...] | tuple[PointLabel, ...], where: str) -> None:
    seen: set[tuple[str, int]] = set()
    for entry in entries:
        if entry.track_id is None:
            continue
        if (entry.class_name, entry.track_id) in seen:
            raise InputError(f"{where}: {entry.class_name} {entry.track_id} is there twice")
        seen.add((entry.class_name, entry.track_id))


def _seconds(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected keys and values, got {type(value).__name__}")
    for key, entry in value.items():
        if key not in ACTIVITIES:
            raise InputError(f"{where}: unknown key '{key}'; known are {', '.join(ACTIVITIES)}")
        if type(entry) not in (int, float) or not (math.isfinite(entry) and entry >= 0):
            raise InputError(f"{where}.{key}: expected seconds >= 0, got {entry!r}")
    return {key: round(float(entry), 1) for key, entry in value.items()}

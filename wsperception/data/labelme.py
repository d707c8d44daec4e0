"""LabelMe's JSON, one file per image: boxes and points with ids, tags as image flags, ignore regions.

LabelMe's polygons are read as the boxes around them; shapes with one label and one group id are parts of one object.
"""

import json
from pathlib import Path
from typing import Any

from wsperception.data.box_labels import IGNORED_NAMES
from wsperception.data.label_file import KINDS, BoxLabel, FrameLabels, LabelFile, PointLabel, Rectangle
from wsperception.data.label_import import WRITTEN_IGNORE, ImportedFrame
from wsperception.data.label_values import list_of, numbers, text_of, track_id_of
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELME_VERSION = "5.0.0"
_ANNOTATED = "annotated_kinds"  # a key of ours; LabelMe keeps keys that it does not know
_EXTENDED = ("rectangle", "polygon", "circle", "linestrip", "line", "mask")


def labelme_texts(file: LabelFile, image_folder: str) -> dict[str, str]:
    """File name -> JSON text for every annotated frame.

    image_folder  where the folder of the label file lies, seen from the JSON files: ".." or an absolute path
    """
    frames = [frame for frame in file.frames if frame.annotated]
    return {f"{Path(frame.image).stem}.json": _text(file, frame, image_folder) for frame in frames}


def read_labelme(folder: Path, labels: LabelSpace) -> list[ImportedFrame]:
    """The annotations of every LabelMe file in `folder`, in the order of their names.

    labels  the known classes: an image flag of another name is no tag

    Raises InputError naming the file and key, or where there is no such file.
    """
    paths = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    if not paths:
        raise InputError(f"{folder}: expected LabelMe files (*.json), found none")
    return [_imported(path, labels) for path in paths]


def _text(file: LabelFile, frame: FrameLabels, image_folder: str) -> str:
    shapes = [_shape(box.class_name, box.track_id, "rectangle", box.box) for box in frame.boxes or ()]
    shapes += [_shape(point.class_name, point.track_id, "point", point.point) for point in frame.points or ()]
    shapes += [_shape(WRITTEN_IGNORE, None, "rectangle", box) for box in frame.ignore or ()]
    values = {
        "version": LABELME_VERSION,
        "flags": {} if frame.tags is None else {name: name in frame.tags for name in file.labels.names},
        "shapes": shapes,
        "imagePath": f"{image_folder}/{frame.image}",
        "imageData": None,
        "imageHeight": file.image_size[0],
        "imageWidth": file.image_size[1],
        _ANNOTATED: list(frame.annotated),
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _shape(label: str, group_id: int | None, kind: str, place: tuple[float, ...]) -> dict[str, Any]:
    pairs = [list(place[start : start + 2]) for start in range(0, len(place), 2)]
    return {"label": label, "points": pairs, "group_id": group_id, "shape_type": kind, "flags": {}}


def _imported(path: Path, labels: LabelSpace) -> ImportedFrame:
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not isinstance(values.get("shapes"), list):
        raise InputError(f"{path}: shapes: expected a list, as LabelMe writes it")
    shapes = _Shapes()
    for position, shape in enumerate(values["shapes"]):
        shapes.add(shape, f"{path}: shapes[{position}]")
    flags = values.get("flags") or {}
    if not isinstance(flags, dict):
        raise InputError(f"{path}: flags: expected keys and values, got {type(flags).__name__}")
    known = [name for name in labels.names if name in flags]
    annotated = _annotated_kinds(values, f"{path}: {_ANNOTATED}")
    return ImportedFrame(
        text_of(values.get("imagePath", path.name), f"{path}: imagePath"),
        -1,
        tuple(name for name in known if flags[name] is True),
        tuple(BoxLabel(label, group, box) for label, group, box in shapes.boxes),
        tuple(shapes.points),
        tuple(shapes.ignore),
        annotated,
    )


def _annotated_kinds(values: dict[str, Any], where: str) -> tuple[str, ...] | None:
    kinds = list_of(values.get(_ANNOTATED), where, text_of)
    if kinds is not None and not set(kinds) <= set(KINDS):
        raise InputError(f"{where}: expected some of {', '.join(KINDS)}, got {', '.join(kinds)}")
    return kinds


class _Shapes:
    """Collects the shapes of one image; parts of an object widen its box."""

    def __init__(self) -> None:
        self.boxes: list[tuple[str, int | None, Rectangle]] = []
        self.points: list[PointLabel] = []
        self.ignore: list[Rectangle] = []

    def add(self, shape: Any, where: str) -> None:
        if not isinstance(shape, dict):
            raise InputError(f"{where}: expected keys and values, got {type(shape).__name__}")
        for key in ("label", "points"):
            if key not in shape:
                raise InputError(f"{where}: missing key '{key}'")
        label, kind = text_of(shape["label"], f"{where}.label"), shape.get("shape_type", "polygon")
        group = track_id_of(shape.get("group_id"), f"{where}.group_id")
        pairs = list_of(shape["points"], f"{where}.points", lambda value, place: numbers(value, 2, place))
        if not pairs:
            raise InputError(f"{where}.points: expected at least one point")
        if kind == "point":
            self.points.append(PointLabel(label, group, (pairs[0][0], pairs[0][1])))
        elif kind in _EXTENDED:
            self._add_box(label, group, _around(kind, pairs))
        else:
            raise InputError(f"{where}.shape_type: expected point, {', '.join(_EXTENDED)}, got {kind!r}")

    def _add_box(self, label: str, group: int | None, box: Rectangle) -> None:
        if label in IGNORED_NAMES:
            self.ignore.append(box)
            return
        for row, (other, number, part) in enumerate(self.boxes):
            if group is not None and (other, number) == (label, group):
                low, high = map(min, part[:2], box[:2]), map(max, part[2:], box[2:])
                self.boxes[row] = label, group, (*low, *high)  # type: ignore[assignment]
                return
        self.boxes.append((label, group, box))


def _around(kind: str, pairs: tuple[list[float], ...]) -> Rectangle:
    if kind == "circle" and len(pairs) == 2:  # centre, and a place on the circle
        (x, y), (edge_x, edge_y) = pairs
        radius = ((edge_x - x) ** 2 + (edge_y - y) ** 2) ** 0.5
        return x - radius, y - radius, x + radius, y + radius
    columns, lines = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return min(columns), min(lines), max(columns), max(lines)

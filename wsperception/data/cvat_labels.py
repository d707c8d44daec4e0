"""CVAT's XML 1.1, for images and for video: boxes and points with ids, tags, ignore regions.

"For images" carries everything. "For video" joins boxes and points with an id into tracks, and has no place for tags
and for what has no id. The id stands in the attribute `track_id` of a shape.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wsperception.data.box_labels import IGNORED_NAMES
from wsperception.data.label_file import KINDS, BoxLabel, FrameLabels, LabelFile, PointLabel, Rectangle
from wsperception.data.label_import import WRITTEN_IGNORE, ImportedFrame
from wsperception.data.label_values import LARGEST_ID
from wsperception.errors import InputError

_ID_ATTRIBUTES = ("track_id", "id")
_ANNOTATED = "annotated_kinds"  # an attribute of ours, which CVAT does not read
_CORNERS = ("xtl", "ytl", "xbr", "ybr")

Element = ElementTree.Element


def cvat_images_text(file: LabelFile) -> str:
    """ "CVAT for images 1.1": every annotated frame with all its labels."""
    root = _root(file, "annotation")
    for position, frame in enumerate(file.frames):
        if frame.annotated:
            _add_image(root, file, frame, position)
    return _xml(root)


def cvat_video_text(file: LabelFile) -> str:
    """ "CVAT for video 1.1": one track per class and id, of boxes or of points.

    A frame of the task is the position of a frame in `file`; an ignore region is a track of one frame. Tags,
    boxes and points without an id, and whether a frame is annotated and empty, cannot be said in this format.
    """
    root = _root(file, "interpolation")
    tracks: dict[tuple[type, str, int], Element] = {}
    for position, frame in enumerate(file.frames):
        for label in _objects(frame):
            if label.track_id is not None:
                key = type(label), label.class_name, label.track_id
                if key not in tracks:
                    tracks[key] = _add_track(root, label.class_name)
                _add_track_shape(tracks[key], position, label)
        for row, box in enumerate(frame.ignore or ()):  # a region has no id: it is a track of one frame
            tracks[Element, str(position), row] = _add_track(root, WRITTEN_IGNORE)
            _add_track_shape(tracks[Element, str(position), row], position, BoxLabel(WRITTEN_IGNORE, None, box))
    for track in tracks.values():
        _end(track, len(file.frames))
    return _xml(root)


def read_cvat(path: Path) -> list[ImportedFrame]:
    """The annotations of a CVAT XML file, for images or for video, in the order of its frames.

    A polygon or polyline becomes the box around it; of several points in one shape the first counts. Boxes of a track
    that are marked as outside are left out. Raises InputError naming the file and what was expected.
    """
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected CVAT's XML") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not an XML file: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if root.tag != "annotations":
        raise InputError(f"{path}: expected <annotations>, as CVAT writes it, got <{root.tag}>")
    frames: dict[int, _Collected] = {}
    for row, image in enumerate(root.iter("image")):
        place = f"{path}: image '{image.get('name', '')}'"
        collected = frames.setdefault(row, _Collected(image.get("name", ""), _annotated_kinds(image, place)))
        for shape in image:
            collected.add(shape, shape.get("label", ""), None, place)
    for track in root.iter("track"):
        for shape in track:
            position = _whole(shape.get("frame"), f"{path}: track {track.get('id')}: frame")
            if shape.get("outside") != "1":
                number = _whole(track.get("id"), f"{path}: track: id")
                place = f"{path}: track {number}: frame {position}"
                frames.setdefault(position, _Collected("", None)).add(shape, track.get("label", ""), number, place)
    return [frames[position].frame(position) for position in sorted(frames)]


class _Builder(ElementTree.TreeBuilder):
    """Refuses a document type, and with it every entity: what comes from outside must not grow without bound."""

    def doctype(self, *_: object) -> None:
        raise InputError("a document type; expected CVAT's XML, which has none")


@dataclass
class _Collected:
    """The shapes of one image so far."""

    name: str
    annotated: tuple[str, ...] | None
    tags: list[str] = field(default_factory=list)
    boxes: list[BoxLabel] = field(default_factory=list)
    points: list[PointLabel] = field(default_factory=list)
    ignore: list[Rectangle] = field(default_factory=list)

    def add(self, shape: Element, label: str, track: int | None, where: str) -> None:
        """track  the number of the track that holds the shape: its id, where no attribute says another."""
        if shape.tag not in ("box", "points", "tag", "polygon", "polyline"):
            if shape.tag != "attribute":
                raise InputError(f"{where}: <{shape.tag}>: expected box, points, tag, polygon or polyline")
            return
        if not label:
            raise InputError(f"{where}: <{shape.tag}>: missing attribute 'label'")
        if shape.tag == "tag":
            self.tags.append(label)
            return
        number = _shape_id(shape, track, where)
        if shape.tag == "points":
            self.points.append(PointLabel(label, number, _pairs(shape, where)[0]))
            return
        box = _box(shape, where)
        if label in IGNORED_NAMES:
            self.ignore.append(box)
        else:
            self.boxes.append(BoxLabel(label, number, box))

    def frame(self, position: int) -> ImportedFrame:
        parts = tuple(self.tags), tuple(self.boxes), tuple(self.points), tuple(self.ignore)
        return ImportedFrame(self.name, position, *parts, self.annotated)


def _root(file: LabelFile, mode: Literal["annotation", "interpolation"]) -> Element:
    root = Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for name, text in (("name", file.sequence), ("size", str(len(file.frames))), ("mode", mode)):
        ElementTree.SubElement(task, name).text = text
    labels = ElementTree.SubElement(task, "labels")
    for class_name in (*file.labels.names, WRITTEN_IGNORE):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = class_name
        attribute = ElementTree.SubElement(ElementTree.SubElement(label, "attributes"), "attribute")
        # Text, not a number: CVAT would give every new shape the number 0, and an id is there once.
        values = (("name", _ID_ATTRIBUTES[0]), ("mutable", "False"), ("input_type", "text"))
        for name, text in (*values, ("default_value", ""), ("values", "")):
            ElementTree.SubElement(attribute, name).text = text
    return root


def _add_image(root: Element, file: LabelFile, frame: FrameLabels, position: int) -> None:
    height, width = file.image_size
    values = {"id": str(position), "name": Path(frame.image).name, "width": str(width), "height": str(height)}
    image = ElementTree.SubElement(root, "image", {**values, _ANNOTATED: " ".join(frame.annotated)})
    for name in frame.tags or ():
        ElementTree.SubElement(image, "tag", {"label": name, "source": "manual"})
    for label in _objects(frame):
        _add_id(_add_shape(image, label, {"label": label.class_name, "source": "manual"}), label.track_id)
    for box in frame.ignore or ():
        _add_shape(image, BoxLabel(WRITTEN_IGNORE, None, box), {"label": WRITTEN_IGNORE, "source": "manual"})


def _objects(frame: FrameLabels) -> list[BoxLabel | PointLabel]:
    return [*(frame.boxes or ()), *(frame.points or ())]


def _add_track(root: Element, label: str) -> Element:
    number = str(len(root.findall("track")))
    return ElementTree.SubElement(root, "track", {"id": number, "label": label, "source": "manual"})


def _add_shape(parent: Element, label: BoxLabel | PointLabel, values: dict[str, str]) -> Element:
    values = {**values, "occluded": "0"}
    if isinstance(label, BoxLabel):
        corners = {name: f"{value:.2f}" for name, value in zip(_CORNERS, label.box, strict=True)}
        return ElementTree.SubElement(parent, "box", {**values, **corners, "z_order": "0"})
    x, y = label.point
    return ElementTree.SubElement(parent, "points", {**values, "points": f"{x:.2f},{y:.2f}", "z_order": "0"})


def _add_track_shape(track: Element, position: int, label: BoxLabel | PointLabel) -> None:
    if len(track) and int(track[-1].get("frame", "")) < position - 1:
        _end(track, position)
    values = {"frame": str(position), "keyframe": "1", "outside": "0"}
    _add_id(_add_shape(track, label, values), label.track_id)


def _end(track: Element, length: int) -> None:
    """Marks the object as gone from the frame after its last one: CVAT would carry it on."""
    last = track[-1]
    frame = int(last.get("frame", "")) + 1
    if frame < length:
        gone = ElementTree.SubElement(track, last.tag, {**last.attrib, "frame": str(frame), "outside": "1"})
        gone.extend(list(last))


def _add_id(shape: Element, number: int | None) -> None:
    if number is not None:
        ElementTree.SubElement(shape, "attribute", {"name": _ID_ATTRIBUTES[0]}).text = str(number)


def _xml(root: Element) -> str:
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _annotated_kinds(image: Element, where: str) -> tuple[str, ...] | None:
    text = image.get(_ANNOTATED)
    if text is None:
        return None
    if not set(text.split()) <= set(KINDS):
        raise InputError(f"{where}: {_ANNOTATED}: expected some of {', '.join(KINDS)}, got '{text}'")
    return tuple(text.split())


def _shape_id(shape: Element, track: int | None, where: str) -> int | None:
    for attribute in shape.iter("attribute"):
        if attribute.get("name") in _ID_ATTRIBUTES and (attribute.text or "").strip():
            return _whole((attribute.text or "").strip(), f"{where}: {attribute.get('name')}")
    return track


def _box(shape: Element, where: str) -> Rectangle:
    if shape.tag == "box":
        x0, y0, x1, y1 = (_number(shape.get(name), f"{where}: {name}") for name in _CORNERS)
        return x0, y0, x1, y1
    columns, lines = zip(*_pairs(shape, where), strict=True)
    return min(columns), min(lines), max(columns), max(lines)


def _pairs(shape: Element, where: str) -> list[tuple[float, float]]:
    return list(_split(shape.get("points", ""), f"{where}: points"))


def _split(text: str, where: str) -> Iterator[tuple[float, float]]:
    for pair in text.split(";"):
        x, _, y = pair.partition(",")
        yield _number(x, where), _number(y, where)


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise InputError(f"{where}: expected a number, got '{text}'")
    return value


def _whole(text: str | None, where: str) -> int:
    if text is None or not text.isdecimal() or int(text) > LARGEST_ID:
        raise InputError(f"{where}: expected a whole number from 0 to {LARGEST_ID}, got '{text}'")
    return int(text)

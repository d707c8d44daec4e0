"""CVAT's own export "CVAT for video 1.1": annotations.xml with tracks, and the images in images/.

The file is read as a stream. A document type, and with it every entity, is refused: what comes from outside must not
read other files or grow without bound.
"""

import math
import re
from pathlib import Path
from xml.parsers import expat

import numpy as np

from wsperception.data.box_labels import IGNORED_NAMES, BoxSequence, SequenceRows, class_of_name
from wsperception.data.cvat_mot import images_in_order
from wsperception.data.kitti import IGNORED_CLASSES
from wsperception.data.text_rows import finite_number, whole_number
from wsperception.errors import InputError
from wsperception.types import LabelSpace

ANNOTATIONS = "annotations.xml"

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_FRAMES = ("start_frame", "stop_frame", "frame_filter")
"""Elements of <task> (or <job>) that say which frames of a video were annotated."""


def read_cvat_video(folder: Path, labels: LabelSpace) -> BoxSequence:
    """Images, boxes and ids of one task or job.

    Boxes marked as outside are left out. A rotated box becomes an ignore box around it; polygons, masks and the like
    are dropped and counted. Labels are compared without regard to case.
    Raises InputError naming file and line for what is no such XML, an unknown class, a negative size or an id twice.
    """
    path = folder / ANNOTATIONS
    reader = _Reader(path, labels)
    reader.read()
    images = _images(folder / "images", reader.frames)
    return BoxSequence(folder.name, images, reader.rows.labels())


class _Reader:
    """The state of the stream: where in the file it stands, and what was read."""

    def __init__(self, path: Path, labels: LabelSpace) -> None:
        self.rows = SequenceRows()
        self.frames: dict[str, str] = {}
        self._path, self._labels = path, labels
        self._open: list[str] = []
        self._track: tuple[int, str] | None = None
        self._tasks: set[str] = set()
        self._text = ""
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self) -> None:
        """Reads the whole file."""
        try:
            with self._path.open("rb") as file:
                self._parser.ParseFile(file)
        except expat.ExpatError as error:
            raise InputError(f"{self._path}:{error.lineno}: not an XML file: {error}") from None
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read: {error.strerror}") from None

    @property
    def _where(self) -> str:
        return f"{self._path}:{self._parser.CurrentLineNumber}"

    def _refuse(self, *_: object) -> None:
        raise InputError(f"{self._where}: a document type; expected CVAT's XML, which has none")

    def _start(self, name: str, values: dict[str, str]) -> None:
        inside = self._open[-1] if self._open else ""
        self._open.append(name)
        self._text = ""
        if len(self._open) == 1 and name != "annotations":
            raise InputError(f"{self._where}: expected <annotations>, as CVAT writes it, got <{name}>")
        if name == "image" and inside == "annotations":
            raise InputError(f"{self._where}: single images, without ids; expected tracks: export 'CVAT for video 1.1'")
        if name == "track" and inside == "annotations":
            self._start_track(values)
        elif inside == "track" and name == "box":
            self._box(values)
        elif inside == "track":
            self.rows.dropped[f"{name} where a box was expected"] += values.get("outside") != "1"

    def _end(self, name: str) -> None:
        if name in _FRAMES and self._open[-2] in ("task", "job"):
            self.frames[name] = self._text
        self._open.pop()

    def _characters(self, text: str) -> None:
        self._text += text

    def _start_track(self, values: dict[str, str]) -> None:
        self._tasks.add(values.get("task_id", ""))
        if len(self._tasks) > 1:
            raise InputError(f"{self._where}: tracks of several tasks; expected one: export task by task")
        self._track = whole_number(values.get("id", ""), "id of a track", self._where), values.get("label", "")

    def _box(self, values: dict[str, str]) -> None:
        assert self._track is not None
        where, (track_id, name) = self._where, self._track
        if values.get("outside") == "1":
            return
        frame = whole_number(values.get("frame", ""), "frame", where)
        corners = [finite_number(values.get(corner, ""), corner, where) for corner in _CORNERS]
        box = np.array(corners, np.float32)
        if frame < 0 or track_id < 0:
            raise InputError(f"{where}: expected frame and id >= 0, got {frame} and {track_id}")
        if not self.rows.has_area(box, where):
            return
        class_id = class_of_name(name, self._labels, (*IGNORED_NAMES[:2], *IGNORED_CLASSES), where)
        turned = finite_number(values.get("rotation", "0"), "rotation", where)
        if turned % 180:
            self.rows.dropped["rotated box, ignored"] += 1
            self.rows.frame(frame).ignore(_around(box, turned))
        elif class_id is None:
            self.rows.frame(frame).ignore(box)
        else:
            self.rows.frame(frame).add(class_id, track_id, box, name, where)


def _around(box: np.ndarray, degrees: float) -> np.ndarray:
    """The upright box (4,) around a box that is turned about its centre."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    c, s = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    reach = np.array([c * half[0] + s * half[1], s * half[0] + c * half[1]])
    return np.concatenate([centre - reach, centre + reach]).astype(np.float32)


def _images(folder: Path, frames: dict[str, str]) -> dict[int, Path]:
    """Frame number in the task -> image.

    Frames of a video are named frame_000012 after it. Other names say nothing of the number: then the images must be
    all frames of the task, in order.
    """
    found = images_in_order(folder)
    named = [re.fullmatch(r"frame_(\d+)", path.stem) for path in found]
    if all(named):
        return {int(match[1]): path for match, path in zip(named, found, strict=True) if match}
    step = re.search(r"step\s*=\s*(\d+)", frames.get("frame_filter", ""))
    first = int(frames.get("start_frame", "0") or 0)
    numbers = range(first, int(frames.get("stop_frame", "") or first + len(found) - 1) + 1, int(step[1]) if step else 1)
    if len(numbers) != len(found):
        raise InputError(f"{folder}: expected {len(numbers)} images, as {ANNOTATIONS} says, found {len(found)}")
    return dict(zip(numbers, found, strict=True))

"""What the labelling server answers: a closed list of addresses; none is ever taken for a path of the disk."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import cv2
import numpy as np

from wsperception.data.image_encodings import decode_compressed
from wsperception.data.label_file import FrameLabels, Rectangle, frame_mapping
from wsperception.data.label_import import clipped
from wsperception.data.label_values import check_keys, list_of, numbers, whole_number
from wsperception.errors import InputError
from wsperception.labelling.propagation import carry_boxes, carry_points
from wsperception.labelling.store import ConflictError, LabelStore

_JSON = "application/json; charset=utf-8"
_PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}
_THUMB_HEIGHT, _THUMB_QUALITY = 56, 80
_MOST_OBJECTS = 2000


class _UnknownFrameError(Exception):
    """No frame has this number."""


@dataclass(frozen=True)
class Reply:
    """An answer: HTTP status, content type, content."""

    status: int
    content_type: str
    content: bytes


def problem(status: int, text: str, **more: Any) -> Reply:
    """An answer that says in one line why a request was not fulfilled."""
    return json_reply({"error": text, **more}, status)


def json_reply(values: Any, status: int = 200) -> Reply:
    """An answer of plain values."""
    return Reply(status, _JSON, json.dumps(values, allow_nan=False).encode())


class Routes:
    """The page, the images and the labels of one folder by method and address."""

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self._page = page_files()
        number = r"([0-9]{1,9})"
        self._table: list[tuple[re.Pattern, dict[str, Callable[[str, bytes], Reply]]]] = [
            (re.compile(r"/"), {"GET": lambda *_: self._page_file("index.html")}),
            (re.compile(r"/page/([a-z]+\.[a-z]+)"), {"GET": lambda name, _: self._page_file(name)}),
            (re.compile(r"/api/labels"), {"GET": lambda *_: self._overview()}),
            (re.compile(rf"/api/frames/{number}"), {"GET": self._frame, "PUT": self._save}),
            (re.compile(rf"/images/{number}"), {"GET": self._image}),
            (re.compile(rf"/thumbs/{number}"), {"GET": self._thumb}),
            (re.compile(r"/api/carry"), {"POST": self._carry}),
        ]
        self._small = lru_cache(maxsize=4096)(self._shrunk)

    def answer(self, method: str, address: str, body: bytes) -> Reply:
        """The answer to a request; the address is matched as it came, so an encoded one is an unknown one."""
        for pattern, methods in self._table:
            match = pattern.fullmatch(address)
            if match is None:
                continue
            if method not in methods:
                return problem(405, f"{method}: expected {' or '.join(methods)}")
            try:
                return methods[method](match[1] if match.lastindex else "", body)
            except InputError as error:
                return problem(400, str(error))
            except ConflictError as error:
                return problem(409, str(error), frame=frame_mapping(error.current))
            except _UnknownFrameError as error:
                return problem(404, str(error))
            except OSError as error:
                return problem(507, f"{error.strerror or error}")
        return problem(404, "no such address")

    def _page_file(self, name: str) -> Reply:
        if name not in self._page:
            return problem(404, "no such address")
        return self._page[name]

    def _overview(self) -> Reply:
        file = self._store.file
        values = {
            "sequence": file.sequence,
            "image_size": file.image_size,
            "classes": file.labels.names,
            "frames": [frame_mapping(frame) for frame in file.frames],
        }
        return json_reply(values)

    def _frame(self, number: str, _: bytes) -> Reply:
        return json_reply(frame_mapping(self._known(int(number))))

    def _save(self, number: str, body: bytes) -> Reply:
        frame = self._known(int(number))
        return json_reply(frame_mapping(self._store.save(frame.number, _values(body))))

    def _image(self, number: str, _: bytes) -> Reply:
        frame = self._known(int(number))
        return Reply(200, _IMAGE_TYPES[frame.image[-4:]], self._image_bytes(frame))

    def _thumb(self, number: str, _: bytes) -> Reply:
        return Reply(200, _IMAGE_TYPES[".jpg"], self._small(self._known(int(number)).number))

    def _carry(self, _: str, body: bytes) -> Reply:
        """Boxes and points of one frame at their places in another; null where they have left the image."""
        values = _values(body)
        check_keys(values, ("from", "to", "boxes", "points"), "carry")
        before, after = (self._pixels(self._known(whole_number(values[key], key))) for key in ("from", "to"))
        boxes, points = _places(values["boxes"], 4, "boxes"), _places(values["points"], 2, "points")
        moved, boxes_found = carry_boxes(before, after, boxes)
        clicked, points_found = carry_points(before, after, points)
        size = self._store.file.image_size
        return json_reply(
            {
                "boxes": [_kept_box(box, size) for box in moved.tolist()],
                "boxes_found": boxes_found.tolist(),
                "points": [_kept_point(point, size) for point in clicked.tolist()],
                "points_found": points_found.tolist(),
            }
        )

    def _known(self, number: int) -> FrameLabels:
        frame = self._store.frame(number)
        if frame is None:
            raise _UnknownFrameError(f"frame {number}: no such frame")
        return frame

    def _image_bytes(self, frame: FrameLabels) -> bytes:
        """The file of a frame, if it lies in the folder: no link is followed, neither the file nor its folder."""
        folder = self._store.folder.resolve()
        path = folder / frame.image
        if path.parent.resolve().parent != folder:
            raise InputError(f"{frame.image}: lies outside the folder")
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                return stream.read()
        except OSError as error:
            raise InputError(f"{frame.image}: cannot be read: {error.strerror}") from None

    def _pixels(self, frame: FrameLabels) -> np.ndarray:
        image = decode_compressed(self._image_bytes(frame))
        if image.shape[:2] != self._store.file.image_size:
            raise InputError(f"{frame.image}: expected {self._store.file.image_size}, got {image.shape[:2]}")
        return image

    def _shrunk(self, number: int) -> bytes:
        image = self._pixels(self._known(number))
        width = max(1, round(image.shape[1] * _THUMB_HEIGHT / image.shape[0]))
        small = cv2.resize(image, (width, _THUMB_HEIGHT), interpolation=cv2.INTER_AREA)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _THUMB_QUALITY]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)
        return bytes(data.tobytes())


def page_files() -> dict[str, Reply]:
    """Name -> answer of every file of the page, read once: nothing else of the package can be asked for."""
    files = {}
    for entry in resources.files("wsperception.labelling").joinpath("static").iterdir():
        ending = entry.name[entry.name.rfind(".") :]
        if ending in _PAGE_TYPES:
            files[entry.name] = Reply(200, _PAGE_TYPES[ending], entry.read_bytes())
    return files


def _values(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {' '.join(str(error).split())}") from None


def _places(value: Any, count: int, where: str) -> np.ndarray:
    rows = list_of(value, where, lambda entry, place: numbers(entry, count, place)) or ()
    if len(rows) > _MOST_OBJECTS:
        raise InputError(f"{where}: expected at most {_MOST_OBJECTS}, got {len(rows)}")
    return np.array(rows, np.float32).reshape(-1, count)


def _kept_box(box: list[float], size: tuple[int, int]) -> Rectangle | None:
    """The part of a box in the image; None where less than a quarter of it, or hardly a pixel, is left."""
    whole = (box[0], box[1], box[2], box[3])
    kept = clipped(whole, size)
    if kept is None or min(kept[2] - kept[0], kept[3] - kept[1]) < 2:
        return None
    left = (kept[2] - kept[0]) * (kept[3] - kept[1]) / ((whole[2] - whole[0]) * (whole[3] - whole[1]))
    return kept if left >= 0.25 else None


def _kept_point(point: list[float], size: tuple[int, int]) -> list[float] | None:
    return point if 0 <= point[0] < size[1] - 0.01 and 0 <= point[1] < size[0] - 0.01 else None

"""VOC's boxes and image tags: the XML of an image, and the tag array that weakly supervised methods share."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from wsperception.errors import InputError
from wsperception.types import WeakLabels

THINGS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""VOC's 20 classes in their order."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
}  # fmt: skip


@dataclass(frozen=True)
class VocObject:
    """One object of an annotation: index into THINGS, x0 y0 x1 y1 exclusive in pixels, and VOC's flag."""

    class_id: int
    box: tuple[float, float, float, float]
    difficult: bool


def read_voc_objects(path: Path) -> tuple[VocObject, ...]:
    """The objects of an annotation in their order; empty where it names none.

    VOC counts pixels from 1 and includes the last; the boxes here count from 0 and exclude it. InputError naming the
    file for broken XML, a document type (it could hold entities without end), an unknown class or an incomplete box.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a VOC annotation")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content:
        raise InputError(f"{path}: expected a VOC annotation, got XML with a document type")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not an XML file: {error}") from None
    return tuple(_object(entry, f"{path}: object {number}") for number, entry in enumerate(root.iter("object"), 1))


def voc_weak_labels(objects: tuple[VocObject, ...]) -> WeakLabels:
    """Tags (20,) and boxes of an image. Difficult objects count for the tags and become ignore boxes."""
    tags = np.zeros(len(THINGS), np.bool_)
    tags[[entry.class_id for entry in objects]] = True
    plain = [entry for entry in objects if not entry.difficult]
    boxes = np.array([entry.box for entry in plain], np.float32).reshape(-1, 4)
    classes = np.array([entry.class_id for entry in plain], np.int32)
    ignored = np.array([entry.box for entry in objects if entry.difficult], np.float32).reshape(-1, 4)
    return WeakLabels(tags=tags, boxes=boxes, box_classes=classes, ignore_boxes=ignored)


def read_tag_array(path: Path) -> dict[str, np.ndarray]:
    """Image name -> tags (20,) bool from cls_labels.npy: a dict of year and number as one integer -> 20 floats.

    The file is NumPy's array of one Python object, which is a pickle. Only NumPy's own arrays and numbers are let in,
    so that a file cannot run code. Raises InputError naming the file for anything else.
    """
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            read_header[version](stream)
            content = _ArraysOnly(stream).load()
        table = content.item() if isinstance(content, np.ndarray) else content
        return {_name(key): _tags(value) for key, value in table.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected image tags (cls_labels.npy)") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: expected a dict of image number -> 20 tags, as cls_labels.npy: {error}") from None


class _ArraysOnly(pickle.Unpickler):
    """Takes arrays and numbers of NumPy, and refuses every other class."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"'{module}.{name}' is not allowed in it")
        return super().find_class(module, name)


def _object(entry: ElementTree.Element, where: str) -> VocObject:
    name = (entry.findtext("name") or "").strip()
    if name not in THINGS:
        raise InputError(f"{where}: expected a class of VOC, got '{name}'")
    try:
        x0, y0, x1, y1 = (float(entry.findtext(f"bndbox/{corner}") or "") for corner in _CORNERS)
    except ValueError:
        raise InputError(f"{where}: expected bndbox with xmin, ymin, xmax and ymax") from None
    if not (x1 >= x0 and y1 >= y0):
        raise InputError(f"{where}: expected xmin <= xmax and ymin <= ymax, got {x0:g} {y0:g} {x1:g} {y1:g}")
    return VocObject(THINGS.index(name), (x0 - 1, y0 - 1, x1, y1), (entry.findtext("difficult") or "0").strip() == "1")


def _name(key: Any) -> str:
    """2007000032 -> 2007_000032."""
    digits = str(int(key))
    return f"{digits[:4]}_{digits[4:]}"


def _tags(value: Any) -> np.ndarray:
    tags = np.asarray(value) > 0.5
    if tags.shape != (len(THINGS),):
        raise ValueError(f"got an entry of shape {tags.shape}")
    return tags

"""COCO's panoptic format: a PNG of segment numbers per image, and one JSON for all of them.

NAME.json               images, annotations (file_name, image_id, segments_info), categories
NAME/000000142238.png   colour = number of the segment: red + 256 green + 65536 blue; 0 void

Kirillov et al., "Panoptic Segmentation", CVPR 2019. A segment of a result may carry a "score" from 0 to 1.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsperception.data.label_values import whole_number
from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet, check_size, read_label_image, relabelled
from wsperception.errors import InputError
from wsperception.geometry import tight_boxes
from wsperception.types import VOID, LabelSpace


@dataclass(frozen=True)
class Categories:
    """The classes of a JSON file: their numbers there, and what they are here.

    numbers  C distinct category ids, in the order of `labels`
    """

    labels: LabelSpace
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class _Entry:
    """One image of a JSON file."""

    png: Path
    size: tuple[int, int] | None
    segments: tuple[Mapping[str, Any], ...]
    image: Path | None
    where: str


def open_coco_panoptic(path: Path, images: Path | None = None, categories: Categories | None = None) -> PanopticSet:
    """The images of one JSON file or of all in a folder, by name (`000000142238`; `0001/000000` of several files).

    path        JSON file, beside the folder of its name with the PNG files; or a folder of such files
    images      folder of the camera images, below which each "file_name" lies
    categories  the classes, where the files need not name them: those of the ground truth, for a result

    Raises InputError naming file and key for what is no such JSON, an unknown category id, or categories that differ.
    The PNG files are opened when they are read.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    if not files:
        raise InputError(f"{path}: no such file; expected COCO panoptic JSON")
    known = categories or read_categories(files[0])
    entries: dict[str, _Entry] = {}
    for file in files:
        content = read_json(file)
        if categories is None and _categories_of(content, file) != known:
            raise InputError(f"{file}: categories: expected the same as in {files[0].name}")
        prefix = "" if len(files) == 1 else f"{file.stem}/"
        entries.update(_entries(content, file, prefix, images))
    segments = [segment for entry in entries.values() for segment in entry.segments]
    scored = bool(segments) and all(isinstance(segment, dict) and "score" in segment for segment in segments)
    return PanopticSet(str(path), known.labels, tuple(entries), partial(_read_named, entries, known.numbers), scored)


def open_sequences(folder: Path) -> dict[str, PanopticSet]:
    """The images of each JSON file of a folder, by the file's stem, which is a sequence's name. InputError as above."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise InputError(f"{folder}: expected COCO panoptic JSON files, one for each sequence; found none")
    return {file.stem: open_coco_panoptic(file) for file in files}


def read_categories(path: Path) -> Categories:
    """The classes of a JSON file, or of the first in a folder. InputError naming the file."""
    file = path if path.is_file() else next(iter(sorted(path.glob("*.json"))), path)
    return _categories_of(read_json(file), file)


def segment_numbers(values: np.ndarray) -> np.ndarray:
    """(H, W) uint32 numbers of the segments in a PNG file as OpenCV reads it, (H, W, 3) uint8 blue first."""
    blue, green, red = (values[..., channel].astype(np.uint32) for channel in range(3))
    numbers: np.ndarray = red | green << 8 | blue << 16
    return numbers


def segment_colours(numbers: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 blue first, as OpenCV writes it, of segment numbers (H, W) below 2**24."""
    return np.stack([numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)


def segment_entries(
    ids: np.ndarray, numbers: Sequence[int], categories: Sequence[int], is_crowd: Sequence[bool]
) -> list[dict[str, Any]]:
    """`segments_info` of the rows of a map that have a pixel, row 0 left out; bbox is x, y, width, height.

    ids         (H, W)     row of every pixel
    numbers     R numbers of the segments in the PNG file, R category ids, and R times whether they are crowds
    """
    areas = np.bincount(ids.ravel(), minlength=len(numbers)).tolist()
    boxes = tight_boxes(ids, len(numbers)).astype(int).tolist()
    return [
        {
            "id": numbers[row],
            "category_id": categories[row],
            "area": areas[row],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": int(is_crowd[row]),
        }
        for row, (x0, y0, x1, y1) in enumerate(boxes)
        if row and areas[row]
    ]


def category_entries(categories: Categories) -> list[dict[str, Any]]:
    """What a JSON file says of the classes."""
    labels = categories.labels
    return [
        {"id": number, "name": name, "isthing": int(thing)}
        for number, name, thing in zip(categories.numbers, labels.names, labels.is_thing, strict=True)
    ]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. InputError naming the file where it is missing or none."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file; expected COCO panoptic JSON") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected COCO panoptic JSON, got {type(content).__name__}")
    return content


def _categories_of(content: Mapping[str, Any], path: Path) -> Categories:
    entries = _list(content, "categories", str(path))
    names, things, numbers = [], [], []
    for position, entry in enumerate(entries):
        where = f"{path}: categories[{position}]"
        names.append(str(_value(entry, "name", where)))
        things.append(bool(_value(entry, "isthing", where)))
        numbers.append(_whole_number(entry, "id", where))
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{path}: categories: expected distinct ids")
    try:
        return Categories(LabelSpace(tuple(names), tuple(things)), tuple(numbers))
    except InputError as error:
        raise InputError(f"{path}: categories: {error}") from None


def _entries(content: Mapping[str, Any], path: Path, prefix: str, images: Path | None) -> dict[str, _Entry]:
    described: dict[str, tuple[Any, str]] = {}
    for position, entry in enumerate(_list(content, "images", str(path)) if "images" in content else []):
        where = f"{path}: images[{position}]"
        described[str(_value(entry, "id", where))] = entry, where
    entries: dict[str, _Entry] = {}
    for position, annotation in enumerate(_list(content, "annotations", str(path))):
        where = f"{path}: annotations[{position}]"
        file = str(_value(annotation, "file_name", where))
        about, described_at = described.get(str(annotation.get("image_id")), ({}, where))
        size = None
        if "height" in about and "width" in about:
            size = _whole_number(about, "height", described_at), _whole_number(about, "width", described_at)
        image = images / str(about["file_name"]) if images is not None and "file_name" in about else None
        name = prefix + Path(file).stem
        if name in entries:
            raise InputError(f"{where}: expected one annotation of {file}, got another")
        segments = tuple(_list(annotation, "segments_info", where))
        entries[name] = _Entry(path.with_suffix("") / file, size, segments, image, where)
    return entries


def _read_named(entries: Mapping[str, _Entry], numbers: Sequence[int], name: str) -> PanopticLabels:
    entry = entries[name]
    values = read_label_image(entry.png, np.uint8, 3, "three 8-bit channels of segment numbers")
    if entry.size is not None:
        check_size(entry.png, values, entry.size, "the JSON")
    ids, present = relabelled(segment_numbers(values), str(entry.png))
    infos = {_whole_number(info, "id", f"{entry.where}: segments_info"): info for info in entry.segments}
    unknown, absent = set(present.tolist()) - {0} - set(infos), set(infos) - set(present.tolist())
    if unknown:
        raise InputError(f"{entry.png}: segment {min(unknown)} is not in the JSON's segments_info")
    if absent:
        raise InputError(f"{entry.png}: segment {min(absent)} of the JSON has no pixel")
    class_of = {number: class_id for class_id, number in enumerate(numbers)}
    class_ids, crowd, scores = [VOID], [False], [0.0]
    for number in present[1:].tolist():
        info, where = infos[number], f"{entry.where}: segment {number}"
        category = _whole_number(info, "category_id", where)
        if category not in class_of:
            raise InputError(f"{where}: category_id: unknown id {category}; known are {_listed(numbers)}")
        class_ids.append(class_of[category])
        crowd.append(bool(info.get("iscrowd", 0)))
        scores.append(_score(info, where))
    arrays = np.array(class_ids, np.int32), np.array(crowd, np.bool_), np.array(scores, np.float32)
    return PanopticLabels(name, ids, *arrays, entry.image)


def _score(info: Mapping[str, Any], where: str) -> float:
    score = info.get("score", 1.0)
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise InputError(f"{where}: score: expected 0 to 1, got {score!r}"[:200])
    return float(score)


def _whole_number(entry: Any, key: str, where: str) -> int:
    return whole_number(_value(entry, key, where), f"{where}: {key}")


def _value(entry: Any, key: str, where: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise InputError(f"{where}: missing key '{key}'")
    return entry[key]


def _list(entry: Any, key: str, where: str) -> list[Any]:
    value = _value(entry, key, where)
    if not isinstance(value, list):
        raise InputError(f"{where}: {key}: expected a list, got {type(value).__name__}")
    return value


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:12])) + (", ..." if len(numbers) > 12 else "")

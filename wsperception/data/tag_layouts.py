"""Which classes are in which image, and nothing else: the layouts of image tags.

ROOT/tags.csv                              image,class,class,...  its path below ROOT; tags_train.csv: split "train"
ROOT/JPEGImages/NAME.jpg                   VOC, with one of:
    ROOT/cls_labels.npy                      the tag array that weakly supervised methods share
    ROOT/ImageSets/Main/CLASS_SPLIT.txt      VOC's own: name and 1, 0 (difficult ones only) or -1
ROOT/annotations/instances_SPLIT.json      COCO, and panoptic_SPLIT.json, which is preferred; images in ROOT/SPLIT/
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsperception.data.coco_panoptic import read_json
from wsperception.data.voc import read_names
from wsperception.data.voc_annotations import THINGS, read_tag_array
from wsperception.errors import InputError

VOC_CLASSES = (*THINGS, "background")
"""VOC's things, and the background, which is in every image."""


@dataclass(frozen=True)
class TaggedFile:
    """One image.

    path   of the image; it need not exist
    names  of its classes; none: nobody said what is in it
    where  file and place of the tags, for messages
    """

    path: Path
    names: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class TagSet:
    """The images of a folder.

    known  all classes that the tags may name; None: there is no such list
    """

    images: tuple[TaggedFile, ...]
    known: tuple[str, ...] | None


def open_tags(root: Path, split: str) -> TagSet | None:
    """The tags of a folder; None where it holds none of these layouts.

    split  as in the layouts; "all" is tags.csv, everything in the tag array, VOC's trainval, COCO's only file

    Raises InputError naming file and place for what cannot be read.
    """
    for found, read in ((_has_table, _table), (_has_voc, _voc), (_has_coco, _coco)):
        if found(root):
            return read(root, split)
    return None


def _has_table(root: Path) -> bool:
    return any(root.glob("tags*.csv"))


def _table(root: Path, split: str) -> TagSet:
    path = root / ("tags.csv" if split == "all" else f"tags_{split}.csv")
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected image,class,class,... in each line") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of text: {error}") from None
    images: dict[str, TaggedFile] = {}
    for number, row in enumerate(rows, start=1):
        name, *classes = (cell.strip() for cell in row or [""])
        if not any((name, *classes)):
            continue
        where = f"{path}: line {number}"
        if not name or name in images:
            raise InputError(f"{where}: expected an image that no line before names, got '{name}'")
        images[name] = TaggedFile(root / name, tuple(entry for entry in classes if entry), where)
    return TagSet(tuple(images.values()), None)


def _has_voc(root: Path) -> bool:
    return (root / "JPEGImages").is_dir()


def _voc(root: Path, split: str) -> TagSet:
    array, lists = root / "cls_labels.npy", root / "ImageSets"
    if array.is_file():
        tags = {
            name: tuple(THINGS[row] for row in values.nonzero()[0]) for name, values in read_tag_array(array).items()
        }
        where = str(array)
    else:
        tags, where = _voc_lists(lists / "Main", "trainval" if split == "all" else split), str(lists / "Main")
    names = tuple(tags) if split == "all" else _voc_names(lists, split)
    missing = [name for name in names if name not in tags]
    if missing:
        raise InputError(f"{where}: expected tags of {missing[0]}, which the split {split} names")
    images = (TaggedFile(root / f"JPEGImages/{name}.jpg", tags[name], f"{where}: {name}") for name in names)
    return TagSet(tuple(TaggedFile(at.path, (*at.names, "background"), at.where) for at in images), VOC_CLASSES)


def _voc_names(lists: Path, split: str) -> tuple[str, ...]:
    files = [lists / kind / f"{split}.txt" for kind in ("Main", "Segmentation")]
    return read_names(next((path for path in files if path.is_file()), files[0]))


def _voc_lists(folder: Path, split: str) -> dict[str, tuple[str, ...]]:
    tags: dict[str, tuple[str, ...]] = {}
    for class_name in THINGS:
        path = folder / f"{class_name}_{split}.txt"
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected VOC's image names and 1, 0 or -1, or cls_labels.npy")
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            name, *mark = line.split() or [""]
            if not name:
                continue
            if mark not in (["1"], ["0"], ["-1"]):
                raise InputError(f"{path}: line {number}: expected an image name and 1, 0 or -1, got '{line.strip()}'")
            tags[name] = (*tags.get(name, ()), *([class_name] if mark != ["-1"] else []))
    return tags


def _has_coco(root: Path) -> bool:
    return any((root / "annotations").glob("*.json"))


def _coco(root: Path, split: str) -> TagSet:
    path = _coco_file(root / "annotations", split)
    content, where = read_json(path), str(path)
    classes = {
        _entry(part, "id", where): str(_entry(part, "name", where)) for part in _entry(content, "categories", where)
    }
    files = {
        _entry(part, "id", where): str(_entry(part, "file_name", where)) for part in _entry(content, "images", where)
    }
    names: dict[Any, set[str]] = {number: set() for number in files}
    for position, part in enumerate(_entry(content, "annotations", where)):
        place = f"{path}: annotations[{position}]"
        image = _entry(part, "image_id", place)
        if image not in names:
            raise InputError(f"{place}: image_id: expected the id of an image, got {image!r}")
        for category in _categories(part, place):
            if category not in classes:
                raise InputError(f"{place}: category_id: expected the id of a category, got {category!r}")
            names[image].add(classes[category])
    folder = _coco_images(root, path.stem.partition("_")[2], next(iter(files.values()), ""))
    images = (
        TaggedFile(folder / name, tuple(sorted(names[number])), f"{path}: image {number}")
        for number, name in files.items()
    )
    return TagSet(tuple(images), tuple(classes.values()))


def _coco_file(folder: Path, split: str) -> Path:
    there = [path for kind in ("panoptic", "instances") for path in sorted(folder.glob(f"{kind}_*.json"))]
    wanted = [path for path in there if split in ("all", path.stem.partition("_")[2])]
    splits = sorted({path.stem.partition("_")[2] for path in there})
    if not wanted or len({path.stem.partition("_")[2] for path in wanted}) > 1:
        raise InputError(
            f"{folder}: data.split: expected one of {', '.join(splits) or 'panoptic_SPLIT.json'}, got {split}"
        )
    return wanted[0]


def _coco_images(root: Path, split: str, first: str) -> Path:
    places = [root / split, root / "images" / split, root / "images", root]
    return next((place for place in places if (place / first).is_file()), places[0])


def _categories(annotation: Any, where: str) -> Iterator[Any]:
    """The categories of an annotation: of an object, or of an image with its segments."""
    for part in annotation.get("segments_info", [annotation]):
        yield _entry(part, "category_id", where)


def _entry(part: Any, key: str, where: str) -> Any:
    if not isinstance(part, dict) or key not in part:
        raise InputError(f"{where}: missing key '{key}'")
    return part[key]

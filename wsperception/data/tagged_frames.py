"""Images as training from tags sees them: which classes are in each, and neither box nor mask nor point."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsperception.data.label_file import FrameLabels, read_label_file
from wsperception.data.label_frames import weak_labels
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.layouts import LABELLED, layout_of
from wsperception.data.tag_layouts import TaggedFile, TagSet, open_tags
from wsperception.errors import InputError
from wsperception.types import LabelSpace, WeakLabels

logger = logging.getLogger(__name__)

NAMED = 5
"""Images that a message names; it counts the others."""


def read_tagged_frames(roots: tuple[Path, ...], split: str, labels: LabelSpace) -> list[LabelledFrame]:
    """The images of `roots` that have a tag, each a sequence of its own, with `weak.tags` and nothing else.

    roots  folders with tags (see `tag_layouts`), folders of `wsperception label`, or of any layout with boxes, whose
           classes are the tags: the boxes are dropped at once
    split  as in the layouts

    An image without a tag of `labels` teaches nothing, and one that is not on disk cannot: they are left out, named and
    counted. Where a layout has a list of its classes, those outside `labels` are left out and counted too; elsewhere a
    tag outside `labels` is an error. Raises InputError for that, for a class that a layout does not have, for files
    that cannot be read, and for a folder that leaves no image.
    """
    frames: list[LabelledFrame] = []
    for root in roots:
        found = _root_frames(root, split, labels)
        if not found:
            raise InputError(f"{root}: expected images with tags of {', '.join(labels.names)}, found none")
        frames += [replace(frame, sequence=len(frames) + row) for row, frame in enumerate(found)]
    return frames


def _root_frames(root: Path, split: str, labels: LabelSpace) -> list[LabelledFrame]:
    tagged = open_tags(root, split)
    if tagged is not None:
        return _of_set(tagged, labels, str(root))
    if layout_of(root) == LABELLED:
        frames = _of_label_file(root, labels)
    else:
        frames = [
            _tagged(frame.path, np.bincount(frame.class_ids, minlength=len(labels)) > 0)
            for frame in read_labelled_frames((root,), split, labels, "weak")
        ]
    return _with_tags(frames, str(root))


def _of_set(found: TagSet, labels: LabelSpace, source: str) -> list[LabelledFrame]:
    if found.known is not None:
        for name in labels.names:
            if name not in found.known:
                raise InputError(f"{source}: data.classes: expected some of {', '.join(found.known)}, got {name}")
        others = Counter(name for image in found.images for name in image.names if name not in labels.names)
        if others:
            counts = ", ".join(f"{name} {count}" for name, count in others.most_common(NAMED))
            logger.info("%s: tags of %d other classes are left out: %s", source, len(others), counts)
    else:
        _check_names(found.images, labels)
    there = [image for image in found.images if image.path.is_file()]
    _tell(source, "images that are not there", [image.path for image in found.images if not image.path.is_file()])
    known = {name: row for row, name in enumerate(labels.names)}
    frames = []
    for image in there:
        tags = np.zeros(len(labels), bool)
        tags[[known[name] for name in image.names if name in known]] = True
        frames.append(_tagged(image.path, tags))
    return _with_tags(frames, source)


def _check_names(images: Sequence[TaggedFile], labels: LabelSpace) -> None:
    wrong = [(image.where, name) for image in images for name in image.names if name not in labels.names]
    if wrong:
        where, name = wrong[0]
        raise InputError(
            f"{where}: expected tags of {', '.join(labels.names)}, got '{name}'; {len(wrong)} tags are none of these"
        )


def _of_label_file(root: Path, labels: LabelSpace) -> list[LabelledFrame]:
    """Tags of a folder of `wsperception label`: what was said to be there, or else classes of boxes and points."""
    return [_tagged(root / frame.image, _tags_of(frame, labels)) for frame in read_label_file(root).frames]


def _tags_of(frame: FrameLabels, labels: LabelSpace) -> np.ndarray:
    found = weak_labels(frame, labels)
    if found.tags is not None:
        return found.tags
    tags = np.zeros(len(labels), bool)
    for classes in (found.box_classes, found.point_classes):
        if classes is not None:
            tags[classes] = True
    return tags


def _with_tags(frames: Sequence[LabelledFrame], source: str) -> list[LabelledFrame]:
    kept: list[LabelledFrame] = []
    idle: list[LabelledFrame] = []
    for frame in frames:
        assert frame.weak is not None and frame.weak.tags is not None
        (kept if frame.weak.tags.any() else idle).append(frame)
    _tell(source, "images without tags", [frame.path for frame in idle])
    return kept


def _tell(source: str, what: str, paths: Sequence[Path]) -> None:
    if paths:
        names = ", ".join(path.name for path in paths[:NAMED]) + (", ..." if len(paths) > NAMED else "")
        logger.warning("%s: %d %s, left out: %s", source, len(paths), what, names)


def _tagged(path: Path, tags: np.ndarray) -> LabelledFrame:
    nothing, nobody = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return LabelledFrame(path, 0, 0, nothing, nobody, nobody, nothing, None, WeakLabels(tags=tags))

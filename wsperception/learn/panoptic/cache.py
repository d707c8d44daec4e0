"""Panoptic labels of a whole training set: those that boxes alone give, in parallel, and files for those of any round.

The masks of boxes take most of the time and never change from round to round: they are made once and kept.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from wsperception.errors import InputError
from wsperception.geometry import box_areas, clip_boxes
from wsperception.learn.kept_work import BROKEN_ARCHIVE, decoded, image_content, in_processes, whole_file
from wsperception.learn.panoptic.cleaning import BACKGROUND
from wsperception.learn.panoptic.labels import PseudoPanoptic, agreed_labels
from wsperception.learn.pseudo.masks import VERSION, PseudoSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class BoxedImage:
    """An image file and its boxes (N, 4) float32 of classes (N,) int64; N = 0 is an image without things."""

    path: Path
    boxes: np.ndarray
    classes: np.ndarray


def prepare_agreed_labels(
    images: Sequence[BoxedImage], settings: PseudoSettings, folder: Path, workers: int = 0
) -> list[Path]:
    """One file of `agreed_labels` per image, in their order, for `read_labels`.

    folder   where the files are, named after image, boxes and settings. What is there stays, so that an interrupted run
             goes on where it stopped; a file that is broken is made anew.
    workers  processes; 0 computes in this one. Their number changes nothing in the result.

    Raises InputError naming the image that cannot be read, or has a box outside or a class that labels cannot hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bare = sum(len(image.boxes) == 0 for image in images)
    if bare:
        logger.warning("%d of %d images have no boxes: nothing in them is a thing", bare, len(images))
    work = partial(_prepare, settings=settings, folder=folder)
    return list(tqdm(in_processes(work, images, workers, chunk=2), "labels from boxes", len(images)))


def read_labels(path: Path) -> PseudoPanoptic:
    """What `write_labels` wrote; InputError naming a file that is missing or broken."""
    try:
        with path.open("rb") as file:  # np.load leaves a file open that it cannot read to the end
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError("expected an archive of arrays")
            labels, instances = archive["labels"], archive["instances"]
    except BROKEN_ARCHIVE as error:
        raise InputError(f"{path}: not a file of panoptic labels: {error}") from None
    if labels.dtype != np.uint8 or instances.dtype != np.int32 or labels.shape != instances.shape or labels.ndim != 2:
        raise InputError(f"{path}: expected labels and instances of one size, got {labels.shape}, {instances.shape}")
    return PseudoPanoptic(labels, instances)


def write_labels(path: Path, found: PseudoPanoptic) -> None:
    """Writes labels whole or not at all."""
    with whole_file(path) as file:
        np.savez_compressed(file, labels=found.labels, instances=found.instances)


def _prepare(image: BoxedImage, settings: PseudoSettings, folder: Path) -> Path:
    content = image_content(image.path)
    path = folder / f"{_key(content, image, settings)}.npz"
    if path.exists():
        try:
            read_labels(path)
            return path
        except InputError as error:
            logger.warning("%s, made anew", error)
    pixels = decoded(content, image.path)
    _check(image, (pixels.shape[0], pixels.shape[1]))
    write_labels(path, agreed_labels(pixels, image.boxes, image.classes, settings))
    return path


def _check(image: BoxedImage, size: tuple[int, int]) -> None:
    outside = np.flatnonzero(box_areas(clip_boxes(image.boxes, size)) == 0)
    if len(outside):
        box = ", ".join(f"{value:g}" for value in image.boxes[outside[0]].tolist())
        raise InputError(f"{image.path}: box {outside[0]}: expected a part inside {size[1]} x {size[0]} px, got {box}")
    if len(image.classes) and not 0 <= image.classes.min() <= image.classes.max() < BACKGROUND:
        raise InputError(f"{image.path}: expected classes 0 to {BACKGROUND - 1}, got {image.classes.tolist()}")


def _key(content: bytes, image: BoxedImage, settings: PseudoSettings) -> str:
    """32 hexadecimal digits that change with the image, its boxes, the settings and the version of the method."""
    digest = hashlib.sha256(content)
    digest.update(np.ascontiguousarray(image.boxes, np.float32).tobytes())
    about = [VERSION, image.classes.tolist(), dataclasses.asdict(settings)]
    digest.update(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()[:32]

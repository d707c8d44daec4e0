"""Pseudo masks of a whole training set, computed in parallel and kept on disk, frame by frame."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from wsperception import rle
from wsperception.data.labelled_frames import FrameMasks, LabelledFrame
from wsperception.errors import InputError
from wsperception.learn.kept_work import decoded, image_content, in_processes, whole_file
from wsperception.learn.pseudo.masks import VERSION, PseudoSettings, frame_pseudo_masks

logger = logging.getLogger(__name__)


def with_pseudo_masks(
    frames: Sequence[LabelledFrame], settings: PseudoSettings, folder: Path, workers: int = 0
) -> list[LabelledFrame]:
    """The frames with pseudo masks in the place of masks; boxes, classes and ids are theirs.

    folder   where the masks are kept: one file per frame, named after its image, boxes and settings. What is there is
             read, so that an interrupted run goes on where it stopped; a file that is broken is made anew.
    workers  processes; 0 computes in this one. Their number changes nothing in the result.

    Raises InputError where an image cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(kept_pseudo_masks, settings=settings, folder=folder)
    found = tqdm(in_processes(work, frames, workers), "pseudo masks", len(frames))
    made = [replace(frame, masks=masks) for frame, masks in zip(frames, found, strict=True)]
    if made:
        shares = np.array([dataclasses.astuple(mask_shares(frame)) for frame in made]).sum(axis=0)
        logger.info("pseudo masks: %d boxes, %d rejected", shares[0], shares[1])
    return made


@dataclass(frozen=True)
class MaskShares:
    """Boxes of a frame, and how many of them have no mask."""

    boxes: int
    rejected: int


def mask_shares(frame: LabelledFrame) -> MaskShares:
    """Counts of a frame with masks."""
    assert frame.masks is not None
    return MaskShares(len(frame.boxes), sum(rle.area(counts) == 0 for counts in frame.masks.objects))


def kept_pseudo_masks(frame: LabelledFrame, settings: PseudoSettings, folder: Path) -> FrameMasks:
    """The pseudo masks of one frame: read from `folder` where they are there and sound, made and kept otherwise."""
    content = image_content(frame.path)
    path = folder / f"{_key(content, frame, settings)}.json"
    if path.exists():
        try:
            return _read(path, len(frame.boxes))
        except (ValueError, KeyError, TypeError) as error:  # InputError and broken JSON or UTF-8 are ValueErrors
            logger.warning("%s: broken (%s), made anew", path, error)
    masks = frame_pseudo_masks(decoded(content, frame.path), frame.boxes, frame.class_ids, settings)
    _write(path, masks)
    return masks


def _key(content: bytes, frame: LabelledFrame, settings: PseudoSettings) -> str:
    """32 hexadecimal digits that change with the image, the boxes, the settings and the version of the method."""
    digest = hashlib.sha256(content)
    digest.update(np.ascontiguousarray(frame.boxes, np.float32).tobytes())
    digest.update(json.dumps([VERSION, dataclasses.asdict(settings)], sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _read(path: Path, count: int) -> FrameMasks:
    values = json.loads(path.read_bytes())
    height, width = (int(side) for side in values["size"])
    objects, void = [text.encode("ascii") for text in values["objects"]], values["void"].encode("ascii")
    if len(objects) != count:
        raise InputError(f"expected {count} masks, got {len(objects)}")
    if hashlib.sha256(b" ".join([*objects, void])).hexdigest() != values["sha256"]:
        raise InputError("expected masks of the recorded hash")
    return FrameMasks((height, width), tuple(objects), (void,), drawn=False)


def _write(path: Path, masks: FrameMasks) -> None:
    (void,) = masks.ignored
    values = {
        "size": list(masks.size),
        "objects": [counts.decode("ascii") for counts in masks.objects],
        "void": void.decode("ascii"),
        "sha256": hashlib.sha256(b" ".join([*masks.objects, void])).hexdigest(),
    }
    with whole_file(path) as file:
        file.write(json.dumps(values).encode())

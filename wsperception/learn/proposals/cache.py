"""Segment proposals of a whole training set, computed in parallel and kept on disk, image by image."""

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

from wsperception.data.sources.image_file import read_image
from wsperception.errors import InputError
from wsperception.learn.kept_work import BROKEN_ARCHIVE, in_processes, whole_file
from wsperception.learn.proposals.segments import VERSION, Proposals, ProposalSettings, segment_proposals

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheCounts:
    """What became of the images of a set.

    read     proposals were there
    made     were not
    rebuilt  were in a file that is broken; made anew
    empty    images without a single proposal, among the ones above
    """

    read: int
    made: int
    rebuilt: int
    empty: int


def prepare_proposals(paths: Sequence[Path], settings: ProposalSettings, folder: Path, workers: int = 0) -> CacheCounts:
    """Sees to it that `folder` holds the proposals of every image, from where `kept_proposals` reads them.

    paths    images; read as RGB
    folder   one file per image, named after its pixels and the settings. What is there stays, so that an interrupted
             run goes on where it stopped; a file that is broken is made anew.
    workers  processes; 0 computes in this one. Their number changes nothing in the result.

    Raises InputError where an image cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(_prepare, settings=settings, folder=folder)
    states = list(tqdm(in_processes(work, paths, workers), "proposals", len(paths)))
    kinds = [kind for kind, _ in states]
    empty = sum(count == 0 for _, count in states)
    counts = CacheCounts(kinds.count("read"), kinds.count("made"), kinds.count("rebuilt"), empty)
    logger.info("proposals: %d images read, %d made, %d rebuilt; %d without any", *dataclasses.astuple(counts))
    return counts


def kept_proposals(image: np.ndarray, settings: ProposalSettings, folder: Path) -> Proposals:
    """Proposals of an image (H, W, 3) uint8 RGB: read from `folder` where they are there and sound, made and kept
    otherwise."""
    return _kept(image, settings, folder)[0]


def _kept(image: np.ndarray, settings: ProposalSettings, folder: Path) -> tuple[Proposals, str]:
    """The proposals, and whether they were "read", "made" or "rebuilt"."""
    path = folder / f"{_key(image, settings)}.npz"
    state = "made"
    if path.exists():
        try:
            return _read(path, (image.shape[0], image.shape[1])), "read"
        except BROKEN_ARCHIVE as error:
            logger.warning("%s: broken (%s), made anew", path, error)
            state = "rebuilt"
    found = segment_proposals(image, settings)
    _write(path, found)
    return found, state


def _prepare(path: Path, settings: ProposalSettings, folder: Path) -> tuple[str, int]:
    found, state = _kept(read_image(path), settings, folder)
    return state, len(found)


def _key(image: np.ndarray, settings: ProposalSettings) -> str:
    """32 hexadecimal digits that change with the pixels, the settings and the version of the method."""
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes())
    about = [VERSION, image.shape, dataclasses.asdict(settings)]
    digest.update(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _read(path: Path, size: tuple[int, int]) -> Proposals:
    with path.open("rb") as file:  # np.load leaves a file open that it cannot read to the end
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError("expected an archive of arrays")
        superpixels, packed = archive["superpixels"].astype(np.int32), archive["membership"]
        objectness, boxes = archive["objectness"], archive["boxes"]
    if superpixels.shape != size or superpixels.min() < 0:
        raise InputError(f"expected superpixels of {size[0]} x {size[1]} pixels, got {superpixels.shape}")
    count, parts = len(objectness), int(superpixels.max()) + 1
    membership = np.unpackbits(packed, axis=0, count=parts).astype(bool)
    if membership.shape != (parts, count) or boxes.shape != (count, 4):
        raise InputError(f"expected {count} proposals of {parts} superpixels, got {membership.shape}, {boxes.shape}")
    areas = np.bincount(superpixels.ravel(), minlength=parts) @ membership
    return Proposals(superpixels, membership, objectness, boxes, areas)


def _write(path: Path, found: Proposals) -> None:
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            superpixels=found.superpixels.astype(np.min_scalar_type(len(found.membership))),
            membership=np.packbits(found.membership, axis=0),
            objectness=found.objectness,
            boxes=found.boxes,
        )

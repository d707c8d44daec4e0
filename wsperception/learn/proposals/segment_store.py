"""Segment proposals of the frames of a training set, made once and kept on disk beside the decoded frames."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from wsperception.data.frame_store import FrameStore
from wsperception.data.segments import Segments
from wsperception.errors import InputError
from wsperception.learn.kept_work import BROKEN_ARCHIVE, in_processes, whole_file
from wsperception.learn.proposals.segments import VERSION, ProposalSettings, segment_proposals

logger = logging.getLogger(__name__)


class SegmentStore:
    """Row of a FrameStore -> its segments, at the scale of the stored frame.

    folder   where they are kept, one file per frame; None makes them at every access
    largest  segments that cover a larger share of the image are left out: they are streets and skies
    """

    def __init__(self, frames: FrameStore, settings: ProposalSettings, largest: float, folder: Path | None) -> None:
        self._frames, self._settings, self._largest, self._folder = frames, settings, largest, None
        if folder is not None:
            key = json.dumps([VERSION, dataclasses.asdict(settings), largest], sort_keys=True)
            self._folder = folder / f"{frames.digest()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
            self._folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, row: int) -> Segments:
        if self._folder is None:
            return image_segments(self._frames[row].image, self._settings, self._largest)
        path = self._folder / f"{row:06d}.npz"
        if path.exists():
            try:
                return _read(path, self._frames[row].image.shape[:2])
            except BROKEN_ARCHIVE as error:
                logger.warning("%s: broken (%s), made anew", path, error)
        made = image_segments(self._frames[row].image, self._settings, self._largest)
        _write(path, made)
        return made

    def fill(self, workers: int) -> None:
        """Makes what is missing, in `workers` processes; 0 in this one. Nothing to do without a folder."""
        if self._folder is None:
            return
        missing = [row for row in range(len(self._frames)) if not (self._folder / f"{row:06d}.npz").exists()]
        if missing:
            made = zip(missing, tqdm(self._made(missing, workers), "proposals", len(missing)), strict=True)
            empty = 0
            for row, segments in made:
                _write(self._folder / f"{row:06d}.npz", segments)
                empty += len(segments) == 0
            if empty:
                logger.warning("proposals: %d of %d images have none", empty, len(missing))

    def _made(self, rows: list[int], workers: int) -> Iterator[Segments]:
        work = partial(image_segments, settings=self._settings, largest=self._largest)
        images = (np.ascontiguousarray(self._frames[row].image) for row in rows)
        return in_processes(work, images, workers)


def image_segments(image: np.ndarray, settings: ProposalSettings, largest: float) -> Segments:
    """The proposals of an image (H, W, 3) uint8 RGB that cover at most the share `largest` of it."""
    found = segment_proposals(image, settings).at_most(largest)
    assert len(found.membership) < 65535  # OUTSIDE
    return Segments(found.superpixels.astype(np.uint16), found.membership, found.objectness)


def _read(path: Path, size: tuple[int, ...]) -> Segments:
    with np.load(path, allow_pickle=False) as values:
        shape = tuple(values["shape"].tolist())
        membership = np.unpackbits(values["membership"], count=shape[0] * shape[1]).reshape(shape).astype(bool)
        superpixels, objectness = values["superpixels"], values["objectness"]
    if superpixels.shape != size or superpixels.max(initial=0) >= max(shape[0], 1) or shape[1] != len(objectness):
        raise InputError(f"expected segments of {size[0]} x {size[1]} pixels, got {superpixels.shape}, {shape}")
    return Segments(superpixels, membership, objectness)


def _write(path: Path, segments: Segments) -> None:
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            superpixels=segments.superpixels,
            membership=np.packbits(segments.membership),
            shape=np.array(segments.membership.shape),
            objectness=segments.objectness,
        )

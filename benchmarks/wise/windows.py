"""Windows of synthetic drives: small pictures framed around near objects, as photographs are around what they show."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsperception.data.drive.png import encode_png
from wsperception.data.drive.sequence import IGNORE_ID, Drive, DriveFrame
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import mots_lines

FRAMES = 6
"""Of a drive, a window of each."""
SIDE = 128
"""Of a window, pixels; divisible by the network's coarsest stride."""
DRIVE_SIZE = (232, 768)
RATE_HZ = 0.5
"""Two seconds lie between frames, so that they differ."""
SMALLEST_AREA = 400
"""Pixels of an object in the window below which it belongs to the ignore region."""
LARGEST_SHARE = 0.22
"""Of the window that an object may cover for the window to be laid around it."""
SMALLEST_SHARE = 0.4
"""Of an object's pixels that the window must hold, otherwise it belongs to the ignore region."""


def write_windows(out: Path, seed: int, drives: int) -> int:
    """Writes a window of each of the frames of `drives` drives in the layout of KITTI MOTS; how many there are.

    A frame without an object that a window can be laid around has none. `out` is whole or absent.
    """
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "training/instances_txt").mkdir(parents=True)
    count = written = 0
    for number in range(drives):
        name, lines = f"{written:04d}", []
        drive = Drive(DriveSettings(seed, FRAMES, *DRIVE_SIZE, RATE_HZ), number)
        folder = partial / "training/image_02" / name
        for window in windows(drive, np.random.default_rng((seed, number))):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{window.index:06d}.png").write_bytes(encode_png(window.image[..., ::-1]))
            lines += mots_lines(window)
            count += 1
        if lines:
            (partial / "training/instances_txt" / f"{name}.txt").write_text("".join(lines))
            written += 1
    os.replace(partial, out)
    return count


def windows(drive: Drive, random: np.random.Generator) -> Iterator[DriveFrame]:
    """A window of every frame that has one, around an object of a random class; image and object ids are its own."""
    for frame in drive.frames():
        fitting = _fitting(frame.object_ids)
        if fitting:
            classes = sorted({number // 1000 for number in fitting})
            chosen = classes[random.integers(len(classes))]
            own = [number for number in fitting if number // 1000 == chosen]
            yield window(frame, *_corner(frame.object_ids == own[random.integers(len(own))], random))


def window(frame: DriveFrame, top: int, left: int) -> DriveFrame:
    """The window of a frame whose upper left corner is there; what is too small in it is ignored."""
    place = np.s_[top : top + SIDE, left : left + SIDE]
    ids = frame.object_ids[place].copy()
    whole = np.bincount(frame.object_ids.ravel(), minlength=IGNORE_ID + 1)
    inside = np.bincount(ids.ravel(), minlength=IGNORE_ID + 1)
    dropped = (inside > 0) & ((inside < SMALLEST_AREA) | (inside < SMALLEST_SHARE * whole))
    dropped[0] = False
    ids[dropped[ids]] = IGNORE_ID
    return replace(frame, image=np.ascontiguousarray(frame.image[place]), object_ids=ids)


def _fitting(object_ids: np.ndarray) -> list[int]:
    """Ids of the objects that are neither too small nor too large for a window."""
    areas = np.bincount(object_ids.ravel(), minlength=IGNORE_ID + 1)
    fit = (areas >= SMALLEST_AREA) & (areas <= LARGEST_SHARE * SIDE * SIDE)
    fit[[0, IGNORE_ID]] = False
    return [int(number) for number in np.flatnonzero(fit)]


def _corner(mask: np.ndarray, random: np.random.Generator) -> tuple[int, int]:
    """Top and left of a window that holds the middle of a mask in its inner half, as far as the image allows."""
    corner = []
    for axis, length in enumerate(mask.shape):
        where = np.flatnonzero(mask.any(axis=1 - axis))
        start = round((where[0] + where[-1]) / 2 - SIDE * random.uniform(0.3, 0.7))
        corner.append(int(np.clip(start, 0, length - SIDE)))
    return corner[0], corner[1]

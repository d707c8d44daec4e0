"""Frames of a source as image files in the folder that is labelled."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from wsperception.data.label_file import IMAGE_FOLDER, FrameLabels
from wsperception.data.sources import Source
from wsperception.errors import InputError

_JPEG_QUALITY = 95
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def write_frames(
    source: Source,
    folder: Path,
    every: int,
    *,
    jpeg: bool = False,
    names: dict[int, str] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[tuple[FrameLabels, ...], tuple[int, int]]:
    """Writes the frames whose number is a multiple of `every` into `folder`/images: (frames without labels, (H, W)).

    jpeg   JPEG of quality 95 instead of PNG, which keeps every pixel
    names  frame number -> name of the image file, without its ending; the number, in six digits, where there is none

    A file appears whole or not at all. Raises InputError where no frame has such a number, and what `source` raises;
    OSError where the disk is full.
    """
    (folder / IMAGE_FOLDER).mkdir(parents=True, exist_ok=True)
    frames: list[FrameLabels] = []
    size = (0, 0)
    for done, frame in enumerate(source, start=1):
        if frame.index % every == 0:
            name = (names or {}).get(frame.index, f"{frame.index:06d}")
            image = f"{IMAGE_FOLDER}/{name}{'.jpg' if jpeg else '.png'}"
            _write_image(folder / image, frame.image)
            frames.append(FrameLabels(frame.index, image, frame.stamp_ns))
            size = frame.image.shape[0], frame.image.shape[1]
        if progress is not None:
            progress(done, source.length)
    if not frames:
        raise InputError(f"{source.origin}: no frame has a number that is a multiple of {every}; lower --every")
    return tuple(frames), size


def original_names(files: list[Path]) -> dict[int, str]:
    """Frame number -> name of its file without the ending, so that other tools' annotations of a folder's images find
    them; empty where two files share a name, or one has signs that an address should not have.
    """
    names = [file.stem for file in files]
    if len(set(names)) < len(names) or not all(_PLAIN_NAME.fullmatch(name) for name in names):
        return {}
    return dict(enumerate(names))


def _write_image(path: Path, image: np.ndarray) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data.tobytes())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)

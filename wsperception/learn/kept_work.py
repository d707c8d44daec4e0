"""What the caches of a training set share: image files read, work spread over processes, files written whole."""

import multiprocessing
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import cv2
import numpy as np

from wsperception.errors import InputError

BROKEN_ARCHIVE = (
    ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What reading a damaged archive of arrays raises; InputError is a ValueError."""

A = TypeVar("A")
B = TypeVar("B")


def in_processes(work: Callable[[A], B], items: Iterable[A], workers: int, chunk: int = 4) -> Iterator[B]:
    """`work` of every item, in their order, in `workers` processes that take `chunk` items at once; 0: in this one."""
    if workers == 0:
        yield from map(work, items)
        return
    # Not forked: a fork of a process that runs threads, as PyTorch does, may hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _keep_to_one_core) as pool:
        yield from pool.map(work, items, chunksize=chunk)


def _keep_to_one_core() -> None:
    """Of a new process: the processes share the cores among them."""
    cv2.setNumThreads(1)


def image_content(path: Path) -> bytes:
    """The bytes of an image file. InputError naming it where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def decoded(content: bytes, path: Path) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB in the content of `path`. InputError naming it where there is none."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    if image is None:
        raise InputError(f"{path}: expected an image that OpenCV reads")
    return np.asarray(image)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that gets the name `path` at the end of the block, and vanishes where the block raises."""
    handle, name = tempfile.mkstemp(prefix=path.stem, suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""Panoptic labels of one image, and a set of images that carries them; every reader of panoptic data gives these."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsperception.errors import InputError
from wsperception.types import VOID, LabelSpace, SegmentMap

UNLABELLED = 255
"""Value of pixels without a class in a semantic map."""


@dataclass(frozen=True, eq=False)
class PanopticLabels:
    """What every pixel of one image shows: disjoint segments, by an annotator or by a network.

    name       name of the image in its set
    ids        (H, W) uint16   row of every pixel; row 0 is void, which counts neither for nor against
    class_ids  (R,) int32      index into the LabelSpace; VOID in row 0
    is_crowd   (R,) bool       a region of things of that class that nobody told apart (a crowd, a group, a difficult
                               object): no object to be found, and no mistake to be there; False in row 0
    scores     (R,) float32    confidence in [0, 1]; 1 where an annotator drew; 0 in row 0
    image      Path or None    the camera image, where it lies beside the labels
    candidates (R, C) bool or None   for training: classes that a pixel of a row may have; none where nothing is known

    R >= 1. A row may have no pixel. A class of stuff may have several rows; readers give one. Rows beside the first are
    void only where there are candidates.
    """

    name: str
    ids: np.ndarray
    class_ids: np.ndarray
    is_crowd: np.ndarray
    scores: np.ndarray
    image: Path | None = None
    candidates: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows = len(self.class_ids)
        if self.ids.ndim != 2 or self.ids.dtype != np.uint16:
            raise InputError(f"{self.name}: ids: expected (H, W) uint16, got {self.ids.dtype} {self.ids.shape}")
        for field, dtype in (("class_ids", np.int32), ("is_crowd", np.bool_), ("scores", np.float32)):
            array: np.ndarray = getattr(self, field)
            if array.shape != (rows,) or array.dtype != dtype:
                raise InputError(
                    f"{self.name}: {field}: expected ({rows},) {np.dtype(dtype)}, got {array.dtype} {array.shape}"
                )
        if self.candidates is not None and (len(self.candidates) != rows or self.candidates.dtype != np.bool_):
            got = f"{self.candidates.dtype} {self.candidates.shape}"
            raise InputError(f"{self.name}: candidates: expected ({rows}, classes) bool, got {got}")
        named = self.candidates is not None or (self.class_ids[1:] >= 0).all()
        if rows == 0 or self.class_ids[0] != VOID or self.is_crowd[0] or not named:
            raise InputError(f"{self.name}: class_ids: expected row 0 to be void and all others to have a class")
        if self.ids.size and int(self.ids.max()) >= rows:
            raise InputError(f"{self.name}: ids: expected values below {rows} rows, got {self.ids.max()}")

    def __len__(self) -> int:
        """Number of segments, void not counted."""
        return len(self.class_ids) - 1

    def semantic(self) -> np.ndarray:
        """(H, W) uint8 class of every pixel, crowds included; UNLABELLED where void. For at most 255 classes."""
        table = np.where(self.class_ids == VOID, UNLABELLED, self.class_ids).astype(np.uint8)
        semantic: np.ndarray = table[self.ids]
        return semantic

    @staticmethod
    def of_segments(name: str, segments: SegmentMap, image: Path | None = None) -> "PanopticLabels":
        """What the pipeline or a network found."""
        crowd = np.zeros(len(segments.class_ids), np.bool_)
        return PanopticLabels(name, segments.ids, segments.class_ids, crowd, segments.scores, image)


@dataclass(frozen=True)
class PanopticSet:
    """Images with panoptic labels, read one at a time: nothing is in memory but names and paths.

    source  what to name in messages
    labels  the classes
    names   of the images, distinct, in their order
    read    gives the labels of a name; InputError naming the file where it is missing or wrong
    scored  every segment comes with a confidence of its own, so that a ranking means something
    """

    source: str
    labels: LabelSpace
    names: tuple[str, ...]
    read: Callable[[str], PanopticLabels]
    scored: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[PanopticLabels]:
        return (self.read(name) for name in self.names)


def relabelled(values: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The label map of an image of segment numbers.

    values  (H, W) unsigned integer, any numbers; 0 is void

    Returns the map (H, W) uint16 of rows and the number of each row (R,), 0 first and then rising; R = 1 where
    everything is void. InputError naming `where` for more than 65535 segments.
    """
    # Runs, not pixels, are sorted: neighbours mostly agree. 1024 x 2048 pixels take 3 ms; np.unique takes 190 ms.
    flat = values.ravel()
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1) if flat.size else np.zeros(0, np.int64)
    numbers = np.unique(flat[starts])
    numbers = np.append(numbers.dtype.type(0), numbers[numbers != 0])
    if len(numbers) > 65536:
        raise InputError(f"{where}: expected at most 65535 segments in an image, got {len(numbers) - 1}")
    rows = np.searchsorted(numbers, flat[starts]).astype(np.uint16)
    lengths = np.diff(np.append(starts, flat.size))
    return np.repeat(rows, lengths).reshape(values.shape), numbers


def read_label_image(path: Path, dtype: type, channels: int, expected: str) -> np.ndarray:
    """(H, W) or (H, W, channels) of a label image, untouched: as OpenCV orders channels, so blue first.

    expected  the image in words, for the message

    Raises InputError naming the file where it is missing, no image, or of another depth or number of channels.
    """
    values = read_image(path)
    got = 1 if values.ndim == 2 else values.shape[2]
    if values.dtype != dtype or got != channels:
        raise InputError(f"{path}: expected {expected}, got {got} channels of {values.dtype}")
    return values


def read_image(path: Path) -> np.ndarray:
    """An image as it is stored; palettes come as colours. InputError naming the file where it is missing or broken."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an image")
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise InputError(f"{path}: not a readable image")
    return np.asarray(values)


def check_size(path: Path, values: np.ndarray, size: tuple[int, int], as_in: object) -> None:
    """InputError where an image is not of the size (H, W) of `as_in`."""
    height, width = values.shape[:2]
    if (height, width) != size:
        raise InputError(
            f"{path}: expected {size[0]} x {size[1]} (height x width) as in {as_in}, got {height} x {width}"
        )

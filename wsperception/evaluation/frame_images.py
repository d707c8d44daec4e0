"""Camera images of evaluated sequences, found by frame number."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from wsperception.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
LAYOUTS = ("", "image_02", "training/image_02", "images", "training/images")
GREY = 96
"""Background where there is no camera image: dark enough for masks of any colour."""


class FrameImages:
    """The images of some sequences below one folder, or grey where there are none.

    folder  one folder per sequence, directly or in `image_02` or `training/image_02`; or the frames of a single
            sequence; None: no images
    names   sequences, by name

    Raises InputError where a folder is given but holds frames of none of the sequences. `notes` tells which sequences
    or frames came out grey.
    """

    def __init__(self, folder: Path | None, names: Sequence[str]) -> None:
        self.notes: list[str] = []
        self._frames: dict[str, dict[int, Path]] = {}
        if folder is None:
            return
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected camera images")
        for name in names:
            self._frames[name] = _numbered(folder, name, alone=len(names) == 1)
        absent = [name for name in names if not self._frames[name]]
        if len(absent) == len(names):
            raise InputError(
                f"{folder}: expected numbered images in a folder per sequence ({names[0]}, ...), found none"
            )
        if absent:
            self.notes.append(f"{folder}: no images of sequence {', '.join(absent)}: pictures on grey")

    def length(self, name: str) -> int:
        """Frames of the sequence as far as its images tell, 0 without images."""
        return max(self._frames.get(name, {}), default=-1) + 1

    def read(self, name: str, frame: int, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the camera image, or grey where there is none or it is unreadable.

        Raises InputError where the image is of another size (H, W).
        """
        path = self._frames.get(name, {}).get(frame)
        grey = np.full((*size, 3), GREY, np.uint8)
        if path is None:
            return grey
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            self.notes.append(f"{path}: not a readable image: picture on grey")
            return grey
        if image.shape[:2] != size:
            raise InputError(
                f"{path}: expected {size[0]} x {size[1]} (height x width) as in the masks of sequence {name}, "
                f"got {image.shape[0]} x {image.shape[1]}"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _numbered(folder: Path, name: str, alone: bool) -> dict[int, Path]:
    """Frame number -> image, from the first layout that has any."""
    candidates = [folder / layout / name for layout in LAYOUTS]
    if alone:
        candidates += [folder / layout for layout in LAYOUTS]
    for candidate in candidates:
        if not candidate.is_dir():
            continue
        found = {
            int(path.stem): path
            for path in sorted(candidate.iterdir())
            if path.suffix.lower() in ENDINGS and path.stem.isdecimal()
        }
        if found:
            return found
    return {}

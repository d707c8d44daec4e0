"""Decoded training images at nearly network size: read once, then mapped from disk, so that data never limits a step.

Decoding a 375x1242 PNG costs about 10 ms and its masks as much; a mapped frame costs a copy. The files are shared by
the processes of a run and by later runs over the same images.
"""

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsperception.data.labelled_frames import LabelledFrame
from wsperception.errors import InputError
from wsperception.preprocess import Letterbox, fit, letterbox

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StoredFrame:
    """One frame of a store.

    image      (h', w', 3) uint8 RGB      content only, no padding
    label_map  (h', w') uint16 or None    rows as in LabelledFrame.label_map; None under weak supervision
    placing    Letterbox                  from the original image to these pixels
    """

    image: np.ndarray
    label_map: np.ndarray | None
    placing: Letterbox


class FrameStore:
    """The frames of a training set, letterboxed to `size` (h', w').

    with_masks  full supervision: every frame gets a label map, also one without objects
    folder      where the decoded frames are kept; None decodes at every access
    workers     threads that decode
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        size: tuple[int, int],
        with_masks: bool,
        folder: Path | None,
        workers: int = 2,
    ) -> None:
        self.size = size
        self._frames = frames
        self._with_masks = with_masks
        self._images: np.ndarray | None = None
        self._label_maps: np.ndarray | None = None
        self._image_sizes: np.ndarray | None = None
        if folder is not None:
            place = folder / self.digest()
            if not (place / "sizes.npy").exists():
                self._fill(place, max(workers, 1))
            self._images = np.load(place / "images.npy", mmap_mode="r")
            self._image_sizes = np.load(place / "sizes.npy")
            if self._with_masks:
                self._label_maps = np.load(place / "label_maps.npy", mmap_mode="r")

    def digest(self) -> str:
        """16 hexadecimal digits that change with the files, their sizes and dates, the stored size and the masks."""
        state = hashlib.sha256(f"1 {self.size} {self._with_masks}".encode())
        for frame in self._frames:
            status = frame.path.stat()
            state.update(f"{frame.path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
            if self._with_masks and frame.masks is not None:
                for counts in (*frame.masks.objects, b"ignored", *frame.masks.ignored):
                    state.update(counts + b" ")
        return state.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> StoredFrame:
        if self._images is None or self._image_sizes is None:
            return decode_frame(self._frames[index], self.size, self._with_masks)
        height, width = self._image_sizes[index].tolist()
        placing = fit((height, width), self.size)
        rows, columns = placing.content_size
        label_map = None if self._label_maps is None else self._label_maps[index, :rows, :columns]
        return StoredFrame(self._images[index, :rows, :columns], label_map, placing)

    def _fill(self, place: Path, workers: int) -> None:
        partial = _new_folder(place, len(self._frames) * self.size[0] * self.size[1] * (5 if self._with_masks else 3))
        logger.info("decoding %d frames to %dx%d in %s", len(self), self.size[1], self.size[0], place)
        try:
            self._decode_all(partial, workers)
            try:
                partial.rename(place)
            except OSError:  # another run was faster: its frames are the same
                if not (place / "sizes.npy").exists():
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _decode_all(self, folder: Path, workers: int) -> None:
        shape = (len(self), *self.size)
        images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
        label_maps = None
        if self._with_masks:
            label_maps = np.lib.format.open_memmap(folder / "label_maps.npy", mode="w+", dtype=np.uint16, shape=shape)
        sizes = np.zeros((len(self), 2), np.int64)

        def store(index: int) -> None:
            frame = decode_frame(self._frames[index], self.size, self._with_masks)
            rows, columns = frame.placing.content_size
            images[index, :rows, :columns] = frame.image
            if label_maps is not None and frame.label_map is not None:
                label_maps[index, :rows, :columns] = frame.label_map
            sizes[index] = frame.placing.image_size

        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(store, range(len(self))):
                pass
        np.save(folder / "sizes.npy", sizes)  # last: its presence means that the rest is there


def decode_frame(frame: LabelledFrame, size: tuple[int, int], with_masks: bool) -> StoredFrame:
    """Reads one image and its masks; InputError where the image cannot be read or the masks have another size."""
    image = cv2.imread(str(frame.path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise InputError(f"{frame.path}: expected an image that OpenCV reads")
    buffer, placing = letterbox(image, size)
    rows, columns = placing.content_size
    if not with_masks:
        return StoredFrame(buffer[:rows, :columns], None, placing)
    if frame.masks is None:
        return StoredFrame(buffer[:rows, :columns], np.zeros((rows, columns), np.uint16), placing)
    if frame.masks.size != placing.image_size:
        raise InputError(f"{frame.path}: expected masks of {placing.image_size}, got {frame.masks.size}")
    # EXACT samples at pixel centres as the image's interpolation does; plain NEAREST is half a pixel off.
    label_map = cv2.resize(frame.masks.label_map(), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
    return StoredFrame(buffer[:rows, :columns], label_map, placing)


def _new_folder(place: Path, size: int) -> Path:
    """A new folder beside `place` with room for `size` bytes."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
        # A full disk would otherwise end the process with SIGBUS when a mapped page is written.
        if free < size:
            raise InputError(
                f"{place.parent}: expected {size / 1e9:.1f} GB for decoded frames, got {free / 1e9:.1f} GB"
            )
        return Path(tempfile.mkdtemp(prefix=f"{place.name}.", suffix=".partial", dir=place.parent))
    except OSError as error:
        raise InputError(f"{place.parent}: cannot keep decoded frames here: {error.strerror}") from None

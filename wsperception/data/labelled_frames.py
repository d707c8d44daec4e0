"""Labelled images of KITTI folders as training sees them: boxes, classes, track keys and, where asked for, masks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsperception import rle
from wsperception.data import kitti
from wsperception.errors import InputError
from wsperception.types import LabelSpace

IGNORE_ROW = 65535
"""Value of ignored pixels in a label map of `LabelledFrame.label_map`."""


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One annotated image; coordinates in pixels of the original image.

    path          image file
    sequence      index of the sequence in the training set
    number        frame number
    boxes         (N, 4) float32   x0 y0 x1 y1 exclusive
    class_ids     (N,) int64       index into the LabelSpace
    track_keys    (N,) int64       unique over (sequence, class, id) in the training set
    ignore_boxes  (I, 4) float32   regions that count neither for nor against
    masks         N run lengths, then those of ignore regions; a 16 bit PNG; or None under weak supervision: then no
                  mask can leak, because none is in memory
    mask_ids      (N,) int64       pixel value of each object where masks is a PNG
    """

    path: Path
    sequence: int
    number: int
    boxes: np.ndarray
    class_ids: np.ndarray
    track_keys: np.ndarray
    ignore_boxes: np.ndarray
    masks: tuple["RunLengths", ...] | Path | None
    mask_ids: np.ndarray

    def label_map(self, image_size: tuple[int, int]) -> np.ndarray:
        """(H, W) uint16: 0 background, n + 1 object n, IGNORE_ROW ignored. Full supervision only.

        image_size  (H, W) of an image without objects; masks bring their own
        """
        assert self.masks is not None, "weakly supervised frames have no masks"
        if isinstance(self.masks, Path):
            return self._map_of_picture(self.masks)
        if not self.masks:
            return np.zeros(image_size, np.uint16)
        rows = np.zeros(self.masks[0].size, np.uint16)
        for row in reversed(range(len(self.masks))):  # ignore regions first, so that objects lie on top
            rows[self.masks[row].decode()] = row + 1 if row < len(self.boxes) else IGNORE_ROW
        return rows

    def _map_of_picture(self, path: Path) -> np.ndarray:
        raw = read_instance_picture(path)
        table = np.zeros(65536, np.uint16)
        table[rle.IGNORE_CLASS * 1000 : (rle.IGNORE_CLASS + 1) * 1000] = IGNORE_ROW
        table[self.mask_ids] = np.arange(1, len(self.mask_ids) + 1)
        return table[raw]


@dataclass(frozen=True)
class RunLengths:
    """One mask of `size` (H, W) as COCO's compressed run lengths."""

    size: tuple[int, int]
    counts: bytes

    def decode(self) -> np.ndarray:
        """(H, W) bool."""
        return rle.decode(self.counts, self.size)

    def box(self) -> np.ndarray:
        """(4,) float32 tight x0 y0 x1 y1, exclusive; zeros for an empty mask. Without decoding: 10 times as fast."""
        edges = np.cumsum(rle.run_lengths(self.counts))
        if len(edges) < 2:
            return np.zeros(4, np.float32)
        starts, lasts = edges[:-1:2], edges[1::2] - 1  # of the foreground runs, column by column
        starts, lasts = starts[: len(lasts)][lasts >= starts[: len(lasts)]], lasts[lasts >= starts[: len(lasts)]]
        if len(starts) == 0:
            return np.zeros(4, np.float32)
        height = self.size[0]
        wraps = bool((starts // height < lasts // height).any())  # a run over two columns touches both edges
        top = 0 if wraps else (starts % height).min()
        bottom = height if wraps else (lasts % height).max() + 1
        return np.array([starts[0] // height, top, lasts[-1] // height + 1, bottom], np.float32)


class TrackKeys:
    """Numbers (sequence, class, id) in the order in which they are met: 0, 1, 2, ..."""

    def __init__(self) -> None:
        self._keys: dict[tuple[int, int, int], int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, sequence: int, class_id: int, track_id: int) -> int:
        """The number of this track."""
        return self._keys.setdefault((sequence, class_id, track_id), len(self._keys))


def read_labelled_frames(
    roots: tuple[Path, ...], split: str, labels: LabelSpace, supervision: str
) -> list[LabelledFrame]:
    """Every image of the chosen sequences of `roots` with its labels.

    supervision  "full": masks, and boxes that are tight around them. "weak": boxes and ids of label_02, and no file
                 of masks is opened; only where a sequence has no label_02 are boxes taken from its masks, which are
                 dropped at once.

    An image without a row in the label file is annotated and empty. Raises InputError where a sequence has no labels.
    """
    frames: list[LabelledFrame] = []
    keys = TrackKeys()
    count = 0
    for root in roots:
        for sequence in kitti.select(kitti.list_sequences(root), split):
            frames.extend(_sequence_frames(sequence, count, keys, labels, supervision))
            count += 1
    return frames


def read_instance_picture(path: Path) -> np.ndarray:
    """(H, W) uint16 of a KITTI MOTS picture: class * 1000 + id."""
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
        raise InputError(f"{path}: expected a 16 bit grey PNG of instance ids")
    return raw


def _sequence_frames(
    sequence: kitti.KittiSequence, index: int, keys: TrackKeys, labels: LabelSpace, supervision: str
) -> Iterator[LabelledFrame]:
    if supervision == "weak" and sequence.boxes_path is not None:
        yield from _frames_of_boxes(sequence, sequence.boxes_path, index, keys, labels)
        return
    if sequence.masks_path is None:
        wanted = "label_02 or masks" if supervision == "weak" else "masks in instances_txt/ or instances/"
        raise InputError(f"sequence {sequence.name}: expected {wanted} for {supervision} supervision, found none")
    with_masks = supervision == "full"
    if sequence.masks_path.is_dir():
        yield from _frames_of_pictures(sequence, sequence.masks_path, index, keys, labels, with_masks)
    else:
        yield from _frames_of_mots_text(sequence, sequence.masks_path, index, keys, labels, with_masks)


def _frames_of_boxes(
    sequence: kitti.KittiSequence, path: Path, index: int, keys: TrackKeys, labels: LabelSpace
) -> Iterator[LabelledFrame]:
    annotated = kitti.read_tracking_labels(path, labels).frames
    none = np.zeros((0, 4), np.float32)
    empty = kitti.BoxLabels(none, np.zeros(0, np.int32), np.zeros(0, np.int32), none)
    for number, image in sequence.images.items():
        found = annotated.get(number, empty)
        classes = found.class_ids.tolist()
        track_keys = [keys.key(index, *pair) for pair in zip(classes, found.track_ids.tolist(), strict=True)]
        yield _frame(image, index, number, found.boxes, classes, track_keys, found.ignore_boxes, None, [])


def _frames_of_mots_text(
    sequence: kitti.KittiSequence, path: Path, index: int, keys: TrackKeys, labels: LabelSpace, with_masks: bool
) -> Iterator[LabelledFrame]:
    annotated = _read_mots_text(path, labels)
    for number, image in sequence.images.items():
        objects = annotated.get(number, [])
        ignored = [thing.mask for thing in objects if thing.class_id < 0]
        located = [(thing, thing.mask.box()) for thing in objects if thing.class_id >= 0]
        located = [(thing, box) for thing, box in located if box[2] > box[0]]
        things = [thing for thing, _ in located]
        boxes = np.array([box for _, box in located], np.float32).reshape(-1, 4)
        # Under weak supervision the outline of an ignore region must not be seen either: its parts become boxes.
        ignore_boxes = _region_boxes(ignored)
        masks = tuple([thing.mask for thing in things] + ignored) if with_masks else None
        track_keys = [keys.key(index, thing.class_id, thing.track_id) for thing in things]
        classes = [thing.class_id for thing in things]
        yield _frame(image, index, number, boxes, classes, track_keys, ignore_boxes, masks, [])


def _frames_of_pictures(
    sequence: kitti.KittiSequence, folder: Path, index: int, keys: TrackKeys, labels: LabelSpace, with_masks: bool
) -> Iterator[LabelledFrame]:
    for number, image in sequence.images.items():
        path = folder / f"{number:06d}.png"
        raw = read_instance_picture(path)
        values = [int(value) for value in np.unique(raw) if value and value // 1000 != rle.IGNORE_CLASS]
        classes = [_class_id(value // 1000, labels, str(path)) for value in values]
        chosen = [(value, class_id) for value, class_id in zip(values, classes, strict=True) if class_id >= 0]
        boxes = np.array([_tight_box(raw == value) for value, _ in chosen], np.float32).reshape(-1, 4)
        ignore_boxes = _component_boxes(raw // 1000 == rle.IGNORE_CLASS)
        track_keys = [keys.key(index, class_id, value) for value, class_id in chosen]
        yield _frame(
            image,
            index,
            number,
            boxes,
            [class_id for _, class_id in chosen],
            track_keys,
            ignore_boxes,
            path if with_masks else None,
            [value for value, _ in chosen],
        )


def _frame(
    path: Path,
    sequence: int,
    number: int,
    boxes: np.ndarray,
    class_ids: list[int],
    track_keys: list[int],
    ignore_boxes: np.ndarray,
    masks: tuple[RunLengths, ...] | Path | None,
    mask_ids: list[int],
) -> LabelledFrame:
    return LabelledFrame(
        path,
        sequence,
        number,
        boxes,
        np.array(class_ids, np.int64),
        np.array(track_keys, np.int64),
        ignore_boxes,
        masks,
        np.array(mask_ids, np.int64),
    )


@dataclass(frozen=True)
class _MaskObject:
    track_id: int
    class_id: int  # -1 for an ignore region
    mask: RunLengths


def _read_mots_text(path: Path, labels: LabelSpace) -> dict[int, list[_MaskObject]]:
    frames: dict[int, list[_MaskObject]] = {}
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        parts = text.split(" ")
        where = f"{path}:{line}"
        if len(parts) != 6 or not all(part.isdigit() for part in parts[:5]):
            raise InputError(f"{where}: expected 'frame id class height width rle', got '{text[:60]}'")
        frame, track_id, number, height, width = (int(part) for part in parts[:5])
        class_id = -1 if number == rle.IGNORE_CLASS else _class_id(number, labels, where)
        mask = RunLengths((height, width), parts[5].encode())
        frames.setdefault(frame, []).append(_MaskObject(track_id, class_id, mask))
    return frames


def _class_id(number: int, labels: LabelSpace, where: str) -> int:
    numbers = {"car": 1, "pedestrian": 2} | dict(zip(labels.names, rle.mots_class_numbers(labels), strict=True))
    for name, known in numbers.items():
        if number == known:
            return labels.id_of(name) if name in labels.names else -1
    expected = ", ".join(f"{known} ({name})" for name, known in numbers.items())
    raise InputError(f"{where}: class {number} is unknown; expected {expected} or {rle.IGNORE_CLASS} (ignore)")


def _region_boxes(regions: list[RunLengths]) -> np.ndarray:
    boxes = [_component_boxes(region.decode()) for region in regions]
    return np.concatenate([np.zeros((0, 4), np.float32), *boxes])


def _component_boxes(mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        return np.zeros((0, 4), np.float32)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    x, y, width, height = (stats[1:, column] for column in range(4))  # row 0 is the background
    return np.stack([x, y, x + width, y + height], axis=1).astype(np.float32)


def _tight_box(mask: np.ndarray) -> list[int]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]

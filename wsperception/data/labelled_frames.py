"""Labelled images as training sees them: boxes, classes, track keys and, where asked for, masks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsperception import rle
from wsperception.data import kitti
from wsperception.data.box_labels import BoxLabels, BoxSequence, no_labels
from wsperception.data.labelled_points import clicked_points, points_of_boxes, points_of_masks
from wsperception.data.layouts import KITTI, LABELLED, layout_of, read_box_sequences
from wsperception.data.mots import CLASS_NUMBERS, MotsObject, read_mots
from wsperception.errors import InputError
from wsperception.types import LabelSpace, WeakLabels

logger = logging.getLogger(__name__)

IGNORE_ROW = 65535
"""Value of ignored pixels in a label map."""


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """The masks of one image as COCO's compressed run lengths.

    size     (H, W) of the image
    objects  N masks, in the order of the frame's boxes
    ignored  masks of ignore regions, and of pixels that pseudo masks leave undecided
    drawn    True: by an annotator, so that every object has pixels. False: pseudo masks, and an object that has none
             is one whose mask was rejected
    """

    size: tuple[int, int]
    objects: tuple[bytes, ...]
    ignored: tuple[bytes, ...]
    drawn: bool = True

    def label_map(self) -> np.ndarray:
        """(H, W) uint16: 0 background, n + 1 object n, IGNORE_ROW ignored; objects lie on top of ignore regions."""
        rows = np.zeros(self.size, np.uint16)
        for counts in self.ignored:
            rows[rle.decode(counts, self.size)] = IGNORE_ROW
        for row, counts in enumerate(self.objects, start=1):
            rows[rle.decode(counts, self.size)] = row
        return rows


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One annotated image; coordinates in pixels of the original image.

    path          image file
    sequence      index of the sequence in the training set
    number        frame number
    boxes         (N, 4) float32       x0 y0 x1 y1 exclusive
    class_ids     (N,) int64           index into the LabelSpace
    track_keys    (N,) int64           unique over (sequence, class, id) in the training set
    ignore_boxes  (I, 4) float32       regions that count neither for nor against
    masks         FrameMasks or None   None: nothing painted in this image (full supervision), or weak supervision,
                                       where no mask can leak because none is in memory
    weak          WeakLabels or None   what is cheaper than boxes, where the supervision is by it: points, or tags. No
                                       box, class or track is in memory then
    """

    path: Path
    sequence: int
    number: int
    boxes: np.ndarray
    class_ids: np.ndarray
    track_keys: np.ndarray
    ignore_boxes: np.ndarray
    masks: FrameMasks | None
    weak: WeakLabels | None = None

    @property
    def objects(self) -> int:
        """How many objects are annotated."""
        points = None if self.weak is None else self.weak.points
        return len(self.boxes) if points is None else len(points)


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
    roots: tuple[Path, ...], split: str, labels: LabelSpace, supervision: str, points_from: str = "masks"
) -> list[LabelledFrame]:
    """Every image of the chosen sequences of `roots` with its labels, sequence by sequence.

    roots        folders of KITTI tracking, KITTI MOTS, MOTChallenge or CVAT's exports, told by their content
    supervision  "full": masks, and boxes that are tight around them. "weak": boxes and ids of label_02, and no file
                 of masks is opened; only where a sequence has no label_02 are boxes taken from its masks, which are
                 dropped at once. "points": one point per object, see `points_from`.
    points_from  under "points", where a folder holds no clicks: "masks", their middles, or "boxes", their centres.
                 Masks and boxes are dropped at once.

    An image without a row in the label file is annotated and empty; labels without an image are left out, and said.
    Where the boxes have no ids, every image is a sequence of its own: no box is taken for another object than it is.
    Raises InputError where a sequence has no images or no labels, where masks are wanted of a layout that has none,
    and for faults of the label files.
    """
    frames: list[LabelledFrame] = []
    keys = TrackKeys()
    for root in roots:
        layout = layout_of(root)
        if supervision == "points" and layout == LABELLED:
            frames.extend(_clicked_frames(root, split, labels, frames[-1].sequence + 1 if frames else 0))
            continue
        if layout != KITTI and (supervision == "full" or (supervision == "points" and points_from == "masks")):
            wanted = "masks for full supervision" if supervision == "full" else "masks, or data.points_from=boxes"
            raise InputError(f"{root}: {layout}, which holds boxes; expected {wanted}")
        found: list[kitti.KittiSequence | BoxSequence]
        found = [*kitti.list_sequences(root)] if layout == KITTI else [*read_box_sequences(root, labels)]
        for sequence in kitti.select(found, split):
            if not sequence.images:
                raise InputError(f"{root}: sequence {sequence.name}: expected images, found none")
            index = frames[-1].sequence + 1 if frames else 0
            if supervision == "points":
                frames.extend(_pointed_frames(sequence, index, labels, points_from))
            elif isinstance(sequence, BoxSequence):
                frames.extend(_frames_of_boxes(sequence, index, keys))
            else:
                frames.extend(_frames_of_sequence(sequence, index, keys, labels, supervision))
    return frames


def mask_box(counts: bytes, height: int) -> np.ndarray:
    """The tight box (4,) float32 x0 y0 x1 y1, exclusive, of a mask as run lengths; zeros for an empty mask.

    height  H of the image. Without decoding, which is 10 times as fast.
    """
    edges = np.cumsum(rle.run_lengths(counts))
    starts, stops = edges[:-1:2], edges[1::2]  # of the foreground runs, column by column
    starts, stops = starts[stops > starts], stops[stops > starts]
    if len(starts) == 0:
        return np.zeros(4, np.float32)
    lasts = stops - 1
    # A run that goes on in the next column touches the bottom of one and the top of the other.
    wraps = bool((starts // height < lasts // height).any())
    top = 0 if wraps else (starts % height).min()
    bottom = height if wraps else (lasts % height).max() + 1
    return np.array([starts[0] // height, top, lasts[-1] // height + 1, bottom], np.float32)


def component_boxes(counts: bytes, size: tuple[int, int]) -> np.ndarray:
    """(I, 4) float32 tight boxes of the connected parts of a mask of `size` (H, W): all that weak labels may tell."""
    x0, y0, x1, y1 = mask_box(counts, size[0]).astype(int).tolist()
    if x1 == 0:
        return np.zeros((0, 4), np.float32)
    mask = np.ascontiguousarray(rle.decode(counts, size)[y0:y1, x0:x1]).view(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    x, y, width, height = (stats[1:, column] for column in range(4))  # row 0 is the background
    return np.stack([x + x0, y + y0, x + width + x0, y + height + y0], axis=1).astype(np.float32)


def boxes_of_masks(objects: list[MotsObject], labels: LabelSpace, where: str) -> BoxLabels:
    """Boxes and ids of the objects of one frame, in their order; parts of ignore regions become ignore boxes.

    Raises InputError naming `where`, for an unknown class, an id twice, or a mask without a pixel.
    """
    boxes: list[np.ndarray] = []
    classes: list[int] = []
    ids: list[int] = []
    ignored = [np.zeros((0, 4), np.float32)]
    for entry in objects:
        class_id = _class_id(entry.class_id, labels, where)
        if class_id < 0:
            ignored.append(component_boxes(entry.counts, entry.size))
            continue
        box = mask_box(entry.counts, entry.size[0])
        if box[2] == 0:
            raise InputError(f"{where}: object {entry.track_id}: expected a mask with at least one pixel")
        if (class_id, entry.track_id) in zip(classes, ids, strict=True):
            raise InputError(f"{where}: object {entry.track_id} is there twice")
        boxes.append(box)
        classes.append(class_id)
        ids.append(entry.track_id)
    return BoxLabels(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int32),
        np.array(ids, np.int32),
        np.concatenate(ignored),
    )


def mask_boxes_of_sequence(path: Path, labels: LabelSpace) -> dict[int, BoxLabels]:
    """Frame number -> boxes and ids of the masks of a MOTS text or folder; faults as in `boxes_of_masks`."""
    frames = read_mots(path).by_frame()
    return {number: boxes_of_masks(entries, labels, f"{path}: frame {number}") for number, entries in frames.items()}


def _frames_of_sequence(
    sequence: kitti.KittiSequence, index: int, keys: TrackKeys, labels: LabelSpace, supervision: str
) -> Iterator[LabelledFrame]:
    boxes, masks = _annotations(sequence, labels, supervision)
    _warn_of_missing_images(sequence.name, sequence.images, boxes)
    for number, path in sequence.images.items():
        yield _labelled_frame(path, index, number, boxes.get(number, no_labels()), masks.get(number), keys)


def _frames_of_boxes(sequence: BoxSequence, index: int, keys: TrackKeys) -> Iterator[LabelledFrame]:
    boxes = sequence.labels.frames
    _warn_of_missing_images(sequence.name, sequence.images, boxes)
    if not sequence.has_ids:
        logger.warning("sequence %s: boxes without ids; every image is a clip of its own", sequence.name)
    for place, (number, path) in enumerate(sequence.images.items()):
        own = index if sequence.has_ids else index + place
        yield _labelled_frame(path, own, number, boxes.get(number, no_labels()), None, keys)


def _pointed_frames(
    sequence: kitti.KittiSequence | BoxSequence, index: int, labels: LabelSpace, points_from: str
) -> list[LabelledFrame]:
    if isinstance(sequence, BoxSequence):
        points = {number: points_of_boxes(found) for number, found in sequence.labels.frames.items()}
    elif points_from == "boxes":
        points = {number: points_of_boxes(found) for number, found in _annotations(sequence, labels, "weak")[0].items()}
    else:
        objects, boxes = _painted(sequence, labels, "points")
        masks = {number: _masks(entries, labels) for number, entries in objects.items()}
        points = {number: points_of_masks(of.objects, of.size, boxes[number]) for number, of in masks.items()}
    return [_pointed_frame(path, index, number, points.get(number)) for number, path in sequence.images.items()]


def _clicked_frames(root: Path, split: str, labels: LabelSpace, index: int) -> list[LabelledFrame]:
    name, images, points = clicked_points(root, labels)
    if split != "all" and name not in split.split(","):
        return []
    return [_pointed_frame(path, index, number, points[number]) for number, path in images.items()]


def _pointed_frame(path: Path, sequence: int, number: int, weak: WeakLabels | None) -> LabelledFrame:
    found = no_labels()
    weak = weak or points_of_boxes(found)
    ignored = found.ignore_boxes if weak.ignore_boxes is None else weak.ignore_boxes
    nobody = np.zeros(0, np.int64)
    return LabelledFrame(path, sequence, number, found.boxes, nobody, nobody, ignored, None, weak)


def _labelled_frame(
    path: Path, sequence: int, number: int, found: BoxLabels, masks: FrameMasks | None, keys: TrackKeys
) -> LabelledFrame:
    pairs = zip(found.class_ids.tolist(), found.track_ids.tolist(), strict=True)
    track_keys = np.array([keys.key(sequence, *pair) for pair in pairs], np.int64)
    class_ids = found.class_ids.astype(np.int64)
    return LabelledFrame(path, sequence, number, found.boxes, class_ids, track_keys, found.ignore_boxes, masks)


def _warn_of_missing_images(name: str, images: dict[int, Path], boxes: dict[int, BoxLabels]) -> None:
    without = [number for number, found in boxes.items() if number not in images and len(found.boxes)]
    if without:
        logger.warning("sequence %s: %d frames with boxes but no image, left out", name, len(without))


def _annotations(
    sequence: kitti.KittiSequence, labels: LabelSpace, supervision: str
) -> tuple[dict[int, BoxLabels], dict[int, FrameMasks]]:
    if supervision == "weak" and sequence.boxes_path is not None:
        return kitti.read_tracking_labels(sequence.boxes_path, labels).frames, {}
    objects, boxes = _painted(sequence, labels, supervision)
    if supervision == "weak":
        return boxes, {}
    return boxes, {number: _masks(entries, labels) for number, entries in objects.items()}


def _painted(
    sequence: kitti.KittiSequence, labels: LabelSpace, supervision: str
) -> tuple[dict[int, list[MotsObject]], dict[int, BoxLabels]]:
    """What is painted in the frames that have an image, and the boxes around it."""
    if sequence.masks_path is None:
        wanted = "label_02 or masks" if supervision == "weak" else "masks in instances_txt/ or instances/"
        raise InputError(f"sequence {sequence.name}: expected {wanted} for {supervision} supervision, found none")
    objects = read_mots(sequence.masks_path).by_frame()
    objects = {number: objects[number] for number in sequence.images if number in objects}
    where = f"{sequence.masks_path}: frame"
    return objects, {
        number: boxes_of_masks(entries, labels, f"{where} {number}") for number, entries in objects.items()
    }


def _masks(objects: list[MotsObject], labels: LabelSpace) -> FrameMasks:
    ours = [_class_id(entry.class_id, labels, "") >= 0 for entry in objects]
    return FrameMasks(
        objects[0].size,
        tuple(entry.counts for entry, thing in zip(objects, ours, strict=True) if thing),
        tuple(entry.counts for entry, thing in zip(objects, ours, strict=True) if not thing),
    )


def _class_id(number: int, labels: LabelSpace, where: str) -> int:
    """Index into `labels`; -1 for ignore regions and for classes of KITTI MOTS that are not in it."""
    if number == rle.IGNORE_CLASS:
        return -1
    numbers = CLASS_NUMBERS | dict(zip(labels.names, rle.mots_class_numbers(labels), strict=True))
    for name, known in numbers.items():
        if number == known:
            return labels.id_of(name) if name in labels.names else -1
    expected = ", ".join(f"{known} ({name})" for name, known in numbers.items())
    raise InputError(f"{where}: class {number} is unknown; expected {expected} or {rle.IGNORE_CLASS} (ignore)")

"""The result types: frozen, NumPy, host memory, checked at birth.

Letters: H W image height and width, N objects, R rows of a segment table, M side of a mask grid, D embedding length,
C classes, P points. Pixel (0, 0) covers [0, 1) x [0, 1). Empty means "annotated or computed, and nothing there": arrays
of length 0, never None; only `WeakLabels` uses None, for "not annotated".
"""

from dataclasses import dataclass

import numpy as np

from wsperception.errors import InputError

VOID = -1
"""Class id of pixels that belong to no segment."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image.

    image     (H, W, 3) uint8   RGB
    stamp_ns  int               nanoseconds of the message or file, >= 0
    source    str               camera frame or sequence name
    index     int               >= 0, position in the source
    """

    image: np.ndarray
    stamp_ns: int
    source: str
    index: int

    def __post_init__(self) -> None:
        _expect("Frame.image", self.image, np.uint8, (None, None, 3))
        if self.image.size == 0:
            raise InputError(f"Frame.image: expected at least one pixel, got shape {self.image.shape}")
        if self.index < 0 or self.stamp_ns < 0:
            raise InputError(f"Frame: expected index and stamp_ns >= 0, got {self.index} and {self.stamp_ns}")


@dataclass(frozen=True, eq=False)
class Instances:
    """Detected objects of one image; their masks may overlap.

    boxes       (N, 4) float32      x0 y0 x1 y1 in pixels of the original image, x1 y1 exclusive, x0 <= x1, y0 <= y1
    mask_boxes  (N, 4) float32      extent of the mask grid; wider than the box where the model gives context
    masks       (N, M, M) float32   foreground probability in [0, 1] at the cells of that grid
    scores      (N,) float32        confidence in [0, 1]
    class_ids   (N,) int32          index into the LabelSpace, >= 0
    embeddings  (N, D) float32      unit length
    image_size  (H, W)              pixels of the original image

    N = 0 keeps M, D and the image size.
    """

    boxes: np.ndarray
    mask_boxes: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    embeddings: np.ndarray
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        count = len(self.scores)
        _expect("Instances.scores", self.scores, np.float32, (None,))
        _expect("Instances.boxes", self.boxes, np.float32, (count, 4))
        _expect("Instances.mask_boxes", self.mask_boxes, np.float32, (count, 4))
        _expect("Instances.masks", self.masks, np.float32, (count, None, None))
        _expect("Instances.class_ids", self.class_ids, np.int32, (count,))
        _expect("Instances.embeddings", self.embeddings, np.float32, (count, None))
        _check_size("Instances.image_size", self.image_size)
        if count == 0:
            return
        for name in ("boxes", "mask_boxes", "masks", "scores", "embeddings"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"Instances.{name}: expected finite values, got NaN or infinity")
        if (self.boxes[:, 2:] < self.boxes[:, :2]).any():
            raise InputError("Instances.boxes: expected x0 <= x1 and y0 <= y1")
        _check_unit_interval("Instances.scores", self.scores)
        _check_unit_interval("Instances.masks", self.masks)
        if self.class_ids.min() < 0:
            raise InputError(f"Instances.class_ids: expected values >= 0, got {self.class_ids.min()}")
        lengths = np.linalg.norm(self.embeddings, axis=1)
        if (np.abs(lengths - 1.0) > 1e-3).any():
            raise InputError(
                f"Instances.embeddings: expected unit length, got {lengths[np.argmax(np.abs(lengths - 1))]:.4f}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: np.ndarray) -> "Instances":
        """The objects at `rows` (indices or a Boolean mask), in that order."""
        return Instances(
            self.boxes[rows],
            self.mask_boxes[rows],
            self.masks[rows],
            self.scores[rows],
            self.class_ids[rows],
            self.embeddings[rows],
            self.image_size,
        )

    @staticmethod
    def empty(image_size: tuple[int, int], mask_side: int, embedding_length: int) -> "Instances":
        """No objects, with the shapes of a model that gives M = `mask_side` and D = `embedding_length`."""
        return Instances(
            np.zeros((0, 4), np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros((0, mask_side, mask_side), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros((0, embedding_length), np.float32),
            image_size,
        )


@dataclass(frozen=True, eq=False)
class SegmentMap:
    """Disjoint segments of one image: a picture of row numbers and a table of rows.

    ids        (H, W) uint16    row of every pixel; row 0 is void
    class_ids  (R,) int32       index into the LabelSpace; VOID in row 0
    scores     (R,) float32     confidence in [0, 1]; 0 in row 0
    track_ids  (R,) int32       >= 1 for a tracked thing; 0 for stuff, void and untracked things
    boxes      (R, 4) float32   the detection's box (the tight box for stuff), x0 y0 x1 y1 exclusive; 0 in row 0

    Row 0 always exists, so R >= 1; things come first, then stuff. `class_ids[ids]` is the semantic map and
    `track_ids[ids]` the track map.
    """

    ids: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    track_ids: np.ndarray
    boxes: np.ndarray

    def __post_init__(self) -> None:
        rows = len(self.class_ids)
        _expect("SegmentMap.ids", self.ids, np.uint16, (None, None))
        _expect("SegmentMap.class_ids", self.class_ids, np.int32, (None,))
        _expect("SegmentMap.scores", self.scores, np.float32, (rows,))
        _expect("SegmentMap.track_ids", self.track_ids, np.int32, (rows,))
        _expect("SegmentMap.boxes", self.boxes, np.float32, (rows, 4))
        if rows == 0 or self.class_ids[0] != VOID or self.track_ids[0] != 0:
            raise InputError("SegmentMap: expected row 0 to be void (class VOID, track 0)")
        if self.ids.size and int(self.ids.max()) >= rows:
            raise InputError(f"SegmentMap.ids: expected values below {rows} rows, got {self.ids.max()}")
        if rows > 1 and (self.class_ids[1:].min() < 0 or self.track_ids.min() < 0):
            raise InputError("SegmentMap: expected class_ids and track_ids >= 0 below row 0")
        _check_unit_interval("SegmentMap.scores", self.scores)
        living = self.track_ids[self.track_ids > 0]
        if len(np.unique(living)) != len(living):
            raise InputError("SegmentMap.track_ids: expected each track in one row, got a repeated id")

    def __len__(self) -> int:
        """Number of segments, void not counted."""
        return len(self.class_ids) - 1

    @staticmethod
    def empty(image_size: tuple[int, int]) -> "SegmentMap":
        """An image that is void everywhere."""
        return SegmentMap(
            np.zeros(image_size, np.uint16),
            np.array([VOID], np.int32),
            np.zeros(1, np.float32),
            np.zeros(1, np.int32),
            np.zeros((1, 4), np.float32),
        )


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a model, in the order of its class ids.

    names     C distinct names
    is_thing  C flags: True for countable objects, False for stuff
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.is_thing) or not self.names:
            raise InputError(
                f"LabelSpace: expected one is_thing flag per name, got {len(self.names)} and {len(self.is_thing)}"
            )
        if len(set(self.names)) != len(self.names) or not all(self.names):
            raise InputError(f"LabelSpace.names: expected distinct, non-empty names, got {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def thing_count(self) -> int:
        """Number of classes of countable objects."""
        return sum(self.is_thing)

    def id_of(self, name: str) -> int:
        """Class id of `name`; InputError, listing the known names, if there is none."""
        if name not in self.names:
            raise InputError(f"class '{name}': unknown; expected one of {', '.join(self.names)}")
        return self.names.index(name)


@dataclass(frozen=True, eq=False)
class WeakLabels:
    """What a person annotated in one image. None: not annotated; empty: annotated, nothing there.

    tags           (C,) bool            class is in the image
    boxes          (N, 4) float32       x0 y0 x1 y1 exclusive, image pixels
    box_classes    (N,) int32
    track_ids      (N,) int32           >= 0, unique in the image per class; given with boxes only
    points         (P, 2) float32       x y, image pixels
    point_classes  (P,) int32
    segments       SegmentMap           full masks, where somebody painted them
    ignore_boxes   (I, 4) float32       regions that count neither for nor against (KITTI's DontCare)
    """

    tags: np.ndarray | None = None
    boxes: np.ndarray | None = None
    box_classes: np.ndarray | None = None
    track_ids: np.ndarray | None = None
    points: np.ndarray | None = None
    point_classes: np.ndarray | None = None
    segments: SegmentMap | None = None
    ignore_boxes: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.boxes is None) != (self.box_classes is None):
            raise InputError("WeakLabels: expected boxes and box_classes together")
        if (self.points is None) != (self.point_classes is None):
            raise InputError("WeakLabels: expected points and point_classes together")
        if self.track_ids is not None and self.boxes is None:
            raise InputError("WeakLabels.track_ids: expected only together with boxes")
        if self.tags is not None:
            _expect("WeakLabels.tags", self.tags, np.bool_, (None,))
        if self.boxes is not None and self.box_classes is not None:
            count = len(self.boxes)
            _expect("WeakLabels.boxes", self.boxes, np.float32, (count, 4))
            _expect("WeakLabels.box_classes", self.box_classes, np.int32, (count,))
            if (self.boxes[:, 2:] <= self.boxes[:, :2]).any():
                raise InputError("WeakLabels.boxes: expected positive width and height")
            if self.track_ids is not None:
                _expect("WeakLabels.track_ids", self.track_ids, np.int32, (count,))
                keys = np.stack([self.box_classes, self.track_ids], axis=1)
                if len(np.unique(keys, axis=0)) != count:
                    raise InputError("WeakLabels.track_ids: expected unique ids per class in one image")
        if self.points is not None and self.point_classes is not None:
            _expect("WeakLabels.points", self.points, np.float32, (len(self.points), 2))
            _expect("WeakLabels.point_classes", self.point_classes, np.int32, (len(self.points),))
        if self.ignore_boxes is not None:
            _expect("WeakLabels.ignore_boxes", self.ignore_boxes, np.float32, (None, 4))


def _expect(name: str, array: np.ndarray, dtype: type, shape: tuple[int | None, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = getattr(array, "dtype", type(array).__name__)
        raise InputError(f"{name}: expected {np.dtype(dtype)}, got {got}")
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise InputError(f"{name}: expected shape ({wanted}), got {array.shape}")


def _check_unit_interval(name: str, array: np.ndarray) -> None:
    if array.size and not (array.min() >= 0.0 and array.max() <= 1.0):
        raise InputError(f"{name}: expected values in [0, 1], got {array.min()} to {array.max()}")


def _check_size(name: str, size: tuple[int, int]) -> None:
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"{name}: expected (height, width) >= 1, got {size}")

"""One random change of a clip: its images, boxes, masks, points, segments and panoptic labels at network size."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from wsperception.data.clips import ClipFrame, ClipSettings
from wsperception.data.frame_store import StoredFrame
from wsperception.data.labelled_frames import IGNORE_ROW, LabelledFrame
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.data.segments import OUTSIDE, Segments
from wsperception.errors import InputError
from wsperception.geometry import box_areas
from wsperception.preprocess import PADDING, fit
from wsperception.types import WeakLabels


@dataclass(frozen=True, eq=False)
class Augmentation:
    """One random change, the same for every frame of a clip.

    flip    mirror about the content's middle
    scale   zoom on top of the letterbox
    shift   (x, y) in [0, 1]: where a window lies, or the content in a larger canvas
    colour  (256, 3) uint8 lookup per channel
    grey    weight of the colours against their grey value; 1 changes nothing
    """

    flip: bool
    scale: float
    shift: tuple[float, float]
    colour: np.ndarray
    grey: float


def draw_augmentation(random: np.random.Generator, settings: ClipSettings) -> Augmentation:
    """A random change within the settings."""
    flip = bool(random.random() < settings.flip)
    low, high = np.log(settings.scale_low), np.log(settings.scale_high)
    scale = float(np.exp(random.uniform(low, high)))  # so that halving is as likely as doubling
    shift = (float(random.random()), float(random.random()))
    contrast = 1.0 + random.uniform(-settings.contrast, settings.contrast)
    offset = 255.0 * random.uniform(-settings.brightness, settings.brightness)
    tint = 1.0 + random.uniform(-settings.tint, settings.tint, 3)
    values = np.arange(256.0)[:, None]
    table = np.clip((values - 128.0) * contrast * tint + 128.0 + offset, 0, 255)  # (256, 3)
    grey = float(1.0 + random.uniform(-settings.saturation, settings.saturation))
    return Augmentation(flip, scale, shift, np.rint(table).astype(np.uint8), grey)


def aimed(change: Augmentation, box: np.ndarray, stored: StoredFrame, settings: ClipSettings) -> Augmentation:
    """The same change with the window laid so that the centre of `box` (original pixels) falls where `shift` says.

    A window near the border of the content stays inside it, so the box may come to lie elsewhere in the window.
    """
    matrix, _ = _transform(stored, replace(change, shift=(0.0, 0.0)), settings)
    moved = _move_boxes(box[None], stored, matrix)[0]
    rows, columns = stored.image.shape[:2]
    shift = []
    for axis, (side, window) in enumerate(zip((columns, rows), settings.sample_size[::-1], strict=True)):
        room = window - side * abs(matrix[axis, axis])  # negative where the window is smaller than the content
        place = change.shift[axis] * window - (moved[axis] + moved[axis + 2]) / 2
        shift.append(float(np.clip(place / room, 0.0, 1.0)) if room < 0 else change.shift[axis])
    return replace(change, shift=(shift[0], shift[1]))


def no_augmentation() -> Augmentation:
    """The change that leaves the letterboxed image as the network sees it at inference."""
    return Augmentation(False, 1.0, (0.0, 0.0), np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), 1.0)


def augment(
    frame: LabelledFrame, stored: StoredFrame, change: Augmentation, settings: ClipSettings, clip: int
) -> ClipFrame:
    """One stored frame brought to network size under `change`, with its labels.

    An object of which too little is left becomes an ignore box; one that is outside is dropped.
    """
    height, width = settings.sample_size
    to_input, content = _transform(stored, change, settings)
    index_matrix = _pixel_index_matrix(to_input)
    image = cv2.warpAffine(stored.image, index_matrix, (width, height), flags=cv2.INTER_LINEAR)
    image = _padded(_recolour(image, change), content)  # recoloured last: the window is a fraction of the stored image
    boxes = _move_boxes(frame.boxes, stored, to_input)
    clipped = _clip(boxes, content)
    ignored = _clip(_move_boxes(frame.ignore_boxes, stored, to_input), content)
    inside = box_areas(clipped) > 0
    keep = inside & (_sides(clipped) >= settings.min_side)
    keep &= box_areas(clipped) >= settings.min_visible * box_areas(boxes)
    masks, ignore_mask = None, None
    if stored.label_map is not None:
        rows = cv2.warpAffine(stored.label_map, index_matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=0)
        areas = np.bincount(rows.ravel(), minlength=len(boxes) + 1)[1 : len(boxes) + 1]
        if frame.masks is None or frame.masks.drawn:  # a rejected pseudo mask says nothing against its box
            keep &= areas >= settings.min_area
        masks = rows[None] == (np.flatnonzero(keep) + 1).astype(np.uint16)[:, None, None]  # (N, h, w)
        ignore_mask = rows == IGNORE_ROW
    ignored = np.concatenate([ignored[box_areas(ignored) > 0], clipped[inside & ~keep]])
    weak = None if frame.weak is None else _moved_points(frame.weak, stored, to_input, content)
    return ClipFrame(
        image,
        clipped[keep],
        frame.class_ids[keep],
        frame.track_keys[keep],
        masks,
        ignored,
        ignore_mask,
        clip,
        str(frame.path),
        weak,
    )


def moved_segments(segments: Segments, stored: StoredFrame, change: Augmentation, settings: ClipSettings) -> Segments:
    """Segments of a stored frame at network size under `change`; what the change leaves out has no pixel then."""
    height, width = settings.sample_size
    matrix = _pixel_index_matrix(_transform(stored, change, settings)[0])
    superpixels = cv2.warpAffine(
        segments.superpixels, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=OUTSIDE
    )
    return replace(segments, superpixels=superpixels)


def moved_panoptic(
    labels: PanopticLabels, stored: StoredFrame, change: Augmentation, settings: ClipSettings
) -> PanopticLabels:
    """Labels of the original image at network size under `change`; rows that it leaves out have no pixel then.

    Raises InputError where they are not of the image's size.
    """
    size = stored.placing.image_size
    if labels.ids.shape != size:
        got = labels.ids.shape
        raise InputError(f"{labels.name}: expected labels of {size[1]} x {size[0]} px, got {got[1]} x {got[0]}")
    height, width = settings.sample_size
    matrix = _transform(stored, change, settings)[0] * [stored.placing.scale_x, stored.placing.scale_y, 1.0]
    ids = cv2.warpAffine(
        labels.ids, _pixel_index_matrix(matrix), (width, height), flags=cv2.INTER_NEAREST, borderValue=0
    )
    return replace(labels, ids=ids)


def _moved_points(weak: WeakLabels, stored: StoredFrame, matrix: np.ndarray, content: np.ndarray) -> WeakLabels:
    if weak.points is None:  # tags: of the image, wherever it is moved
        return weak
    assert weak.point_classes is not None
    points = _move_boxes(np.tile(weak.points, 2), stored, matrix)[:, :2]
    inside = ((points >= content[:2]) & (points < content[2:])).all(axis=1)
    return WeakLabels(points=points[inside], point_classes=weak.point_classes[inside])


def _transform(stored: StoredFrame, change: Augmentation, settings: ClipSettings) -> tuple[np.ndarray, np.ndarray]:
    """The map (2, 3) from stored to sample coordinates, and the content's extent (4,) in the sample."""
    height, width = settings.sample_size
    placing = fit(stored.placing.image_size, settings.input_size)
    rows, columns = stored.image.shape[:2]
    scale_x = change.scale * placing.scale_x / stored.placing.scale_x
    scale_y = change.scale * placing.scale_y / stored.placing.scale_y
    # Negative room: the content is larger than the input, and the shift chooses the crop.
    left = change.shift[0] * (width - columns * scale_x)
    top = change.shift[1] * (height - rows * scale_y)
    matrix = np.array([[scale_x, 0.0, left], [0.0, scale_y, top]])
    if change.flip:
        matrix[0] = [-scale_x, 0.0, left + columns * scale_x]
    content = [max(left, 0.0), max(top, 0.0), min(left + columns * scale_x, width), min(top + rows * scale_y, height)]
    return matrix, np.array(content, np.float32)


def _pixel_index_matrix(matrix: np.ndarray) -> np.ndarray:
    """The same map between pixel indices as OpenCV wants it: index i is the coordinate i + 0.5."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return moved


def _recolour(image: np.ndarray, change: Augmentation) -> np.ndarray:
    image = cv2.LUT(np.ascontiguousarray(image), change.colour[None])
    if change.grey == 1.0:
        return image
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, change.grey, grey, 1.0 - change.grey, 0.0)


def _padded(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The image with padding outside its content (x0 y0 x1 y1), as the letterbox leaves it."""
    left, top = np.floor(content[:2] + 0.5).astype(int)
    right, bottom = np.floor(content[2:] + 0.5).astype(int)
    framed = np.full_like(image, PADDING)
    framed[top:bottom, left:right] = image[top:bottom, left:right]
    return framed


def _move_boxes(boxes: np.ndarray, stored: StoredFrame, matrix: np.ndarray) -> np.ndarray:
    """(N, 4) boxes of the original image in input coordinates, sorted again after a flip."""
    corners = stored.placing.to_input(boxes).reshape(-1, 2, 2)  # (N, corner, x y)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def _clip(boxes: np.ndarray, content: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.clip(boxes, np.tile(content[:2], 2), np.tile(content[2:], 2))
    return clipped


def _sides(boxes: np.ndarray) -> np.ndarray:
    sides: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    return sides

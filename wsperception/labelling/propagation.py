"""Boxes and points carried from one frame to another by the motion of what they show."""

import cv2
import numpy as np

_GRID = 10  # points per side of the grid that is followed
_PATCH = 32.0  # side, in pixels, of the surroundings that a clicked point moves with
_MIN_FOLLOWED = 8
_MAX_RETURN = 1.5  # pixels a good point may end beside its start when followed there and back
_SCALE = (0.7, 1.4)  # a change of size beyond it is a wrong match, not a motion
_WINDOW, _LEVELS = (21, 21), 3


def carry_boxes(before: np.ndarray, after: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where `boxes` of one frame lie in another.

    before, after  (H, W, 3) uint8 RGB of one size
    boxes          (N, 4) float32 x0 y0 x1 y1

    Returns (N, 4) float32 boxes, which may leave the image, and (N,) bool: whether the motion was found. Where it was
    not, the box keeps its place. Empty input gives empty output.

    The median-flow tracker of Kalal et al. 2010 ("Forward-Backward Error", ICPR), for one step: a grid of points in
    the box is followed there and back by Lucas-Kanade optical flow; the better half of those that return gives the
    shift (median) and the change of size (median ratio of their distances).
    """
    assert before.shape == after.shape
    moved, found = boxes.astype(np.float32), np.zeros(len(boxes), bool)
    if len(boxes) == 0:
        return moved, found
    pictures = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    starts = np.concatenate([_grid(box) for box in moved])  # (N * G * G, 2)
    ends, errors = _follow(*pictures, starts)
    for row in range(len(boxes)):
        part = slice(row * _GRID**2, (row + 1) * _GRID**2)
        good = _better_half(errors[part])
        if good.sum() >= _MIN_FOLLOWED:
            moved[row] = _moved(moved[row], starts[part][good], ends[part][good])
            found[row] = True
    return moved, found


def carry_points(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where `points` (P, 2) float32 x y of one frame lie in another, and (P,) bool whether the motion was found.

    A point moves with the square of 32 pixels around it; see `carry_boxes`.
    """
    half = np.array([-_PATCH / 2, -_PATCH / 2, _PATCH / 2, _PATCH / 2], np.float32)
    boxes, found = carry_boxes(before, after, np.concatenate([points, points], axis=1) + half)
    return (boxes[:, :2] + boxes[:, 2:]) / 2, found


def _grid(box: np.ndarray) -> np.ndarray:
    """(G * G, 2) float32 points inside `box`, off its border, where there is mostly background."""
    steps = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID * 0.8 + 0.1
    x, y = box[0] + (box[2] - box[0]) * steps, box[1] + (box[3] - box[1]) * steps
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def _follow(before: np.ndarray, after: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, 2) ends of `starts`, and (K,) how far each came back from its start in pixels; infinite where it was lost."""
    # OpenCV measures from the centre of pixel (0, 0), we from its corner.
    centred = np.ascontiguousarray(starts - 0.5).reshape(-1, 1, 2)
    no_guess = np.zeros_like(centred)
    ends, forward, _ = cv2.calcOpticalFlowPyrLK(before, after, centred, no_guess, winSize=_WINDOW, maxLevel=_LEVELS)
    back, backward, _ = cv2.calcOpticalFlowPyrLK(
        after, before, ends, no_guess.copy(), winSize=_WINDOW, maxLevel=_LEVELS
    )
    errors = np.linalg.norm((back - centred)[:, 0], axis=1)
    height, width = before.shape
    inside = ((starts >= 0) & (starts < (width, height))).all(axis=1)
    followed = (forward[:, 0] == 1) & (backward[:, 0] == 1) & inside
    return ends[:, 0] + 0.5, np.where(followed, errors, np.inf)


def _better_half(errors: np.ndarray) -> np.ndarray:
    good: np.ndarray = errors <= _MAX_RETURN
    if good.any():
        good &= errors <= np.median(errors[good])
    return good


def _moved(box: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    shift = np.median(ends - starts, axis=0)
    first, second = np.triu_indices(len(starts), k=1)
    before = np.linalg.norm(starts[first] - starts[second], axis=1)
    after = np.linalg.norm(ends[first] - ends[second], axis=1)
    scale = float(np.median(after / np.maximum(before, 1e-3)))
    if not _SCALE[0] <= scale <= _SCALE[1]:
        scale = 1.0
    centre, half = (box[:2] + box[2:]) / 2 + shift, (box[2:] - box[:2]) / 2 * scale
    moved: np.ndarray = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return moved

"""Constant-velocity Kalman filter on boxes, for all tracks at once.

A box is centre x, centre y, width, height: four coordinates that are filtered independently of each other, so the
covariance of position and velocity is three numbers per coordinate and no matrix is ever inverted. All noise is
relative to the side of the box (width for x, height for y), so that near and far objects behave alike; only how an
object moves sideways goes by the root of width and height, because people are thin and walk no slower for it.
"""

from dataclasses import dataclass

import numpy as np

SIDE_OF = np.array([2, 3, 2, 3])
"""The side that measures each coordinate."""
MIN_SIDE = 1.0
SIZE_SHARE = 0.3
"""Sizes change by this share of what places do."""
MOST_LOOMING = 0.5
"""Nothing comes nearer by more than this share of its distance between two frames."""


@dataclass(frozen=True, eq=False)
class Motion:
    """What is believed about T boxes.

    position  (T, 4) float64   centre x, centre y, width, height in pixels
    velocity  (T, 4) float64   pixels per second
    spread    (3, T, 4) float64   variance of position, covariance, variance of velocity
    """

    position: np.ndarray
    velocity: np.ndarray
    spread: np.ndarray

    def select(self, rows: np.ndarray) -> "Motion":
        """The tracks at `rows`, integers."""
        # A third of the time that brackets take.
        return Motion(self.position.take(rows, 0), self.velocity.take(rows, 0), self.spread.take(rows, 1))


NO_MOTION = Motion(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros((3, 0, 4)))


def centred(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) float64 centre x, centre y, width, height of corner boxes (N, 4); sides are at least MIN_SIDE."""
    corners = boxes.astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    return np.concatenate([corners[:, :2] + sides / 2, np.maximum(sides, MIN_SIDE)], axis=1)


def corners(position: np.ndarray) -> np.ndarray:
    """(T, 4) float32 x0 y0 x1 y1 of centred boxes (T, 4); the inverse of `centred`."""
    half = position[:, 2:] / 2
    boxes: np.ndarray = np.concatenate([position[:, :2] - half, position[:, :2] + half], axis=1).astype(np.float32)
    return boxes


def started(positions: np.ndarray, velocity: np.ndarray, measurement_noise: float, initial_speed: float) -> Motion:
    """Tracks seen once, at `positions` (N, 4) centred, `velocity` (4,) uncertain by `initial_speed` sides per s."""
    side = positions[:, SIDE_OF]
    speed = initial_speed * _strides(positions)
    spread = np.array([(measurement_noise * side) ** 2, np.zeros_like(side), speed**2])
    return Motion(positions.astype(np.float64), np.broadcast_to(velocity, side.shape).copy(), spread)


def predicted(
    motion: Motion, seconds: float, acceleration_noise: float, slowdown: np.ndarray, size_slowdown: float
) -> Motion:
    """The same tracks `seconds` later.

    acceleration_noise  in sides per s^1.5
    slowdown            (T,) share of the velocity that is left afterwards; 1 for a track that was just seen
    size_slowdown       the share that is left, besides, of the velocity of width and height

    What comes nearer moves and grows faster and faster in the image, see `_looming`; a side that shrinks does so more
    and more slowly, see `_fading`.
    """
    noise = (acceleration_noise * _strides(motion.position)) ** 2
    keep = slowdown[:, None] * np.array([1.0, 1.0, size_slowdown, size_slowdown])  # (T, 4)
    travel = seconds * (1.0 + keep) / 2.0  # the mean share of the velocity on the way
    pp, pv, vv = motion.spread
    gained = travel * vv
    change = np.empty_like(travel)
    change[:] = _looming(motion, seconds)
    change[:, 2:] *= _fading(motion, travel[:, 2:])
    position = motion.position + change * travel * motion.velocity
    np.maximum(position[:, 2:], MIN_SIDE, out=position[:, 2:])
    spread = np.empty_like(motion.spread)
    spread[0] = pp + travel * (2.0 * pv + gained) + noise * (seconds**3 / 3.0)
    spread[1] = keep * (pv + gained) + noise * (seconds**2 / 2.0)
    spread[2] = keep**2 * vv + noise * seconds
    return Motion(position, keep * change**2 * motion.velocity, spread)


def corrected(motion: Motion, positions: np.ndarray, measurement_noise: np.ndarray) -> Motion:
    """The same tracks after each has been seen at its row of `positions` (T, 4) centred.

    measurement_noise  (T,) standard deviation as share of the side
    """
    side = motion.position.take(SIDE_OF, 1)
    pp, pv, vv = motion.spread
    total = pp + (measurement_noise[:, None] * side) ** 2
    gain, gain_velocity = pp / total, pv / total
    residual = positions - motion.position
    position = motion.position + gain * residual
    np.maximum(position[:, 2:], MIN_SIDE, out=position[:, 2:])
    kept = 1.0 - gain
    spread = np.array([kept * pp, kept * pv, vv - gain_velocity * pv])
    return Motion(position, motion.velocity + gain_velocity * residual, spread)


def moved(motion: Motion, transform: np.ndarray) -> Motion:
    """The same tracks in an image that `transform` (2, 3), old pixels to new ones, has moved.

    Centres and velocities are mapped; sides are scaled by the root of the determinant (a rolling camera leaves boxes
    upright). The spread is scaled along.
    """
    linear, shift = transform[:, :2], transform[:, 2]
    zoom = float(np.sqrt(abs(np.linalg.det(linear))))
    position, velocity = motion.position * zoom, motion.velocity * zoom
    # Sums instead of `@`: BLAS rounds by the number of rows.
    position[:, :2] = (motion.position[:, None, :2] * linear).sum(axis=2) + shift
    velocity[:, :2] = (motion.velocity[:, None, :2] * linear).sum(axis=2)
    return Motion(position, velocity, motion.spread * zoom**2)


def shifted(motion: Motion, shift: np.ndarray, seconds: float) -> Motion:
    """The same tracks `shift` (2,) pixels further, a distance covered in `seconds`: velocities follow."""
    position, velocity = motion.position.copy(), motion.velocity.copy()
    position[:, :2] += shift
    velocity[:, :2] += shift / max(seconds, 1e-3)
    return Motion(position, velocity, motion.spread)


def completed(boxes: np.ndarray, places: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Detections (N, 4) that the border of the image cuts, with the side beyond it taken from the prediction.

    boxes   (N, 4) corners, within the image
    places  (N, 4) corners of the tracks' predictions, which may reach out of the image

    Without it, an object that leaves the image seems to slow down and shrink.
    """
    height, width = image_size
    limits = np.array([width, height], np.float32)
    slack = 0.005 * limits
    result = boxes.copy()
    low, high = result[:, :2], result[:, 2:]
    np.minimum(low, places[:, :2], out=low, where=low <= slack)
    np.maximum(high, places[:, 2:], out=high, where=high >= limits - slack)
    return result


def resized(motion: Motion, scale_x: float, scale_y: float) -> Motion:
    """The same tracks in an image that was resized."""
    scale = np.array([scale_x, scale_y, scale_x, scale_y])
    return Motion(motion.position * scale, motion.velocity * scale, motion.spread * scale**2)


def joined(first: Motion, second: Motion) -> Motion:
    """The tracks of both."""
    return Motion(
        np.concatenate([first.position, second.position]),
        np.concatenate([first.velocity, second.velocity]),
        np.concatenate([first.spread, second.spread], axis=1),
    )


def _looming(motion: Motion, seconds: float) -> np.ndarray:
    """(T, 1) 1 / (1 - r t): by how much more than at constant velocity a box moves and grows in `seconds` t.

    Whatever approaches evenly has a size of 1 / distance, and so has its way from where the camera is heading. Both
    grow by 1 / (1 - r t), where r is the growth per second and side now, and their velocities by the square of that.
    r is that of the side that grows less: what comes out from behind something grows in one side only.
    """
    growth = (motion.velocity[:, 2:] / motion.position[:, 2:]).min(axis=1)
    return np.asarray(1.0 / (1.0 - np.minimum(np.maximum(growth * seconds, 0.0), MOST_LOOMING)))[:, None]


def _fading(motion: Motion, travel: np.ndarray) -> np.ndarray:
    """(T, 2) 1 / (1 + r t): by how much less than at constant velocity a side shrinks in `travel` (T, 2) seconds t.

    The law of `_looming` for what goes away; r is the side's own decrease per second and side, none where it grows. So
    no side vanishes: what is hidden bit by bit shrinks fast, and at constant velocity its track, once lost, would be a
    line within a few frames, which nothing that appears again overlaps.
    """
    loss = np.minimum(motion.velocity[:, 2:] / motion.position[:, 2:], 0.0)
    fading: np.ndarray = 1.0 / (1.0 - loss * travel)
    return fading


def _strides(position: np.ndarray) -> np.ndarray:
    """(T, 4) what the motion of each coordinate is measured by: the side, for x the root of both sides."""
    strides = position.take(SIDE_OF, 1)
    strides[:, 0] = np.sqrt(position[:, 2] * position[:, 3])
    strides[:, 2:] *= SIZE_SHARE
    return strides

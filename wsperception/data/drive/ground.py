"""The pictures the street is built on: the ground from above and the sky with its horizon."""

import cv2
import numpy as np

from wsperception.data.drive.texture import Palette, clipped, jittered, noise, textured

GROUND_M = 0.03
"""Size of a texel of the ground, m."""
GROUND_HALF_M, GROUND_LENGTH_M = 14.0, 60.0


def _float32(colour: np.ndarray) -> np.ndarray:
    return colour.astype(np.float32)


def draw_ground(
    rng: np.random.Generator,
    palette: Palette,
    half_width: float,
    pavement: float,
    lanes: int,
    lane_m: float,
    zebra: bool,
    shade: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The ground seen from above, periodic along the road.

    zebra  paint a crossing;  shade  0 to 1, depth of the shadows that trees and houses throw

    Returns (rows, columns, 3) uint8, rows along the road and columns from left to right, and the semantic class of
    each column: (columns,) uint8, 0 road, 1 pavement, 2 verge.
    """
    rows, columns = round(GROUND_LENGTH_M / GROUND_M), round(2 * GROUND_HALF_M / GROUND_M)
    across = (np.arange(columns) + 0.5) * GROUND_M - GROUND_HALF_M
    kind = np.where(np.abs(across) < half_width, 0, np.where(np.abs(across) < half_width + pavement, 1, 2))
    grain = _periodic(noise(rng, rows // 2, columns // 2, 256, 0.85))
    grain = cv2.resize(grain, (columns, rows), interpolation=cv2.INTER_LINEAR)
    blotch = cv2.resize(_periodic(noise(rng, rows // 8, columns // 8, 16, 0.6)), (columns, rows))
    verge = palette.leaves[1] if rng.random() < 0.6 else palette.pavement
    colours = np.array([palette.road, palette.pavement, verge], np.float32)
    gain = np.array([0.07, 0.06, 0.16], np.float32)[kind]
    # float32 throughout: this is the largest array of a drive.
    light = 1.0 + grain * gain + 0.07 * blotch
    light *= (1.0 - 0.10 * np.exp(-(((np.abs(np.mod(across, lane_m) - lane_m / 2) - 0.75) / 0.35) ** 2))).astype(
        np.float32
    )
    ground = colours[kind][None] * light[..., None]
    _paving_joints(ground, kind, half_width, across)
    paint = _float32(jittered((205, 205, 198), rng, 0.08))
    worn = np.clip(0.75 + 0.25 * grain, 0.2, 0.95)[..., None]
    along = (np.arange(rows) + 0.5) * GROUND_M
    for mark, dashed in _marks(lanes, lane_m, half_width):
        columns_of = np.flatnonzero(np.abs(across - mark) < 0.07)
        rows_of = np.flatnonzero(np.mod(along, 12.0) < 5.0) if dashed else np.arange(rows)
        cell = np.ix_(rows_of, columns_of)
        ground[cell] += worn[cell] * (paint - ground[cell])
    if zebra:
        stripe = (np.mod(across, 1.0) < 0.5) & (kind == 0)
        cell = np.ix_(np.flatnonzero((along > 20) & (along < 24)), np.flatnonzero(stripe))
        ground[cell] += worn[cell] * (paint - ground[cell])
    patches = cv2.resize(_periodic(noise(rng, rows // 8, columns // 8, 48, 0.8)), (columns, rows))
    reach = rng.uniform(-half_width, half_width)
    side = np.clip((across - reach) * (1.0 if rng.random() < 0.5 else -1.0) / 1.5, -0.8, 1.2).astype(np.float32)
    ground *= (1.0 - shade * np.clip(2.5 * patches + 1.6 * side - 0.6, 0, 1))[..., None]
    return clipped(ground), kind.astype(np.uint8)


def _periodic(field: np.ndarray) -> np.ndarray:
    """Cross-fades the last rows into the first, so that the texture repeats without a seam."""
    fade = max(2, len(field) // 8)
    weight = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    joined = field[:-fade].copy()
    joined[:fade] = weight * joined[:fade] + (1 - weight) * field[-fade:]
    return joined


def _paving_joints(ground: np.ndarray, kind: np.ndarray, half_width: float, across: np.ndarray) -> None:
    step = round(0.6 / GROUND_M)
    pavement = np.flatnonzero(kind == 1)
    ground[::step, pavement] *= 0.82
    ground[:, pavement[::step]] *= 0.86
    for side in (-1.0, 1.0):
        kerb = np.flatnonzero(np.abs(across - side * (half_width + 0.08)) < 0.09)
        ground[:, kerb] *= 1.15
        gutter = np.flatnonzero(np.abs(across - side * (half_width - 0.06)) < 0.07)
        ground[:, gutter] *= 0.7


def _marks(lanes: int, lane_m: float, half_width: float) -> list[tuple[float, bool]]:
    marks = [(0.0, lanes == 1)]
    for lane in range(1, lanes):
        marks += [(lane * lane_m, True), (-lane * lane_m, True)]
    edge = lanes * lane_m
    if half_width - edge > 1.0:
        marks += [(edge, True), (-edge, True)]
    return marks


def draw_sky(rng: np.random.Generator, palette: Palette, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A panorama (h, w, 3) uint8 whose last row is the horizon, and its classes (h, w): 0 sky, 1 building, 2 trees."""
    rise = np.linspace(1, 0, height, dtype=np.float32)[:, None, None]
    cloudy = rng.random() < 0.5
    top = _float32(jittered((182, 188, 196) if cloudy else (108, 148, 200), rng, 0.12))
    low = _float32(jittered((214, 216, 218) if cloudy else (196, 212, 228), rng, 0.08))
    sky = low + (top - low) * rise
    cloud = np.clip(noise(rng, height, width, 32, 0.62) * (0.5 if cloudy else 0.9) - (0.0 if cloudy else 0.4), 0, 1)
    sky = sky + (np.array((236, 236, 238), np.float32) - sky) * (0.75 * cloud[..., None])
    picture, kind = clipped(sky), np.zeros((height, width), np.uint8)
    haze = np.array((176, 186, 196), np.float32)
    for layer in range(3):
        houses = layer == 1 and rng.random() < 0.7
        if houses:
            outline = np.repeat(rng.standard_normal(width // 24 + 1), 24)[:width]
        else:
            hills, crowns = rng.standard_normal((1, width // 90 + 2)), rng.standard_normal((1, width // 7 + 2))
            outline = cv2.resize(hills, (width, 1), interpolation=cv2.INTER_CUBIC)[0]
            outline += 0.5 * cv2.resize(crowns, (width, 1), interpolation=cv2.INTER_CUBIC)[0]
        tall = height * (0.11 - 0.02 * layer) * (1.0 + 0.35 * outline)
        covered = np.arange(height)[::-1, None] < np.maximum(tall, 2.0)
        base = palette.walls[rng.integers(len(palette.walls))] if houses else palette.leaves[rng.integers(4)]
        surface = textured(rng, height, width, base, 0.18 if not houses else 0.08)
        surface = surface + (haze - surface) * (0.55 - 0.15 * layer)
        picture[covered] = clipped(surface)[covered]
        kind[covered] = 1 if houses else 2
    return picture, kind

"""Cars, lorries and buses as lofted bodies with windows, wheels and lights."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wsperception.data.drive.patch import Polygon
from wsperception.data.drive.texture import Palette, jittered, noise

# length, height, width, bonnet, windscreen rake, roof end, rear-window foot (shares of the length)
STYLES = {
    "hatch": (4.0, 1.47, 1.74, 0.22, 0.17, 0.40, 0.475),
    "saloon": (4.55, 1.43, 1.78, 0.25, 0.17, 0.22, 0.37),
    "estate": (4.6, 1.47, 1.78, 0.24, 0.16, 0.42, 0.48),
    "suv": (4.5, 1.70, 1.85, 0.22, 0.14, 0.41, 0.485),
    "van": (4.8, 1.92, 1.90, 0.14, 0.16, 0.46, 0.49),
    "mini": (3.5, 1.50, 1.62, 0.18, 0.17, 0.41, 0.48),
}
LORRY = (8.5, 3.3, 2.4)
BUS = (11.0, 3.0, 2.5)

Face = tuple[np.ndarray, str]
"""(K, 3) corners forward, right, up; and the role that gives the colour."""


@dataclass(frozen=True, eq=False)
class CarShape:
    """A car body: faces in painting order, each with the details that lie on it.

    size     length, width, height in m
    faces    list of (outline, role, details)
    colours  role -> (3,) colour
    texture  (64, 64) uint8, 128 = unchanged
    """

    size: tuple[float, float, float]
    faces: list[tuple[np.ndarray, str, list[Face]]]
    colours: dict[str, np.ndarray]
    texture: np.ndarray

    def polygons(self, to_camera: np.ndarray, offset: np.ndarray, sun: np.ndarray, ambient: float) -> list[Polygon]:
        """What the camera sees, far to near.

        to_camera  (3, 3) rotation from forward, right, up to camera coordinates
        offset     (3,) camera coordinates of the middle of the footprint
        sun        (3,) direction to the sun in forward, right, up; its length is its strength
        ambient    share of light in full shade
        """
        seen = []
        for outline, role, details in self.faces:
            corners = outline @ to_camera.T + offset
            normal = outward(outline)
            if role != "tyre" and float((to_camera @ normal) @ corners.mean(axis=0)) >= 0:
                continue
            depth = 1e6 if role == "tyre" else float(corners[:, 2].mean())
            seen.append((depth, corners, role, details, _light(normal, sun, ambient)))
        seen.sort(key=lambda entry: -entry[0])
        result: list[Polygon] = []
        for _, corners, role, details, light in seen:
            result.append((corners, self.colours[role] * light))
            if corners[:, 2].min() < 70.0:
                result.extend((part @ to_camera.T + offset, self._shade(kind, light)) for part, kind in details)
        return result

    def _shade(self, role: str, light: float) -> np.ndarray:
        return self.colours[role] * (1.0 if role in ("lamp", "tail") else light)


def outward(outline: np.ndarray) -> np.ndarray:
    """(3,) unit normal of a face, away from the middle of the body."""
    first, second = outline[1] - outline[0], outline[2] - outline[1]
    normal = np.array(
        [
            first[1] * second[2] - first[2] * second[1],
            first[2] * second[0] - first[0] * second[2],
            first[0] * second[1] - first[1] * second[0],
        ]
    )
    normal /= max(math.sqrt(float(normal @ normal)), 1e-9)
    return normal if float(normal @ (outline.mean(axis=0) - (0.0, 0.0, 0.4))) > 0 else -normal


def _light(normal: np.ndarray, sun: np.ndarray, ambient: float) -> float:
    sky = 0.5 + 0.5 * float(normal[2])
    return ambient * (0.65 + 0.5 * sky) + max(0.0, float(normal @ sun))


def draw_car(rng: np.random.Generator, palette: Palette) -> CarShape:
    """A random car."""
    style = list(STYLES)[rng.choice(6, p=[0.28, 0.22, 0.2, 0.12, 0.06, 0.12])]
    length, height, width, bonnet, rake, roof_end, foot = STYLES[style]
    scale = rng.uniform(0.95, 1.06)
    length, width, height = length * scale, width * scale, height * scale * rng.uniform(0.97, 1.04)
    belt = height * rng.uniform(0.60, 0.65)
    boot = belt - (0.06 if style == "saloon" else 0.0)
    cowl = length * (0.5 - bonnet)
    stations = [
        (-0.5 * length, 0.42 * width, 0.36, boot - 0.14),
        (-0.47 * length, 0.47 * width, 0.26, boot),
        (-0.36 * length, 0.5 * width, 0.24, boot if style == "saloon" else belt),
        (cowl, 0.5 * width, 0.22, belt),
        (0.40 * length, 0.49 * width, 0.24, belt * 0.90),
        (0.47 * length, 0.46 * width, 0.27, belt * 0.80),
        (0.5 * length, 0.40 * width, 0.36, belt * 0.66),
    ]
    body = _loft(stations)
    cabin = _cabin(cowl, rake * length, roof_end * length, foot * length, width, belt, boot, height, style)
    tyres = _tyres(length, width)
    faces = tyres + body + cabin
    _add_side_details(faces, length, width, belt)
    _add_end_details(faces, length, width, belt)
    return CarShape((length, width, height), faces, _colours(rng, palette), _grain(rng, 0.10))


def draw_lorry(rng: np.random.Generator, palette: Palette) -> CarShape:
    """A random lorry or bus: a long tall box with a cab or a row of windows."""
    bus = rng.random() < 0.35
    length, height, width = (BUS if bus else LORRY) if rng.random() < 0.7 else (6.0, 2.6, 2.1)
    half = 0.5 * width
    stations = [(-0.5 * length, half, 0.55, height), (0.5 * length, half, 0.45, height)]
    faces = _tyres(length, width, 0.48) + _loft(stations)
    windows = (0.95 * height, 0.55 * height)
    start = -0.47 * length if bus else 0.34 * length
    for side in (-1.0, 1.0):
        count = 6 if bus else 1
        edges = np.linspace(start, 0.48 * length, count + 1)
        for low, high in pairwise(edges.tolist()):
            pane = _side_panel(low + 0.08, high - 0.08, side * half, windows[1], windows[0] - 0.2)
            _attach(faces, (pane, "glass"), side)
    front = np.array([[0.5 * length, -0.9 * half, 0.5 * height], [0.5 * length, 0.9 * half, 0.5 * height]])
    _attach_end(faces, _raised(front, 0.36 * height), "glass", 1.0)
    for side in (-1.0, 1.0):
        for end, role in ((1.0, "lamp"), (-1.0, "tail")):
            x = end * 0.5 * length
            low = np.array([[x, side * 0.6 * half, 0.7], [x, side * 0.9 * half, 0.7]])
            _attach_end(faces, _raised(low, 0.22), role, end)
    return CarShape((length, width, height), faces, _colours(rng, palette), _grain(rng, 0.16))


def _colours(rng: np.random.Generator, palette: Palette) -> dict[str, np.ndarray]:
    body = palette.any_colour(rng)
    dark = jittered((30, 31, 33), rng, 0.3)
    glass = palette.glass(rng)
    return {
        "body": body,
        "seam": body * 0.55,
        "handle": body * 0.7 + 30,
        "roof": body if rng.random() < 0.9 else dark,
        "glass": glass,
        "screen": glass * 1.15,
        "tyre": dark * 0.8,
        "arch": dark * 0.6,
        "rim": jittered((128, 130, 132), rng, 0.35),
        "grille": dark,
        "bumper": body * 0.9 if rng.random() < 0.75 else dark * 1.3,
        "lamp": jittered((222, 222, 212), rng, 0.1),
        "tail": jittered((140, 44, 38), rng, 0.25),
        "plate": jittered((214, 214, 206), rng, 0.08),
    }


def _grain(rng: np.random.Generator, contrast: float) -> np.ndarray:
    field = noise(rng, 64, 64, 32, 0.8) * contrast * rng.uniform(0.5, 1.3)
    # Bodies mirror the sky above and the road below: bands along the car.
    bands = noise(rng, 64, 2, 2, 0.7)[:, :1] * contrast * 0.7
    return np.clip(128 * (1 + field + bands), 40, 230).astype(np.uint8)


def _loft(stations: list[tuple[float, float, float, float]]) -> list[tuple[np.ndarray, str, list[Face]]]:
    """Sides, tops and both ends between stations (x, half width, bottom, top), outlines seen clockwise from outside."""
    faces: list[tuple[np.ndarray, str, list[Face]]] = []
    for (x0, w0, low0, top0), (x1, w1, low1, top1) in pairwise(stations):
        right = np.array([[x0, w0, low0], [x1, w1, low1], [x1, w1, top1], [x0, w0, top0]])
        faces.append((right, "body", []))
        faces.append((right[::-1] * (1, -1, 1), "body", []))
        faces.append((np.array([[x0, w0, top0], [x1, w1, top1], [x1, -w1, top1], [x0, -w0, top0]]), "body", []))
    x, w, low, top = stations[-1]
    faces.append((np.array([[x, w, low], [x, -w, low], [x, -w, top], [x, w, top]]), "body", []))
    x, w, low, top = stations[0]
    faces.append((np.array([[x, -w, low], [x, w, low], [x, w, top], [x, -w, top]]), "body", []))
    return faces


def _cabin(
    cowl: float,
    rake: float,
    roof_end: float,
    foot: float,
    width: float,
    belt: float,
    boot: float,
    height: float,
    style: str,
) -> list[tuple[np.ndarray, str, list[Face]]]:
    wide, narrow = 0.485 * width, 0.38 * width
    front, back = cowl - rake, -roof_end
    low_back = boot if style == "saloon" else belt
    side = np.array([[-foot, wide, low_back], [cowl, wide, belt], [front, narrow, height], [back, narrow, height]])
    screen = np.array([[cowl, wide, belt], [cowl, -wide, belt], [front, -narrow, height], [front, narrow, height]])
    rear = np.array(
        [[-foot, -wide, low_back], [-foot, wide, low_back], [back, narrow, height], [back, -narrow, height]]
    )
    roof = np.array(
        [[back, narrow, height], [front, narrow, height], [front, -narrow, height], [back, -narrow, height]]
    )
    panes = _panes(side)
    mirrored = [(pane[::-1] * (1, -1, 1), role) for pane, role in panes]
    return [
        (side, "body", panes),
        (side[::-1] * (1, -1, 1), "body", mirrored),
        (screen, "body", [(_inset(screen, 0.06), "screen")]),
        (rear, "body", [(_inset(rear, 0.10), "glass")]),
        (roof, "roof", []),
    ]


def _panes(side: np.ndarray) -> list[Face]:
    """Two or three windows between pillars on the side of a cabin."""
    bottom, top = (side[0], side[1]), (side[3], side[2])

    def corner(share: float, height: float) -> np.ndarray:
        low = bottom[0] + share * (bottom[1] - bottom[0])
        high = top[0] + share * (top[1] - top[0])
        return np.asarray(low + height * (high - low))

    panes: list[Face] = []
    for start, stop in ((0.07, 0.27), (0.31, 0.60), (0.64, 0.93)):
        outline = np.array([corner(start, 0.1), corner(stop, 0.1), corner(stop, 0.86), corner(start, 0.86)])
        panes.append((outline, "glass"))
    return panes


def _inset(outline: np.ndarray, share: float) -> np.ndarray:
    middle = outline.mean(axis=0)
    return np.asarray(outline + share * 2 * (middle - outline))


def _circle(x: float, radius: float, side: float, up: float) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, 18, endpoint=False)
    return np.stack([x + radius * np.cos(angle), np.full(18, side), up + radius * np.sin(angle)], axis=1)


def _tyres(length: float, width: float, radius: float = 0.315) -> list[tuple[np.ndarray, str, list[Face]]]:
    """Treads: boxes under the body, painted before it."""
    tyres: list[tuple[np.ndarray, str, list[Face]]] = []
    for x in (-0.29 * length, 0.31 * length):
        for side in (-1.0, 1.0):
            inner, outer = side * (0.49 * width - 0.2), side * 0.495 * width
            for end in (-1, 1):
                tread = np.array([[x + end * radius * 0.75, inner, 0.0], [x + end * radius * 0.75, outer, 0.0]])
                tyres.append((_raised(tread, 1.2 * radius), "tyre", []))
            wall = _circle(x, radius, outer, radius)
            tyres.append((wall, "tyre", []))
    return tyres


def _raised(edge: np.ndarray, height: float) -> np.ndarray:
    """A standing rectangle on a (2, 3) edge."""
    return np.concatenate([edge, edge[::-1] + (0, 0, height)])


def _side_panel(start: float, stop: float, side: float, low: float, high: float) -> np.ndarray:
    return np.array([[start, side, low], [stop, side, low], [stop, side, high], [start, side, high]])


def _attach(faces: list[tuple[np.ndarray, str, list[Face]]], detail: Face, side: float) -> None:
    """Puts a detail on the widest, longest body panel of a side."""
    panels = [face for face in faces if face[1] == "body" and (face[0][:, 1] * side > 0.1).all()]
    longest = max(panels, key=lambda face: float(np.ptp(face[0][:, 0]) * np.ptp(face[0][:, 2])))
    longest[2].append(detail)


def _attach_end(faces: list[tuple[np.ndarray, str, list[Face]]], outline: np.ndarray, role: str, end: float) -> None:
    ends = [face for face in faces if face[1] == "body" and float(np.ptp(face[0][:, 0])) < 1e-6]
    ends = [face for face in ends if face[0][0, 0] * end > 0]
    ends[0][2].append((outline, role))


def _add_side_details(
    faces: list[tuple[np.ndarray, str, list[Face]]], length: float, width: float, belt: float
) -> None:
    for side in (-1.0, 1.0):
        plane = side * 0.503 * width
        for x in (-0.02 * length, -0.24 * length, 0.22 * length):
            _attach(faces, (_side_panel(x, x + 0.025, plane, 0.3, belt - 0.02), "seam"), side)
        for x in (-0.06 * length, 0.18 * length):
            _attach(faces, (_side_panel(x - 0.18, x, plane, belt - 0.14, belt - 0.10), "handle"), side)
        _attach(faces, (_side_panel(-0.33 * length, 0.3 * length, plane, 0.24, 0.33), "arch"), side)
        for x in (-0.29 * length, 0.31 * length):
            _attach(faces, (_circle(x, 0.38, plane, 0.33), "arch"), side)
            _attach(faces, (_circle(x, 0.315, plane, 0.315), "tyre"), side)
            _attach(faces, (_circle(x, 0.2, plane * 1.003, 0.315), "rim"), side)


def _add_end_details(faces: list[tuple[np.ndarray, str, list[Face]]], length: float, width: float, belt: float) -> None:
    for end in (-1.0, 1.0):
        x = end * 0.503 * length
        rows = [
            (-0.41, 0.41, 0.36, 0.50, "bumper"),
            (-0.14, 0.14, 0.42, 0.53, "plate"),
        ]
        if end > 0:
            rows.append((-0.22, 0.22, 0.54, 0.72 * belt, "grille"))
        for left, right, low, high, role in rows:
            edge = np.array([[x, left * width, low], [x, right * width, low]])
            _attach_end(faces, _raised(edge, high - low), role, end)
        for side in (-1.0, 1.0):
            low, high = (0.56 * belt, 0.72 * belt) if end > 0 else (0.58 * belt, 0.86 * belt)
            edge = np.array([[x, side * 0.27 * width, low], [x, side * 0.42 * width, low]])
            _attach_end(faces, _raised(edge, high - low), "lamp" if end > 0 else "tail", end)

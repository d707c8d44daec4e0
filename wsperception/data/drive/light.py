"""The light of a drive, and the camera's lens and sensor."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

HAZE = (188.0, 196.0, 204.0)
"""RGB of what far things fade to."""


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a drive.

    azimuth, elevation  radians, where the sun stands; strength 0 = overcast
    ambient             light in full shade
    haze_m              distance over which contrast falls to 1/e
    tone                (256, 1, 3) uint8 table from painted to recorded values
    blur                deviation of the lens, pixels
    grain               deviation of the sensor's noise, grey levels
    """

    azimuth: float
    elevation: float
    strength: float
    ambient: float
    haze_m: float
    tone: np.ndarray
    blur: float
    grain: float

    @property
    def shade(self) -> float:
        """0 to 1: how much darker the ground is where the sun does not reach."""
        return min(0.6, 1.3 * self.strength)

    def direction(self, heading: float) -> np.ndarray:
        """(3,) unit vector to the sun in forward, right, up of something with that heading."""
        away, flat = self.azimuth - heading, math.cos(self.elevation)
        return np.array([math.cos(away) * flat, math.sin(away) * flat, math.sin(self.elevation)])


def draw_light(rng: np.random.Generator) -> Light:
    """A random light: sunny three times in five, else overcast."""
    sunny = rng.random() < 0.6
    strength = float(rng.uniform(0.25, 0.5)) if sunny else float(rng.uniform(0.0, 0.12))
    levels = np.arange(256, dtype=np.float64) / 255
    gamma, gain = rng.uniform(0.85, 1.35), rng.uniform(0.85, 1.2)
    tint = 1.0 + rng.normal(0, 0.035, 3)
    curve = (gain * levels) ** gamma
    contrast = rng.uniform(0.9, 1.25)
    table = np.clip(((curve - 0.4) * contrast + 0.4)[:, None] * tint, 0, 1) * 255
    return Light(
        azimuth=float(rng.uniform(-math.pi, math.pi)),
        elevation=float(rng.uniform(0.4, 1.1)),
        strength=strength,
        ambient=float(rng.uniform(0.62, 0.8)) if sunny else float(rng.uniform(0.78, 0.92)),
        haze_m=float(rng.uniform(180, 700)),
        tone=table.astype(np.uint8)[:, None, :],
        blur=float(rng.uniform(0.35, 0.8)),
        grain=float(rng.uniform(1.0, 4.5)),
    )


def expose(image: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 as the camera records it: lens blur, tone curve, noise."""
    blurred = cv2.GaussianBlur(image, (3, 3), light.blur)
    toned = cv2.LUT(blurred, light.tone)
    noise = np.zeros(image.shape, np.int16)
    # OpenCV's generator is five times as fast as NumPy's here; it is the calling thread's own, and seeded every time.
    cv2.setRNGSeed(int(rng.integers(2**31 - 1)))
    cv2.randn(noise, np.zeros(3), np.full(3, light.grain))
    return np.asarray(cv2.add(toned, noise, dtype=cv2.CV_8U))

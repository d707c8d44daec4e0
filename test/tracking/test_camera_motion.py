"""The camera's motion from images: known shifts of a picture with texture, and pictures that show nothing."""

import cv2
import numpy as np
import pytest

from wsperception.errors import InputError
from wsperception.tracking import CameraMotionSettings, FullSettings, Tracker, TrackerSettings
from wsperception.tracking.camera_motion import STILL, CameraMotion
from wsperception.types import Instances

SIZE = (120, 320)


def picture(shift: int) -> np.ndarray:
    """(H, W, 3) of a smooth random texture that has moved `shift` pixels to the left."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 255, (16, 50), np.uint8), (400, 128), interpolation=cv2.INTER_CUBIC)
    return np.repeat(wide[: SIZE[0], shift : shift + SIZE[1], None], 3, axis=2)


@pytest.mark.parametrize("method", ["flow", "ecc"])
def test_a_known_shift(method):
    camera, settings = CameraMotion(), CameraMotionSettings(method=method)
    assert camera.measured(picture(0), settings) is STILL
    transform = camera.measured(picture(7), settings)
    assert transform == pytest.approx(np.array([[1, 0, -7], [0, 1, 0]]), abs=0.3)


def test_shrunk_images_give_full_pixels():
    camera, settings = CameraMotion(), CameraMotionSettings(method="flow", width=160)
    camera.measured(picture(0), settings)
    assert camera.measured(picture(8), settings)[0, 2] == pytest.approx(-8, abs=0.6)


@pytest.mark.parametrize("method", ["flow", "ecc"])
def test_a_blank_wall_and_another_size_count_as_still(method):
    camera, settings = CameraMotion(), CameraMotionSettings(method=method)
    wall = np.full((*SIZE, 3), 90, np.uint8)
    for image in (wall, wall, picture(0)[:60], picture(0)):
        assert camera.measured(image, settings) == pytest.approx(STILL)


def test_off_costs_nothing_and_remembers_nothing():
    camera = CameraMotion()
    camera.measured(picture(0), CameraMotionSettings(method="flow"))
    camera.measured(picture(3), CameraMotionSettings())
    assert camera.measured(picture(7), CameraMotionSettings(method="flow")) is STILL


def test_the_tracker_uses_it():
    # One object stands still in the world; the camera jumps by 12 px, more than the width of the object.
    def found(x: float) -> Instances:
        box = np.array([[x, 30, x + 10, 60]], np.float32)
        one = np.ones(1, np.float32)
        return Instances(
            box, box, np.ones((1, 2, 2), np.float32), one, np.zeros(1, np.int32), np.ones((1, 1), np.float32), SIZE
        )

    for method, expected in (("flow", 1), ("off", 2)):
        settings = TrackerSettings(
            0.5,
            association="full",
            full=FullSettings(uncertainty_margin=0.0, adopt_s=0.0),
            camera_motion=CameraMotionSettings(method=method),
        )
        tracker = Tracker(settings)
        tracker.update(found(150), 0, image=picture(0))
        assert tracker.update(found(138), 10**8, image=picture(12)).tolist() == [expected]


def test_settings_are_checked():
    with pytest.raises(InputError, match="method: expected one of off, flow, ecc, got 'magic'"):
        CameraMotionSettings(method="magic")

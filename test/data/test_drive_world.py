import math

import numpy as np
import pytest

from wsperception.data.drive.canvas import SEMANTICS, Canvas
from wsperception.data.drive.patch import draw
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.world import NEAR_M, Camera, Ego, Pose, Road, cut_near, project
from wsperception.errors import InputError

KITTI = Camera.of_size(375, 1242)
STRAIGHT = Road(amplitude=0.0, wavelength=300.0, phase=0.0, half_width=4.0, pavement=2.0, lanes=1)


def test_kitti_camera_at_kitti_size():
    assert KITTI.matrix() == pytest.approx(np.array([[721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]]))


def test_other_sizes_keep_the_field_of_view():
    # Half the width, so half the focal length; the height is scaled apart: 172.854 * 150 / 375 = 69.1416.
    camera = Camera.of_size(150, 621)
    assert (camera.focal, camera.centre_x) == pytest.approx((721.5377 / 2, 609.5593 / 2))
    assert camera.centre_y == pytest.approx(69.1416)


def test_projection_by_hand():
    # The camera stands at X = 1, Z = 100, 1.65 m up. A point 2 m to its right, 0.65 m up, 10 m ahead:
    # x = 721.5377 * 2 / 10 + 609.5593 = 753.86684; y = 721.5377 * (1.65 - 0.65) / 10 + 172.854 = 245.00777.
    pose = Pose(x=1.0, z=100.0, yaw=0.0, pitch=0.0)
    points = pose.to_camera(np.array([[3.0, 0.65, 110.0]]), KITTI)
    assert points[0] == pytest.approx([2.0, 1.0, 10.0])
    assert project(points, KITTI, pose)[0] == pytest.approx([753.86684, 245.00777])


def test_yaw_turns_to_the_right_and_pitch_moves_the_horizon_down():
    # Looking along +X (90 degrees to the right), a point at X = 5 is straight ahead and Z = 2 lies 2 m to the left.
    pose = Pose(x=0.0, z=0.0, yaw=math.pi / 2, pitch=0.01)
    points = pose.to_camera(np.array([[5.0, 1.65, 2.0]]), KITTI)
    assert points[0] == pytest.approx([-2.0, 0.0, 5.0])
    # At eye height: y = 172.854 + 0.01 * 721.5377.
    assert project(points, KITTI, pose)[0, 1] == pytest.approx(180.069377)


def test_near_plane_cuts_edges_where_they_cross_it():
    # From depth -1 to 3 the plane 0.6 is crossed after 1.6 / 4 = 0.4 of the way: x = 0.4 * 8 = 3.2.
    polygon = np.array([[0.0, 0.0, -1.0], [8.0, 0.0, 3.0], [8.0, 1.0, 3.0]])
    cut = cut_near(polygon)
    assert len(cut) == 4
    assert (cut[:, 2] >= NEAR_M - 1e-9).all()
    assert any(np.allclose(corner, [3.2, 0.0, 0.6]) for corner in cut)
    assert len(cut_near(polygon - (0, 0, 9))) == 0


def test_a_square_covers_the_pixels_of_its_projection():
    # A 1 m square at depth 10, from 2 to 3 m right and 0 to 1 m below the axis: 72.15 pixels wide,
    # x from 753.87 to 826.02 and y from 172.85 to 245.01.
    square = np.array([[2.0, 0, 10], [3.0, 0, 10], [3.0, 1, 10], [2.0, 1, 10]])
    grey = np.full((8, 8), 128, np.uint8)
    patch = draw([(square, np.array([10.0, 20.0, 30.0]))], grey, KITTI, Pose(0, 0, 0, 0))
    assert patch is not None
    rows, columns = np.nonzero(patch.mask)
    assert (patch.left + columns.min(), patch.left + columns.max() + 1) == (754, 826)
    assert (patch.top + rows.min(), patch.top + rows.max() + 1) == (173, 245)
    assert patch.rgba[40, 40].tolist() == [10, 20, 30, 255]
    assert draw([(square + (100, 0, 0), np.zeros(3))], grey, KITTI, Pose(0, 0, 0, 0)) is None


def test_scenery_takes_pixels_back_from_an_actor():
    # Actor 3, a car, takes columns 1 and 2; then a post (no actor) takes column 2.
    canvas = Canvas.of_size(1, 4)
    canvas.semantic[:] = SEMANTICS.index("road")
    canvas.claim(np.s_[0:1, 1:3], np.ones((1, 2), bool), "car", 3)
    canvas.claim(np.s_[0:1, 1:3], np.array([[False, True]]), "object", 0)
    assert canvas.rows.tolist() == [[0, 3, 0, 0]]
    assert [SEMANTICS[number] for number in canvas.semantic[0]] == ["road", "car", "object", "road"]


def test_ego_distance_is_the_integral_of_its_speed():
    ego = Ego(speed=10.0, speed_swing=4.0, swing_period=20.0, swing_phase=0.3, lateral=1.7, bump_phase=0.0)
    times = np.linspace(0, 13, 13001)
    speeds = 10.0 + 4.0 * np.sin(2 * math.pi / 20.0 * times + 0.3)
    assert ego.along(13.0) == pytest.approx(float(np.trapezoid(speeds, times)), rel=1e-6)
    assert ego.pose(0.0, STRAIGHT).x == pytest.approx(1.7)


def test_road_heading_is_the_slope_of_its_centre_line():
    road = Road(amplitude=6.0, wavelength=280.0, phase=0.7, half_width=4.0, pavement=2.0, lanes=1)
    slope = (float(road.centre(np.float64(51.0))) - float(road.centre(np.float64(49.0)))) / 2.0
    assert math.tan(road.heading(50.0)) == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"frames": 0}, "frames: expected 1 to 100000, got 0"),
        ({"seed": -1}, "seed: expected 0 to 2.14748e+09, got -1"),
        ({"rate_hz": 0.0}, "rate_hz: expected 0.1 to 1000, got 0.0"),
        ({"scene": "moon"}, "scene: expected one of any, parked, road, traffic, crowd, mixed, got 'moon'"),
    ],
)
def test_settings_out_of_range(change, text):
    with pytest.raises(InputError) as error:
        DriveSettings(**change)
    assert str(error.value) == text

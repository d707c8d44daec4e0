"""The Kalman filter against the textbook's matrices, and what is done to tracks besides."""

import numpy as np
import pytest

from wsperception.tracking import motion as kalman
from wsperception.tracking.common_motion import common_shift, shared_velocity


def test_centred_and_corners_are_inverse():
    boxes = np.array([[3.0, 5.0, 13.0, 9.0]], np.float32)
    assert kalman.centred(boxes).tolist() == [[8.0, 7.0, 10.0, 4.0]]
    assert kalman.corners(kalman.centred(boxes)).tolist() == boxes.tolist()


def test_one_coordinate_equals_the_matrix_form():
    # x alone: F = [[1, dt], [0, 1]], white acceleration noise q, measurement noise r. Motion in x is measured by the
    # root of width and height, 40 px.
    width, height, stride, seconds, acceleration, noise, speed = 32.0, 50.0, 40.0, 0.13, 1.7, 0.06, 2.5
    boxes = np.array([[100.0, 50.0, 100.0 + width, 50.0 + height]])
    state = kalman.started(kalman.centred(boxes), np.array([12.0, 0, 0, 0]), noise, speed)
    mean, covariance = np.array([116.0, 12.0]), np.diag([(noise * width) ** 2, (speed * stride) ** 2])
    for measured in (117.0, 121.5, 123.0):
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        added = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]]) * (acceleration * stride) ** 2
        mean, covariance = step @ mean, step @ covariance @ step.T + added
        state = kalman.predicted(state, seconds, acceleration, np.ones(1), 1.0)
        gain = covariance[:, 0] / (covariance[0, 0] + (noise * width) ** 2)
        mean = mean + gain * (measured - mean[0])
        covariance = covariance - np.outer(gain, covariance[0])
        seen = np.array([[measured, 75.0, width, height]])
        state = kalman.corrected(state, seen, np.array([noise]))
        assert state.position[0, 0] == pytest.approx(mean[0])
        assert state.velocity[0, 0] == pytest.approx(mean[1])
        assert state.spread[:, 0, 0] == pytest.approx([covariance[0, 0], covariance[0, 1], covariance[1, 1]])


def test_unseen_tracks_slow_down():
    state = kalman.Motion(np.array([[0.0, 0, 10, 10]]), np.array([[40.0, 0, 0, 0]]), np.ones((3, 1, 4)))
    state = kalman.predicted(state, 0.5, 1.0, np.array([0.5]), 1.0)
    assert state.velocity[0, 0] == pytest.approx(20.0)
    assert state.position[0, 0] == pytest.approx(0.5 * 30.0)  # the mean of 40 and 20


def test_growth_fades_also_while_a_track_is_seen():
    state = kalman.Motion(np.array([[0.0, 0, 10, 20]]), np.array([[40.0, 0, 8, -6]]), np.ones((3, 1, 4)))
    state = kalman.predicted(state, 0.5, 1.0, np.ones(1), 0.5)
    # The height shrinks by 6 / 20 per second, for 0.5 s at 3/4 of that on average: 20 / (1 + 0.1125).
    assert state.velocity[0] == pytest.approx([40.0, 0.0, 4.0, -3.0 / 1.1125**2])
    assert state.position[0] == pytest.approx([20.0, 0.0, 10 + 0.5 * 6, 20 / 1.1125])


def test_what_comes_nearer_moves_as_a_pinhole_camera_sees_it():
    # 2 m wide, 1.5 m high, 3 m to the right and 20 m ahead, coming at 10 m/s; focal length 700 px. 0.2 s later it is
    # 18 m ahead. In the image: 700 / distance pixels per metre, velocities 700 x 10 / distance^2.
    metres = np.array([[3.0, 1.0, 2.0, 1.5]])
    state = kalman.Motion(metres * 700 / 20, metres * 700 * 10 / 20**2, np.ones((3, 1, 4)))
    state = kalman.predicted(state, 0.2, 1.0, np.ones(1), 1.0)
    assert state.position == pytest.approx(metres * 700 / 18)
    assert state.velocity == pytest.approx(metres * 700 * 10 / 18**2)


def test_what_grows_in_one_side_only_or_shrinks_does_not_come_nearer():
    # A car that comes out from behind a wall; one that drives away.
    for growth in ([8.0, -1.0], [-8.0, -6.0]):
        state = kalman.Motion(np.array([[0.0, 0, 10, 20]]), np.array([[40.0, 0, *growth]]), np.ones((3, 1, 4)))
        assert kalman.predicted(state, 0.5, 1.0, np.ones(1), 1.0).position[0, 0] == pytest.approx(20.0)
    # Twice as near in one step is the most that is believed: 0.9 of the distance would make 10 x.
    state = kalman.Motion(np.array([[0.0, 0, 10, 20]]), np.array([[40.0, 0, 18, 36]]), np.ones((3, 1, 4)))
    assert kalman.predicted(state, 0.5, 1.0, np.ones(1), 1.0).position[0, 0] == pytest.approx(2 * 20.0)


def test_what_goes_away_shrinks_as_a_pinhole_camera_sees_it():
    # As above, but going away at 10 m/s: 0.2 s later it is 22 m ahead. Its place goes on at constant velocity.
    metres = np.array([[3.0, 1.0, 2.0, 1.5]])
    state = kalman.Motion(metres * 700 / 20, -metres * 700 * 10 / 20**2, np.ones((3, 1, 4)))
    state = kalman.predicted(state, 0.2, 1.0, np.ones(1), 1.0)
    assert state.position[0, 2:] == pytest.approx(metres[0, 2:] * 700 / 22)
    assert state.velocity[0, 2:] == pytest.approx(-metres[0, 2:] * 700 * 10 / 22**2)
    assert state.position[0, 0] == pytest.approx(3.0 * 700 / 20 - 0.2 * 3.0 * 700 * 10 / 20**2)


def test_a_side_that_is_hidden_fast_does_not_vanish():
    # 60 px/s off a height of 20 px would leave nothing after a third of a second; 20 / (1 + 3 x 0.5) = 8.
    state = kalman.Motion(np.array([[0.0, 0, 10, 20]]), np.array([[0.0, 0, 4, -60]]), np.ones((3, 1, 4)))
    state = kalman.predicted(state, 0.5, 1.0, np.ones(1), 1.0)
    assert state.position[0, 2:] == pytest.approx([12.0, 8.0])


def test_sizes_are_surer_than_places():
    state = kalman.started(np.array([[0.0, 0, 16, 25]]), np.zeros(4), 0.1, 2.0)
    assert np.sqrt(state.spread[2, 0]) == pytest.approx([2 * 20, 2 * 25, 2 * 0.3 * 16, 2 * 0.3 * 25])


def test_camera_motion_moves_centres_and_turns_velocities():
    # A quarter turn and a zoom by 2, then 5 px to the right: (x, y) -> (-2y + 5, 2x).
    transform = np.array([[0.0, -2.0, 5.0], [2.0, 0.0, 0.0]])
    state = kalman.Motion(np.array([[10.0, 3, 4, 6]]), np.array([[1.0, 0, 0, 0]]), np.ones((3, 1, 4)))
    state = kalman.moved(state, transform)
    assert state.position[0] == pytest.approx([-1.0, 20.0, 8.0, 12.0])
    assert state.velocity[0] == pytest.approx([0.0, 2.0, 0.0, 0.0])
    assert (state.spread == 4.0).all()


def test_boxes_at_the_border_are_completed_from_the_prediction():
    size = (100, 200)
    found = np.array([[0, 20, 50, 60], [150, 20, 200, 100], [20, 20, 50, 60]], np.float32)
    expected = np.array([[-30, 25, 48, 65], [148, 18, 230, 120], [10, 10, 60, 70]], np.float32)
    completed = kalman.completed(found, expected, size)
    assert completed.tolist() == [[-30, 20, 50, 60], [150, 20, 230, 120], [20, 20, 50, 60]]


def row(shift: float = 0.0) -> np.ndarray:
    """Five boxes of different widths, 50 px apart."""
    x = np.arange(5) * 50.0 + shift
    sides = np.array([16, 26, 20, 30, 18])
    return np.stack([x, np.full(5, 40.0), x + sides, 40.0 + sides], axis=1).astype(np.float32)


def test_a_common_shift_is_found_and_a_single_mover_is_not_one():
    same = np.zeros(5, np.int32)
    assert common_shift(row(), same, row(38), same, 1242) == pytest.approx([38.0, 0.0], abs=1.0)
    assert common_shift(row(), same, row(2), same, 1242).tolist() == [0.0, 0.0]
    one = row()
    one[2] += 38
    assert common_shift(row(), same, one, same, 1242).tolist() == [0.0, 0.0]
    assert common_shift(row(), same, row(300), same, 1242).tolist() == [0.0, 0.0]  # farther than allowed
    assert common_shift(row()[:2], same[:2], row(38), same, 1242).tolist() == [0.0, 0.0]  # too few


def test_shared_velocity():
    def moving(*speeds: float) -> kalman.Motion:
        velocity = np.zeros((len(speeds), 4))
        velocity[:, 0] = speeds
        return kalman.Motion(np.ones((len(speeds), 4)), velocity, np.ones((3, len(speeds), 4)))

    assert shared_velocity(moving(100, 100, 100), np.ones(3, bool)) == pytest.approx([100, 0, 0, 0])
    assert shared_velocity(moving(100, 100, 100), np.array([True, True, False])).tolist() == [0, 0, 0, 0]
    # Median 100, median deviation 60, scatter 90: 100 * 10000 / 18100.
    assert shared_velocity(moving(40, 100, 200), np.ones(3, bool))[0] == pytest.approx(100 * 10000 / 18100)

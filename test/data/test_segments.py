import numpy as np

from wsperception.data.segments import OUTSIDE, Segments

SEGMENTS = Segments(
    np.array([[0, 1, OUTSIDE], [0, 2, 2]], np.uint16),
    np.array([[1, 0], [1, 1], [0, 1]], bool),
    np.array([0.7, 0.2], np.float32),
)


def test_masks_leave_out_what_is_outside():
    assert SEGMENTS.mask(0).astype(int).tolist() == [[1, 1, 0], [1, 0, 0]]
    assert SEGMENTS.mask(1).astype(int).tolist() == [[0, 1, 0], [0, 1, 1]]
    assert len(SEGMENTS) == 2


def test_which_segments_hold_a_pixel():
    pixels = np.array([[0, 1], [0, 2], [1, 0], [1, 2]])
    assert SEGMENTS.holding(pixels).astype(int).tolist() == [[1, 1], [0, 0], [1, 0], [0, 1]]
    assert SEGMENTS.holding(pixels[:0]).shape == (0, 2)

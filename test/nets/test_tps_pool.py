import pytest
import torch

from wsperception.nets.segment_set import SegmentSet
from wsperception.nets.tps_pool import LANDMARKS, SAMPLES, bent_lists, contour_landmarks, spline_basis


def of_pixels(superpixels: torch.Tensor, box: list[float]) -> SegmentSet:
    """The segment of superpixel 1."""
    return SegmentSet(superpixels, torch.tensor([[False], [True]]), torch.tensor([box]))


def unit_landmarks() -> torch.Tensor:
    steps = (torch.arange(LANDMARKS) + 0.5) / LANDMARKS
    zero, one = torch.zeros(LANDMARKS), torch.ones(LANDMARKS)
    return torch.cat([torch.stack(pair, 1) for pair in ((zero, steps), (one, steps), (steps, zero), (steps, one))])


def centres(side: int) -> torch.Tensor:
    steps = (torch.arange(side) + 0.5) / side
    return torch.stack([steps.repeat(side), steps.repeat_interleave(side)], dim=1)


def test_splines_through_an_affine_image_of_the_rectangle_are_affine():
    turned = torch.tensor([[3.0, 0.5], [-1.0, 2.0]], dtype=torch.float64)
    basis = spline_basis(6)
    found = basis @ (unit_landmarks().double() @ turned + 7.0)
    torch.testing.assert_close(found, centres(6).double() @ turned + 7.0)
    torch.testing.assert_close(basis.sum(dim=1), torch.ones(36, dtype=torch.float64))


def test_splines_pass_through_their_landmarks():
    # A grid of 10 x LANDMARKS cells has centres near every landmark: those of the left side lie at x = 1/100.
    moved = unit_landmarks().double()
    moved[2, 0] = -0.3  # the left end at half height
    points = (spline_basis(50) @ moved).view(50, 50, 2)
    assert points[25, 0, 0].item() == pytest.approx(-0.3, abs=0.02)
    assert points[25, 49, 0].item() == pytest.approx(0.99, abs=0.02)


def test_landmarks_by_hand():
    # A triangle of 10 x 10 pixels from row 3, column 2: in row i it holds the columns 2 to 2 + i. Of its heights
    # 1, 3, 5, 7, 9 the rows have 2, 4, 6, 8, 10 pixels; a column at x begins at row x and ends at the bottom.
    superpixels = torch.zeros((16, 20), dtype=torch.int64)
    for row in range(10):
        superpixels[3 + row, 2 : 3 + row] = 1
    points = contour_landmarks(of_pixels(superpixels, [2.0, 3.0, 12.0, 13.0]))
    left, right, top, bottom = points[0].view(4, LANDMARKS, 2).tolist()
    assert left == [[2.0, 4.0], [2.0, 6.0], [2.0, 8.0], [2.0, 10.0], [2.0, 12.0]]
    assert right == [[4.0, 4.0], [6.0, 6.0], [8.0, 8.0], [10.0, 10.0], [12.0, 12.0]]
    assert top == [[3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]
    assert bottom == [[3.0, 13.0], [5.0, 13.0], [7.0, 13.0], [9.0, 13.0], [11.0, 13.0]]


def test_an_empty_row_has_its_ends_on_the_box():
    superpixels = torch.ones((12, 12), dtype=torch.int64)
    superpixels[2:4] = 0  # of the heights 1.2, 3.6, ... the second lies there
    points = contour_landmarks(of_pixels(superpixels, [0.0, 0.0, 12.0, 12.0]))[0]
    assert points[1].tolist() == pytest.approx([0.0, 3.6])
    assert points[LANDMARKS + 1].tolist() == pytest.approx([12.0, 3.6])


def test_a_rectangle_reads_its_cells_by_hand():
    # 8 x 12 pixels from row 6, column 4 are 4 x 6 cells of 2 pixels, from row 3, column 2 of a map of 12 x 12. Each of
    # 2 x 2 windows is 2 x 3 cells: its points at 1/6, 1/2 and 5/6 of the sides lie in all of them, some twice.
    superpixels = torch.zeros((24, 24), dtype=torch.int64)
    superpixels[6:14, 4:16] = 1
    lists = bent_lists(of_pixels(superpixels, [4.0, 6.0, 16.0, 14.0]), 2, (12, 12), 2)
    assert lists.shape == (4, SAMPLES**2)
    cells = [[row * 12 + column for row in rows for column in columns] for rows, columns in [
        ((3, 4), (2, 3, 4)), ((3, 4), (5, 6, 7)), ((5, 6), (2, 3, 4)), ((5, 6), (5, 6, 7))
    ]]  # fmt: skip
    assert [sorted(set(row)) for row in lists.tolist()] == cells


def test_what_is_read_follows_the_shape():
    # A band that falls to the right by half a row per column: its box has two corners that are none of it.
    superpixels = torch.zeros((32, 32), dtype=torch.int64)
    for column in range(32):
        superpixels[column // 2 : column // 2 + 16, column] = 1
    inside = superpixels.flatten()
    bent = inside[bent_lists(of_pixels(superpixels, [0.0, 0.0, 32.0, 31.0]), 1, (32, 32), 7)]
    assert bent.float().mean() > 0.94
    box = inside[bent_lists(of_pixels(torch.ones_like(superpixels), [0.0, 0.0, 32.0, 31.0]), 1, (32, 32), 7)]
    assert box.float().mean() < 0.6


def test_points_stay_on_the_map():
    superpixels = torch.zeros((20, 20), dtype=torch.int64)
    superpixels[:2] = superpixels[:, :2] = superpixels[18:] = 1  # a C: splines overshoot where it is open
    lists = bent_lists(of_pixels(superpixels, [0.0, 0.0, 20.0, 20.0]), 3, (7, 7), 7)
    assert lists.min() >= 0
    assert lists.max() < 49
    assert len(bent_lists(of_pixels(superpixels, [0.0] * 4).select(torch.tensor([False])), 3, (7, 7), 7)) == 0

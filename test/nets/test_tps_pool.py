import pytest
import torch

from wsperception.nets.tps_pool import LANDMARKS, contour_landmarks, spline_basis, tps_pool


def rectangle(height: int, width: int, y0: int, y1: int, x0: int, x1: int) -> tuple[torch.Tensor, ...]:
    superpixels = torch.zeros((height, width), dtype=torch.int64)
    superpixels[y0:y1, x0:x1] = 1
    return superpixels, torch.tensor([[False], [True]]), torch.tensor([[x0, y0, x1, y1]], dtype=torch.float32)


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
    points = contour_landmarks(superpixels, torch.tensor([[False], [True]]), torch.tensor([[2.0, 3.0, 12.0, 13.0]]))
    left, right, top, bottom = points[0].view(4, LANDMARKS, 2).tolist()
    assert left == [[2.0, 4.0], [2.0, 6.0], [2.0, 8.0], [2.0, 10.0], [2.0, 12.0]]
    assert right == [[4.0, 4.0], [6.0, 6.0], [8.0, 8.0], [10.0, 10.0], [12.0, 12.0]]
    assert top == [[3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]
    assert bottom == [[3.0, 13.0], [5.0, 13.0], [7.0, 13.0], [9.0, 13.0], [11.0, 13.0]]


def test_an_empty_row_has_its_ends_on_the_box():
    superpixels, membership, boxes = rectangle(12, 12, 0, 12, 0, 12)
    superpixels[2:4] = 0  # of the heights 1.2, 3.6, ... the second lies there
    points = contour_landmarks(superpixels, membership, boxes)[0]
    assert points[1].tolist() == pytest.approx([0.0, 3.6])
    assert points[LANDMARKS + 1].tolist() == pytest.approx([12.0, 3.6])


def test_a_rectangle_is_read_at_the_centres_of_its_cells():
    # Over 8 x 12 pixels and cells of 2 pixels, 2 x 2 windows have samples at 1/8, 3/8, 5/8, 7/8 of the sides. Features
    # that rise by 1 per cell to the right and by 10 downwards are read bilinearly, and the largest sample of a window
    # is its lower right one: x = 4 + 12 * 3/8 = 8.5 pixels or 4.25 cells, y = 6 + 8 * 3/8 = 9 pixels or 4.5 cells.
    superpixels, membership, boxes = rectangle(24, 24, 6, 14, 4, 16)
    features = (torch.arange(12.0)[None] + 10.0 * torch.arange(12.0)[:, None])[None]
    found = tps_pool(features, superpixels, membership, boxes, 2, 2)[0, :, :, 0]
    x, y = 4.25 + 3 * torch.tensor([[0.0, 1.0], [0.0, 1.0]]), 4.5 + 2 * torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(found, (x - 0.5) + 10.0 * (y - 0.5))


def test_what_is_pooled_follows_the_shape():
    # A band that falls to the right: features are high on it and low in the two other corners of its box.
    superpixels = torch.zeros((32, 32), dtype=torch.int64)
    for column in range(32):
        superpixels[column // 2 : column // 2 + 16, column] = 1
    features = superpixels[None].double() + 0.0
    box = torch.tensor([[0.0, 0.0, 32.0, 31.0]])
    bent = tps_pool(features, superpixels, torch.tensor([[False], [True]]), box, 1, 7)
    assert bent.min() > 0.9
    straight = tps_pool(features, *rectangle(32, 32, 0, 31, 0, 32), 1, 7)
    assert straight.min() == 0.0

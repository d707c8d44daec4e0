import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.weak_masks.pseudo_labels import (  # noqa: E402
    VOID,
    cell_centres,
    inside_boxes,
    localisation_loss,
    pseudo_labels,
    sampled_maps,
)

V = VOID
ROI = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
FIRST = [2.0, 0.0, 8.0, 6.0]
HEAT = torch.tensor([[0.9, 0.4, 0.1], [0.51, 0.49, 0.2], [0.0, 0.0, 0.8]])
# On a 4x4 grid over ROI the cells' centres are at 1, 3, 5, 7; those of HEAT's cells over FIRST at 3, 5, 7 and 1, 3, 5.


def labels(boxes, heat, row: int = 0, roi=ROI, overlap: str = "tight", threshold: float = 0.5) -> list:
    found = pseudo_labels(roi, torch.tensor([row]), torch.tensor(boxes), torch.stack(heat), threshold, overlap, 4)
    assert found.dtype == torch.int8
    return found[0].tolist()


def test_one_box_by_hand():
    expected = [[0, 1, V, V], [0, 1, V, V], [0, V, V, 1], [0, 0, 0, 0]]
    assert labels([FIRST], [HEAT]) == expected
    assert labels([FIRST], [HEAT], overlap="literal") == expected
    assert labels([FIRST], [HEAT], threshold=0.45) == [[0, 1, V, V], [0, 1, 1, V], [0, V, V, 1], [0, 0, 0, 0]]


def test_overlapping_boxes_by_hand():
    # The second box holds the centres (7, 5) and (7, 7), and is hot everywhere. (7, 5) is hot in both.
    boxes, heat = [FIRST, [6.0, 4.0, 10.0, 8.0]], [HEAT, torch.ones(3, 3)]
    assert labels(boxes, heat) == [[0, 1, V, V], [0, 1, V, V], [0, V, V, V], [0, 0, 0, 0]]
    # For the second box's own RoI all of the first outside of it is background.
    assert labels(boxes, heat, row=1) == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, V], [0, 0, 0, 1]]
    # Literally, the neighbour's heat makes foreground of (7, 7), outside of the matched box.
    assert labels(boxes, heat, overlap="literal") == [[0, 1, V, V], [0, 1, V, V], [0, V, V, 1], [0, 0, 0, 1]]


def test_a_cold_overlap_is_the_others():
    # (7, 5) is hot in the first and cold in the second: foreground of the first, void for the second.
    boxes, heat = [FIRST, [6.0, 4.0, 10.0, 8.0]], [HEAT, torch.zeros(3, 3)]
    assert labels(boxes, heat)[2] == [0, V, V, 1]
    assert labels(boxes, heat, row=1) == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, V], [0, 0, 0, V]]


def test_a_box_at_the_border():
    # The RoI leaves the image by 4 at the top and left, as the context of a box in the corner does: centres at -3, -1,
    # 1, 3. What is outside of the image is outside of the box.
    roi = torch.tensor([[-4.0, -4.0, 4.0, 4.0]])
    assert labels([[0.0, 0.0, 4.0, 2.0]], [torch.ones(2, 2)], roi=roi) == [
        [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]
    ]  # fmt: skip


def test_an_edge_on_a_centre():
    # x0 = 3 is inside, x1 = 7 is not: boxes are exclusive at their end.
    assert labels([[3.0, 1.0, 7.0, 3.0]], [torch.ones(2, 2)]) == [
        [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]
    ]  # fmt: skip


def test_several_rois_and_none():
    rois = torch.cat([ROI, torch.tensor([[2.0, 0.0, 10.0, 8.0]])])
    boxes, heat = torch.tensor([FIRST]), HEAT[None]
    found = pseudo_labels(rois, torch.tensor([0, 0]), boxes, heat, 0.5, "tight", 4)
    # Shifted by one cell of 2: the same labels, one column further left.
    assert found[1, :, :3].tolist() == found[0, :, 1:].tolist()
    assert found[1, :, 3].tolist() == [0, 0, 0, 0]
    nothing = pseudo_labels(rois[:0], torch.zeros(0, dtype=torch.long), boxes[:0], heat[:0], 0.5, "tight", 4)
    assert nothing.shape == (0, 4, 4)


def test_centres_and_insides():
    centres = cell_centres(torch.tensor([[1.0, 2.0, 5.0, 14.0]]), 2)
    assert centres[0].tolist() == [[[2.0, 5.0], [4.0, 5.0]], [[2.0, 11.0], [4.0, 11.0]]]
    inside = inside_boxes(centres, torch.tensor([[[3.0, 0.0, 9.0, 12.0], [0.0, 6.0, 3.0, 20.0]]]))
    assert inside[0].tolist() == [[[False, True], [False, True]], [[False, False], [True, False]]]


def test_maps_are_read_between_their_cells():
    # Cells of 4 x 4 at 2 and 6. At x = 3, y = 2: a quarter of the way from 0 to 8; beyond the last centre it stays 8.
    points = torch.tensor([[[[3.0, 2.0], [7.9, 2.0]], [[2.0, 5.0], [6.0, 6.0]]]])
    read = sampled_maps(torch.tensor([[[0.0, 8.0], [4.0, 12.0]]]), ROI, points)
    torch.testing.assert_close(read, torch.tensor([[[2.0, 8.0], [3.0, 12.0]]]))


def test_localisation_loss_by_hand():
    logits = torch.zeros(2, 2, 2)
    logits[0, 0, 1] = logits[0, 1, 0] = math.log(3)  # probability 3/4
    logits[0, 1, 1] = 50.0
    targets = torch.tensor([[[1, 0], [1, V]], [[V, V], [V, V]]], dtype=torch.int8)
    # -(log 1/2 + log (1 - 3/4) + log 3/4) / 3 over the three cells that are known; the second RoI knows none.
    expected = (math.log(2) + math.log(4) + math.log(4 / 3)) / 3
    torch.testing.assert_close(localisation_loss(logits, targets), torch.tensor([expected, 0.0]))
    assert localisation_loss(logits[:0], targets[:0]).shape == (0,)


def test_localisation_loss_gradient():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(-1, 2, (3, 4, 4), dtype=torch.int8)
    assert torch.autograd.gradcheck(lambda x: localisation_loss(x, targets), logits)
    localisation_loss(logits, targets).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[targets == V] == 0).all()
    assert (logits.grad[targets == 1] < 0).all()
    assert (logits.grad[targets == 0] > 0).all()

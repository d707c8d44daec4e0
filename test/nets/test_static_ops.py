"""The exportable operations against torchvision and by hand."""

import pytest

torch = pytest.importorskip("torch")
from torchvision.ops import nms  # noqa: E402

from wsperception.nets.roi_pool import pool_rois, roi_levels  # noqa: E402
from wsperception.nets.static_ops import (  # noqa: E402
    atlas_roi_align,
    level_atlas,
    pairwise_iou,
    rows_at,
    suppression,
)

STRIDES = (4, 8, 16, 32)


def random_boxes(count: int, height: float, width: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.8
    size = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.3 + 1
    return torch.cat([corner, torch.minimum(corner + size, torch.tensor([width, height]))], dim=1)


def test_pairwise_iou_by_hand():
    # 4x2 and 2x4 share 2x2 = 4 of 8 + 8 - 4 = 12; an empty box shares nothing, with itself neither.
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 2.0, 4.0], [1.0, 1.0, 1.0, 1.0]]])
    expected = [[1.0, 1 / 3, 0.0], [1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert torch.allclose(pairwise_iou(boxes)[0], torch.tensor(expected))


def test_a_suppressed_box_suppresses_nothing():
    # In a row of boxes 10 long and 3 apart, neighbours overlap by 7/13 and next neighbours by 4/16. The first removes
    # the second; the third survives because the second is gone; it removes the fourth.
    boxes = torch.tensor([[[3.0 * i, 0.0, 3.0 * i + 10, 10.0] for i in range(4)]])
    kept = suppression(boxes, torch.ones(1, 4), 0.5)
    assert kept.tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_invalid_rows_neither_survive_nor_suppress():
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [0.0, 0.0, 5.0, 4.0]]])
    assert suppression(boxes, torch.tensor([[0.0, 1.0, 1.0]]), 0.5).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_is_greedy_suppression(threshold: float):
    for seed in range(8):
        boxes = random_boxes(300, 200, 400, seed)
        scores = torch.linspace(1, 0, 300)
        kept = suppression(boxes[None], torch.ones(1, 300), threshold)[0]
        assert torch.nonzero(kept).flatten().tolist() == nms(boxes, scores, threshold).tolist()


def test_rows_at_picks_rows_per_image():
    values = torch.arange(12.0).reshape(2, 3, 2)
    picked = rows_at(values, torch.tensor([[2, 0], [1, 1]]))
    assert picked.tolist() == [[[4.0, 5.0], [0.0, 1.0]], [[8.0, 9.0], [8.0, 9.0]]]


def test_levels_by_hand():
    # Canonical size 112 is pooled from level 2; half of it from level 1; twice from level 3; sizes beyond are clamped.
    sides = torch.tensor([10.0, 55.9, 56.0, 112.0, 223.0, 224.0, 1000.0])
    boxes = torch.stack([torch.zeros(7), torch.zeros(7), sides, sides], dim=1)
    assert roi_levels(boxes, 112.0, 4).tolist() == [0, 0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("half_pixel", [True, False])
@pytest.mark.parametrize("sampling", [1, 2])
def test_atlas_roi_align_is_torchvision_roi_align(half_pixel: bool, sampling: int):
    torch.manual_seed(0)
    height, width = 96, 160
    pyramid = [torch.randn(2, 3, height // stride, width // stride) for stride in STRIDES]
    boxes = torch.stack([random_boxes(40, height, width, seed) for seed in (1, 2)])
    boxes[0, 0] = torch.tensor([-30.0, -20.0, 100.0, 130.0])  # reaches outside on every side
    boxes[1, 0] = torch.tensor([0.0, 0.0, width, height])
    sizes = [(level.shape[2], level.shape[3]) for level in pyramid]
    found = atlas_roi_align(level_atlas(pyramid), sizes, STRIDES, boxes, 14, sampling, 30.0, half_pixel)
    frame_of = torch.tensor([0, 1]).repeat_interleave(40)
    expected = pool_rois(pyramid, STRIDES, boxes.reshape(-1, 4), frame_of, 14, sampling, 30.0, half_pixel)
    levels = roi_levels(boxes.reshape(-1, 4), 30.0, 4)
    assert set(levels.tolist()) == {0, 1, 2, 3}
    assert torch.allclose(found, expected, atol=2e-5)


def test_pooling_nothing_stays_attached():
    pyramid = [torch.randn(1, 3, 8 // scale, 8 // scale, requires_grad=True) for scale in (1, 2, 4, 8)]
    pooled = pool_rois(pyramid, STRIDES, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 14, 1, 224.0, True)
    assert pooled.shape == (0, 3, 14, 14)
    pooled.sum().backward()
    assert pyramid[0].grad is not None

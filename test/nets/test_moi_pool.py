import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import roi_align, roi_pool

from wsperception.nets.moi_pool import cell_extents, pool_segments, touched_cells
from wsperception.nets.segment_set import SegmentSet


def segments_of(masks: torch.Tensor) -> SegmentSet:
    """SegmentSet with the masks (P, H, W) bool; every pixel is a superpixel of its own."""
    height, width = masks.shape[1:]
    boxes = []
    for mask in masks:
        rows, columns = torch.nonzero(mask, as_tuple=True)
        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0])
    pixels = torch.arange(height * width).view(height, width)
    return SegmentSet(pixels, masks.flatten(1).T.contiguous(), torch.tensor(boxes, dtype=torch.float32))


def pooled(features, segments, stride, side, pooling="invariant", compensation="none"):
    return pool_segments(features, segments, stride, side, pooling, compensation, torch.ones(len(segments)))


def windows(length: int, side: int) -> list[range]:
    """Eq. 5 in exact numbers."""
    return [range(length * u // side, -(-length * (u + 1) // side)) for u in range(side)]


def looped(features: np.ndarray, mask: np.ndarray, stride: int, side: int) -> np.ndarray:
    """Eq. 5 and 6 of one segment, cell by cell."""
    rows, columns = np.nonzero(mask)
    y0, x0 = rows.min() // stride, columns.min() // stride
    height, width = rows.max() // stride + 1 - y0, columns.max() // stride + 1 - x0
    result = np.zeros((side, side, len(features)), features.dtype)
    for u, lines in enumerate(windows(height, side)):
        for v, places in enumerate(windows(width, side)):
            found = [
                features[:, y0 + i, x0 + j]
                for i in lines
                for j in places
                if mask[(y0 + i) * stride : (y0 + i + 1) * stride, (x0 + j) * stride : (x0 + j + 1) * stride].any()
            ]
            if found:
                result[u, v] = np.max(found, axis=0)
    return result


MASK = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1]], dtype=torch.bool)
FEATURES = torch.tensor([[9.0, 2.0, 5.0, 9.0], [9.0, 7.0, 8.0, 9.0], [9.0, 3.0, 9.0, 4.0]])[None]


def test_shape_invariant_by_hand():
    # The box is columns 1 to 3. Of 3 rows and columns the windows of 2 are {0, 1} and {1, 2}. Upper left: 2, 5, 7 (the
    # 8 is outside); upper right: columns 2 and 3 of rows 0 and 1: 5; lower left: 7, 3; lower right: 4.
    grid = pooled(FEATURES, segments_of(MASK[None]), 1, 2)
    assert grid.shape == (1, 2, 2, 1)
    assert grid[0, :, :, 0].tolist() == [[7.0, 5.0], [7.0, 4.0]]


def test_ranks_straighten_a_shape_by_hand():
    # Ranks (of the column, of the row) and lengths: 2 at 0 of 3, 0 of 2; 5 at 0 of 1, 1 of 2; 7 at 1 of 3, 0 of 1; 3 at
    # 2 of 3, 0 of 2; 4 at 0 of 1, 1 of 2. Over a length of 1 a cell lies in both windows, over 2 in its own, and the
    # middle one of 3 in both. Upper left: 2, 7; upper right: 5, 7, 4; lower left: 7, 3; lower right: 5, 7, 4.
    grid = pooled(FEATURES, segments_of(MASK[None]), 1, 2, "rank")
    assert grid[0, :, :, 0].tolist() == [[7.0, 7.0], [7.0, 7.0]]
    without = MASK.clone()
    without[1, 1] = False  # 3 is at 1 of 2 now
    grid = pooled(FEATURES, segments_of(without[None]), 1, 2, "rank")
    assert grid[0, :, :, 0].tolist() == [[2.0, 5.0], [3.0, 5.0]]


def test_compensation_by_hand():
    segments = segments_of(torch.tensor([[[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]], dtype=torch.bool)[:, [0, 2]])
    features = torch.tensor([[[2.0, 1.0, 1.0, 1.0], [3.0, 4.0, 5.0, 6.0]]])
    plain = pooled(features, segments, 1, 2)
    assert plain[0, :, :, 0].tolist() == [[2.0, 0.0], [4.0, 6.0]]
    # 4 cells over 3 that are not empty and one: 1. With the second row alone: 4 / (4 + 1), as both windows hold it.
    cells = pooled(features, segments, 1, 2, compensation="cells")
    assert torch.equal(cells, plain)
    row = segments_of(torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1]]], dtype=torch.bool))
    assert pooled(features, row, 1, 2, compensation="cells")[0, 0, :, 0].tolist() == pytest.approx([3.2, 4.8])
    # 4 cells over 2 + 0 + 4 + 6 = 12: a third.
    values = pooled(features, segments, 1, 2, compensation="values")
    torch.testing.assert_close(values, plain / 3)
    assert pooled(features * 0, segments, 1, 2, compensation="values").tolist() == (plain * 0).tolist()


def test_factors_multiply_what_is_pooled():
    segments = segments_of(torch.stack([MASK, MASK]))
    for pooling in ("invariant", "rank", "interpolating", "roi_pool", "roi_align"):
        grid = pool_segments(FEATURES, segments, 1, 2, pooling, "cells", torch.tensor([1.0, 1.5]))
        torch.testing.assert_close(grid[1], grid[0] * 1.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3]), st.sampled_from([2, 3, 7]))
def test_equals_the_loop(seed, stride, side):
    random = np.random.default_rng(seed)
    masks = random.random((3, 11, 14)) < random.uniform(0.03, 0.8)
    masks[:, 4, 5] = True
    features = random.normal(size=(2, -(-11 // stride), -(-14 // stride)))
    grid = pooled(torch.from_numpy(features), segments_of(torch.from_numpy(masks)), stride, side)
    expected = np.stack([looped(features, mask, stride, side) for mask in masks])
    np.testing.assert_array_equal(grid.numpy(), expected)


@pytest.mark.parametrize("pooling", ["invariant", "rank", "roi_pool"])
def test_a_full_rectangle_equals_roi_pool(pooling):
    # torchvision finds windows in float32; over these lengths and 4 windows it makes no error.
    masks = torch.zeros((3, 40, 56), dtype=torch.bool)
    for mask, (y0, y1, x0, x1) in zip(masks, [(8, 24, 0, 56), (3, 17, 9, 55), (20, 24, 8, 12)], strict=True):
        mask[y0:y1, x0:x1] = True
    features = torch.randn((5, 5, 7), generator=torch.Generator().manual_seed(1))
    rois = torch.tensor([[0, 0, 1, 6, 2], [0, 1, 0, 6, 2], [0, 1, 2, 1, 2]], dtype=torch.float32)  # cells of 8 pixels
    expected = roi_pool(features[None], rois, 4).permute(0, 2, 3, 1)
    torch.testing.assert_close(pooled(features, segments_of(masks), 8, 4, pooling), expected)
    scaled = pooled(features, segments_of(masks), 8, 4, pooling, "cells")
    torch.testing.assert_close(scaled, expected * (1.0 if pooling == "roi_pool" else 16 / 17))


def test_a_full_rectangle_of_whole_cells_stays_what_it_is_when_bent():
    # 4 x 8 cells: each of 4 x 4 windows is 1 x 2 cells.
    mask = torch.zeros((1, 40, 80), dtype=torch.bool)
    mask[0, 8:40, 8:72] = True
    features = torch.randn((5, 5, 10), generator=torch.Generator().manual_seed(1))
    expected = roi_pool(features[None], torch.tensor([[0.0, 1, 1, 8, 4]]), 4).permute(0, 2, 3, 1)
    for compensation in ("cells", "none"):
        found = pooled(features, segments_of(mask), 8, 4, "interpolating", compensation)
        torch.testing.assert_close(found, expected)


def test_roi_align_is_torchvisions():
    features = torch.randn((3, 5, 7), generator=torch.Generator().manual_seed(2))
    mask = torch.zeros((1, 40, 56), dtype=torch.bool)
    mask[0, 5, 7] = mask[0, 30, 44] = True
    expected = roi_align(features[None], torch.tensor([[0.0, 7, 5, 45, 31]]), 4, 1 / 8, 2, True)
    torch.testing.assert_close(pooled(features, segments_of(mask), 8, 4, "roi_align"), expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("pooling", ["invariant", "rank"])
def test_a_hole_is_ignored(pooling):
    mask = torch.ones((1, 12, 12), dtype=torch.bool)
    mask[0, 4:8, 4:8] = False
    features = torch.rand((2, 3, 3), generator=torch.Generator().manual_seed(3))
    loud = features.clone()
    loud[:, 1, 1] = 100.0
    segments = segments_of(mask)
    assert torch.equal(pooled(loud, segments, 4, 2, pooling), pooled(features, segments, 4, 2, pooling))
    # One pixel of the hole's window makes its cell count (Eq. 6).
    mask[0, 7, 4] = True
    assert (pooled(loud, segments_of(mask), 4, 2, pooling) == 100.0).any()


@pytest.mark.parametrize("pooling", ["invariant", "rank"])
@pytest.mark.parametrize("compensation", ["cells", "values", "none"])
def test_an_empty_mask_gives_zeros(pooling, compensation):
    masks = torch.zeros((2, 6, 6), dtype=torch.bool)
    masks[1, 2, 3] = True
    grid = pooled(torch.ones((4, 3, 3)), segments_of(masks), 2, 3, pooling, compensation)
    assert not grid[0].any()
    assert (grid[1] > 0).all()


@pytest.mark.parametrize("pooling", ["invariant", "rank", "interpolating", "roi_pool", "roi_align"])
def test_no_segments_give_nothing_and_gradients_of_zero(pooling):
    features = torch.ones((4, 3, 3), requires_grad=True)
    segments = segments_of(torch.zeros((1, 6, 6), dtype=torch.bool)).select(torch.zeros(1, dtype=torch.bool))
    grid = pooled(features, segments, 2, 3, pooling, "cells")
    assert grid.shape == (0, 3, 3, 4)
    grid.sum().backward()
    assert features.grad is not None
    assert not features.grad.any()


@pytest.mark.parametrize("pooling", ["invariant", "rank", "interpolating"])
@pytest.mark.parametrize("compensation", ["cells", "values"])
def test_gradients(pooling, compensation):
    random = np.random.default_rng(4)
    masks = torch.from_numpy(random.random((3, 8, 10)) < 0.4)
    # Values a tenth apart: no two change places within the step of the finite difference.
    values = random.permutation(2 * 4 * 5).reshape(2, 4, 5) * 0.1 + 0.1
    features = torch.from_numpy(values).requires_grad_()
    factors = torch.tensor([1.0, 1.3, 0.7])
    segments = segments_of(masks)
    assert torch.autograd.gradcheck(
        lambda value: pool_segments(value, segments, 2, 3, pooling, compensation, factors), (features,)
    )


def test_what_lies_beyond_a_box_is_not_pooled():
    segments = segments_of(MASK[None])
    cut = SegmentSet(segments.superpixels, segments.membership, torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    assert pooled(FEATURES, cut, 1, 2)[0, :, :, 0].tolist() == [[2.0, 5.0], [7.0, 0.0]]


def test_many_segments_come_in_their_order(monkeypatch):
    random = np.random.default_rng(5)
    segments = segments_of(torch.from_numpy(random.random((7, 9, 9)) < 0.3))
    features = torch.from_numpy(random.normal(size=(3, 9, 9)))
    whole = {pooling: pooled(features, segments, 1, 2, pooling) for pooling in ("invariant", "rank", "interpolating")}
    for chunk in ("moi_pool.CHUNK", "tps_pool.CHUNK", "listed_max.BLOCK"):
        monkeypatch.setattr(f"wsperception.nets.{chunk}", 3)
    for pooling, expected in whole.items():
        torch.testing.assert_close(pooled(features, segments, 1, 2, pooling), expected)


def test_cells_of_boxes_and_masks_by_hand():
    assert cell_extents(torch.tensor([[7.0, 8.0, 17.0, 16.0], [0.0, 0.0, 0.0, 0.0]]), 8).tolist() == [
        [0, 1, 3, 2],
        [0, 0, 1, 1],
    ]
    masks = torch.zeros((2, 5, 7), dtype=torch.bool)
    masks[0, 3, 3] = masks[0, 4, 6] = masks[1, 0, 4] = True
    segments = segments_of(masks)
    cells = touched_cells(segments.superpixels, segments.membership, 4)
    assert cells.tolist() == [[[True, False], [False, True]], [[False, True], [False, False]]]
    assert torch.equal(segments.masks(), masks)
    assert torch.equal(segments.select(torch.tensor([1])).masks(), masks[1:])


def test_features_of_more_cells_than_int16_counts():
    # 200 x 200 cells: ranks need 32 bits.
    mask = torch.zeros((1, 200, 200), dtype=torch.bool)
    mask[0, 30:170, 60:190] = True
    features = torch.randn((2, 200, 200), generator=torch.Generator().manual_seed(6))
    expected = functional.max_pool2d(features[:, 30:170, 60:190], (70, 65)).permute(1, 2, 0)
    segments = SegmentSet(mask[0].long(), torch.tensor([[False], [True]]), torch.tensor([[60.0, 30.0, 190.0, 170.0]]))
    assert torch.equal(pooled(features, segments, 1, 2)[0], expected)

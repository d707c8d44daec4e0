import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.weak_masks.mask_rois import (  # noqa: E402
    MaskRois,
    image_crops,
    mask_area_share,
    mean_over_frames,
    mean_share,
    row_iou,
    track_pairs,
)


def rois(counts: list[int], extents: list[list[float]], logits: torch.Tensor, scale: float = 1.0) -> MaskRois:
    """RoIs whose grid is `scale` times as large as their box, both from the same corner."""
    grids = torch.tensor(extents).reshape(-1, 4)
    boxes = torch.cat([grids[:, :2], grids[:, :2] + (grids[:, 2:] - grids[:, :2]) / scale], dim=1)
    frames = torch.repeat_interleave(torch.tensor(counts))
    rows = [torch.arange(count) % 2 for count in counts]
    numbers = torch.arange(len(grids))
    return MaskRois(boxes, grids, frames, rows, numbers, numbers, logits)


def test_means_inside_frames_then_over_frames():
    # (1 + 3) / 2 = 2 in the first, 7 in the third, none in the second: (2 + 0 + 7) / 3 = 3.
    values = torch.tensor([1.0, 3.0, 7.0], requires_grad=True)
    assert mean_over_frames(values, [2, 0, 1]).item() == pytest.approx(3.0)
    nothing = torch.zeros(0, requires_grad=True)
    mean_over_frames(nothing, [0, 0]).backward()


def test_crops_show_what_lies_under_the_grid():
    # Columns brighten by 2 per pixel from 1 at the first's centre: the value is 2 x. Rows and frames darken it.
    image = (2 * torch.arange(96) + 1)[None, None, :, None].expand(2, 64, 96, 3).clone()
    image[1] //= 2
    image[0, 32:] = 0
    found = rois([1, 1], [[10.0, 24.0, 26.0, 40.0], [10.0, 0.0, 26.0, 16.0]], torch.zeros(2, 28, 28))
    crops = image_crops(image.to(torch.uint8), found, 4)
    # Cells of 4 px from 10 on: centres 12, 16, 20, 24; of rows 26, 30, 34, 38 the last two are black.
    assert crops[0, 1].tolist() == [[24.0, 32.0, 40.0, 48.0]] * 2 + [[0.0] * 4] * 2
    assert crops[1, 1, 0].tolist() == [11.5, 15.5, 19.5, 23.5]
    assert image_crops(image.to(torch.uint8), rois([0, 0], [], torch.zeros(0, 28, 28)), 4).shape == (0, 3, 4, 4)


def test_mask_area_over_box_area():
    logits = torch.full((2, 2, 2), -1.0)
    logits[0, 0] = 1.0  # half of the grid, which has 1.5 x 1.5 of the box: 1.125
    logits[1, 1, 1] = 1.0  # a quarter: 0.5625
    found = rois([1, 1], [[0.0, 0.0, 30.0, 60.0], [4.0, 4.0, 7.0, 10.0]], logits, scale=1.5)
    assert mask_area_share(found).tolist() == pytest.approx([1.125 + 0.5625, 2.0])
    assert mask_area_share(rois([0], [], torch.zeros(0, 2, 2))).tolist() == [0.0, 0.0]


def test_share_of_cells():
    cells = torch.tensor([[[True, False], [True, True]], [[False, False], [False, True]]])
    assert mean_share(cells).tolist() == [1.0, 2.0]


def test_the_first_of_each_frame():
    found = rois([3, 0, 1], [[float(n), 0.0, n + 4.0, 4.0] for n in range(4)], torch.zeros(4, 2, 2))
    assert found.first(0) is found
    assert found.first(3) is found
    two = found.first(2)
    assert two.counts == [2, 0, 1]
    assert two.extents[:, 0].tolist() == [0.0, 1.0, 3.0]
    assert two.frame_of.tolist() == [0, 0, 2]


def test_rows_among_all_true_boxes():
    # Frames of 2, 3 and 2 true boxes: those of the third frame begin at 5. Rows 0 1 0 of the first, 0 of the third.
    found = rois([3, 0, 1], [[0.0, 0.0, 4.0, 4.0]] * 4, torch.zeros(4, 2, 2))
    assert found.true_rows([torch.zeros(n, 4) for n in (2, 3, 2)]).tolist() == [0, 1, 0, 5]


def test_pairs_of_a_track():
    # Clips of frames 0 1 and 2 3. Object 7 has RoIs 0 and 1 in frame 0, of which 1 is nearer to its true box, 3 and 4
    # in frame 1, of which 3 is nearer, 5 in frame 2 of the other clip and 7 in frame 3. Others are seen once.
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(8, 1)
    boxes = truth.clone()
    boxes[[0, 4], 2] = 20.0
    numbers = torch.arange(8)
    frames = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3])
    keys = torch.tensor([7, 7, 8, 7, 7, 7, 9, 7])
    found = MaskRois(boxes, boxes, frames, [], numbers, keys, torch.zeros(8, 2, 2))
    first, second, counts = track_pairs(found, truth, 2, 4)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(1, 3), (5, 7)]
    assert counts == [1, 1]
    first, second, counts = track_pairs(found, truth, 4, 4)  # one clip: each frame with each later one
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(1, 3), (1, 5), (1, 7), (3, 5), (3, 7), (5, 7)]
    assert counts == [6]
    first, second, counts = track_pairs(found, truth, 1, 4)
    assert (len(first), counts) == (0, [0, 0, 0, 0])


def test_no_rois_no_pairs():
    found = rois([0, 0], [], torch.zeros(0, 2, 2))
    first, second, counts = track_pairs(found, torch.zeros(0, 4), 2, 2)
    assert (len(first), len(second), counts) == (0, 0, [0])


def test_iou_row_by_row():
    # 3 x 4 shared of 5 x 4 + 3 x 8 - 12 = 32; apart; both empty.
    a = torch.tensor([[0.0, 0.0, 5.0, 4.0], [0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    b = torch.tensor([[2.0, 0.0, 5.0, 8.0], [1.0, 0.0, 2.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    assert row_iou(a, b).tolist() == [0.375, 0.0, 0.0]

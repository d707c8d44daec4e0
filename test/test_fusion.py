"""Fusion: disjoint segments in score order, and grids sampled as a slow, plain sum says."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from wsperception.decode import StuffMap
from wsperception.errors import InputError
from wsperception.fusion import FusionSettings, fill_with_stuff, fuse, mask_certainties, sample_grid
from wsperception.types import VOID, Instances, SegmentMap

SIZE = (40, 60)


def instances(
    boxes: list[list[float]],
    scores: list[float],
    masks: np.ndarray | None = None,
    grids: list[list[float]] | None = None,
) -> Instances:
    """Objects of class 0, 1, 2, ... on an image of SIZE; full masks on the box unless given."""
    count = len(boxes)
    made = np.array(boxes, np.float32).reshape(count, 4)
    return Instances(
        made,
        np.array(grids, np.float32).reshape(count, 4) if grids is not None else made.copy(),
        masks if masks is not None else np.ones((count, 3, 3), np.float32),
        np.array(scores, np.float32),
        np.arange(count, dtype=np.int32),
        np.tile(np.array([[1, 0]], np.float32), (count, 1)),
        SIZE,
    )


def scene(seed: int) -> Instances:
    """Up to 8 random objects, some partly outside of the image, grids wider than boxes, scores with ties."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 9))
    corner = rng.uniform(-5, 50, (count, 2)) * [1, 0.6]
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (count, 2))], axis=1)
    grids = boxes + rng.uniform(0, 6, (count, 4)) * [-1, -1, 1, 1]
    clipped = np.clip(boxes, 0, [SIZE[1], SIZE[0]] * 2)
    masks = rng.random((count, 5, 5)).astype(np.float32)
    return instances(clipped.tolist(), rng.choice([0.91, 0.95, 0.99], count).tolist(), masks, grids.tolist())


def slow_sample(grid: np.ndarray, extent: np.ndarray, x: float, y: float) -> float:
    """One bilinear sample, cell by cell: the four neighbours, the border repeated."""
    side = len(grid)
    u = (x - extent[0]) / (extent[2] - extent[0]) * side - 0.5
    v = (y - extent[1]) / (extent[3] - extent[1]) * side - 0.5
    total = 0.0
    for row in (int(np.floor(v)), int(np.floor(v)) + 1):
        for column in (int(np.floor(u)), int(np.floor(u)) + 1):
            weight = (1 - abs(v - row)) * (1 - abs(u - column))
            total += weight * grid[min(max(row, 0), side - 1), min(max(column, 0), side - 1)]
    return total


def slow_fuse(found: Instances, settings: FusionSettings) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Ids, rows and pixels too close to the threshold to call, one pixel at a time."""
    ids, rows, close = np.zeros(found.image_size, int), [], np.zeros(found.image_size, bool)
    for row in sorted(range(len(found)), key=lambda index: (-found.scores[index], index)):
        grid, extent = found.masks[row].astype(float), found.mask_boxes[row].astype(float)
        box = found.boxes[row] if settings.clip_to_box else extent
        mask = np.zeros(found.image_size, bool)
        for line in range(found.image_size[0]):
            for column in range(found.image_size[1]):
                x, y = column + 0.5, line + 0.5
                inside = box[0] <= x < box[2] and box[1] <= y < box[3]
                inside = inside and extent[0] <= x < extent[2] and extent[1] <= y < extent[3]
                if inside:
                    value = slow_sample(grid, extent, x, y)
                    mask[line, column] = value >= settings.mask_threshold
                    close[line, column] |= abs(value - settings.mask_threshold) < 1e-5
        own = mask & (ids == 0)
        if own.sum() >= settings.min_area and own.sum() >= settings.min_visible * mask.sum():
            rows.append(row)
            ids[own] = len(rows)
    return ids, rows, close


def test_the_better_object_takes_the_overlap():
    # Object 1 has the better score: it is row 1. [10, 20) x [5, 15) is 100 pixels; object 0 keeps 200 - 10 * 5 = 150.
    found = instances([[0, 0, 20, 10], [10, 5, 20, 15]], [0.92, 0.97])
    fused = fuse(found, FusionSettings())
    segments = fused.segments
    assert fused.instance_rows.tolist() == [1, 0]
    assert fused.instance_rows.dtype == np.int32
    assert np.bincount(segments.ids.ravel()).tolist() == [40 * 60 - 250, 100, 150]
    assert (segments.ids[5:15, 10:20] == 1).all()
    assert segments.class_ids.tolist() == [VOID, 1, 0]
    assert segments.scores == pytest.approx([0, 0.97, 0.92])
    assert segments.boxes.tolist() == [[0, 0, 0, 0], [10, 5, 20, 15], [0, 0, 20, 10]]
    assert segments.track_ids.tolist() == [0, 0, 0]


def test_equal_scores_are_painted_in_their_order():
    found = instances([[0, 0, 20, 10], [10, 5, 20, 15]], [0.92, 0.92])
    assert fuse(found, FusionSettings()).instance_rows.tolist() == [0, 1]


def test_half_a_mask_by_hand():
    # Two columns of cells on [10, 30): 1 left, 0 right; centres at 15 and 25, so the value is 0.5 at x = 20, and pixel
    # 19 (centre 19.5, value 0.55) is the last one inside.
    masks = np.array([[[1, 0], [1, 0]]], np.float32)
    segments = fuse(instances([[10, 4, 30, 8]], [0.95], masks), FusionSettings()).segments
    assert np.unique(np.nonzero(segments.ids)[1]).tolist() == list(range(10, 20))
    assert np.unique(np.nonzero(segments.ids)[0]).tolist() == list(range(4, 8))
    # At threshold 0.25 it ends where 1 - (x - 15) / 10 = 0.25: x = 22.5, which is the centre of pixel 22 and counts.
    segments = fuse(instances([[10, 4, 30, 8]], [0.95], masks), FusionSettings(mask_threshold=0.25)).segments
    assert np.nonzero(segments.ids)[1].max() == 22


def test_mask_outside_of_the_box_is_dropped_unless_wanted():
    found = instances([[20, 10, 30, 20]], [0.95], grids=[[15, 5, 40, 22]])
    assert np.count_nonzero(fuse(found, FusionSettings()).segments.ids) == 100
    assert np.count_nonzero(fuse(found, FusionSettings(clip_to_box=False)).segments.ids) == 25 * 17


def test_small_rests_are_dropped_and_hide_nothing():
    # 10 x 1 = 10 pixels stay, 9 do not; what was dropped leaves its pixels to the next.
    assert len(fuse(instances([[0, 0, 10, 1]], [0.95]), FusionSettings()).segments) == 1
    found = instances([[0, 0, 9, 1], [0, 0, 20, 1]], [0.99, 0.95])
    fused = fuse(found, FusionSettings())
    assert fused.instance_rows.tolist() == [1]
    assert np.count_nonzero(fused.segments.ids == 1) == 20
    # The second has 40 pixels, of which the first leaves 10.
    found = instances([[0, 0, 30, 1], [0, 0, 40, 1]], [0.99, 0.95])
    assert len(fuse(found, FusionSettings(min_visible=0.25)).segments) == 2
    assert len(fuse(found, FusionSettings(min_visible=0.26)).segments) == 1


def test_masks_that_are_unsure_are_dropped_and_hide_nothing():
    # Of the first mask two of four cells are foreground: (0.9 + 0.5) / 2 = 0.7. The second is sure, and weaker.
    masks = np.array([[[0.9, 0.5], [0.4, 0.0]], [[1.0, 1.0], [1.0, 1.0]]], np.float32)
    found = instances([[0, 0, 20, 20], [0, 0, 20, 20]], [0.99, 0.95], masks)
    assert mask_certainties(masks, 0.5) == pytest.approx([0.7, 1.0])
    assert mask_certainties(masks, 0.95) == pytest.approx([0.0, 1.0])
    assert fuse(found, FusionSettings(min_certainty=0.69)).instance_rows.tolist() == [0, 1]
    fused = fuse(found, FusionSettings(min_certainty=0.71))
    assert fused.instance_rows.tolist() == [1]
    assert np.count_nonzero(fused.segments.ids) == 20 * 20


def test_no_objects():
    fused = fuse(Instances.empty(SIZE, 3, 2), FusionSettings())
    assert len(fused.segments) == 0
    assert fused.segments.ids.shape == SIZE
    assert fused.instance_rows.shape == (0,)
    # A grid that does not meet its box, and one beside the image.
    found = instances([[0, 0, 10, 10], [50, 30, 60, 40]], [0.9, 0.9], grids=[[20, 20, 30, 30], [70, 50, 90, 60]])
    assert len(fuse(found, FusionSettings()).segments) == 0


@run_settings(derandomize=True, deadline=None, database=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.0, 0.4]))
def test_fusion_equals_the_slow_way(seed, clip_to_box, min_visible):
    found = scene(seed)
    settings = FusionSettings(clip_to_box=clip_to_box, min_visible=min_visible)
    ids, rows, close = slow_fuse(found, settings)
    assume(not close.any())  # float32 may decide such a pixel either way, and with it an area
    fused = fuse(found, settings)
    assert fused.instance_rows.tolist() == rows
    assert (fused.segments.ids == ids).all()


@run_settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_segments_are_ordered_and_lie_in_their_boxes(seed):
    found = scene(seed)
    fused = fuse(found, FusionSettings())
    segments = fused.segments
    assert (np.diff(segments.scores[1:]) <= 0).all()
    assert len(set(fused.instance_rows.tolist())) == len(segments)
    for row in range(1, len(segments) + 1):
        lines, columns = np.nonzero(segments.ids == row)
        assert len(lines) >= 10
        x0, y0, x1, y1 = segments.boxes[row]
        assert columns.min() + 0.5 >= x0
        assert columns.max() + 0.5 < x1
        assert lines.min() + 0.5 >= y0
        assert lines.max() + 0.5 < y1


@run_settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_segments_do_not_depend_on_the_order_of_detections(seed):
    found = scene(seed)
    rng = np.random.default_rng(seed)
    distinct = rng.permutation(np.linspace(0.9, 1.0, max(len(found), 1))).astype(np.float32)[: len(found)]
    found = Instances(
        found.boxes, found.mask_boxes, found.masks, distinct, found.class_ids, found.embeddings, found.image_size
    )
    order = rng.permutation(len(found))
    one, other = fuse(found, FusionSettings()), fuse(found.select(order), FusionSettings())
    assert (one.segments.ids == other.segments.ids).all()
    assert one.instance_rows.tolist() == order[other.instance_rows].tolist()


def test_sample_grid_is_exact_on_dyadic_numbers():
    # Cells of 4 pixels from x = -2; values are multiples of 1/8, weights of 1/8: no rounding anywhere.
    rng = np.random.default_rng(3)
    grid = (rng.integers(0, 9, (4, 4)) / 8).astype(np.float32)
    extent = np.array([-2, 3, 14, 19], np.float64)
    x, y = np.arange(-2, 14) + 0.5, np.arange(3, 19) + 0.5
    expected = [[slow_sample(grid, extent, column, line) for column in x] for line in y]
    assert (sample_grid(grid, extent, x, y) == np.array(expected, np.float32)).all()


def test_sample_grid_is_torchs_interpolate():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    grid = np.random.default_rng(4).random((7, 7)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=(31, 52), mode="bilinear", align_corners=False
    )
    sampled = sample_grid(grid, np.array([0.0, 0.0, 52.0, 31.0]), np.arange(52) + 0.5, np.arange(31) + 0.5)
    assert sampled == pytest.approx(expected[0, 0].numpy(), abs=1e-5)


def test_settings_are_checked():
    with pytest.raises(InputError, match="min_area: expected 1 to 1e"):
        FusionSettings(min_area=0)
    with pytest.raises(InputError, match=r"mask_threshold: expected 0.01 to 0.99, got 1.0"):
        FusionSettings(mask_threshold=1.0)


# ---- stuff


def stuff_map(channels: np.ndarray, *scores: float) -> StuffMap:
    return StuffMap(channels.astype(np.uint8), np.array(scores, np.float32))


def test_stuff_fills_what_things_leave():
    # Two things: 200 and 150 pixels, of which the first takes 50. Channel 2 has the lines from 10 on, channel 1 those
    # from 30 on; above is "a thing", which stays void where no object is. Of line 10 on, things have 5 * 10 = 50.
    found = instances([[0, 0, 20, 10], [10, 5, 20, 15]], [0.97, 0.92])
    things = fuse(found, FusionSettings(min_visible=0.3)).segments
    channels = np.zeros(SIZE)
    channels[10:30], channels[30:] = 2, 1
    filled = fill_with_stuff(things, stuff_map(channels, 0.5, 0.75, 0.625, 0.0), 2, FusionSettings())
    # 2 things, so channels 1 and 2 are classes 2 and 3.
    assert filled.class_ids.tolist() == [VOID, 0, 1, 2, 3]
    assert filled.track_ids.tolist() == [0] * 5
    assert filled.scores == pytest.approx([0, 0.97, 0.92, 0.75, 0.625])
    assert filled.boxes[3:].tolist() == [[0, 30, 60, 40], [0, 10, 60, 30]]
    assert (filled.ids[things.ids > 0] == things.ids[things.ids > 0]).all()
    assert np.bincount(filled.ids.ravel()).tolist() == [600 - 200 - 50 + 50, 200, 100 - 50, 600, 1200 - 50]
    assert (things.ids[20:] == 0).all()  # what was given is as it was


def test_the_box_of_stuff_is_tight_around_what_is_left():
    # Channel 1 on columns 4 to 13 of lines 2 to 11; a thing takes the upper half and the left four columns of it.
    channels = np.zeros(SIZE)
    channels[2:12, 4:14] = 1
    ids = np.zeros(SIZE, np.uint16)
    ids[:7], ids[:, :8] = 1, 1
    row = np.zeros(1, np.float32)
    box = np.array([[0, 0, 60, 40]], np.float32)
    things = SegmentMap(
        ids, np.array([VOID, 0], np.int32), np.append(row, np.float32(0.9)), np.array([0, 8], np.int32),
        np.concatenate([box * 0, box]),
    )  # fmt: skip
    filled = fill_with_stuff(things, stuff_map(channels, 0.9, 0.8), 1, FusionSettings())
    assert filled.boxes[2].tolist() == [8, 7, 14, 12]
    assert filled.track_ids.tolist() == [0, 8, 0]
    assert np.count_nonzero(filled.ids == 2) == 6 * 5


def test_little_stuff_is_void():
    # 40 * 60 = 2400 pixels. Channel 1 has 24 of them, a hundredth; channel 3 one pixel; channel 2 all the others.
    channels = np.full(SIZE, 2)
    channels[3, 10:34] = 1
    channels[7, 5] = 3
    nothing = SegmentMap.empty(SIZE)
    stuff = stuff_map(channels, 0.0, 0.9, 0.8, 0.7)

    def classes(share: float) -> list[int]:
        return fill_with_stuff(nothing, stuff, 2, FusionSettings(min_stuff_share=share)).class_ids.tolist()

    assert classes(0.0) == [VOID, 2, 3, 4]
    assert classes(0.01) == [VOID, 2, 3]
    assert classes(0.011) == [VOID, 3]
    filled = fill_with_stuff(nothing, stuff, 2, FusionSettings(min_stuff_share=0.011))
    assert np.count_nonzero(filled.ids == 0) == 25
    assert classes(1.0) == [VOID]


def test_no_stuff_gives_the_things():
    things = fuse(instances([[0, 0, 20, 10]], [0.97]), FusionSettings()).segments
    assert fill_with_stuff(things, stuff_map(np.zeros(SIZE), 0.9, 0.0), 1, FusionSettings()) is things
    # All of the stuff lies under the thing.
    channels = np.zeros(SIZE)
    channels[2:8, 3:9] = 1
    share = FusionSettings(min_stuff_share=0.0)
    assert fill_with_stuff(things, stuff_map(channels, 0.9, 0.9), 1, share) is things

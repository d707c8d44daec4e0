"""Raw outputs to objects: filters, clipping, the way back to the image, and a network that gives nonsense."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from wsperception.bundle import OUTPUTS
from wsperception.decode import RawOutputs, broken_rows, decode, decode_stuff
from wsperception.preprocess import fit

PLACING = fit((100, 200), (50, 80))
"""Scale 0.4: content 40 x 80 of the input 50 x 80."""


def outputs(rows: int = 5) -> RawOutputs:
    """`rows` good detections in falling score, each with its own box, class, grid and embedding."""
    steps = np.arange(rows, dtype=np.float32)
    boxes = np.stack([4 + steps, 2 + steps, 24 + 2 * steps, 12 + 3 * steps], axis=1)
    angles = steps * 0.3
    return RawOutputs(
        boxes=boxes,
        scores=0.9 - 0.1 * steps,
        class_ids=(np.arange(rows) % 2).astype(np.int32),
        masks=np.broadcast_to(steps[:, None, None] / 10, (rows, 3, 3)).copy(),
        mask_boxes=boxes + np.array([-2, -2, 2, 2], np.float32),
        embeddings=np.stack([np.cos(angles), np.sin(angles)], axis=1),
    )


def changed(row: int, **values: object) -> RawOutputs:
    """Good detections, with fields of `row` overwritten."""
    raw = outputs()
    for name, value in values.items():
        getattr(raw, name)[row] = value
    return raw


def test_boxes_return_to_image_pixels_by_hand():
    # Scale 0.4, so input pixel 4 is image pixel 10: [4, 2, 24, 12] -> [10, 5, 60, 30]; the grid is 2 wider: 5 in image.
    found = decode(outputs(1), PLACING, 0.5)
    assert found.boxes.tolist() == [[10, 5, 60, 30]]
    assert found.mask_boxes.tolist() == [[5, 0, 65, 35]]
    assert found.image_size == (100, 200)


def test_score_filter_keeps_the_limit_and_the_order():
    raw = outputs()
    found = decode(raw, PLACING, float(raw.scores[2]))
    assert found.scores == pytest.approx([0.9, 0.8, 0.7])
    assert found.class_ids.tolist() == [0, 1, 0]
    assert found.masks[:, 0, 0] == pytest.approx([0.0, 0.1, 0.2])
    assert len(decode(raw, PLACING, 0.95)) == 0
    assert decode(raw, PLACING, 0.95).masks.shape == (0, 3, 3)


def test_boxes_are_clipped_and_slivers_dropped_but_grids_are_not():
    # Right border of the image is input pixel 80, lower border 40 (not 50: the rest is padding).
    raw = changed(0, boxes=[-8, -4, 20, 48], mask_boxes=[-10, -6, 22, 50])
    found = decode(raw, PLACING, 0.85)
    assert found.boxes.tolist() == [[0, 0, 50, 100]]
    assert found.mask_boxes[0] == pytest.approx([-25, -15, 55, 125])
    # 0.3 input pixels are 0.75 image pixels; 0.4 are one; in the padding nothing is left.
    for box, kept in (([4, 2, 4.3, 12], 0), ([4, 2, 4.5, 12], 1), ([79.8, 2, 95, 12], 0), ([4, 41, 20, 49], 0)):
        raw = changed(0, boxes=box)
        assert len(decode(raw, PLACING, 0.85)) == kept
        assert not broken_rows(raw, 0.85).any()


@pytest.mark.parametrize(
    "values",
    [
        {"scores": np.nan},
        {"scores": np.inf},
        {"boxes": [np.nan, 2, 24, 12]},
        {"boxes": [4, 2, np.inf, 12]},
        {"boxes": [4, 2, 1e30, 12]},
        {"boxes": [24, 2, 4, 12]},
        {"mask_boxes": [4, 2, 4, 12]},
        {"mask_boxes": [-np.inf, 2, 4, np.inf]},
        {"mask_boxes": [-3e38, 2, 3e38, 12]},
        {"masks": np.nan},
        {"embeddings": np.nan},
        {"embeddings": 0.0},
        {"class_ids": -1},
        {"class_ids": 2},
    ],
)
def test_broken_rows_are_dropped_and_counted_and_the_others_stay(values):
    raw = changed(1, **values)
    assert broken_rows(raw, 0.65, classes=2).tolist() == [False, True, False, False, False]
    found = decode(raw, PLACING, 0.65, classes=2)
    assert found.scores == pytest.approx([0.9, 0.7])


def test_one_bad_mask_cell_is_enough():
    raw = outputs()
    raw.masks[2, 1, 0] = np.inf
    assert np.flatnonzero(broken_rows(raw, 0.5)).tolist() == [2]


def test_padding_rows_are_not_broken_whatever_they_hold():
    raw = changed(4, scores=0.0, boxes=0.0, mask_boxes=0.0, embeddings=0.0)
    raw.masks[4] = np.nan
    assert not broken_rows(raw, 0.3, classes=2).any()
    assert len(decode(raw, PLACING, 0.3, classes=2)) == 4


def test_class_limit_is_optional():
    raw = changed(0, class_ids=17)
    assert decode(raw, PLACING, 0.85).class_ids.tolist() == [17]


def test_rounding_of_half_precision_is_mended():
    raw = changed(0, scores=1.0004, masks=[[1.001, -0.001, 0.5]] * 3, embeddings=[0.3, 0.4])
    found = decode(raw, PLACING, 0.85)
    assert found.scores.tolist() == [1.0]
    assert found.masks[0, 0].tolist() == [1.0, 0.0, 0.5]
    assert found.embeddings[0] == pytest.approx([0.6, 0.8])


def test_no_view_of_the_backends_memory_is_kept():
    raw = outputs()
    found = decode(raw, PLACING, 0.1)
    for name in OUTPUTS:
        assert not np.shares_memory(getattr(found, name), getattr(raw, name))


def test_no_rows_at_all():
    raw = outputs(0)
    assert len(decode(raw, PLACING, 0.5)) == 0
    assert broken_rows(raw, 0.5).shape == (0,)


# ---- stuff


def enlarged(plane: np.ndarray, image_size: tuple[int, int], steps: tuple[float, float]) -> np.ndarray:
    """Bilinear values (H, W) of cells at the pixels of an image, one pixel at a time; `steps`: pixels per cell, y x."""
    values = np.zeros(image_size)
    last = plane.shape[0] - 1, plane.shape[1] - 1
    for line, column in np.ndindex(image_size):
        y = min(max((line + 0.5) / steps[0] - 0.5, 0.0), last[0])
        x = min(max((column + 0.5) / steps[1] - 0.5, 0.0), last[1])
        for i, j in np.ndindex(plane.shape):
            values[line, column] += max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j)) * plane[i, j]
    return values


def test_stuff_by_hand():
    # Input 4 x 8 is one row of two cells, the image has its size: cell centres at x = 2 and 6. Channel 1 falls from 240
    # to 40, channel 0 rises from 15 to 215: equal where 240 - 50 (x - 2) = 15 + 50 (x - 2), x = 4.25. Pixel 4 has its
    # centre at 4.5, so channel 1 has pixels 0 to 3.
    semantic = np.array([[[15, 215]], [[240, 40]], [[0, 0]]], np.uint8)
    stuff = decode_stuff(semantic, fit((4, 8), (4, 8)))
    assert stuff.channels.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 4
    assert stuff.channels.dtype == np.uint8
    # Each of two channels is the best of one cell, the third of none.
    assert stuff.scores == pytest.approx([215 / 255, 240 / 255, 0.0])
    assert stuff.scores.dtype == np.float32


def test_padding_of_the_input_is_not_seen():
    # An image of 8 x 8 in an input of 8 x 16: the content is the left half, two of four columns of cells. What the
    # network says of the padding neither reaches the map nor the scores; one column beyond may colour the last pixels.
    semantic = np.zeros((2, 2, 4), np.uint8)
    semantic[0, :, :2], semantic[1, :, 2:] = 200, 250
    stuff = decode_stuff(semantic, fit((8, 8), (8, 16)))
    assert stuff.channels.shape == (8, 8)
    assert (stuff.channels[:, :7] == 0).all()
    assert stuff.scores == pytest.approx([200 / 255, 0.0])


def test_of_equal_probabilities_the_first_wins():
    semantic = np.full((3, 1, 2), 80, np.uint8)
    semantic[2, 0, 1] = 81
    stuff = decode_stuff(semantic, fit((4, 8), (4, 8)))
    assert stuff.channels[0, 0] == 0
    assert stuff.channels[0, 7] == 2


@run_settings(derandomize=True, deadline=None, database=None, max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(9, 40), st.integers(9, 40))
def test_the_map_is_the_best_of_bilinear_probabilities(seed, height, width):
    semantic = np.random.default_rng(seed).integers(0, 256, (3, 4, 6)).astype(np.uint8)
    placing = fit((height, width), (16, 24))
    rows, columns = (-(-side // 4) + 1 for side in placing.content_size)
    steps = 4 / placing.scale_y, 4 / placing.scale_x
    exact = np.stack([enlarged(plane[:rows, :columns].astype(float), (height, width), steps) for plane in semantic])
    stuff = decode_stuff(semantic, placing)
    chosen = np.take_along_axis(exact, stuff.channels[None].astype(int), axis=0)[0]
    present = np.unique(semantic[:, : rows - 1, : columns - 1].argmax(axis=0))
    # Bytes are rounded to a whole number, so values closer than two of them may come in either order.
    assert (chosen >= exact[present].max(axis=0) - 2.0).all()

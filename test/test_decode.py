"""Raw outputs to objects: filters, clipping, the way back to the image, and a network that gives nonsense."""

import dataclasses

import numpy as np
import pytest

from wsperception.decode import RawOutputs, broken_rows, decode
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
    for field in dataclasses.fields(RawOutputs):
        assert not np.shares_memory(getattr(found, field.name), getattr(raw, field.name))


def test_no_rows_at_all():
    raw = outputs(0)
    assert len(decode(raw, PLACING, 0.5)) == 0
    assert broken_rows(raw, 0.5).shape == (0,)

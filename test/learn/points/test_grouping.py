"""Section 3.3 of WISE on a strip of pixels that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from wsperception.data.segments import OUTSIDE, Segments
from wsperception.learn.points.grouping import (
    agreements,
    background_pixels,
    best_overlapping,
    blob_masks,
    grouped_masks,
    likeliest_segments,
    masks_at,
    oracle_segments,
    refined_masks,
    segment_overlaps,
)
from wsperception.learn.points.lcfcn import Blobs


def line(*values: float) -> np.ndarray:
    """Embeddings (1, w, 1) of one row of pixels."""
    return np.array(values, np.float32).reshape(1, -1, 1)


def at(*columns: int) -> np.ndarray:
    return np.array([(0, column) for column in columns], np.int64).reshape(-1, 2)


def mask(*columns: int, width: int = 6) -> np.ndarray:
    found = np.zeros((1, width), bool)
    found[0, list(columns)] = True
    return found


def segments() -> Segments:
    """Superpixels 0 0 1 2 2 and outside; {0}, {0, 1}, {2}."""
    superpixels = np.array([[0, 0, 1, 2, 2, OUTSIDE]], np.uint16)
    return Segments(
        superpixels, np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool), np.array([0.4, 0.3, 0.2], np.float32)
    )


def test_pixels_go_to_the_nearest_embedding():
    # Points at 0 and 10, background at 4: 1 -> first, 3 -> background, 6.9 -> background (2.9 to 3.1), 7.1 -> second.
    masks = grouped_masks(line(0, 1, 3, 4, 6.9, 7.1, 10), at(0, 6), at(3))
    assert masks.astype(int).tolist() == [[[1, 1, 0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0, 1, 1]]]
    # Without background everything is an object's.
    assert grouped_masks(line(0, 1, 3, 10), at(0, 3), at()).sum(axis=0).tolist() == [[1, 1, 1, 1]]
    assert grouped_masks(line(0, 1), at(), at(1)).shape == (0, 1, 2)


def test_background_pixels_are_those_nearest_to_the_centres():
    # Free are 0 1 2 | 10 11 15 and not the last. The mean is 6.5; nearest to it is 10; farthest from that 0. The
    # centres become (0 + 1 + 2) / 3 = 1 and (10 + 11 + 15) / 3 = 12, whose nearest pixels are 1 and 11.
    embeddings = line(0, 1, 2, 10, 11, 15, 99)
    free = np.array([[1, 1, 1, 1, 1, 1, 0]], bool)
    assert background_pixels(embeddings, free, 2).tolist() == [[0, 1], [0, 4]]
    # One centre is the mean, 6.5, and its pixel that of 10.
    assert background_pixels(embeddings, free, 1).tolist() == [[0, 3]]
    assert background_pixels(embeddings, free, 0).shape == (0, 2)
    assert background_pixels(embeddings, np.zeros((1, 7), bool), 3).shape == (0, 2)
    assert len(background_pixels(embeddings, free, 50)) == 6  # no more than there are pixels
    assert background_pixels(line(5, 5, 5), np.ones((1, 3), bool), 2).tolist() == [[0, 0]]


def test_overlaps_by_hand():
    # {1, 2}: 1 of 3 with {0} (columns 0 1), 2 of 3 with {0, 1}, none with {2}. Column 5 is outside and counts as union.
    found = segment_overlaps(segments(), np.array([mask(1, 2), mask(3, 4, 5), mask()]))
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3, 0], [0, 0, 2 / 3], [0, 0, 0]])


def test_masks_are_replaced_by_the_segments_nearest_to_them():
    masks = np.array([mask(1, 2), mask(4), mask()])
    assert best_overlapping(segments(), masks).tolist() == [1, 2, -1]
    found = refined_masks(segments(), masks)
    assert found[:, 0].astype(int).tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
    assert refined_masks(segments(), masks[:0]).shape == (0, 1, 6)


def test_a_likelier_segment_may_overlap_less():
    # Column 1: 1/2 with {0}, 1/3 with {0, 1}. An eighth root of 1/100 is 0.56, so 0.28 against 0.33; of 1/10 0.75,
    # so 0.37.
    for objectness, expected in ((0.01, 1), (0.1, 0)):
        odds = np.array([objectness, 1.0, 1.0], np.float32)
        assert best_overlapping(replace(segments(), objectness=odds), np.array([mask(1)])).tolist() == [expected]
    # What no segment overlaps stays as it is.
    assert best_overlapping(segments(), np.array([mask(5)])).tolist() == [-1]


def test_agreements_by_hand():
    found = agreements(np.array([mask(0, 1, 2), mask(3), mask()]), np.array([mask(1, 2, 3, 4), mask(3), mask()]))
    assert found.tolist() == pytest.approx([2 / 5, 1.0, 0.0])
    assert found.dtype == np.float32
    assert agreements(np.zeros((0, 1, 6), bool), np.zeros((0, 1, 6), bool)).shape == (0,)


def test_the_likeliest_segment_that_holds_a_point():
    assert likeliest_segments(segments(), at(1, 2, 4, 5)).tolist() == [0, 1, 2, -1]
    none = Segments(segments().superpixels, np.zeros((3, 0), bool), np.zeros(0, np.float32))
    assert likeliest_segments(none, at(1)).tolist() == [-1]


def test_the_oracle_knows_the_true_masks():
    # Column 1 is in {0} and {0, 1}; the truth is columns 0 1 2.
    truth = np.array([mask(0, 1, 2), mask(4)])
    assert oracle_segments(segments(), at(1, 3, 5), truth).tolist() == [1, 2, -1]
    assert oracle_segments(segments(), at(1), truth[:0]).tolist() == [0]  # nothing to know: the likeliest


def test_true_masks_by_points():
    truth = np.array([mask(0, 1), mask(3)])
    found = masks_at(at(3, 5, 1), truth, np.array([mask(), mask(5), mask()]))
    assert found[:, 0].astype(int).tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0]]
    assert masks_at(at(2), truth[:0], np.array([mask(2)])).sum() == 1


def test_masks_of_blobs():
    found = blob_masks(Blobs(np.array([[0, 2, 1, 1]], np.int32), np.array([0, 1])))
    assert found.astype(int).tolist() == [[[0, 0, 1, 1]], [[0, 1, 0, 0]]]


@pytest.mark.parametrize("seed", range(5))
def test_grouping_is_the_arg_max_of_the_similarity(seed: int):
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(7, 5, 3)).astype(np.float32)
    seeds = np.stack([random.permutation(7)[:4], random.integers(0, 5, 4)], axis=1)
    masks = grouped_masks(embeddings, seeds[:3], seeds[3:])
    centres = embeddings[seeds[:, 0], seeds[:, 1]]
    similarity = np.exp(-((embeddings[:, :, None] - centres) ** 2).sum(axis=3) / (2 * 3))  # Eq. 2
    np.testing.assert_array_equal(masks, (similarity.argmax(axis=2)[None] == np.arange(3)[:, None, None]))

"""Run lengths: byte for byte those of pycocotools; MOTS lines that TrackEval's reader takes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wsperception import rle
from wsperception.errors import InputError
from wsperception.types import VOID, LabelSpace, SegmentMap

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
KITTI_MOTS = Path("../shared/data/kitti_mots_gt/instances_txt")


def coco(mask: np.ndarray) -> bytes:
    pycocotools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    counts: bytes = pycocotools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return counts


def test_encode_by_hand():
    # Read by columns: 0 1 | 1 1 | 0 1, so the lengths are 1 3 1 1; the fourth is written as 1 - 3 = -2. Characters are
    # 48 + the low five bits: '1', '3', '1', and -2 = ...11110 -> 30 + 48 = 'N' (bit 4 is set and the rest is -1: done).
    mask = np.array([[0, 1, 0], [1, 1, 1]], bool)
    assert rle.encode(mask) == b"131N"
    assert rle.run_lengths(b"131N").tolist() == [1, 3, 1, 1]
    assert rle.area(b"131N") == 4


def test_long_lengths_by_hand():
    # 100 background pixels: 100 = 3 * 32 + 4, so 4 + 32 (more) + 48 = 'T', then 3 + 48 = '3'. Foreground first: '0'.
    assert rle.encode(np.zeros((10, 10), bool)) == b"T3"
    assert rle.encode(np.ones((10, 10), bool)) == b"0T3"
    # 16 needs two groups, because a lone 10000 would read as -16: 16 + 32 + 48 = '`', then '0'.
    assert rle.encode(np.zeros((4, 4), bool)) == b"`0"


MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@run_settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(MASKS, st.sampled_from(["C", "F", "reversed"]))
def test_encode_equals_pycocotools_and_decode_inverts(mask, layout):
    mask = np.asfortranarray(mask) if layout == "F" else mask[::-1] if layout == "reversed" else mask
    counts = rle.encode(mask)
    assert counts == coco(mask)
    assert (rle.decode(counts, mask.shape) == mask).all()
    assert rle.area(counts) == mask.sum()


@run_settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(200, 1300), st.floats(0.00002, 0.05))
def test_encode_of_large_sparse_masks_equals_pycocotools(seed, width, density):
    mask = np.random.default_rng(seed).random((375, width)) < density
    assert rle.encode(mask) == coco(mask)
    assert (rle.decode(rle.encode(mask), mask.shape) == mask).all()


@run_settings(derandomize=True, deadline=None, database=None)
@given(arrays.arrays(np.uint16, st.tuples(st.integers(1, 15), st.integers(1, 15)), elements=st.integers(0, 5)))
def test_label_map_rows_equal_their_masks(ids):
    counts = rle.encode_label_map(ids, 7)
    assert counts == [rle.encode(ids == row) for row in range(7)]


def test_empty_pictures():
    assert rle.encode(np.zeros((0, 5), bool)) == b""
    assert rle.decode(b"", (0, 5)).shape == (0, 5)
    assert rle.area(b"") == 0


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (b"13 N", "expected characters '0' to 'o', got b'13 N'"),
        (b"13~", "expected characters '0' to 'o'"),
        (b"131N`", "expected a complete last number, got b'131N`'"),
        (b"`", "expected a complete last number"),
        (b"o" * 8 + b"0", "at most 7 characters per number, got 9"),
        (b"N", "expected lengths >= 0, got -2"),
        (b"131L", "expected lengths >= 0, got -1"),  # L is -4, and the length two before is 3
        (b"13", "expected 2x3 = 6 pixels, got 4"),
        (b"1310", "expected 2x3 = 6 pixels, got 8"),
    ],
)
def test_broken_run_lengths_are_refused(counts, text):
    with pytest.raises(InputError, match=text):
        rle.decode(counts, (2, 3))


def test_mots_class_numbers_skip_ignore():
    assert rle.mots_class_numbers(LABELS) == (1, 2)
    names = ("road", "pedestrian", *"abcdefgh", "car")
    flags = (True,) * len(names)
    assert rle.mots_class_numbers(LabelSpace(names, flags)) == (3, 2, 4, 5, 6, 7, 8, 9, 11, 12, 1)


def test_mots_lines_by_hand():
    # Row 1: pedestrian, track 70000 > 999 and > uint16. Row 2: untracked. Row 3: a track that lost all pixels.
    segments = SegmentMap(
        np.array([[0, 1, 0], [1, 1, 1]], np.uint16) + np.array([[0, 0, 2], [0, 0, 0]], np.uint16),
        np.array([VOID, 1, 0, 0], np.int32),
        np.array([0, 0.9, 0.8, 0.7], np.float32),
        np.array([0, 70000, 0, 5], np.int32),
        np.zeros((4, 4), np.float32),
    )
    assert rle.write_mots_lines(12, segments, LABELS) == ["12 70000 2 2 3 131N"]
    assert rle.write_mots_lines(0, SegmentMap.empty((2, 3)), LABELS) == []


def test_real_kitti_mots_lines_survive_decoding_and_encoding():
    if not KITTI_MOTS.is_dir():
        pytest.skip(f"{KITTI_MOTS} is not there: no real KITTI MOTS file to read")
    with sorted(KITTI_MOTS.glob("*.txt"))[0].open() as file:
        fields = [line.split() for _, line in zip(range(200), file, strict=False)]
    assert fields
    for *_, height, width, counts in fields:
        size = (int(height), int(width))
        assert rle.encode(rle.decode(counts.encode(), size)) == counts.encode()

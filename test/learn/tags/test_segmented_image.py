import dataclasses

import numpy as np
import pytest
import torch

from wsperception.data.clips import ClipFrame
from wsperception.data.segments import OUTSIDE, Segments
from wsperception.errors import InputError
from wsperception.learn.proposals.segments import Proposals
from wsperception.learn.tags.segmented_image import (
    SegmentedImage,
    recoloured,
    resized_segments,
    segmented_frame,
    segmented_image,
)
from wsperception.types import WeakLabels


def sample(height: int = 6, width: int = 8) -> SegmentedImage:
    """Superpixel 1 is a corner of 2 rows and 3 columns, 2 a pixel; the segments are 1, and 1 and 2."""
    superpixels = np.zeros((height, width), np.int32)
    superpixels[:2, :3] = 1
    superpixels[5, 7] = 2
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    membership = np.array([[False, False], [True, True], [False, True]])
    boxes = np.array([[0, 0, 3, 2], [0, 0, 8, 6]], np.float32)
    return SegmentedImage(
        image, np.array([True]), boxes, "a.png", superpixels, membership, np.array([0.5, 0.25], np.float32)
    )


def test_segments_are_tensors_of_the_same():
    segments = sample().segments(torch.device("cpu"))
    assert segments.masks().sum(dim=(1, 2)).tolist() == [6, 7]
    assert segments.boxes.tolist() == [[0, 0, 3, 2], [0, 0, 8, 6]]


def test_twice_the_size_and_mirrored():
    found = resized_segments(sample(), 12, True)
    assert found.image.shape == (12, 16, 3)
    masks = found.segments(torch.device("cpu")).masks()
    assert masks[0, :4, 10:].all()
    assert masks[0].sum() == 24
    assert masks[1].sum() == 28
    assert found.boxes.tolist() == [[10, 0, 16, 4], [0, 0, 16, 12]]
    assert found.source == "a.png"


def test_the_same_size_changes_nothing():
    before, after = sample(), resized_segments(sample(), 6, False)
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.superpixels, before.superpixels)
    np.testing.assert_array_equal(resized_segments(after, 6, True).image, before.image[:, ::-1])


def test_a_superpixel_that_vanishes_leaves_its_segments():
    found = resized_segments(sample(), 2, False).segments(torch.device("cpu"))
    assert found.membership.shape == (3, 2)
    assert found.masks()[0].any()


def test_only_the_likeliest_are_taken():
    whole = sample()
    proposals = Proposals(
        whole.superpixels, whole.membership, whole.objectness, whole.boxes, np.array([6, 7], np.int64)
    )
    found = segmented_image(whole.image, whole.tags, proposals, 1, "b.png")
    assert found.membership.tolist() == [[False], [True], [False]]
    assert found.boxes.tolist() == [[0, 0, 3, 2]]
    assert found.objectness.tolist() == [0.5]


def frame() -> ClipFrame:
    """4 x 6 pixels of which the last column is outside; segments: superpixel 0, 2 that is gone, 1, and 0 and 1."""
    superpixels = np.zeros((4, 6), np.uint16)
    superpixels[1:3, 3:5] = 1
    superpixels[:, 5] = OUTSIDE
    membership = np.array([[1, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 0]], bool)
    return ClipFrame(
        np.zeros((4, 6, 3), np.uint8), np.array([[0, 0, 2, 2]], np.float32), np.array([1]), np.array([0]), None,
        np.zeros((0, 4), np.float32), None, 0, "f.png", WeakLabels(tags=np.array([False, False, True])),
        segments=Segments(superpixels, membership, np.array([0.9, 0.8, 0.7, 0.6], np.float32)),
    )  # fmt: skip


def test_a_training_frame_by_hand():
    found = segmented_frame(frame(), 10)
    assert found.tags.tolist() == [False, False, True]
    assert found.objectness.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found.boxes.tolist() == [[0, 0, 5, 4], [3, 1, 5, 3], [0, 0, 5, 4]]
    masks = found.segments(torch.device("cpu")).masks()
    assert masks.sum(dim=(1, 2)).tolist() == [16, 4, 20]
    assert not masks[:, :, 5].any()
    assert segmented_frame(frame(), 2).objectness.tolist() == pytest.approx([0.9, 0.7])


def test_a_frame_without_segments_or_tags_is_refused():
    with pytest.raises(InputError, match=r"f\.png: expected segment proposals, got none"):
        segmented_frame(dataclasses.replace(frame(), segments=None), 10)
    with pytest.raises(InputError, match=r"f\.png: expected tags, got none"):
        segmented_frame(dataclasses.replace(frame(), weak=None), 10)


def test_colours_by_hand():
    image = np.array([[[200, 100, 100], [60, 60, 60]]], np.uint8)
    # Value 200 and saturation 1/2: half the value is 100; twice the saturation is 1, so the least channel is 0.
    assert recoloured(image, 0.5, 1.0).tolist() == [[[100, 50, 50], [30, 30, 30]]]
    assert recoloured(image, 1.0, 2.0).tolist() == [[[200, 0, 0], [60, 60, 60]]]
    assert recoloured(image, 2.0, 1.0).tolist() == [[[255, 128, 128], [120, 120, 120]]]
    np.testing.assert_array_equal(recoloured(image, 1.0, 1.0), image)


def test_superpixels_of_another_size_are_refused():
    whole = sample()
    with pytest.raises(InputError, match=r"a.png: expected superpixels of \(6, 8\), got \(6, 7\)"):
        SegmentedImage(
            whole.image, whole.tags, whole.boxes, "a.png", whole.superpixels[:, :7], whole.membership, whole.objectness
        )

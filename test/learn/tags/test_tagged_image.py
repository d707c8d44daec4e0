from dataclasses import replace

import numpy as np
import pytest

from wsperception.data.clips import ClipFrame
from wsperception.data.segments import OUTSIDE, Segments
from wsperception.errors import InputError
from wsperception.learn.tags.tagged_image import (
    ProposalChoice,
    TaggedImage,
    check_classes,
    chosen_boxes,
    mirrored,
    resized,
    segment_boxes,
    tag_vector,
    tagged_frame,
    teaches,
)
from wsperception.types import WeakLabels


def sample(height: int = 20, width: int = 30) -> TaggedImage:
    image = np.zeros((height, width, 3), np.uint8)
    image[4:12, 6:18] = 200
    return TaggedImage(image, np.array([True, False]), np.array([[6, 4, 18, 12]], np.float32), "sample")


def test_the_likeliest_of_equal_boxes_and_large_ones_are_chosen():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 30, 9], [0, 0, 30, 10], [0, 0, 9, 9], [1, 0, 9, 12], [5, 5, 14, 14]])
    # Row 3 has the box of row 0, row 4 is 8 wide.
    assert chosen_boxes(boxes, ProposalChoice(limit=10, min_side=9.0)).tolist() == [0, 1, 2, 5]
    assert chosen_boxes(boxes, ProposalChoice(limit=2, min_side=9.0)).tolist() == [0, 1]
    assert chosen_boxes(boxes, ProposalChoice(limit=2, min_side=31.0)).tolist() == []


def frame() -> ClipFrame:
    """6 x 8: superpixel 0 at the left, 1 and 2 behind it, 3 cropped away; the lowest row is no image."""
    superpixels = np.repeat([0, 0, 1, 1, 1, 2, 2, 2], 6).reshape(8, 6).T.astype(np.uint16)
    superpixels[:2, 2:5] = 2
    superpixels[5] = OUTSIDE
    membership = np.zeros((4, 5), bool)
    for column, members in enumerate(((0,), (1,), (0, 1, 3), (3,), (2,))):
        membership[list(members), column] = True
    segments = Segments(superpixels, membership, np.linspace(1, 0.5, 5).astype(np.float32))
    return ClipFrame(
        np.zeros((6, 8, 3), np.uint8), np.array([[0, 0, 4, 4]], np.float32), np.array([1]), np.array([0]), None,
        np.zeros((0, 4), np.float32), None, 0, "frame", WeakLabels(tags=np.arange(4) == 2), segments,
    )  # fmt: skip


def test_boxes_of_segments_by_hand():
    segments = frame().segments
    assert segment_boxes(segments).tolist() == [[0, 0, 2, 5], [2, 2, 5, 5], [0, 0, 5, 5], [0, 0, 0, 0], [2, 0, 8, 5]]
    none = Segments(segments.superpixels, segments.membership[:, :0], segments.objectness[:0])
    assert segment_boxes(none).shape == (0, 4)


def test_of_a_frame_only_tags_and_segments_are_read():
    found = tagged_frame(frame(), ProposalChoice(limit=10, min_side=3.0))
    assert found.tags.tolist() == [False, False, True, False]
    assert found.boxes.tolist() == [[2, 2, 5, 5], [0, 0, 5, 5], [2, 0, 8, 5]]
    assert found.source == "frame" and found.image.shape == (6, 8, 3)
    with pytest.raises(InputError, match="frame: expected segment proposals, got none"):
        tagged_frame(replace(frame(), segments=None), ProposalChoice())
    for weak in (None, WeakLabels(points=np.zeros((0, 2), np.float32), point_classes=np.zeros(0, np.int32))):
        with pytest.raises(InputError, match="frame: expected tags, got none"):
            tagged_frame(replace(frame(), weak=weak), ProposalChoice())


def test_images_that_teach_nothing_are_named_once_and_counted(caplog: pytest.LogCaptureFixture):
    good, idle = sample(), set()
    assert teaches(good, idle) and not idle
    no_boxes = replace(good, boxes=good.boxes[:0], source="a.png")
    no_tags = replace(good, tags=np.zeros(2, bool), boxes=good.boxes[:0], source="b.png")
    assert [teaches(image, idle) for image in (no_boxes, no_tags, no_boxes)] == [False] * 3
    assert idle == {"a.png", "b.png"}
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "a.png: no proposals, so that nothing is learnt from it; 1 such images",
        "b.png: no tags, so that nothing is learnt from it; 2 such images",
    ]


def test_one_class_cannot_be_learnt_from_tags():
    check_classes(2)
    with pytest.raises(InputError, match=r"data\.classes: expected two or more to learn from tags, got 1"):
        check_classes(1)


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_follow_the_image(flip: bool):
    seen = resized(sample(), 40, flip)
    assert seen.image.shape == (40, 60, 3)
    bright = seen.image[..., 0] > 100
    x, y = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    assert seen.boxes.tolist() == [[x[0], y[0], x[-1] + 1, y[-1] + 1]]
    # By hand: twice (6, 4, 18, 12), mirrored in a width of 60: 60 - 36 to 60 - 12.
    assert seen.boxes.tolist() == [[24, 8, 48, 24] if flip else [12, 8, 36, 24]]
    assert seen.tags.tolist() == [True, False] and seen.source == "sample"


def test_sides_that_do_not_divide():
    seen = resized(sample(height=20, width=33), 15, flip=False)
    assert seen.image.shape == (15, 25, 3)  # 33 * 0.75 = 24.75
    assert seen.boxes[0].tolist() == pytest.approx([6 * 25 / 33, 3, 18 * 25 / 33, 9])


def test_mirrored_twice_is_as_before():
    boxes = np.array([[1, 2, 5, 9], [0, 0, 30, 4]], np.float32)
    assert mirrored(boxes, 30).tolist() == [[25, 2, 29, 9], [0, 0, 30, 4]]
    assert np.array_equal(mirrored(mirrored(boxes, 30), 30), boxes)


def test_tags():
    assert tag_vector([2, 0, 2], 4, "a.png").tolist() == [True, False, True, False]
    assert not tag_vector([], 2, "a.png").any()
    for class_id in (-1, 4):
        with pytest.raises(InputError, match=rf"a.png: expected tags in 0 to 3, got {class_id}"):
            tag_vector([1, class_id], 4, "a.png")


def test_arrays_that_do_not_fit_are_named():
    good = sample()
    with pytest.raises(InputError, match=r"x: expected \(H, W, 3\) uint8, got float64 \(2, 2, 3\)"):
        TaggedImage(np.zeros((2, 2, 3)), good.tags, good.boxes, "x")
    with pytest.raises(InputError, match=r"x: expected tags \(C,\) bool, got int64 \(2,\)"):
        TaggedImage(good.image, np.array([1, 0]), good.boxes, "x")
    with pytest.raises(InputError, match=r"x: expected boxes \(P, 4\), got \(4,\)"):
        TaggedImage(good.image, good.tags, good.boxes[0], "x")

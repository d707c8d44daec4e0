import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wsperception.errors import InputError
from wsperception.evaluation.average_precision import area_under_envelope
from wsperception.evaluation.detection import ImageBoxes, box_scores, boxes_of_masks, correct_localisation
from wsperception.evaluation.instance import ImageInstances, voc_scores

NOTHING = np.zeros((0, 4))


def image(boxes, scores, classes, true_boxes, true_classes, ignored=None) -> ImageBoxes:
    ignored = [False] * len(true_classes) if ignored is None else ignored
    return ImageBoxes(
        np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes, int),
        np.array(true_boxes, float).reshape(-1, 4), np.array(true_classes, int), np.array(ignored, bool),
    )  # fmt: skip


SQUARE, WIDE, FAR = [0, 0, 10, 10], [0, 0, 10, 6], [20, 20, 30, 30]
# IoU of SQUARE and WIDE: 60 / 100.


def test_area_by_hand():
    # Hit, miss, hit, hit of 4 objects: precision 1, 1/2, 2/3, 3/4; from behind the largest: 1, 3/4, 3/4, 3/4.
    # Recall rises by 1/4 at the hits: (1 + 3/4 + 3/4) / 4.
    assert area_under_envelope(np.array([True, False, True, True]), 4) == pytest.approx((1 + 3 / 4 + 3 / 4) / 4)
    assert area_under_envelope(np.zeros(0, bool), 3) == 0.0


def test_average_precision_by_hand():
    images = [
        # 0.9 finds SQUARE (IoU 0.6), 0.8 comes second to it, 0.3 of class 1 finds nothing.
        image([WIDE, SQUARE, SQUARE], [0.9, 0.8, 0.3], [0, 0, 1], [SQUARE, FAR], [0, 0]),
        # 0.7 finds FAR; class 1 is missed.
        image([FAR], [0.7], [0], [FAR, SQUARE], [0, 1]),
    ]
    # Class 0, threshold 0.5: hit, miss, hit of 3 objects: (1 + 2/3) / 3. Class 1: one miss of 1 object: 0.
    # Threshold 0.7: WIDE finds nothing, then SQUARE does: miss, hit, hit: envelope 2/3: (2/3 + 2/3) / 3.
    scores = box_scores(images, 3, (0.5, 0.7))
    assert scores.convention == "VOC"
    assert scores.by_class[:, :2].flatten().tolist() == pytest.approx([(1 + 2 / 3) / 3, 0, (2 / 3 + 2 / 3) / 3, 0])
    assert np.isnan(scores.by_class[:, 2]).all()
    assert scores.at(0.5) == pytest.approx((1 + 2 / 3) / 6)


def test_ignored_objects_count_neither_for_nor_against():
    # 0.9 meets the ignored FAR and is left out; 0.8 finds SQUARE; so all of one object is found, first.
    images = [image([FAR, WIDE], [0.9, 0.8], [0, 0], [SQUARE, FAR], [0, 0], [False, True])]
    assert box_scores(images, 1).at(0.5) == 1.0
    only_ignored = [image([FAR], [0.9], [0], [FAR], [0], [True])]
    assert np.isnan(box_scores(only_ignored, 1).at(0.5))


def test_the_threshold_is_inclusive():
    assert box_scores([image([[0, 0, 10, 5]], [1], [0], [SQUARE], [0])], 1).at(0.5) == 1.0
    assert correct_localisation([image([[0, 0, 10, 5]], [1], [0], [SQUARE], [0])], 1).mean == 1.0


def test_nothing():
    assert np.isnan(box_scores([], 2).by_class).all()
    assert box_scores([image([], [], [], [SQUARE], [0])], 1).at(0.5) == 0.0
    assert np.isnan(correct_localisation([], 2).mean)


def test_localisation_by_hand():
    images = [
        # Class 0: the best box is off, a weaker one on it. Class 1: on one of two objects.
        image([FAR, SQUARE, FAR], [0.9, 0.8, 0.1], [0, 0, 1], [SQUARE, FAR, SQUARE], [0, 1, 1]),
        # Class 0: the best box is on it, although class 1 scores higher. Class 1 is there, but without a box.
        image([WIDE, FAR], [0.5, 0.4], [0, 0], [SQUARE, FAR], [0, 1]),
        # The only object of class 0 is ignored: the image is none of it; class 2 has a box, but no object anywhere.
        image([FAR, SQUARE], [0.5, 0.5], [0, 2], [SQUARE], [0], [True]),
    ]
    found = correct_localisation(images, 3)
    assert found.by_class[:2].tolist() == [1 / 2, 1 / 2]
    assert np.isnan(found.by_class[2])
    assert found.mean == 1 / 2


def filled_masks(corners: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:9, :9]
    x0, y0, x1, y1 = corners.T[:, :, None, None]
    return (x >= x0) & (y >= y0) & (x < x1) & (y < y1)


boxes_in_cells = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1)), max_size=5
)


@hypothesis_settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(boxes_in_cells, boxes_in_cells), min_size=1, max_size=3), st.integers(0, 99))
def test_boxes_score_as_their_filled_masks(sets, seed: int):
    random = np.random.default_rng(seed)
    boxes, masks = [], []
    for predicted, true in sets:
        corners = [
            np.array([[x, y, x + w, y + h] for x, y, w, h, _ in part], float).reshape(-1, 4)
            for part in (predicted, true)
        ]
        classes = [np.array([entry[4] for entry in part], int) for part in (predicted, true)]
        scores, ignored = random.random(len(predicted)), random.random(len(true)) < 0.3
        boxes.append(ImageBoxes(corners[0], scores, classes[0], corners[1], classes[1], ignored))
        filled = [filled_masks(part) for part in corners]
        masks.append(ImageInstances(filled[0], scores, classes[0], filled[1], classes[1], ignored))
    ours, theirs = box_scores(boxes, 2, (0.3, 0.55)), voc_scores(masks, 2, (0.3, 0.55))
    np.testing.assert_allclose(ours.by_class, theirs.by_class)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"boxes": np.zeros((2, 3))}, r"ImageBoxes.boxes: expected \(N, 4\), got \(2, 3\)"),
        ({"scores": np.zeros(2)}, r"ImageBoxes.scores: expected shape \(1,\), got \(2,\)"),
        ({"scores": np.array([np.nan])}, r"ImageBoxes.scores: expected numbers, got NaN"),
        ({"ignored": np.zeros(1, bool)}, r"ImageBoxes.ignored: expected shape \(0,\), got \(1,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, text: str):
    good = {
        "boxes": np.zeros((1, 4)), "scores": np.zeros(1), "class_ids": np.zeros(1, int), "true_boxes": NOTHING,
        "true_classes": np.zeros(0, int), "ignored": np.zeros(0, bool),
    }  # fmt: skip
    with pytest.raises(InputError, match=text):
        ImageBoxes(**(good | changes))


def test_boxes_around_masks_by_hand():
    found, true = np.zeros((2, 4, 6), bool), np.zeros((1, 4, 6), bool)
    found[0, 1, 2] = found[0, 3, 4] = True  # two pixels; the second mask has none
    true[0, 0:2, 1:6] = True
    masks = ImageInstances(found, np.array([0.5, 0.4]), np.array([1, 0]), true, np.array([1]), np.array([True]))
    boxes = boxes_of_masks(masks)
    assert boxes.boxes.tolist() == [[2, 1, 5, 4], [0, 0, 0, 0]] and boxes.true_boxes.tolist() == [[1, 0, 6, 2]]
    assert boxes.scores.tolist() == [0.5, 0.4] and boxes.class_ids.tolist() == [1, 0]
    assert boxes.true_classes.tolist() == [1] and boxes.ignored.tolist() == [True]
    none = boxes_of_masks(
        ImageInstances(found[:0], np.zeros(0), np.zeros(0, int), true, np.array([1]), np.array([True]))
    )
    assert none.boxes.shape == (0, 4)

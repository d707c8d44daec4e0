import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsperception.learn.panoptic.cleaning import (
    BACKGROUND,
    IGNORE,
    SHARED,
    fixed_crops,
    instances_in_boxes,
    merged_with_agreed,
    shown_where,
    with_filled_boxes,
    within_boxes,
    without_uncertain,
    without_untagged,
)

X, B = IGNORE, BACKGROUND
ROAD, SKY, CAR, PERSON = range(4)
IS_THING = (False, False, True, True)


def labels_of(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def boxes_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_fifteen_crops_of_cityscapes() -> None:
    # 5 across: (2048 - 500) / 4 = 387 apart; 3 down: (1024 - 400) / 2 = 312 apart.
    crops = fixed_crops((1024, 2048), (400, 500))
    assert len(crops) == 15
    assert crops[[0, 1, 5, 14]].tolist() == [
        [0, 0, 500, 400],
        [387, 0, 887, 400],
        [0, 312, 500, 712],
        [1548, 624, 2048, 1024],
    ]


@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_crops_cover_the_image(size: tuple[int, int], crop: tuple[int, int]) -> None:
    covered = np.zeros(size, int)
    for x0, y0, x1, y1 in fixed_crops(size, crop).tolist():
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1


def test_uncertain() -> None:
    scores = np.array([[0.98, 0.99, 1.0]])
    assert without_uncertain(labels_of([CAR, ROAD, SKY]), scores, 0.99).tolist() == [[X, ROAD, SKY]]


def test_shown_where() -> None:
    # Two crops that overlap in the middle column.
    crops, tags = np.array([[0, 0, 2, 1], [1, 0, 3, 1]]), np.array([[True, False], [True, True]])
    assert shown_where((1, 3), crops, tags).tolist() == [[[True, True, True]], [[False, True, True]]]
    assert shown_where((1, 3), crops[:0], tags[:0]).tolist() == [[[False] * 3]] * 2


def test_untagged() -> None:
    # Two crops of three columns overlap in column 2: road is in the first only, a car in the second only, sky in both.
    labels = labels_of([ROAD, CAR, ROAD, ROAD, CAR], [SKY, X, SKY, CAR, SKY])
    crops = np.array([[0, 0, 3, 2], [2, 0, 5, 2]])
    tags = np.array([[True, True, False, False], [False, True, True, False]])
    assert without_untagged(labels, crops, tags).tolist() == [[ROAD, X, X, X, CAR], [SKY, X, SKY, CAR, SKY]]
    assert labels[0, 1] == CAR  # what was given stays as it is


def test_merge() -> None:
    # Agreed:       car    car   background  background  ignore  ignore  background
    # Predicted:    road   sky   person      road        car     sky     ignore
    agreed = labels_of([CAR, CAR, B, B, X, X, B])
    predicted = labels_of([ROAD, SKY, PERSON, ROAD, CAR, SKY, X])
    assert merged_with_agreed(predicted, agreed, IS_THING).tolist() == [[CAR, CAR, X, ROAD, X, SKY, X]]


def test_box_prior() -> None:
    # A car box over columns 0 and 1, a person box over column 3. Pixel centres count: 1.6 is beyond that of column 1.
    labels = labels_of([CAR, CAR, CAR, CAR, ROAD], [PERSON, CAR, X, PERSON, SKY])
    boxes, classes = boxes_of((0, 0, 1.6, 2), (3, 0, 4, 2)), np.array([CAR, PERSON])
    assert within_boxes(labels, boxes, classes, IS_THING, X).tolist() == [
        [CAR, CAR, X, X, ROAD],
        [X, CAR, X, PERSON, SKY],
    ]
    found = within_boxes(labels, boxes, classes, IS_THING, ROAD)
    assert found.tolist() == [[CAR, CAR, ROAD, ROAD, ROAD], [ROAD, CAR, X, PERSON, SKY]]


def test_without_boxes_no_thing_is_left() -> None:
    labels = labels_of([CAR, ROAD])
    assert within_boxes(labels, boxes_of(), np.zeros(0, int), IS_THING, X).tolist() == [[X, ROAD]]
    assert with_filled_boxes(labels, boxes_of(), np.zeros(0, int), IS_THING, 0.5).tolist() == labels.tolist()
    assert instances_in_boxes(labels, boxes_of(), np.zeros(0, int)).tolist() == [[0, 0]]


def test_filling() -> None:
    # The car's box has 8 pixels, 3 of them cars: below a half, filled but for the person. The person's box in the last
    # two columns has 4 pixels, 2 of them persons: half, not filled, and lies inside what the car fills.
    labels = labels_of([CAR, CAR, ROAD, PERSON, ROAD], [CAR, X, SKY, PERSON, ROAD])
    boxes, classes = boxes_of((3, 0, 5, 2), (0, 0, 4, 2)), np.array([PERSON, CAR])
    filled = with_filled_boxes(labels, boxes, classes, IS_THING, 0.5)
    assert filled.tolist() == [[CAR, CAR, CAR, PERSON, ROAD], [CAR, CAR, CAR, PERSON, ROAD]]
    # At 0.51 the person's is filled too; 3 of 8 are no less than 0.37.
    assert with_filled_boxes(labels, boxes, classes, IS_THING, 0.51)[:, 4].tolist() == [PERSON, PERSON]
    assert with_filled_boxes(labels, boxes, classes, IS_THING, 0.37).tolist() == labels.tolist()


def test_the_smaller_box_is_filled_in_front() -> None:
    labels = labels_of([ROAD, ROAD, ROAD, ROAD])
    for order in ([0, 1], [1, 0]):
        boxes, classes = boxes_of((0, 0, 4, 1), (1, 0, 3, 1))[order], np.array([CAR, PERSON])[order]
        assert with_filled_boxes(labels, boxes, classes, IS_THING, 0.5).tolist() == [[CAR, PERSON, PERSON, CAR]]


def test_boxes_outside_do_nothing() -> None:
    labels = labels_of([ROAD, CAR])
    boxes, classes = boxes_of((5, 5, 9, 9), (-4, -4, -1, 0)), np.array([CAR, PERSON])
    assert with_filled_boxes(labels, boxes, classes, IS_THING, 0.5).tolist() == labels.tolist()
    assert within_boxes(labels, boxes, classes, IS_THING, X).tolist() == [[ROAD, X]]


def test_instances() -> None:
    # Two cars overlap in column 2; the person's box overlaps both and takes nothing from them.
    labels = labels_of([CAR, CAR, CAR, CAR, CAR], [PERSON, ROAD, PERSON, X, CAR])
    boxes = boxes_of((0, 0, 3, 2), (2, 0, 4, 2), (0, 0, 3, 2))
    found = instances_in_boxes(labels, boxes, np.array([CAR, CAR, PERSON]))
    assert found.tolist() == [[1, 1, SHARED, 2, 0], [3, 0, 3, 0, 0]]


def test_real_labels_pass_their_own_tags_and_boxes(shared_data) -> None:  # type: ignore[no-untyped-def]
    folder = shared_data("qizhuli_wsp_sample") / "data/Cityscapes/gtFine/train/aachen"
    name = "aachen_000000_000019_gtFine"
    truth = cv2.imread(str(folder / f"{name}_labelTrainIds.png"), cv2.IMREAD_UNCHANGED)
    numbers = cv2.imread(str(folder / f"{name}_instanceTrainIds.png"), cv2.IMREAD_UNCHANGED)
    assert truth is not None and numbers is not None
    is_thing = np.arange(19) > 10
    boxes, classes = [], []
    for number in np.unique(numbers[numbers >= 1000]).tolist():
        x, y, w, h = cv2.boundingRect((numbers == number).astype(np.uint8))
        boxes.append((x, y, x + w, y + h))
        classes.append(number // 1000)
    crops = fixed_crops((1024, 2048), (400, 500))
    tags = np.array([np.isin(np.arange(19), truth[y0:y1, x0:x1]) for x0, y0, x1, y1 in crops])
    assert np.array_equal(without_untagged(truth, crops, tags), truth)
    in_groups = np.isin(numbers, np.arange(11, 19))  # groups of things have no box
    kept = within_boxes(truth, boxes_of(*boxes), np.array(classes), is_thing, IGNORE)
    assert np.array_equal(kept[~in_groups], truth[~in_groups])
    instances = instances_in_boxes(truth, boxes_of(*boxes), np.array(classes))
    # Whatever one box alone claims is that object.
    order = np.unique(numbers[numbers >= 1000])
    own = instances > 0
    assert (order[instances[own] - 1] == numbers[own])[numbers[own] >= 1000].all()

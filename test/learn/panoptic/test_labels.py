from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.crf.mean_field import PairwiseSettings  # noqa: E402
from wsperception.learn.panoptic.cleaning import BACKGROUND, IGNORE, SHARED  # noqa: E402
from wsperception.learn.panoptic.labels import (  # noqa: E402
    BoxLabels,
    CleaningSettings,
    CueSettings,
    PseudoPanoptic,
    agreed_labels,
    crf_labels,
    cue_labels,
    first_labels,
    next_labels,
    relative_heat,
)
from wsperception.learn.pseudo.masks import PseudoSettings  # noqa: E402

X, B = IGNORE, BACKGROUND
ROAD, SKY, CAR, PERSON = range(4)
IS_THING = (False, False, True, True)
SETTINGS = PseudoSettings(side=48, superpixels=30)
CLEANING = CleaningSettings(lowest_score=0.6, crf=PairwiseSettings(spatial_weight=0.0, bilateral_weight=0.0))


def discs() -> tuple[np.ndarray, np.ndarray]:
    """Two red discs on grey noise, and their boxes."""
    image = np.random.default_rng(0).integers(90, 130, (48, 96, 3), np.uint8)
    cv2.circle(image, (30, 24), 12, (210, 30, 30), -1)
    cv2.circle(image, (70, 20), 9, (210, 30, 30), -1)
    return image, np.array([[18, 12, 43, 37], [61, 11, 80, 30]], np.float32)


def given_of(boxes: list[list[float]], classes: list[int], agreed: np.ndarray, tags: list[int]) -> BoxLabels:
    present, whole = np.isin(np.arange(4), tags)[None], np.array([[0, 0, agreed.shape[1], agreed.shape[0]]])
    return BoxLabels(np.array(boxes, np.float32), np.array(classes), whole, present, agreed)


def certain(rows: list[list[int]], probability: float):
    """(4, H, W): the given class with `probability`, the others share the rest."""
    one_hot = torch.nn.functional.one_hot(torch.tensor(rows), 4).permute(2, 0, 1).double()
    return one_hot * probability + (1 - one_hot) * (1 - probability) / 3


def test_boxes_alone_say_where_the_discs_are() -> None:
    image, boxes = discs()
    found = agreed_labels(image, boxes, np.array([CAR, PERSON]), SETTINGS)
    assert found.labels[24, 30] == CAR
    assert found.labels[20, 70] == PERSON
    assert found.instances[24, 30] == 1
    assert found.instances[20, 70] == 2
    assert (found.labels[:, 46:58] == BACKGROUND).all()
    disc = np.zeros((48, 96), np.uint8)
    cv2.circle(disc, (30, 24), 12, 1, -1)
    car = found.labels == CAR
    assert (car & (disc > 0)).sum() / (car | (disc > 0)).sum() > 0.85
    assert np.array_equal(found.instances > 0, (found.labels == CAR) | (found.labels == PERSON))


def test_what_two_boxes_claim() -> None:
    # One disc, two boxes around it: of one class the instance is not known, of two classes nothing is.
    image, boxes = discs()
    twice = boxes[[0, 0]]
    same = agreed_labels(image, twice, np.array([CAR, CAR]), SETTINGS)
    assert (same.labels[24, 30], same.instances[24, 30]) == (CAR, SHARED)
    other = agreed_labels(image, twice, np.array([CAR, PERSON]), SETTINGS)
    assert (other.labels[24, 30], other.instances[24, 30]) == (IGNORE, 0)
    assert not (other.instances != 0).any()


def test_no_boxes_is_all_background() -> None:
    found = agreed_labels(discs()[0], np.zeros((0, 4), np.float32), np.zeros(0, np.int64), SETTINGS)
    assert (found.labels == BACKGROUND).all()
    assert not found.instances.any()


def test_a_rejected_mask_leaves_its_box_unknown() -> None:
    image, boxes = discs()
    strict = PseudoSettings(side=48, superpixels=30, smallest_fill=0.99, largest_fill=1.0)
    found = agreed_labels(image, boxes[:1], np.array([CAR]), strict)
    assert (found.labels[12:37, 18:43] == IGNORE).all()
    assert (found.labels == IGNORE).sum() == 25 * 25


def test_relative_heat_by_hand() -> None:
    # Two crops of 1 x 3 that overlap in column 2. Road: 4 at most in the first; sky is tagged in the second only, where
    # its maximum is 1; a car's heat is never above 0; a person is in both: 3 of 4 and 1 of 2 meet in column 2.
    heat = [np.zeros((4, 1, 3)), np.zeros((4, 1, 3))]
    heat[0][ROAD], heat[0][SKY], heat[0][CAR] = [[4.0, 1.0, 2.0]], [[9.0, 9.0, 9.0]], [[-1.0, 0.0, -2.0]]
    heat[1][SKY], heat[1][ROAD] = [[0.25, 0.5, 1.0]], [[7.0, 7.0, 7.0]]
    heat[0][PERSON], heat[1][PERSON] = [[4.0, 0.0, 3.0]], [[1.0, 2.0, -1.0]]
    tags = np.zeros((2, 4), bool)
    tags[0, [ROAD, CAR, PERSON]], tags[1, [SKY, PERSON]] = True, True
    relative = relative_heat(heat, np.array([[0, 0, 3, 1], [2, 0, 5, 1]]), tags, (1, 5))
    assert relative[ROAD].tolist() == [[1.0, 0.25, 0.5, 0.0, 0.0]]
    assert relative[SKY].tolist() == [[0.0, 0.0, 0.25, 0.5, 1.0]]
    assert relative[PERSON].tolist() == [[1.0, 0.0, 0.75, 1.0, 0.0]]
    assert not relative[CAR].any()


def test_of_classes_that_claim_a_pixel_one_wins() -> None:
    relative = np.zeros((4, 1, 6), np.float32)
    relative[ROAD, 0] = [0.5, 0.9, 0.9, 0.6, 0.4, 0.0]
    relative[SKY, 0, 1:3] = [0.6, 1.0]
    relative[PERSON, 0, 2:5] = [0.8, 0.5, 0.5]
    # At one half the areas are 4, 2, 3: sky before person before road.
    assert cue_labels(relative, CueSettings()).tolist() == [[ROAD, SKY, SKY, PERSON, PERSON, X]]
    assert cue_labels(relative, CueSettings(overlap="hotter")).tolist() == [[ROAD, ROAD, SKY, ROAD, PERSON, X]]
    assert cue_labels(relative, CueSettings(heat=0.0)).tolist() == [[ROAD, SKY, SKY, PERSON, PERSON, X]]


def test_heat_is_shared_out_among_pixels_of_like_colour() -> None:
    # Sky is light, road is dark from column 5 on; heat is a blob of each, and the wrong one, less, beside the outline.
    image = np.full((6, 12, 3), 200, np.uint8)
    image[:, 5:] = 40
    relative = np.zeros((4, 6, 12), np.float32)
    relative[SKY, :, :2], relative[SKY, :, 5:7], relative[ROAD, :, 7:] = 1.0, 0.3, 1.0
    tags = np.array([[0, 0, 12, 6]]), np.array([[True, True, False, False]])
    found = crf_labels(relative, image, tags, CueSettings(overlap="crf"))
    assert (found[:, :5] == SKY).all()
    assert (found[:, 5:] == ROAD).all()
    # Heat alone ends where its cells end.
    assert (cue_labels(relative, CueSettings(heat=0.2, overlap="hotter"))[:, 2:7] != found[:, 2:7]).all()
    # Without heat nothing is sure.
    assert (crf_labels(relative, image, tags, CueSettings(sharpness=0.0)) == X).all()
    # Of the right half nobody says that it shows a road; of the left one nobody says anything.
    halves = np.array([[0, 0, 6, 6], [6, 0, 12, 6]])
    found = crf_labels(relative, image, (halves, np.array([[False] * 4, [False, True, False, False]])), CueSettings())
    assert (found[:, :6] == X).all()
    assert set(np.unique(found[:, 6:])) <= {SKY, X}


def test_first_labels() -> None:
    agreed = PseudoPanoptic(np.array([[CAR, B, B, X]], np.uint8), np.array([[1, 0, 0, 0]], np.int32))
    found = first_labels(agreed, np.array([[ROAD, SKY, PERSON, ROAD]], np.uint8), IS_THING)
    assert found.labels.tolist() == [[CAR, SKY, X, ROAD]]
    assert found.instances.tolist() == [[1, 0, 0, 0]]


def test_a_round_takes_every_step() -> None:
    # One row of eight: road; sky, which the tags do not know; a car in its box; a car outside every box; road that
    # boxes alone call a car; an unsure road; and two pixels of a person's box that nobody predicts, so it is filled.
    predicted = [[ROAD, SKY, CAR, CAR, ROAD, ROAD, ROAD, SKY]]
    probabilities = certain(predicted, 0.9)
    probabilities[:, 0, 5] = torch.tensor([0.55, 0.15, 0.15, 0.15])
    agreed = np.array([[B, B, X, B, CAR, B, B, B]], np.uint8)
    given = given_of([[2, 0, 5, 1], [6, 0, 8, 1]], [CAR, PERSON], agreed, [ROAD, CAR, PERSON])
    image = np.zeros((1, 8, 3), np.uint8)
    found = next_labels(probabilities, image, given, IS_THING, CLEANING)
    # Agreed says of columns 2 and 3 that they are unknown and no thing: 1 of the 3 pixels of the car's box is left,
    # less than half, so that the box is filled.
    assert found.labels.tolist() == [[ROAD, X, CAR, CAR, CAR, X, PERSON, PERSON]]
    assert found.instances.tolist() == [[0, 0, 1, 1, 1, 0, 2, 2]]
    # Without it the network is trusted: 2 of 3, not filled, and column 4 stays road.
    later = next_labels(probabilities, image, replace(given, agreed=None), IS_THING, CLEANING)
    assert later.labels.tolist() == [[ROAD, X, CAR, CAR, ROAD, X, PERSON, PERSON]]


def test_without_tags_no_class_is_ruled_out() -> None:
    box, nobody = np.array([[0, 0, 1, 1]], np.float32), np.zeros((0, 4), np.int64)
    untagged = BoxLabels(box, np.array([CAR]), nobody, nobody.astype(bool), None)
    probabilities = certain([[CAR, SKY]], 0.9)
    found = next_labels(probabilities, np.zeros((1, 2, 3), np.uint8), untagged, IS_THING, CLEANING)
    assert found.labels.tolist() == [[CAR, SKY]]


def test_the_crf_moves_labels_to_the_edges_of_the_image() -> None:
    # The network's border lies two columns off the picture's.
    image = np.zeros((6, 12, 3), np.uint8)
    image[:, 6:] = 220
    probabilities = certain([[ROAD] * 4 + [SKY] * 8] * 6, 0.6)
    agreed = np.full((6, 12), B, np.uint8)
    crf = PairwiseSettings(bilateral_weight=20.0, spatial_weight=0.0)
    given = given_of([[0, 0, 1, 1]], [ROAD], agreed, [ROAD, SKY])
    found = next_labels(probabilities, image, given, IS_THING, CleaningSettings(crf=crf))
    assert found.labels.tolist() == [[ROAD] * 6 + [SKY] * 6] * 6

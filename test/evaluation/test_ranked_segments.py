"""AP^r and AP^r_vol of panoptic segments by hand."""

import numpy as np
import pytest

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.evaluation.panoptic import overlap_areas
from wsperception.evaluation.ranked_segments import (
    CITYSCAPES_VOLUME,
    SINGLE,
    THRESHOLDS,
    VOC_VOLUME,
    class_precisions,
    class_volumes,
    ranked_overlaps,
    ranked_scores,
)

CAR, ROAD, SKY = 0, 1, 2


def line(ids: list[int], class_ids: list[int], scores: list[float], crowd: int | None = None) -> PanopticLabels:
    rows = np.arange(len(class_ids) + 1)
    return PanopticLabels(
        "line", np.array([ids], np.uint16), np.array([-1, *class_ids], np.int32), rows == crowd,
        np.array([0, *scores], np.float32),
    )  # fmt: skip


def scores_of(*pairs: tuple[PanopticLabels, PanopticLabels]):
    overlaps = [ranked_overlaps(truth, prediction, overlap_areas(truth, prediction)) for truth, prediction in pairs]
    return ranked_scores(overlaps, 3)


def test_thresholds_are_those_of_the_paper():
    assert VOC_VOLUME == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    np.testing.assert_allclose(CITYSCAPES_VOLUME, np.arange(50, 100, 5) / 100)
    assert set(SINGLE) < set(THRESHOLDS)
    assert len(THRESHOLDS) == 14  # 9 and 10, of which 5 are common


def test_by_hand():
    # Car 1 has 5 pixels, of which the prediction has 4 and none else: 4/5. Car 2 has 4, the prediction 3 and one of the
    # road: 3/5. The surer prediction (0.9) is the one of car 2. Road: 3 pixels of truth, 2 predicted: 2/3. No sky.
    truth = line([1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3], [CAR, CAR, ROAD], [1, 1, 1])
    prediction = line([1, 1, 1, 1, 0, 0, 2, 2, 2, 2, 3, 3], [CAR, CAR, ROAD], [0.6, 0.9, 0.7])
    found = scores_of((truth, prediction))
    # Up to 0.6 both cars are found: 1. At 0.7 and 0.8 only the second in rank: precision 1/2 from recall 0 to 1/2: 1/4.
    by_threshold = {threshold: class_precisions(found, threshold).tolist()[:2] for threshold in SINGLE}
    assert by_threshold == {0.5: [1, 1], 0.6: [1, 1], 0.7: [0.25, 0], 0.8: [0.25, 0], 0.9: [0, 0]}
    assert class_volumes(found, VOC_VOLUME)[:2] == pytest.approx([(6 + 2 / 4) / 9, 6 / 9])
    # 0.5, 0.55, 0.6: 1. 0.65 to 0.8: 1/4. Road: four thresholds up to 0.65, for 2/3 > 0.65.
    assert class_volumes(found, CITYSCAPES_VOLUME)[:2] == pytest.approx([(3 + 4 / 4) / 10, 4 / 10])
    assert np.isnan(class_volumes(found, VOC_VOLUME)[SKY])


def test_void_and_crowds():
    # The car's prediction lies half on void: plain IoU 2/4. The second lies on a crowd of cars and is left out.
    truth = line([1, 1, 0, 0, 2, 2], [CAR, CAR], [1, 1], crowd=2)
    prediction = line([1, 1, 1, 1, 2, 2], [CAR, CAR], [0.5, 0.9])
    found = scores_of((truth, prediction))
    assert class_precisions(found, 0.5)[CAR] == 1
    assert class_precisions(found, 0.6)[CAR] == 0


def test_ranks_go_over_all_images():
    # Image 1: a false car, sure (0.8). Image 2: the car, found less surely (0.4). Precision 1/2 at recall 1.
    false = line([0, 0], [], []), line([1, 1], [CAR], [0.8])
    found = line([1, 1], [CAR], [1]), line([1, 1], [CAR], [0.4])
    assert class_precisions(scores_of(false, found), 0.5)[CAR] == 0.5
    assert np.isnan(class_precisions(scores_of(), 0.5)).all()

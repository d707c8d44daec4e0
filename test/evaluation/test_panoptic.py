"""Panoptic quality by hand, by its properties, against published figures and against torchmetrics."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsperception.data.bdd import LABEL_SPACE as BDD
from wsperception.data.bdd import open_bdd_bitmasks
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.evaluation.panoptic import (
    PanopticCounts,
    count_matches,
    match_segments,
    overlap_areas,
    panoptic_counts,
    panoptic_quality,
)
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian", "road"), (True, True, False))
CAR, PEDESTRIAN, ROAD = 0, 1, 2
BDD_DATA = Path(__file__).parents[3] / "shared" / "data" / "bdd100k_eval"


def line(text: str, classes: dict[str, int], crowds: str = "") -> PanopticLabels:
    """An image of one row of pixels, a letter each; '.' is void."""
    letters = sorted(classes)
    ids = np.array([[0 if letter == "." else letters.index(letter) + 1 for letter in text]], np.uint16)
    return PanopticLabels(
        "line", ids, np.array([-1, *(classes[letter] for letter in letters)], np.int32),
        np.array([False, *(letter in crowds for letter in letters)]),
        np.array([0, *[1] * len(letters)], np.float32),
    )  # fmt: skip


def counts_of(truth: PanopticLabels, prediction: PanopticLabels) -> PanopticCounts:
    return panoptic_counts(truth, prediction, len(LABELS))


def test_a_pair_a_miss_and_a_false_one_by_hand():
    # Cars a (6 pixels) and b (2); road r (4). The car c covers 5 of a and 1 of r: IoU 5 / (6 + 6 - 5) = 5/7.
    # d is a car on b's left pixel and on r's first: 1 / (2 + 2 - 1) = 1/3, no pair. Road s: 2 of r alone, 2/4, which is
    # not above 1/2. So cars: 1 TP, 1 FP, 1 FN; road: 1 FP, 1 FN.
    truth = line("aaaaaabbrrrr", {"a": CAR, "b": CAR, "r": ROAD})
    prediction = line("ccccc..ddcss", {"c": CAR, "d": CAR, "s": ROAD})
    matches = match_segments(truth, prediction, overlap_areas(truth, prediction))
    assert matches.truth_rows.tolist() == [1]
    assert matches.predicted_rows.tolist() == [1]
    assert matches.ious.tolist() == [pytest.approx(5 / 7)]
    assert matches.missed.tolist() == [2, 3]
    assert matches.false.tolist() == [2, 3]
    assert matches.quality == pytest.approx(5 / 7 / (1 + 4 / 2))
    scores = panoptic_quality(counts_of(truth, prediction), LABELS)
    car = scores.by_class["car"]  # 5/7 / (1 + 1/2 + 1/2)
    np.testing.assert_allclose([car.PQ, car.SQ, car.RQ], [5 / 14, 5 / 7, 1 / 2])
    road = scores.by_class["road"]
    assert (road.PQ, road.RQ, road.classes) == (0, 0, 1)
    assert np.isnan(road.SQ)
    assert np.isnan(scores.by_class["pedestrian"].PQ)
    # Pedestrians do not occur and are left out of the means; the road's SQ enters as 0.
    np.testing.assert_allclose([scores.all.PQ, scores.all.SQ, scores.all.RQ], [5 / 28, 5 / 14, 1 / 4])
    assert (scores.all.classes, scores.things.classes, scores.stuff.classes) == (2, 1, 1)
    np.testing.assert_allclose([scores.things.PQ, scores.stuff.PQ], [5 / 14, 0])


def test_void_is_left_out_of_the_union():
    # Car a has 3 pixels, c covers 2 of them, 3 of void and none else: 2 / (3 + 5 - 3 - 2) = 2/3; with void 2/6.
    truth, prediction = line("aaa...", {"a": CAR}), line(".ccccc", {"c": CAR})
    areas = overlap_areas(truth, prediction)
    assert match_segments(truth, prediction, areas).ious.tolist() == [pytest.approx(2 / 3)]
    assert len(match_segments(truth, prediction, areas, void_in_union=True).ious) == 0


def test_void_in_the_prediction_counts_against_it():
    # 3 of 5 pixels are found: 3/5, not 3/3.
    matches = match_segments(*(pair := (line("aaaaa", {"a": CAR}), line("ccc..", {"c": CAR}))), overlap_areas(*pair))
    assert matches.ious.tolist() == [pytest.approx(3 / 5)]


@pytest.mark.parametrize(
    ("truth", "crowds", "predicted_class", "false"),
    [
        ("...rrr", "", CAR, 1),  # exactly half on void: a mistake
        ("....rr", "", CAR, 0),  # more than half
        ("gggrrr", "g", CAR, 1),  # exactly half on a crowd of cars
        ("ggggrr", "g", CAR, 0),
        (".gggrr", "g", CAR, 0),  # void and crowd together: 4 of 6
        (".hhgrr", "gh", CAR, 0),  # two crowds of cars add up
        ("ggggrr", "g", PEDESTRIAN, 1),  # a crowd of another class excuses nothing
    ],
)
def test_what_is_excused(truth, crowds, predicted_class, false):
    classes = {letter: CAR for letter in "gh" if letter in truth} | {"r": ROAD}
    counts = counts_of(line(truth, classes, crowds), line("cccccc", {"c": predicted_class}))
    assert counts.false_positives[predicted_class] == false
    assert counts.false_negatives.tolist() == [0, 0, 1]  # the road; a crowd is never missed


def test_a_crowd_is_never_found():
    counts = counts_of(line("gggg", {"g": CAR}, "g"), line("cccc", {"c": CAR}))
    assert counts.true_positives.sum() == counts.false_positives.sum() == counts.false_negatives.sum() == 0


def test_another_class_is_no_match():
    counts = counts_of(line("aaaa", {"a": CAR}), line("cccc", {"c": PEDESTRIAN}))
    assert (counts.false_negatives.tolist(), counts.false_positives.tolist()) == ([1, 0, 0], [0, 1, 0])


def test_rows_without_a_pixel_do_not_count():
    counts = counts_of(line("....", {"a": CAR}), line("....", {"c": CAR}))
    assert counts.false_negatives.sum() == counts.false_positives.sum() == 0
    scores = panoptic_quality(counts, LABELS)
    assert scores.all.classes == 0
    assert np.isnan([scores.all.PQ, scores.things.PQ, scores.stuff.RQ, scores.by_class["car"].PQ]).all()


def test_images_of_two_sizes():
    with pytest.raises(InputError, match=r"line: expected a prediction of 1 x 3 \(height x width\), got 1 x 4"):
        overlap_areas(line("aaa", {"a": CAR}), line("aaaa", {"a": CAR}))


@st.composite
def images(draw) -> tuple[PanopticLabels, PanopticLabels]:
    """Truth and prediction of 6 x 8 pixels: up to 5 blocks each, of any class, crowds in the truth only."""
    pair = []
    for with_crowds in (True, False):
        rows = draw(st.integers(0, 5))
        ids = np.zeros((6, 8), np.uint16)
        for row in range(1, rows + 1):
            top, left = draw(st.integers(0, 5)), draw(st.integers(0, 7))
            ids[top : top + draw(st.integers(1, 6)), left : left + draw(st.integers(1, 8))] = row
        classes = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
        crowds = draw(st.lists(st.booleans(), min_size=rows, max_size=rows)) if with_crowds else [False] * rows
        pair.append(
            PanopticLabels(
                "random", ids, np.array([-1, *classes], np.int32), np.array([False, *crowds]),
                np.ones(rows + 1, np.float32),
            )
        )  # fmt: skip
    return pair[0], pair[1]


def published(truth: PanopticLabels, prediction: PanopticLabels) -> list[list[float]]:
    """IoU, TP, FP, FN per class in the words of the definition: one pair of masks after another."""
    sums = [[0.0, 0.0, 0.0, 0.0] for _ in range(len(LABELS))]
    found_truth, found_predicted = set(), set()
    masks = [[labels.ids == row for row in range(len(labels.class_ids))] for labels in (truth, prediction)]
    for row in range(1, len(masks[0])):
        for column in range(1, len(masks[1])):
            same = truth.class_ids[row] == prediction.class_ids[column]
            if truth.is_crowd[row] or not same:
                continue
            union = masks[0][row] | (masks[1][column] & ~masks[0][0])
            common = masks[0][row] & masks[1][column]
            if union.any() and common.sum() / union.sum() > 0.5:
                found_truth.add(row)
                found_predicted.add(column)
                sums[truth.class_ids[row]][0] += common.sum() / union.sum()
                sums[truth.class_ids[row]][1] += 1
    for row in range(1, len(masks[0])):
        if row not in found_truth and not truth.is_crowd[row] and masks[0][row].any():
            sums[truth.class_ids[row]][3] += 1
    for column in range(1, len(masks[1])):
        excuse = masks[0][0].copy()
        for row in range(1, len(masks[0])):
            if truth.is_crowd[row] and truth.class_ids[row] == prediction.class_ids[column]:
                excuse |= masks[0][row]
        area = masks[1][column].sum()
        if column not in found_predicted and area and (masks[1][column] & excuse).sum() / area <= 0.5:
            sums[prediction.class_ids[column]][2] += 1
    return sums


@settings(max_examples=150, deadline=None)
@given(images())
def test_equal_to_the_definition_mask_by_mask(pair):
    counts = counts_of(*pair)
    ours = [counts.iou, counts.true_positives, counts.false_positives, counts.false_negatives]
    np.testing.assert_allclose(np.stack(ours, axis=1), published(*pair), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(images(), images())
def test_images_add_up_and_the_order_of_rows_is_of_no_consequence(first, second):
    both, turned = counts_of(*first) + counts_of(*second), counts_of(*second) + counts_of(*first)
    np.testing.assert_allclose(both.iou, turned.iou)
    truth, prediction = first
    order = np.append(0, np.arange(len(truth.class_ids) - 1, 0, -1))
    mirrored = PanopticLabels(
        "mirrored", np.argsort(order).astype(np.uint16)[truth.ids], truth.class_ids[order], truth.is_crowd[order],
        truth.scores,
    )  # fmt: skip
    np.testing.assert_allclose(counts_of(mirrored, prediction).iou, counts_of(truth, prediction).iou)


@settings(max_examples=50, deadline=None)
@given(images())
def test_a_perfect_prediction_has_quality_one(pair):
    truth, _ = pair
    scores = panoptic_quality(counts_of(truth, truth), LABELS)
    assert scores.all.classes == 0 or scores.all.PQ == scores.all.SQ == scores.all.RQ == 1


def bdd_scores(truth_folder: str, void_in_union: bool):
    truth, prediction = (
        open_bdd_bitmasks(BDD_DATA / "pan_seg" / truth_folder),
        open_bdd_bitmasks(BDD_DATA / "pan_seg/pred"),
    )
    counts = PanopticCounts.zero(len(BDD))
    for image in truth:
        nothing = PanopticLabels(
            image.name, np.zeros_like(image.ids), np.array([-1], np.int32), np.zeros(1, bool), np.zeros(1, np.float32)
        )
        predicted = prediction.read(image.name) if image.name in prediction.names else nothing
        matches = match_segments(image, predicted, overlap_areas(image, predicted), void_in_union)
        counts += count_matches(matches, image, predicted, len(BDD))
    return panoptic_quality(counts, BDD)


@pytest.mark.skipif(not BDD_DATA.is_dir(), reason="../shared/data/bdd100k_eval is not here")
@pytest.mark.parametrize(("truth_folder", "line_start"), [("gt", "pan_seg/gt vs"), ("gt+", "pan_seg/gt+ vs")])
def test_figures_that_bdd100k_publishes(truth_folder, line_start):
    text = next(row for row in (BDD_DATA / "EXPECTED.txt").read_text().splitlines() if row.startswith(line_start))
    words = text.split()
    # BDD100K's own evaluation keeps void in the union. By the published definition one of the 17 classes differs here:
    # terrain, of whose prediction 5 pixels lie on void.
    scores, by_definition = bdd_scores(truth_folder, void_in_union=True), bdd_scores(truth_folder, void_in_union=False)
    for name, entry in (("", scores.all), ("/STUFF", scores.stuff), ("/THING", scores.things)):
        for measure in ("PQ", "SQ", "RQ"):
            wanted = float(words[words.index(measure + name) + 1])
            assert 100 * getattr(entry, measure) == pytest.approx(wanted, abs=1e-9)
    assert (scores.all.classes, scores.stuff.classes, scores.things.classes) == (17, 15, 2)
    differing = [
        name
        for name in BDD.names
        if scores.by_class[name].classes and scores.by_class[name].PQ != by_definition.by_class[name].PQ
    ]
    assert differing == ["terrain"]
    assert scores.by_class["terrain"].PQ < by_definition.by_class["terrain"].PQ


def test_equal_to_torchmetrics():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: train)")
    detection = pytest.importorskip("torchmetrics.detection", reason="torchmetrics, a peer for this test, is not here")
    random = np.random.default_rng(5)
    options = {"allow_unknown_preds_category": True, "return_sq_and_rq": True, "return_per_class": True}
    metric = detection.PanopticQuality(things={0, 1}, stuffs={2}, **options)
    counts = PanopticCounts.zero(len(LABELS))
    for _ in range(4):
        truth = blocks(random, 30, 40)
        # No void in the prediction: torchmetrics leaves that out of the union too, which the published definition, that
        # of panopticapi, does not.
        shifted = np.maximum(np.roll(truth.ids, random.integers(-3, 4, 2), axis=(0, 1)), 1)
        class_ids = truth.class_ids.copy()
        class_ids[2:4] = 1 - class_ids[2:4]  # things of the wrong class
        prediction = PanopticLabels("moved", shifted, class_ids, truth.is_crowd, truth.scores)
        counts += panoptic_counts(truth, prediction, len(LABELS))
        metric.update(*(torch.from_numpy(class_and_number(labels))[None] for labels in (prediction, truth)))
    theirs = metric.compute().numpy()  # (3, 3) PQ SQ RQ per class
    scores = panoptic_quality(counts, LABELS)
    ours = [[entry.PQ, entry.SQ, entry.RQ] for entry in scores.by_class.values()]
    assert 0.2 < scores.all.PQ < 0.9  # the scene is neither trivial nor hopeless
    np.testing.assert_allclose(np.squeeze(theirs), np.nan_to_num(ours), atol=1e-6)


def blocks(random: np.random.Generator, height: int, width: int) -> PanopticLabels:
    """Road below, things before it, void above."""
    ids = np.zeros((height, width), np.uint16)
    ids[height // 3 :] = 1
    classes = [-1, ROAD]
    for row in range(2, 9):
        top, left = int(random.integers(0, height - 8)), int(random.integers(0, width - 10))
        ids[top : top + int(random.integers(4, 9)), left : left + int(random.integers(4, 11))] = row
        classes.append(int(random.integers(0, 2)))
    return PanopticLabels(
        "blocks", ids, np.array(classes, np.int32), np.zeros(9, bool), np.append(0, np.ones(8)).astype(np.float32)
    )


def class_and_number(labels: PanopticLabels) -> np.ndarray:
    """(H, W, 2) int64 as torchmetrics takes it; void is a class that it does not know."""
    classes = np.where(labels.class_ids < 0, 7, labels.class_ids).astype(np.int64)
    return np.stack([classes[labels.ids], np.where(classes[labels.ids] == ROAD, 0, labels.ids)], axis=-1)

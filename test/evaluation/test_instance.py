import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsperception.errors import InputError
from wsperception.evaluation.instance import (
    ImageInstances,
    coco_scores,
    coverage_scores,
    mask_overlaps,
    voc_scores,
)


def bars(*spans: tuple[int, int], width: int = 20) -> np.ndarray:
    """Masks (N, 1, width): pixels [first, last) of one row."""
    places = np.arange(width)
    return np.array([(places >= first) & (places < last) for first, last in spans], bool).reshape(-1, 1, width)


def image(
    masks: np.ndarray, scores: list[float], true_masks: np.ndarray, *, classes: list[int] | None = None,
    true_classes: list[int] | None = None, ignored: list[int] = (),
) -> ImageInstances:  # fmt: skip
    flags = np.zeros(len(true_masks), bool)
    flags[list(ignored)] = True
    return ImageInstances(
        masks, np.array(scores, np.float64), np.array(classes or [0] * len(masks), np.int64), true_masks,
        np.array(true_classes or [0] * len(true_masks), np.int64), flags,
    )  # fmt: skip


def nothing_predicted(true_masks: np.ndarray) -> ImageInstances:
    return image(bars(), [], true_masks)


def test_overlaps_by_hand():
    # [0, 6) and [2, 10): 4 common of 10. [0, 6) and [0, 3): 3 of 6. An empty mask has none.
    overlaps = mask_overlaps(bars((0, 6), (5, 5)), bars((2, 10), (0, 3), (9, 9)))
    assert overlaps.tolist() == [[0.4, 0.5, 0.0], [0.0, 0.0, 0.0]]


def test_voc_precision_by_hand():
    # Three objects. In the order of the scores: a hit, a second claim of the same object (false), a hit of another;
    # precision 1, 1/2, 2/3, made monotone 1, 2/3, 2/3; recall 1/3, 1/3, 2/3: (1 + 2/3) / 3 = 5/9.
    first = image(bars((0, 6), (0, 5), (8, 12)), [0.9, 0.8, 0.3], bars((0, 6), (8, 12)))
    scores = voc_scores([first, nothing_predicted(bars((3, 9)))], 1)
    assert scores.at(0.5) == pytest.approx(5 / 9)
    # At 0.75: [0, 5) overlaps [0, 6) by 5/6 and is second to it all the same.
    assert scores.at(0.75) == pytest.approx(5 / 9)


def test_a_threshold_that_is_just_reached_counts():
    # IoU of [0, 6) and [0, 3) is exactly one half.
    one = image(bars((0, 3)), [0.5], bars((0, 6)))
    assert voc_scores([one], 1, (0.5, 0.51)).by_class[:, 0].tolist() == [1.0, 0.0]
    assert coco_scores([one], 1, (0.5, 0.51)).by_class[:, 0].tolist() == pytest.approx([1.0, 0.0])


def test_order_is_that_of_all_images():
    # The false positive of the second image comes before the hit of the first: precision 0, 1/2.
    first = image(bars((0, 6)), [0.4], bars((0, 6)))
    second = image(bars((10, 14)), [0.7], bars())
    assert voc_scores([first, second], 1).at(0.5) == pytest.approx(0.5)


def test_ignored_objects_count_neither_for_nor_against():
    # The prediction on the ignored object is no false positive, the ignored object is not missed.
    one = image(bars((10, 16), (0, 6)), [0.9, 0.3], bars((0, 6), (10, 16)), ignored=[1])
    assert voc_scores([one], 1).at(0.5) == 1.0
    assert coco_scores([one], 1).at(0.5) == pytest.approx(1.0)
    assert coverage_scores([one], 1).mucov == 1.0


def test_classes_are_scored_apart_and_then_averaged():
    # Class 1 is found with the label of class 0: AP 1 * 1/2 for class 0 (the false one is surer), 0 for class 1.
    one = image(
        bars((10, 16), (0, 6)), [0.9, 0.8], bars((0, 6), (10, 16)), classes=[0, 0], true_classes=[0, 1]
    )  # fmt: skip
    scores = voc_scores([one], 3)
    assert scores.by_class[1, :2].tolist() == [0.5, 0.0]
    assert np.isnan(scores.by_class[1, 2])
    assert scores.at(0.5) == 0.25  # class 2 has no object


def test_coverage_by_hand():
    # Objects of 6 and 2 pixels, covered by 3/6 and 0: mean 1/4, by area (6 * 1/2 + 2 * 0) / 8 = 3/8. The second image:
    # 1 and 1. The third has no object. The class of the first prediction is wrong: ABO of class 0 is (0 + 1) / 2, that
    # of class 1 is 0.
    first = image(bars((0, 3)), [0.1], bars((0, 6), (10, 12)), classes=[1], true_classes=[0, 1])
    second = image(bars((4, 9)), [0.2], bars((4, 9)))
    third = image(bars((4, 9)), [0.2], bars())
    scores = coverage_scores([first, second, third], 2)
    assert scores.mucov == pytest.approx((1 / 4 + 1) / 2)
    assert scores.mwcov == pytest.approx((3 / 8 + 1) / 2)
    assert scores.abo == pytest.approx((1 / 2 + 0) / 2)


def test_nothing_at_all():
    for scores in (voc_scores([], 2), coco_scores([], 2, (0.5,)), voc_scores([nothing_predicted(bars())], 2)):
        assert np.isnan(scores.by_class).all()
        assert np.isnan(scores.volume)
    assert voc_scores([nothing_predicted(bars((0, 3)))], 1).at(0.5) == 0.0
    assert coco_scores([nothing_predicted(bars((0, 3)))], 1).at(0.5) == 0.0
    assert np.isnan(coverage_scores([], 1).mucov)


def test_faults_are_named():
    with pytest.raises(InputError, match=r"ImageInstances.scores: expected shape \(1,\), got \(2,\)"):
        image(bars((0, 3)), [0.1, 0.2], bars())
    with pytest.raises(InputError, match=r"ImageInstances.masks: expected bool \(N, H, W\), got uint8"):
        image(bars((0, 3)).astype(np.uint8), [0.1], bars())
    with pytest.raises(InputError, match=r"of one size, got \(1, 20\) and \(1, 8\)"):
        image(bars((0, 3)), [0.1], bars(width=8))
    with pytest.raises(InputError, match=r"scores: expected numbers, got NaN"):
        image(bars((0, 3)), [float("nan")], bars())
    with pytest.raises(InputError, match=r"threshold 0.3: was not measured; known are 0.25, 0.5, 0.75"):
        voc_scores([], 1).at(0.3)


def random_images(seed: int, ignored: bool) -> list[ImageInstances]:
    random = np.random.default_rng(seed)
    images = []
    for _ in range(int(random.integers(1, 5))):
        starts = random.permutation(np.arange(0, 60, 10))[: random.integers(0, 5)]
        truth = bars(*[(start, start + random.integers(3, 9)) for start in starts], width=60)
        near = [(max(start + random.integers(-2, 3), 0), start + random.integers(3, 10)) for start in starts]
        found = bars(*near, *[(5, 12)] * int(random.integers(0, 2)), width=60)
        images.append(
            ImageInstances(
                found, random.permutation(100)[: len(found)] / 100.0, random.integers(0, 2, len(found)), truth,
                random.integers(0, 2, len(truth)), (random.random(len(truth)) < 0.3) & ignored,
            )
        )  # fmt: skip
    return images


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_voc_agrees_with_pycocotools_where_the_conventions_do(seed: int):
    """Objects lie so far apart that nobody meets two, so the best object is that of both conventions; then the 101
    recalls are a Riemann sum of the same monotone precision."""
    images = random_images(seed, ignored=False)
    ours, theirs = voc_scores(images, 2, (0.3, 0.6)), coco_scores(images, 2, (0.3, 0.6))
    assert (np.isnan(ours.by_class) == np.isnan(theirs.by_class)).all()
    np.testing.assert_allclose(ours.by_class, theirs.by_class, atol=0.011)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_predictions_does_not_matter(seed: int):
    images = random_images(seed, ignored=True)
    turned = [
        ImageInstances(
            one.masks[::-1], one.scores[::-1], one.class_ids[::-1], one.true_masks, one.true_classes, one.ignored
        )
        for one in images
    ]
    scores = np.concatenate([one.scores for one in images])
    if len(np.unique(scores)) == len(scores):  # equal scores keep their order
        np.testing.assert_array_equal(voc_scores(images, 2).by_class, voc_scores(turned, 2).by_class)
    ours, theirs = coverage_scores(images, 2), coverage_scores(turned, 2)
    np.testing.assert_allclose([ours.mucov, ours.mwcov, ours.abo], [theirs.mucov, theirs.mwcov, theirs.abo])

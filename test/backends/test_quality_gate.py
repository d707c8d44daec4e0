"""The gate by hand: what counts as the same detection, and which figure fails which bar."""

from dataclasses import replace

import numpy as np
import pytest

from wsperception.backends.quality_gate import BARS, Agreement, agreement, failures, lowest_compared, require
from wsperception.bundle import OUTPUTS
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

PERFECT = Agreement(3, 0.0, 0.0, 0.0, 1.0, 1.0)


def outputs(*changes: tuple[str, int, object]) -> RawOutputs:
    """Two cars, a pedestrian and a row of padding; each change sets a row of a field."""
    masks = np.zeros((4, 2, 3), np.float32)
    masks[:, 0] = 0.9  # three of six cells
    raw = RawOutputs(
        np.array([[10, 5, 30, 15], [60, 5, 90, 25], [100, 0, 104, 10], [0, 0, 0, 0]], np.float32),
        np.array([0.9, 0.8, 0.7, 0.0], np.float32),
        np.array([0, 0, 1, 0], np.int32),
        masks,
        np.zeros((4, 4), np.float32),
        np.tile(np.array([[0.6, 0.8]], np.float32), (4, 1)),
    )
    for name, row, value in changes:
        getattr(raw, name)[row] = value
    return raw


def swapped(raw: RawOutputs) -> RawOutputs:
    order = [2, 0, 3, 1]
    return RawOutputs(*(getattr(raw, name)[order] for name in OUTPUTS))


def test_equal_outputs_in_another_order_agree():
    assert agreement([outputs()], [swapped(outputs())], 0.35) == PERFECT


def test_no_frames_and_no_detections():
    assert agreement([], [], 0.35) == Agreement(0, 0.0, 0.0, 0.0, 1.0, 1.0)
    empty = outputs(("scores", slice(None), 0.0))
    assert agreement([empty], [empty], 0.35) == Agreement(0, 0.0, 0.0, 0.0, 1.0, 1.0)


def test_gaps_of_one_pair_by_hand():
    # Only the first car remains. Its right edge moves by 2 and its top by 1; 0.9 becomes 0.86; one of its three mask
    # cells is lost and one elsewhere is won: 2 / 4; (0.6, 0.8) turns into (0.8, 0.6): cosine 0.48 + 0.48.
    one = outputs(("scores", 1, 0.0), ("scores", 2, 0.0))
    mask = np.array([[0.9, 0.9, 0.4], [0.0, 0.5, 0.0]], np.float32)
    changed = outputs(
        ("scores", 0, 0.86), ("scores", 1, 0.0), ("scores", 2, 0.0), ("boxes", 0, (10, 6, 32, 15)), ("masks", 0, mask),
        ("embeddings", 0, (1.6, 1.2)),
    )  # fmt: skip
    found = agreement([one], [changed], 0.35)
    assert (found.detections, found.missing, found.box_px, found.mask_iou) == (1, 0.0, 2.0, 0.5)
    assert found.score == pytest.approx(0.04)
    assert found.embedding == pytest.approx(0.96)


def test_embeddings_of_no_direction_are_equal_to_each_other_alone():
    # A network that was not trained for tracking may give none to an object: no fault of the engine, if both do so.
    none = outputs(("embeddings", slice(None), 0.0))
    assert agreement([none], [none], 0.35) == PERFECT
    # One of three pairs has cosine 0: the quantile 0.05 of 0, 1, 1 lies at 0.1 between 0 and 1.
    lost = outputs(("embeddings", 2, 0.0))
    assert agreement([outputs()], [lost], 0.35).embedding == pytest.approx(0.1)
    assert agreement([lost], [outputs()], 0.35).embedding == pytest.approx(0.1)
    assert agreement([lost], [lost], 0.35).embedding == pytest.approx(1.0)


def test_figures_are_those_of_the_95th_percentile():
    # Box shifts 0, 1, 3 in three frames of one car: numpy's linear quantile 0.95 lies at 1.9, so 1 + 0.9 * 2 = 2.8.
    alone = outputs(("scores", 1, 0.0), ("scores", 2, 0.0))
    moved = [outputs(("scores", 1, 0.0), ("scores", 2, 0.0), ("boxes", 0, (10 + d, 5, 30, 15))) for d in (0, 3, 1)]
    assert agreement([alone] * 3, moved, 0.35).box_px == pytest.approx(2.8)
    # Mask IoUs 1, 1, 1 / 3 (two of three cells are lost): quantile 0.05 lies at 0.1 between 1 / 3 and 1.
    thin = outputs(("scores", 1, 0.0), ("scores", 2, 0.0), ("masks", 0, np.array([[0, 0.9, 0], [0, 0, 0]], np.float32)))
    assert agreement([alone] * 3, [alone, thin, alone], 0.35).mask_iou == pytest.approx(1 / 3 + 0.1 * 2 / 3)


def test_a_lost_detection_and_an_invented_one_are_missing():
    # The reference has 3, the engine 2 of them and another car: two pairs are four rows, two rows are alone: 2 / 6.
    engine = outputs(("boxes", 2, (200, 0, 220, 10)), ("class_ids", 2, 0))
    found = agreement([outputs()], [engine], 0.35)
    assert found.detections == 3
    assert found.missing == pytest.approx(2 / 6)


def test_another_class_is_no_partner():
    assert agreement([outputs()], [outputs(("class_ids", 2, 0))], 0.35).missing == pytest.approx(2 / 6)


def test_a_pair_must_overlap_by_half():
    # (60, 5, 90, 25) against (80, 5, 110, 25): 10 / 50. Against (70, 5, 100, 25): 20 / 40, exactly half.
    assert agreement([outputs()], [outputs(("boxes", 1, (80, 5, 110, 25)))], 0.35).missing == pytest.approx(2 / 6)
    assert agreement([outputs()], [outputs(("boxes", 1, (70, 5, 100, 25)))], 0.35).missing == 0.0


def test_near_the_lowest_score_no_partner_is_needed():
    # 0.7 is within 0.05 of 0.66, but not of 0.64.
    lost = outputs(("scores", 2, 0.0))
    assert agreement([outputs()], [lost], 0.66).missing == 0.0
    assert agreement([outputs()], [lost], 0.64).missing == pytest.approx(1 / 5)


def test_not_finite_rows_are_no_detections():
    for name in ("boxes", "scores", "masks", "embeddings"):
        assert agreement([outputs()], [outputs((name, 0, np.nan))], 0.35).missing == pytest.approx(1 / 5)
    assert agreement([outputs()], [outputs(("boxes", 0, np.inf))], 0.35).missing == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"missing": 0.03}, "missing 0.03 (bar 0.02)"),
        ({"box_px": 1.25}, "box_px 1.25 (bar 1)"),
        ({"score": 0.021}, "score 0.021 (bar 0.02)"),
        ({"mask_iou": 0.9}, "mask_iou 0.9 (bar 0.95)"),
        ({"embedding": 0.5}, "embedding 0.5 (bar 0.99)"),
    ],
)
def test_each_figure_has_its_bar(changes, text):
    assert failures(replace(PERFECT, **changes), BARS["fp16"]) == [text]


def test_the_bar_itself_passes_and_a_refusal_says_its_figures():
    bar = BARS["fp16"]
    just = Agreement(5, bar.missing, bar.box_px, bar.score, bar.mask_iou, bar.embedding)
    require(just, "fp16", "tiny fp16")
    with pytest.raises(InputError, match=r"^tiny fp16: refused.*box_px 7 \(bar 1\).*in all: 5 detections") as caught:
        require(replace(just, box_px=7.0), "fp16", "tiny fp16")
    assert "\n" not in str(caught.value)


def test_lowest_compared_score():
    assert lowest_compared([], 0.9) == 1.0
    assert lowest_compared([outputs(("scores", slice(None), 0.0))], 0.9) == 1.0
    assert lowest_compared([outputs()], 0.9) == pytest.approx(0.45)  # half the threshold lies below all three
    weak = outputs(("scores", 0, 0.3), ("scores", 1, 0.2), ("scores", 2, 0.1))
    assert lowest_compared([weak], 0.9) == pytest.approx(0.1)  # fewer than ten: all
    # 0.9, 0.8, four times 0.3, four times 0.2, four times 0.1, 0.05: the tenth best is the last 0.2.
    assert lowest_compared([weak] * 4 + [outputs(("scores", 2, 0.05))], 0.9) == pytest.approx(0.2)


def with_map(*columns: tuple[int, int, int]) -> RawOutputs:
    """The outputs with a semantic map of three channels and one row of cells, 255 times their probabilities."""
    return replace(outputs(), semantic=np.array(columns, np.uint8).T[:, None])


def test_cells_by_hand():
    # Cell 0 agrees. Cell 1: the engine takes channel 2, to which the reference gives 100 where its best is 112.
    # That is less than 0.05 * 255 = 12.75; in cell 2, 90 for 110 is more. Cell 3: channel 0 against a sure 255.
    reference = with_map((200, 30, 25), (43, 112, 100), (90, 110, 55), (0, 255, 0))
    engine = with_map((180, 40, 35), (43, 100, 112), (110, 90, 55), (255, 0, 0))
    found = agreement([reference], [engine], 0.35)
    assert found.cells == 0.5
    assert str(found).endswith("embedding cosine 1.0000, 50.00% of cells with the right class")
    assert failures(found, BARS["int8"]) == ["cells 0.5 (bar 0.95)"]
    assert failures(agreement([reference], [reference], 0.35), BARS["fp32"]) == []


def test_cells_are_the_mean_of_the_frames():
    sure, other = with_map((255, 0, 0), (255, 0, 0)), with_map((255, 0, 0), (0, 255, 0))
    assert agreement([sure, sure], [sure, other], 0.35).cells == 0.75
    empty = replace(sure, scores=np.zeros(4, np.float32))
    assert agreement([empty], [replace(empty, semantic=other.semantic)], 0.35).cells == 0.5


def test_without_a_semantic_branch_nothing_is_said_of_cells():
    found = agreement([outputs()], [outputs()], 0.35)
    assert found.cells is None
    assert "cells" not in str(found)
    assert failures(found, BARS["fp32"]) == []

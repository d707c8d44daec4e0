"""MOTS scores: by hand, against TrackEval's own dataset class on random files, and against recorded figures."""

# ruff: noqa: SIM300 - the measures are upper case, and no constants

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsperception import rle
from wsperception.data.mots import MotsObject, MotsSequence, from_segment_maps, read_mots, read_seqmap
from wsperception.errors import InputError
from wsperception.evaluation.mots import ClassScores, MotsScores, evaluate_sequences
from wsperception.evaluation.mots_frames import SequencePair
from wsperception.types import LabelSpace, SegmentMap

pytest.importorskip("trackeval", reason="trackeval is not installed (extra: eval)")
pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra: eval)")

SIZE = (4, 12)
Mask = tuple[int, int, int, int]
"""y0 y1 x0 x1 of a rectangle."""
FRAME = Sequence[tuple[int, int, Mask]]
"""Objects of one frame: track id, class, rectangle."""


def sequence(name: str, frames: Sequence[FRAME]) -> MotsSequence:
    objects = []
    for number, frame in enumerate(frames):
        for track_id, class_id, (top, bottom, left, right) in frame:
            mask = np.zeros(SIZE, bool)
            mask[top:bottom, left:right] = True
            objects.append(MotsObject(number, track_id, class_id, SIZE, rle.encode(mask)))
    return MotsSequence(name, f"{name}.txt", tuple(objects), len(frames))


def score(truth: Sequence[FRAME], prediction: Sequence[FRAME], strict: bool = False) -> MotsScores:
    pair = SequencePair("a", sequence("truth", truth), sequence("prediction", prediction), range(len(truth)))
    return evaluate_sequences([pair], strict)


def car(truth: Sequence[FRAME], prediction: Sequence[FRAME], strict: bool = False) -> ClassScores:
    return score(truth, prediction, strict).combined["car"]


CAR = (0, 2, 0, 4)  # 8 pixels
PART = (0, 1, 0, 4)  # 4 of them: IoU exactly 1/2
MOST = (0, 1, 0, 5)  # 4 of them and one beside: IoU 4 / 9
ELSEWHERE = (2, 4, 6, 10)  # 8 pixels


def test_one_track_by_hand() -> None:
    # A car of 8 pixels. Frame 0: prediction 5 covers one more column, 10 pixels: IoU 8/10. Frame 1: found exactly, as
    # 6: one id switch. Frame 2: missed, and 6 is elsewhere: a miss and a false positive.
    truth = [[(1, 1, CAR)]] * 3
    prediction = [[(5, 1, (0, 2, 0, 5))], [(6, 1, CAR)], [(6, 1, ELSEWHERE)]]
    scores = car(truth, prediction)
    assert (scores.TP, scores.FP, scores.FN, scores.IDS) == (2, 1, 1, 1)
    assert scores.sMOTSA == pytest.approx((0.8 + 1 - 1 - 1) / 3)
    assert scores.MOTSA == pytest.approx((2 - 1 - 1) / 3)
    assert scores.MOTSP == pytest.approx((0.8 + 1) / 2)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.precision == pytest.approx(2 / 3)
    assert (scores.MT, scores.PT, scores.ML, scores.Frag) == (0, 1, 0, 0)  # found in 2 of 3 frames
    # Best identity: 6, right in one frame; 2 of 3 true and 2 of 3 predicted masks are then without partner.
    assert scores.IDF1 == pytest.approx(1 / (1 + 0.5 * 2 + 0.5 * 2))
    assert (scores.truth_objects, scores.truth_tracks, scores.objects, scores.tracks) == (3, 1, 3, 2)
    # HOTA up to 0.75 (15 thresholds): TP 2 of 2 + 1 + 1; AssA is the mean of 1 / (3 + 1 - 1) and 1 / (3 + 2 - 1).
    # Above 0.8 (3 thresholds): the exact pair only, TP 1 of 1 + 2 + 2; AssA 1 / (3 + 2 - 1). 8/10 reaches 0.8 itself.
    low, high = math.sqrt(2 / 4 * (1 / 3 + 1 / 4) / 2), math.sqrt(1 / 5 * 1 / 4)
    np.testing.assert_allclose(scores.hota[:15], low)
    np.testing.assert_allclose(scores.hota[16:], high)
    assert scores.HOTA == pytest.approx(scores.hota.mean())
    assert scores.DetA == pytest.approx((16 * 2 / 4 + 3 * 1 / 5) / 19)
    assert scores.AssA == pytest.approx((16 * 7 / 24 + 3 * 1 / 4) / 19)
    assert scores.LocA == pytest.approx((16 * 0.9 + 3 * 1.0) / 19)


def test_an_iou_of_one_half_is_a_match_unless_strict() -> None:
    reached, exceeded = car([[(1, 1, CAR)]], [[(1, 1, PART)]]), car([[(1, 1, CAR)]], [[(1, 1, PART)]], strict=True)
    assert (reached.TP, exceeded.TP) == (1, 0)
    assert (reached.IDF1, exceeded.IDF1) == (1, 0)
    assert (car([[(1, 1, CAR)]], [[(1, 1, MOST)]]).TP, car([[(1, 1, CAR)]], [[(1, 1, CAR)]], strict=True).TP) == (0, 1)


def test_ignore_regions_take_out_unmatched_predictions_only() -> None:
    ignore = (10000, 10, (0, 4, 4, 8))
    truth = [[(1, 1, CAR), ignore]]
    inside, half, matched = (0, 2, 4, 8), (0, 2, 6, 10), (0, 2, 0, 6)
    assert car(truth, [[(1, 1, CAR), (2, 1, inside)]]).FP == 0
    assert car(truth, [[(1, 1, CAR), (2, 1, half)]]).FP == 1  # half of it is not more than half
    assert car(truth, [[(1, 1, CAR), (2, 1, (0, 2, 5, 10))]]).FP == 0  # 6 of 10 pixels
    assert car(truth, [[(1, 1, matched)]]).TP == 1
    whole = [[(1, 1, (0, 2, 4, 8)), (10000, 10, (2, 4, 0, 12))]]
    assert car(whole, [[(1, 1, (0, 4, 4, 7))]]).TP == 0  # IoU 6 / 14; 6 of 12 pixels inside the region
    assert car(whole, [[(1, 1, (0, 4, 4, 7))]]).FP == 1


def test_classes_do_not_mix_and_other_classes_do_not_count() -> None:
    scores = score([[(1, 1, CAR), (2, 2, ELSEWHERE)]], [[(1, 2, CAR), (2, 2, ELSEWHERE), (3, 7, (2, 3, 0, 2))]])
    assert (scores.combined["car"].FN, scores.combined["car"].FP) == (1, 0)
    assert (scores.combined["pedestrian"].TP, scores.combined["pedestrian"].FP) == (1, 1)


def test_nothing_is_not_zero() -> None:
    empty = car([[]], [[]])
    for value in (
        empty.sMOTSA,
        empty.MOTSP,
        empty.recall,
        empty.precision,
        empty.HOTA,
        empty.DetA,
        empty.AssA,
        empty.IDF1,
    ):
        assert math.isnan(value)
    only_truth = car([[(1, 1, CAR)]], [[]])
    assert (only_truth.sMOTSA, only_truth.recall, only_truth.HOTA, only_truth.IDF1, only_truth.ML) == (0, 0, 0, 0, 1)
    for value in (only_truth.MOTSP, only_truth.precision, only_truth.AssA, only_truth.LocA):
        assert math.isnan(value)
    only_prediction = car([[]], [[(1, 1, CAR)]])
    assert (only_prediction.precision, only_prediction.HOTA, only_prediction.FP) == (0, 0, 1)
    for value in (only_prediction.sMOTSA, only_prediction.MOTSA, only_prediction.MOTSP, only_prediction.recall):
        assert math.isnan(value)


def test_sequences_are_summed_before_they_are_divided() -> None:
    # One sequence: 1 of 1 found. The other: 1 of 3 found and one false. Together (2 - 1) / 4, not the mean of 1 and 0.
    first = SequencePair("a", sequence("t", [[(1, 1, CAR)]]), sequence("p", [[(1, 1, CAR)]]), range(1))
    second = SequencePair(
        "b", sequence("t", [[(1, 1, CAR)]] * 3), sequence("p", [[(1, 1, CAR)], [(1, 1, ELSEWHERE)], []]), range(3)
    )
    scores = evaluate_sequences([first, second])
    assert scores.sequences["a"]["car"].MOTSA == 1
    assert scores.sequences["b"]["car"].MOTSA == 0
    assert scores.combined["car"].MOTSA == pytest.approx(1 / 4)


def test_names_of_ids_and_order_of_lines_do_not_matter() -> None:
    truth = [[(1, 1, CAR), (2, 1, ELSEWHERE)], [(1, 1, CAR), (2, 1, ELSEWHERE)]]
    prediction = [[(7, 1, CAR), (9, 1, ELSEWHERE)], [(9, 1, CAR), (7, 1, ELSEWHERE)]]
    renamed = [[(9000, 1, ELSEWHERE), (70, 1, CAR)], [(70, 1, ELSEWHERE), (9000, 1, CAR)]]
    one, other = car(truth, prediction), car(truth, renamed)
    assert one.IDS == other.IDS == 2
    assert (one.HOTA, one.IDF1, one.sMOTSA) == (other.HOTA, other.IDF1, other.sMOTSA)


def test_segment_maps_score_without_files() -> None:
    labels = LabelSpace(("car", "pedestrian"), (True, True))
    ids = np.zeros(SIZE, np.uint16)
    ids[0:2, 0:4] = 1
    tables = (
        np.array([-1, 0], np.int32),
        np.zeros(2, np.float32),
        np.array([0, 4], np.int32),
        np.zeros((2, 4), np.float32),
    )
    maps = [SegmentMap(ids, *tables), SegmentMap.empty(SIZE)]
    truth, prediction = from_segment_maps("t", maps, labels), from_segment_maps("p", [maps[0], maps[0]], labels)
    scores = evaluate_sequences([SequencePair("a", truth, prediction, range(2))]).combined["car"]
    assert (scores.TP, scores.FP, scores.FN) == (1, 1, 0)


def test_overlapping_masks_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        score([[], []], [[], [(5, 1, ELSEWHERE), (3, 1, CAR), (4, 2, (1, 3, 3, 6))]])
    assert str(caught.value) == "prediction.txt: frame 1: expected disjoint masks, got tracks 3 and 4 overlapping"
    with pytest.raises(InputError, match=r"truth\.txt: frame 0: expected disjoint masks, got tracks 3 and 10000"):
        score([[(3, 1, CAR), (10000, 10, (1, 3, 3, 6))]], [[]])


def test_ignore_regions_may_overlap_each_other_and_share_an_id() -> None:
    regions = [(10000, 10, (0, 4, 4, 8)), (10000, 10, (0, 4, 6, 12))]
    assert car([[(1, 1, CAR), *regions]], [[(1, 1, CAR), (2, 1, (0, 2, 5, 11))]]).FP == 0


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        score([[]], [[(3, 1, CAR), (4, 1, (2, 3, 0, 2)), (3, 2, ELSEWHERE)]])
    assert str(caught.value) == "prediction.txt: frame 0: expected each track id once, got 3 more than once"


def test_frames_and_image_sizes_must_fit() -> None:
    truth, prediction = sequence("truth", [[(1, 1, CAR)]]), sequence("prediction", [[], [], [(1, 1, CAR)]])
    with pytest.raises(InputError) as caught:
        evaluate_sequences([SequencePair("a", truth, prediction, range(2))])
    assert str(caught.value) == "prediction.txt: frame 2: expected frames 0 to 1 of sequence a"
    small = MotsSequence("p", "p.txt", (MotsObject(0, 1, 1, (2, 3), b"123"),))
    with pytest.raises(InputError) as caught:
        evaluate_sequences([SequencePair("a", truth, small, range(2))])
    assert str(caught.value) == "p.txt: frame 0: expected image size 4 x 12 (height x width) as in truth.txt, got 2 x 3"


def test_sequences_need_names() -> None:
    pair = SequencePair("a", sequence("t", [[]]), sequence("p", [[]]), range(1))
    with pytest.raises(InputError, match="sequences: expected distinct names, got a, a"):
        evaluate_sequences([pair, pair])
    with pytest.raises(InputError, match="sequences: expected distinct names, got none"):
        evaluate_sequences([])


def test_metrics_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    car([[(1, 1, CAR)]], [[(1, 1, CAR)]])
    assert capsys.readouterr().out == ""


def random_frames(random: np.random.Generator, count: int, ids: int) -> list[list[tuple[int, int, Mask]]]:
    """Disjoint rectangles: each id keeps near a slot of its own, comes and goes, and changes its extent."""
    frames = []
    for _ in range(count):
        slots = random.permutation(ids) if random.random() < 0.2 else np.arange(ids)
        frame: list[tuple[int, int, Mask]] = []
        for number in np.flatnonzero(random.random(ids) < 0.8).tolist():
            left = 3 * int(slots[number])
            height, width = int(random.integers(1, 4)), int(random.integers(1, 4))
            frame.append((1000 * (1 + number % 2) + number, 1 + number % 2, (0, height, left, left + width)))
        frames.append(frame)
    return frames


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_trackevals_own_dataset(tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(seed)
    pairs = []
    for name in ("0000", "0001"):
        truth = random_frames(random, 9, 4)
        for frame in truth[::2]:
            frame.append((10000, 10, (3, 4, 0, 12)))
        prediction = random_frames(random, 9, 4)
        pairs.append(SequencePair(name, sequence(name, truth), sequence(name, prediction), range(9)))
    expected = trackeval_fields(tmp_path, pairs)
    capsys.readouterr()
    scores = evaluate_sequences(pairs)
    for class_name in ("car", "pedestrian"):
        assert_equal_fields(scores.combined[class_name], expected["COMBINED_SEQ"][class_name])
        for pair in pairs:
            assert_equal_fields(scores.sequences[pair.name][class_name], expected[pair.name][class_name])


def trackeval_fields(folder: Path, pairs: Sequence[SequencePair]) -> Any:
    """What TrackEval's command finds in the files of the pairs."""
    import trackeval

    for part, entries in (
        ("gt", [pair.truth for pair in pairs]),
        ("trackers/a/data", [pair.prediction for pair in pairs]),
    ):
        (folder / part).mkdir(parents=True)
        for entry in entries:
            lines = [
                f"{o.frame} {o.track_id} {o.class_id} {o.size[0]} {o.size[1]} {o.counts.decode()}\n"
                for o in entry.objects
            ]
            (folder / part / f"{entry.name}.txt").write_text("".join(lines))
    dataset = trackeval.datasets.KittiMOTS(
        {
            "GT_FOLDER": str(folder / "gt"),
            "TRACKERS_FOLDER": str(folder / "trackers"),
            "GT_LOC_FORMAT": "{gt_folder}/{seq}.txt",
            "SEQ_INFO": {pair.name: len(pair.frames) for pair in pairs},
            "PRINT_CONFIG": False,
        }
    )
    quiet = {"PRINT_CONFIG": False, "TIME_PROGRESS": False, "PRINT_RESULTS": False, "PLOT_CURVES": False}
    evaluator = trackeval.Evaluator({**quiet, "OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "LOG_ON_ERROR": None})
    silent = {"PRINT_CONFIG": False}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(silent), trackeval.metrics.Identity(silent)]
    return evaluator.evaluate([dataset], metrics)[0]["KittiMOTS"]["a"]


def assert_equal_fields(scores: ClassScores, fields: Any) -> None:
    """Every measure against TrackEval's, to 1e-9; where it is undefined, TrackEval has one of its stand-ins, 0 or 1."""
    clear, hota, identity, count = fields["CLEAR"], fields["HOTA"], fields["Identity"], fields["Count"]
    ratios = {
        "sMOTSA": clear["sMOTA"],
        "MOTSA": clear["MOTA"],
        "MOTSP": clear["MOTP"],
        "recall": clear["CLR_Re"],
        "precision": clear["CLR_Pr"],
        "HOTA": np.mean(hota["HOTA"]),
        "DetA": np.mean(hota["DetA"]),
        "AssA": np.mean(hota["AssA"]),
        "LocA": np.mean(hota["LocA"]),
        "IDF1": identity["IDF1"],
        "IDP": identity["IDP"],
        "IDR": identity["IDR"],
    }
    for name, value in ratios.items():
        ours = getattr(scores, name)
        assert value in (0, 1) if math.isnan(ours) else ours == pytest.approx(value, abs=1e-9), name
    counts = {
        "IDS": clear["IDSW"], "MT": clear["MT"], "PT": clear["PT"], "ML": clear["ML"], "Frag": clear["Frag"],
        "TP": clear["CLR_TP"], "FP": clear["CLR_FP"], "FN": clear["CLR_FN"],
        "truth_objects": count["GT_Dets"], "truth_tracks": count["GT_IDs"],
        "objects": count["Dets"], "tracks": count["IDs"],
    }  # fmt: skip
    assert {name: getattr(scores, name) for name in counts} == counts
    np.testing.assert_allclose(scores.hota, hota["HOTA"], rtol=0, atol=1e-9)


def real_pairs(shared_data: Callable[[str], Path]) -> list[SequencePair]:
    vectors = shared_data("mots_eval_vectors") / "dev_train_seqs"
    truth = shared_data("kitti_mots_gt") / "instances_txt"
    return [
        SequencePair(name, read_mots(truth / f"{name}.txt"), read_mots(vectors / "tracker" / f"{name}.txt"), frames)
        for name, frames in read_seqmap(vectors / "seqmap").items()
    ]


def test_real_files_equal_trackeval(shared_data: Callable[[str], Path]) -> None:
    pairs = real_pairs(shared_data)
    recorded = json.loads((shared_data("mots_eval_vectors") / "dev_train_seqs" / "trackeval_expected.json").read_text())
    for kind, predictions in (("perturbed_gt", pairs), ("gt_copy", [copy_of_truth(pair) for pair in pairs])):
        scores = evaluate_sequences(predictions)
        for class_name in ("car", "pedestrian"):
            assert_equal_fields(scores.combined[class_name], recorded[kind]["COMBINED_SEQ"][class_name])
            for pair in pairs:
                assert_equal_fields(scores.sequences[pair.name][class_name], recorded[kind][pair.name][class_name])


def copy_of_truth(pair: SequencePair) -> SequencePair:
    return SequencePair(pair.name, pair.truth, pair.truth, pair.frames)


def test_real_files_equal_mots_tools_under_its_rule(shared_data: Callable[[str], Path]) -> None:
    # Columns as mots_tools prints them; its fragments are left out: KITTI's definition of them counts id changes too.
    printed = (shared_data("mots_eval_vectors") / "dev_train_seqs" / "mots_tools_expected.txt").read_text()
    scores = evaluate_sequences(real_pairs(shared_data), strict=True)
    lines = iter(printed.splitlines()[1:])
    for class_name, title in (("car", "Cars"), ("pedestrian", "Pedestrians")):
        assert next(lines) == f"Evaluate class: {title}"
        next(lines)
        for name in ("all", *scores.sequences):
            cells = next(lines).split()
            ours = scores.combined[class_name] if name == "all" else scores.sequences[name][class_name]
            assert cells[0] == name
            assert [cells[column] for column in (14, 15, 16, 17, 19)] == [
                str(number) for number in (ours.TP, ours.FP, ours.FN, ours.IDS, ours.truth_objects)
            ]
            for column, value in (
                (1, ours.sMOTSA),
                (2, ours.MOTSA),
                (3, ours.MOTSP),
                (7, ours.recall),
                (8, ours.precision),
            ):
                assert f"{100 * value:.1f}" == cells[column] or (
                    math.isnan(value) and cells[column] in ("-inf", "inf", "0.0")
                )

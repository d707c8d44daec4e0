"""One sequence, frame by frame, as the MOTS metrics see it: checked, per class, mask IoU, ignore regions applied."""

import functools
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from scipy.optimize import linear_sum_assignment

from wsperception.data.mots import CLASS_NUMBERS, IGNORE_CLASS, MotsObject, MotsSequence
from wsperception.errors import InputError

EPSILON = float(np.finfo(float).eps)
REACHED = 0.5
"""A pair matches from this IoU on (TrackEval)."""
EXCEEDED = 0.5 + 2 * EPSILON
"""A pair matches above an IoU of 0.5 (mots_tools); TrackEval's metrics take EPSILON off what they are given."""
IGNORED_SHARE = 0.5
"""An unmatched prediction with more than this share of its area in ignore regions is left out."""


@dataclass(frozen=True, eq=False)
class SequencePair:
    """Ground truth and prediction of one sequence, and the frames that count."""

    name: str
    truth: MotsSequence
    prediction: MotsSequence
    frames: range


@dataclass(frozen=True, eq=False)
class ClassFrames:
    """One class of one sequence; lists run over `frames`, G ground truth objects and P predictions in a frame.

    frames         the sequence's frames
    truth_ids      (G,) int64 track ids
    predicted_ids  (P,) int64 track ids, predictions in ignore regions left out
    ious           (G, P) float64 mask IoU
    ignored_ids    int64 track ids of the predictions that were left out
    """

    frames: range
    truth_ids: list[np.ndarray]
    predicted_ids: list[np.ndarray]
    ious: list[np.ndarray]
    ignored_ids: list[np.ndarray]


@functools.cache
def mask_tools() -> ModuleType:
    """`pycocotools.mask`; InputError where the evaluation's packages are not installed."""
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError:
        raise InputError('evaluation: pycocotools is not installed; pip install "wsperception[eval]"') from None


def class_frames(pair: SequencePair) -> dict[str, ClassFrames]:
    """Class name -> its frames, for every class of CLASS_NUMBERS.

    Raises InputError, naming source, frame and ids, for overlapping masks or repeated ids in a frame, another image
    size, or a frame outside `pair.frames`. Objects of other classes and predicted ignore regions take part in the
    checks and are then left out.
    """
    _check_sequence(pair, pair.truth)
    _check_sequence(pair, pair.prediction)
    truth, prediction = pair.truth.by_frame(), pair.prediction.by_frame()
    classes = {name: ClassFrames(pair.frames, [], [], [], []) for name in CLASS_NUMBERS}
    for frame in pair.frames:
        true_objects, predicted_objects = truth.get(frame, []), prediction.get(frame, [])
        _check_frame(pair.truth.source, frame, true_objects)
        _check_frame(pair.prediction.source, frame, predicted_objects)
        ignore = [entry for entry in true_objects if entry.class_id == IGNORE_CLASS]
        for name, number in CLASS_NUMBERS.items():
            true_of_class = [entry for entry in true_objects if entry.class_id == number]
            predicted_of_class = [entry for entry in predicted_objects if entry.class_id == number]
            _append(classes[name], true_of_class, predicted_of_class, ignore)
    return classes


def match(ious: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the one-to-one matching of highest total IoU in which every pair reaches the threshold.

    ious  (G, P) float64
    """
    rows, columns = np.nonzero(ious >= threshold - EPSILON)
    if len(set(rows.tolist())) == len(rows) == len(set(columns.tolist())):
        return rows, columns  # disjoint masks: nearly always no two pairs compete, and there is nothing to solve
    priced = np.where(ious < threshold - EPSILON, -10000.0, ious)
    rows, columns = linear_sum_assignment(-priced)
    kept = priced[rows, columns] > EPSILON
    return rows[kept], columns[kept]


def _append(
    frames: ClassFrames, truth: list[MotsObject], prediction: list[MotsObject], ignore: list[MotsObject]
) -> None:
    # Ignore regions are for predictions without a partner. No other is dropped here: with an IoU of at least 1/2, at
    # least half of a prediction lies in its ground truth object, which is disjoint from the regions.
    dropped = _shares_inside(prediction, ignore) > IGNORED_SHARE + EPSILON  # (P,)
    predicted_ids = np.array([entry.track_id for entry in prediction], np.int64)
    frames.truth_ids.append(np.array([entry.track_id for entry in truth], np.int64))
    frames.predicted_ids.append(predicted_ids[~dropped])
    frames.ious.append(_overlaps(truth, prediction)[:, ~dropped])
    frames.ignored_ids.append(predicted_ids[dropped])


def _overlaps(truth: list[MotsObject], prediction: list[MotsObject]) -> np.ndarray:
    """(G, P) float64 mask IoU."""
    if not (truth and prediction):
        return np.zeros((len(truth), len(prediction)))
    return np.asarray(mask_tools().iou(_encoded(truth), _encoded(prediction), [0] * len(prediction)))


def _shares_inside(objects: list[MotsObject], regions: list[MotsObject]) -> np.ndarray:
    """(N,) share of each object's area that lies in the union of the regions."""
    if not (objects and regions):
        return np.zeros(len(objects))
    union = mask_tools().merge(_encoded(regions), intersect=False)
    return np.asarray(mask_tools().iou(_encoded(objects), [union], [1]))[:, 0]


def _check_sequence(pair: SequencePair, sequence: MotsSequence) -> None:
    expected = pair.truth.objects[0].size if pair.truth.objects else None
    for entry in sequence.objects:
        if entry.frame not in pair.frames:
            raise InputError(
                f"{sequence.source}: frame {entry.frame}: expected frames {pair.frames.start} to "
                f"{pair.frames.stop - 1} of sequence {pair.name}"
            )
        if expected is not None and entry.size != expected:
            raise InputError(
                f"{sequence.source}: frame {entry.frame}: expected image size {expected[0]} x {expected[1]} "
                f"(height x width) as in {pair.truth.source}, got {entry.size[0]} x {entry.size[1]}"
            )


def _check_frame(source: str, frame: int, objects: list[MotsObject]) -> None:
    if len(objects) < 2:
        return
    ids = [entry.track_id for entry in objects if entry.class_id != IGNORE_CLASS]
    if len(set(ids)) != len(ids):
        repeated = sorted({number for number in ids if ids.count(number) > 1})
        raise InputError(
            f"{source}: frame {frame}: expected each track id once, got {_listed(repeated)} more than once"
        )
    encoded = _encoded(objects)
    tools = mask_tools()
    # Disjoint masks have a union as large as their sum; the pairs are looked at only where that fails.
    if int(tools.area(encoded).astype(np.int64).sum()) == int(tools.area(tools.merge(encoded, intersect=False))):
        return
    shared = np.triu(np.asarray(tools.iou(encoded, encoded, [0] * len(encoded))) > 0, k=1)
    for first, second in np.argwhere(shared):
        one, other = objects[first], objects[second]
        if not one.class_id == other.class_id == IGNORE_CLASS:
            raise InputError(
                f"{source}: frame {frame}: expected disjoint masks, got tracks {one.track_id} and {other.track_id} "
                "overlapping"
            )


def _encoded(objects: Sequence[MotsObject]) -> list[dict[str, object]]:
    return [{"size": entry.size, "counts": entry.counts} for entry in objects]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)

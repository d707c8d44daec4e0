"""MOTS scores: TrackEval's metric classes, fed in memory with mask IoU.

Voigtlaender et al., "MOTS: Multi-Object Tracking and Segmentation", CVPR 2019 (sMOTSA, MOTSA, MOTSP); Luiten et al.,
"HOTA", IJCV 2020; Ristani et al., 2016 (IDF1). TrackEval's `CLEAR`, `HOTA`, `Identity` and `Count` compute them; this
module feeds those and names the results.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsperception.errors import InputError
from wsperception.evaluation.mots_frames import EXCEEDED, REACHED, ClassFrames, SequencePair, class_frames

Fields = Mapping[str, Any]
"""What one TrackEval metric returns."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Measures of one class, over one sequence or combined. Ratios are fractions; NaN where nothing defines them.

    sMOTSA, MOTSA    (sum of IoU, or number of matches, - false positives - id switches) / ground truth objects; <= 1
    MOTSP            mean IoU of the matches
    IDS, Frag        id switches; interruptions of tracked ground truth tracks
    MT, PT, ML       ground truth tracks found in more than 80 %, in between, in less than 20 % of their frames
    recall, precision, TP, FP, FN    of the masks
    HOTA, DetA, AssA, LocA           mean over the 19 thresholds 0.05 ... 0.95
    IDF1, IDP, IDR                   of the identities
    truth_objects, truth_tracks, objects, tracks    numbers of masks and ids, after the ignore regions
    hota, deta, assa    (19,) float64, the curves over the threshold

    NaN: sMOTSA, MOTSA, recall, IDR without ground truth; precision, IDP without predictions; MOTSP, AssA, LocA without
    a match; HOTA, DetA, IDF1 where there is neither. mots_tools prints -inf or inf there, TrackEval 0 or 1.
    """

    sMOTSA: float  # noqa: N815 - the measure's name
    MOTSA: float
    MOTSP: float
    IDS: int
    MT: int
    PT: int
    ML: int
    Frag: int
    recall: float
    precision: float
    HOTA: float
    DetA: float
    AssA: float
    LocA: float
    IDF1: float
    IDP: float
    IDR: float
    TP: int
    FP: int
    FN: int
    truth_objects: int
    truth_tracks: int
    objects: int
    tracks: int
    hota: np.ndarray
    deta: np.ndarray
    assa: np.ndarray


RATIOS = (
    "sMOTSA", "MOTSA", "MOTSP", "recall", "precision", "HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR",
)  # fmt: skip
COUNTS = (
    "IDS", "MT", "PT", "ML", "Frag", "TP", "FP", "FN", "truth_objects", "truth_tracks", "objects", "tracks",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class MotsScores:
    """Scores of a set of sequences.

    combined   class name -> scores over all sequences: sums first, ratios last
    sequences  sequence name -> class name -> scores
    frames     sequence name -> class name -> what the metrics saw, for pictures of single frames
    threshold  IoU from which on a pair matches
    """

    combined: dict[str, ClassScores]
    sequences: dict[str, dict[str, ClassScores]]
    frames: dict[str, dict[str, ClassFrames]]
    threshold: float


def evaluate_sequences(pairs: Sequence[SequencePair], strict: bool = False) -> MotsScores:
    """Scores of predictions against ground truth, per sequence and class and combined.

    pairs   at least one; names distinct
    strict  a mask counts as found where its IoU exceeds 0.5 (mots_tools), not already where it reaches 0.5 (TrackEval)

    Raises InputError where files contradict the format (see `class_frames`) or the packages are not installed.
    """
    if not pairs or len({pair.name for pair in pairs}) != len(pairs):
        raise InputError(f"sequences: expected distinct names, got {', '.join(pair.name for pair in pairs) or 'none'}")
    return evaluate_frames({pair.name: class_frames(pair) for pair in pairs}, strict)


def evaluate_frames(frames: dict[str, dict[str, ClassFrames]], strict: bool = False) -> MotsScores:
    """Scores of sequences whose overlaps are known: the second half of `evaluate_sequences`.

    frames  sequence name -> class name -> frames, at least one sequence; the same classes in each
    """
    threshold = EXCEEDED if strict else REACHED
    metrics = _metrics(threshold)
    fields: dict[str, dict[str, dict[str, Fields]]] = {}  # class -> metric -> sequence -> fields
    for sequence, classes in frames.items():
        for class_name, entry in classes.items():
            data = metric_input(entry)
            for metric_name, metric in metrics.items():
                of_metric = fields.setdefault(class_name, {}).setdefault(metric_name, {})
                of_metric[sequence] = metric.eval_sequence(data)
    combined = {
        class_name: class_scores({name: metrics[name].combine_sequences(rows) for name, rows in of_class.items()})
        for class_name, of_class in fields.items()
    }
    sequences = {
        sequence: {
            class_name: class_scores({name: rows[sequence] for name, rows in of_class.items()})
            for class_name, of_class in fields.items()
        }
        for sequence in frames
    }
    return MotsScores(combined, sequences, frames, threshold)


def metric_input(frames: ClassFrames) -> dict[str, Any]:
    """The mapping that TrackEval's metrics take: ids renumbered from 0 without gaps, similarities, totals."""
    truth_ids, truth_count = _renumbered(frames.truth_ids)
    predicted_ids, predicted_count = _renumbered(frames.predicted_ids)
    return {
        "gt_ids": truth_ids,
        "tracker_ids": predicted_ids,
        "similarity_scores": frames.ious,
        "num_gt_dets": sum(len(ids) for ids in truth_ids),
        "num_tracker_dets": sum(len(ids) for ids in predicted_ids),
        "num_gt_ids": truth_count,
        "num_tracker_ids": predicted_count,
        "num_timesteps": len(frames.frames),
    }


def class_scores(fields: Mapping[str, Fields]) -> ClassScores:
    """Names and NaN for the fields of TrackEval's HOTA, CLEAR, Identity and Count."""
    hota, clear, identity, count = (fields[name] for name in ("HOTA", "CLEAR", "Identity", "Count"))
    truth, predicted = int(count["GT_Dets"]), int(count["Dets"])
    matched = int(clear["CLR_TP"])
    any_match = bool(hota["HOTA_TP"].sum() > 0)
    return ClassScores(
        sMOTSA=_defined(clear["sMOTA"], truth > 0),
        MOTSA=_defined(clear["MOTA"], truth > 0),
        MOTSP=_defined(clear["MOTP"], matched > 0),
        IDS=int(clear["IDSW"]),
        MT=int(clear["MT"]),
        PT=int(clear["PT"]),
        ML=int(clear["ML"]),
        Frag=int(clear["Frag"]),
        recall=_defined(clear["CLR_Re"], truth > 0),
        precision=_defined(clear["CLR_Pr"], predicted > 0),
        HOTA=_defined(np.mean(hota["HOTA"]), truth + predicted > 0),
        DetA=_defined(np.mean(hota["DetA"]), truth + predicted > 0),
        AssA=_defined(np.mean(hota["AssA"]), any_match),
        LocA=_defined(np.mean(hota["LocA"]), any_match),
        IDF1=_defined(identity["IDF1"], truth + predicted > 0),
        IDP=_defined(identity["IDP"], predicted > 0),
        IDR=_defined(identity["IDR"], truth > 0),
        TP=matched,
        FP=int(clear["CLR_FP"]),
        FN=int(clear["CLR_FN"]),
        truth_objects=truth,
        truth_tracks=int(count["GT_IDs"]),
        objects=predicted,
        tracks=int(count["IDs"]),
        hota=np.asarray(hota["HOTA"], float),
        deta=np.asarray(hota["DetA"], float),
        assa=np.asarray(hota["AssA"], float),
    )


def _metrics(threshold: float) -> dict[str, Any]:
    try:
        from trackeval.metrics import CLEAR, HOTA, Count, Identity
    except ImportError:
        raise InputError('evaluation: trackeval is not installed; pip install "wsperception[eval]"') from None
    quiet = {"PRINT_CONFIG": False}
    return {
        "HOTA": HOTA(),
        "CLEAR": CLEAR({"THRESHOLD": threshold, **quiet}),
        "Identity": Identity({"THRESHOLD": threshold, **quiet}),
        "Count": Count(),
    }


def _renumbered(ids: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Per frame the position of each id among all distinct ids, and their number."""
    distinct = np.unique(np.concatenate([np.zeros(0, np.int64), *ids]))
    return [np.searchsorted(distinct, entry) for entry in ids], len(distinct)


def _defined(value: float | np.floating[Any], condition: bool) -> float:
    return float(value) if condition else math.nan

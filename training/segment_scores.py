"""Segments of a training set's images, written in COCO's panoptic format and scored against full labels."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from wsperception.data.coco_panoptic_writer import PanopticWriter
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.errors import InputError
from wsperception.evaluation.panoptic_command import evaluate_panoptic
from wsperception.types import LabelSpace, SegmentMap


def score_segments(
    frames: Sequence[LabelledFrame],
    segments_of: Callable[[LabelledFrame], SegmentMap],
    labels: LabelSpace,
    truth: Path,
    out: Path,
) -> str:
    """Writes `out`/panoptic, scores.json and report.html; the table of scores.

    frames  of one root, a sequence after the other
    truth   their COCO panoptic labels, a JSON file for each sequence

    Raises InputError where `out` has segments already.
    """
    found = out / "panoptic"
    if found.exists():
        raise InputError(f"{found}: exists; expected a new folder")
    for sequence, part in groupby(tqdm(frames, "segments"), lambda frame: frame.path.parent.name):
        with PanopticWriter(found, sequence, labels) as writer:
            for frame in part:
                writer.add(frame.number, segments_of(frame))
    return evaluate_panoptic(truth, found, out, "coco-panoptic", images=frames[0].path.parents[1])

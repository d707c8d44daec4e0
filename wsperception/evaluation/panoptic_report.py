"""Panoptic scores as numbers by name, as text and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsperception.evaluation.panoptic import Quality
from wsperception.evaluation.panoptic_run import PanopticResult
from wsperception.evaluation.ranked_segments import (
    CITYSCAPES_VOLUME,
    SINGLE,
    VOC_VOLUME,
    class_precisions,
    class_volumes,
)
from wsperception.evaluation.report import number_text, text_table

Row = Mapping[str, float | int]
"""Measures by name: ratios as fractions, NaN where undefined, counts as int."""

TABLE = ("PQ", "SQ", "RQ", "IoU", "AP50", "AP75", "APvol_voc", "APvol", "TP", "FP", "FN")
"""Columns of the table."""
MEANING = {
    "PQ": "panoptic quality, SQ times RQ; of several classes their unweighted mean, over those that occur",
    "SQ": "segmentation quality: mean IoU of the segments that were found",
    "RQ": "recognition quality: found segments per found, and half per missed and false one",
    "IoU": "common pixels per pixels of either, of the class as a whole; of several classes their mean",
    "AP50": "area under precision over recall (VOC), predictions ranked by score, at IoU 0.5; AP75 at 0.75",
    "AP75": "the same at IoU 0.75",
    "APvol_voc": "its mean over IoU 0.1, 0.2, ..., 0.9, the convention on VOC",
    "APvol": "its mean over IoU 0.5, 0.55, ..., 0.95, the convention on Cityscapes",
    "TP": "segments found",
    "FP": "predicted segments that found nothing and do not lie on void or a crowd",
    "FN": "segments missed",
}


def group_rows(result: PanopticResult) -> dict[str, Row]:
    """Measures of all classes, of things and of stuff: means over classes that occur, sums of counts."""
    things = np.array(result.labels.is_thing)
    quality = result.quality
    groups = {
        "all": (quality.all, np.ones(len(things), bool)),
        "things": (quality.things, things),
        "stuff": (quality.stuff, ~things),
    }
    return {name: _row(entry, result, np.flatnonzero(chosen)) for name, (entry, chosen) in groups.items()}


def class_rows(result: PanopticResult) -> dict[str, Row]:
    """Measures of each class that occurs in truth or prediction, in their order."""
    entries = result.quality.by_class.values()
    return {
        name: _row(entry, result, np.array([class_id]))
        for class_id, (name, entry) in enumerate(zip(result.labels.names, entries, strict=True))
        if entry.classes or not np.isnan(result.ious[class_id])
    }


def shown_measures(result: PanopticResult) -> list[str]:
    """Names of the table's columns: without average precision where predictions carry no scores."""
    return [name for name in TABLE if result.precisions is not None or not name.startswith("AP")]


def table_cells(result: PanopticResult, rows: Mapping[str, Row]) -> list[list[str]]:
    """Name and measures of every row, as text."""
    return [[name, *(number_text(row[column]) for column in shown_measures(result))] for name, row in rows.items()]


def panoptic_table(result: PanopticResult, notes: Sequence[str] = ()) -> str:
    """A plain-text table: all, things and stuff, then every class that occurs."""
    head = ["", *shown_measures(result)]
    blocks = [text_table([head, *table_cells(result, rows)]) for rows in (group_rows(result), class_rows(result))]
    footer = ["per cent, TP FP FN plain; '-' where undefined", *(f"note: {note}" for note in notes)]
    return "\n\n".join([*blocks, "\n".join(footer)])


def panoptic_mapping(result: PanopticResult, data_format: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What scores.json holds: ratios in per cent, counts plain, None where undefined."""
    return {
        "format": data_format,
        "unit": "per cent; counts plain; null where undefined",
        "images": result.images,
        "combined": {name: _in_per_cent(row) for name, row in group_rows(result).items()},
        "classes": {name: _in_per_cent(row) for name, row in class_rows(result).items()},
        "worst": [
            {"name": entry.name, "PQ": 100 * entry.quality, "TP": entry.found, "FP": entry.false, "FN": entry.missed}
            for entry in result.worst
        ],
        "notes": list(notes),
    }


def _row(quality: Quality, result: PanopticResult, chosen: np.ndarray) -> Row:
    """The measures of the classes `chosen`: means of ratios, sums of counts."""
    counts = result.counts
    row: dict[str, float | int] = {
        "PQ": quality.PQ,
        "SQ": quality.SQ,
        "RQ": quality.RQ,
        "IoU": _mean(result.ious[chosen]),
        "TP": int(counts.true_positives[chosen].sum()),
        "FP": int(counts.false_positives[chosen].sum()),
        "FN": int(counts.false_negatives[chosen].sum()),
        "classes": quality.classes,
    }
    if result.precisions is None:
        return row
    for threshold in sorted({*SINGLE, 0.75}):
        row[f"AP{100 * threshold:.0f}"] = _mean(class_precisions(result.precisions, threshold)[chosen])
    row["APvol_voc"] = _mean(class_volumes(result.precisions, VOC_VOLUME)[chosen])
    row["APvol"] = _mean(class_volumes(result.precisions, CITYSCAPES_VOLUME)[chosen])
    return row


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _in_per_cent(row: Row) -> dict[str, float | int | None]:
    return {
        name: value if isinstance(value, int) else None if np.isnan(value) else 100 * value
        for name, value in row.items()
    }

"""Scores as text, as JSON and as a report in one HTML file."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsperception.errors import InputError
from wsperception.evaluation.mots import COUNTS, RATIOS, ClassScores, MotsScores
from wsperception.evaluation.mots_frames import REACHED

TABLE = (
    "sMOTSA", "MOTSA", "MOTSP", "IDS", "MT", "ML", "Frag", "recall", "precision",
    "HOTA", "DetA", "AssA", "LocA", "IDF1",
)  # fmt: skip
"""Measures of the table, in the order of MOTS papers."""
COMBINED = "all"
"""Name of the table's last row."""


def table_rows(scores: MotsScores, class_name: str) -> list[list[str]]:
    """Sequence name and the measures of TABLE in per cent, "-" where undefined; the combined row is the last."""
    rows = {name: classes[class_name] for name, classes in scores.sequences.items()}
    rows[COMBINED] = scores.combined[class_name]
    return [[name, *(number_text(getattr(entry, measure)) for measure in TABLE)] for name, entry in rows.items()]


def score_table(scores: MotsScores, notes: Sequence[str] = ()) -> str:
    """A plain-text table: per class one row per sequence and the combined row."""
    blocks = [text_table([[name, *TABLE], *table_rows(scores, name)]) for name in scores.combined]
    footer = [
        f"per cent; a mask is found at {rule_text(scores)}; '-' where undefined",
        *(f"note: {note}" for note in notes),
    ]
    return "\n\n".join([*blocks, "\n".join(footer)])


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Lines of cells in columns, names to the left and figures to the right, with a line below the first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)])
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def rule_text(scores: MotsScores) -> str:
    """Which IoU makes a pair, in words."""
    return "IoU >= 0.5 (TrackEval)" if scores.threshold == REACHED else "IoU > 0.5 (mots_tools)"


def number_text(value: float | int) -> str:
    """A count plain, a fraction in per cent with one decimal, NaN as "-"."""
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def scores_mapping(scores: MotsScores, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What scores.json holds: ratios in per cent, counts plain, None where undefined."""
    return {
        "format": "mots",
        "unit": "per cent; counts plain; null where undefined",
        "iou_rule": rule_text(scores),
        "combined": _classes(scores.combined),
        "sequences": {name: _classes(classes) for name, classes in scores.sequences.items()},
        "curves": {name: _curves(entry) for name, entry in scores.combined.items()},
        "notes": list(notes),
    }


def write_files(out: Path, files: Mapping[str, str]) -> None:
    """Writes `files` (name -> text) into the folder `out`, all or none: first beside their names, then renamed.

    Raises InputError where the folder cannot be written to, or the disk is full.
    """
    waiting = {out / f".{name}.{os.getpid()}.part": out / name for name in files}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for part, text in zip(waiting, files.values(), strict=True):
            part.write_text(text, encoding="utf-8")
        for part, path in waiting.items():
            os.replace(part, path)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        for part in waiting:
            part.unlink(missing_ok=True)


def json_text(mapping: Mapping[str, Any]) -> str:
    """JSON with two spaces per level; NaN is an error, not a word that JSON does not know."""
    return json.dumps(mapping, indent=2, allow_nan=False) + "\n"


def _classes(classes: Mapping[str, ClassScores]) -> dict[str, dict[str, float | int | None]]:
    return {name: _measures(entry) for name, entry in classes.items()}


def _measures(entry: ClassScores) -> dict[str, float | int | None]:
    ratios = {name: getattr(entry, name) for name in RATIOS}
    per_cent = {name: None if math.isnan(value) else 100.0 * value for name, value in ratios.items()}
    return {**per_cent, **{name: getattr(entry, name) for name in COUNTS}}


def _curves(entry: ClassScores) -> dict[str, list[float]]:
    count = len(entry.hota)
    return {
        "threshold": [round(0.05 * (step + 1), 2) for step in range(count)],
        "HOTA": (100.0 * entry.hota).tolist(),
        "DetA": (100.0 * entry.deta).tolist(),
        "AssA": (100.0 * entry.assa).tolist(),
    }

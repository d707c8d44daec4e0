"""The report: one HTML file that needs nothing beside it."""

from collections.abc import Sequence
from html import escape

import numpy as np

from wsperception.evaluation.matches import FrameErrors, frame_errors, track_rows, worst_frames
from wsperception.evaluation.mots import MotsScores
from wsperception.evaluation.mots_frames import ClassFrames, SequencePair, match
from wsperception.evaluation.report import COMBINED, TABLE, rule_text, table_rows
from wsperception.evaluation.report_colours import AMBER, RED, hex_colour
from wsperception.evaluation.report_html import glossary, html_page, measure_table, picture
from wsperception.evaluation.report_plots import hota_curves, sequence_bars
from wsperception.evaluation.report_timeline import timeline

PICTURES = 6
"""Worst frames shown."""
MEANING = {
    "sMOTSA": "mask IoU of what was found, less false masks and id switches, per ground truth mask; no lower bound",
    "MOTSA": "the same, every found mask counted as 1",
    "MOTSP": "mean IoU of the found masks",
    "IDS": "id switches",
    "MT": "ground truth tracks found in more than 80 % of their frames",
    "ML": "ground truth tracks found in less than 20 %",
    "Frag": "interruptions of found tracks",
    "recall": "found ground truth masks",
    "precision": "predicted masks that found one",
    "HOTA": "detection and association in balance, mean over 19 thresholds of IoU",
    "DetA": "its detection part",
    "AssA": "its association part: how completely tracks agree",
    "LocA": "mean IoU of its pairs",
    "IDF1": "masks that carry the right identity, under the best assignment of whole tracks",
}
KEY = (
    '<p class="quiet">Found objects and their predictions share a colour.'
    f'<span class="key" style="background:{hex_colour(RED)}"></span>missed or false'
    f'<span class="key" style="background:{hex_colour(AMBER)}"></span>id switch'
    '<span class="key hatched"></span>ignore region</p>'
)


def choose_worst(scores: MotsScores) -> list[FrameErrors]:
    """The frames to show as pictures; empty where nothing is wrong."""
    return worst_frames(frame_errors(scores), PICTURES)


def report_page(
    scores: MotsScores,
    pairs: Sequence[SequencePair],
    pictures: Sequence[tuple[FrameErrors, bytes]],
    subject: str,
    notes: Sequence[str] = (),
) -> str:
    """HTML text.

    pairs     the sequences that were scored, in order
    pictures  worst frames and their PNG or JPEG bytes
    subject   what was evaluated, in words
    """
    sections = [
        f"<h1>Mask tracking scores</h1><p>{escape(subject)}</p>",
        f'<p class="quiet">{len(pairs)} sequences, {sum(len(pair.frames) for pair in pairs)} frames; per cent, counts '
        f"plain; a mask is found at {escape(rule_text(scores))}; ignore regions applied; a dash where undefined.</p>",
        "".join(f"<p>Note: {escape(note)}</p>" for note in notes),
        *(_table(scores, class_name) for class_name in scores.combined),
        f'<h2>Scores per sequence</h2><div class="plot">{sequence_bars(scores)}</div>',
        f'<h2>HOTA over the IoU threshold</h2><div class="plot">{hota_curves(scores)}</div>',
        "<h2>Worst frames</h2>",
        KEY if pictures else "<p>No frame with a missed object, a false prediction or an id switch.</p>",
        *(_figure(errors, content) for errors, content in pictures),
        "<h2>Ids over time</h2>",
        '<p class="quiet">One line per ground truth track, coloured by the id of the prediction that found it; pale = '
        "missed. Triangles are id switches, red bars false predictions. Point at a line for ids and frames.</p>",
        *(_timelines(pair.name, scores, open_at_first=len(pairs) <= 4) for pair in pairs),
        glossary(MEANING),
    ]
    return html_page("Mask tracking scores", sections)


def _table(scores: MotsScores, class_name: str) -> str:
    meanings = {name: MEANING[name] for name in TABLE}
    return measure_table(class_name, "sequence", meanings, table_rows(scores, class_name), bold=[COMBINED])


def _figure(errors: FrameErrors, content: bytes) -> str:
    faults = [
        f"{len(ids)} {what} ({', '.join(map(str, ids))})"
        for what, ids in (("missed", errors.missed), ("false", errors.false), ("id switches", errors.switched))
        if ids
    ]
    text = f"Sequence {errors.sequence}, frame {errors.frame}: {'; '.join(faults)}; {len(errors.pairs)} found"
    return picture(text, content)


def _timelines(name: str, scores: MotsScores, open_at_first: bool) -> str:
    parts = []
    for class_name, frames in scores.frames[name].items():
        rows = track_rows(frames, scores.threshold)
        false_counts = _false_counts(frames, scores.threshold)
        if rows or false_counts.any():
            parts.append(f"<h3>{escape(class_name)}</h3>{timeline(rows, false_counts, frames.frames)}")
    content = "".join(parts) or "<p>No ground truth and no prediction.</p>"
    return f"<details{' open' if open_at_first else ''}><summary>sequence {escape(name)}</summary>{content}</details>"


def _false_counts(frames: ClassFrames, threshold: float) -> np.ndarray:
    """(F,) int64 predictions that found nothing, per frame."""
    return np.array([ious.shape[1] - len(match(ious, threshold)[1]) for ious in frames.ious], np.int64)

"""The report: one HTML file that needs nothing beside it."""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from wsperception.evaluation.matches import FrameErrors, frame_errors, track_rows, worst_frames
from wsperception.evaluation.mots import MotsScores
from wsperception.evaluation.mots_frames import ClassFrames, SequencePair, match
from wsperception.evaluation.report import COMBINED, TABLE, rule_text, table_rows
from wsperception.evaluation.report_colours import AMBER, RED, hex_colour
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
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222831;background:#fff;max-width:1120px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}
h2{font-size:1.15rem;margin:2.2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0}
.quiet{color:#66707a}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.4rem 0;font-size:14px}
th,td{padding:.22rem .55rem;text-align:right}
th:first-child,td:first-child,table.words td{text-align:left}
thead th{border-bottom:2px solid #222831}
tbody tr:nth-child(even){background:#f6f8fa}
tr.all td{border-top:1px solid #222831;font-weight:600;background:#fff}
abbr{text-decoration:none;border-bottom:1px dotted #9aa3ab;cursor:help}
figure{margin:1rem 0}
figure img{max-width:100%;border:1px solid #d6dbe0}
figcaption{font-size:14px}
.plot svg{max-width:100%;height:auto}
details{margin:.4rem 0}
summary{cursor:pointer;font-weight:600}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .25em 0 .9em}
.hatched{background:repeating-linear-gradient(135deg,#c8c8c8 0 2px,#606060 2px 6px)}
"""
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
        _glossary(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Mask tracking scores</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _table(scores: MotsScores, class_name: str) -> str:
    head = "".join(f'<th><abbr title="{escape(MEANING[name])}">{name}</abbr></th>' for name in TABLE)
    rows = []
    for name, *cells in table_rows(scores, class_name):
        kind = ' class="all"' if name == COMBINED else ""
        rows.append(f"<tr{kind}><td>{escape(name)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        f'<h2>{escape(class_name)}</h2><div class="wide"><table><thead><tr><th>sequence</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _glossary() -> str:
    rows = "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in MEANING.items())
    return f'<h2>Measures</h2><table class="words"><tbody>{rows}</tbody></table>'


def _figure(errors: FrameErrors, content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    faults = [
        f"{len(ids)} {what} ({', '.join(map(str, ids))})"
        for what, ids in (("missed", errors.missed), ("false", errors.false), ("id switches", errors.switched))
        if ids
    ]
    text = f"Sequence {errors.sequence}, frame {errors.frame}: {'; '.join(faults)}; {len(errors.pairs)} found"
    data = base64.b64encode(content).decode("ascii")
    image = f'<img alt="{escape(text)}" src="data:image/{kind};base64,{data}">'
    return f"<figure><figcaption>{escape(text)}</figcaption>{image}</figure>"


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

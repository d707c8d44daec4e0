"""Id timelines: one line per ground truth track, coloured by the id of the prediction that found it. Drawn as SVG."""

import numpy as np

from wsperception.evaluation.matches import MISSED, TrackRow
from wsperception.evaluation.report_colours import AMBER, INK, PALE, RED, hex_colour, track_colour

WIDTH, LEFT, ROW, GAP = 1000, 76, 12, 3
"""Pixels: the drawing, the labels' column, a line, and the space between lines."""
STRIP = 34
"""Height of the strip of false predictions below the lines."""


def timeline(rows: list[TrackRow], false_counts: np.ndarray, frames: range) -> str:
    """An SVG element: tracks over frames, id switches as amber marks, false predictions per frame as red bars below.

    rows          tracks of one class
    false_counts  (F,) int64 false predictions per frame
    frames        F frame numbers
    """
    scale = (WIDTH - LEFT - 8) / max(1, len(frames))
    bottom = len(rows) * (ROW + GAP)
    parts = [_axis(frames, scale, bottom)]
    for number, row in enumerate(rows):
        parts.append(_line(row, number * (ROW + GAP), frames.start, scale))
    parts.append(_false_strip(false_counts, frames, scale, bottom + 6))
    height = bottom + STRIP + 26
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img" font-family="sans-serif" font-size="10">'
        f"{''.join(parts)}</svg>"
    )


def _line(row: TrackRow, top: int, first: int, scale: float) -> str:
    parts = [_text(LEFT - 6, top + ROW - 2, "end", str(row.truth_id), hex_colour(INK))]
    breaks = (np.diff(row.frames) != 1) | (np.diff(row.predicted) != 0)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    stops = np.concatenate([starts[1:], [len(row.frames)]])
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        predicted, begin, end = int(row.predicted[start]), int(row.frames[start]), int(row.frames[stop - 1])
        found = predicted != MISSED
        says = f"track {row.truth_id}, frames {begin} to {end}: {f'found as {predicted}' if found else 'missed'}"
        colour = hex_colour(track_colour(predicted) if found else PALE)
        parts.append(_bar(LEFT + (begin - first) * scale, top, (end - begin + 1) * scale, ROW, colour, says))
    for position in np.flatnonzero(row.switched).tolist():
        frame = int(row.frames[position])
        says = f"frame {frame}: id switch to {int(row.predicted[position])}"
        parts.append(
            f'<path d="M{LEFT + (frame - first) * scale - 4:.2f} {top - 2}h8l-4 7z" fill="{hex_colour(AMBER)}" '
            f'stroke="{hex_colour(INK)}" stroke-width="0.6"><title>{says}</title></path>'
        )
    return "".join(parts)


def _false_strip(counts: np.ndarray, frames: range, scale: float, top: int) -> str:
    most = int(counts.max(initial=0))
    red = hex_colour(RED)
    parts = [_text(LEFT - 6, top + STRIP - 2, "end", f"false, max {most}" if most else "none false", red)]
    for position in np.flatnonzero(counts).tolist():
        height = (STRIP - 8) * int(counts[position]) / most
        says = f"frame {frames[position]}: {counts[position]} false"
        left = LEFT + position * scale
        parts.append(_bar(left, top + STRIP - height, max(scale, 0.8), height, red, says))
    return "".join(parts)


def _axis(frames: range, scale: float, bottom: int) -> str:
    """Grid lines and frame numbers at round distances."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if len(frames) / step <= 12)
    low = bottom + STRIP + 6
    parts = []
    for frame in range(-(-frames.start // step) * step, frames.stop, step):
        x = LEFT + (frame - frames.start) * scale
        parts.append(f'<path d="M{x:.1f} 0V{low}" stroke="#eceff1"/>')
        parts.append(_text(x, low + 14, "middle", str(frame), "#66707a"))
    parts.append(f'<path d="M{LEFT} {low}H{WIDTH - 8}" stroke="#9aa3ab"/>')
    return "".join(parts)


def _bar(left: float, top: float, width: float, height: float, colour: str, says: str) -> str:
    place = f'x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect {place} fill="{colour}"><title>{says}</title></rect>'


def _text(x: float, y: float, anchor: str, words: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{colour}">{words}</text>'

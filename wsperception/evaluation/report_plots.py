"""Plots of the report as SVG text: scores per sequence and HOTA over its threshold. No state of pyplot is touched."""

import io
import math
from typing import Any

import numpy as np

from wsperception.errors import InputError
from wsperception.evaluation.mots import MotsScores
from wsperception.evaluation.report import number_text
from wsperception.evaluation.report_colours import SERIES

BARS = ("sMOTSA", "HOTA", "IDF1")
LOWEST = -100.0
"""Per cent at which the axis of the bars ends below: sMOTSA has no lower bound."""


def sequence_bars(scores: MotsScores) -> str:
    """SVG: for each class sMOTSA, HOTA and IDF1 of every sequence and combined; a dash where undefined."""
    names = [*scores.sequences, "all"]
    figure = new_figure(width=max(10.0, 0.62 * len(names) + 1.5), height=2.5 * len(scores.combined))
    for row, class_name in enumerate(scores.combined):
        axes = figure.add_subplot(len(scores.combined), 1, row + 1)
        entries = [*(classes[class_name] for classes in scores.sequences.values()), scores.combined[class_name]]
        values = np.array([[100 * getattr(entry, measure) for entry in entries] for measure in BARS])  # (3, S)
        for number, measure in enumerate(BARS):
            places = np.arange(len(names)) + 0.27 * (number - 1)
            axes.bar(
                places, np.maximum(np.nan_to_num(values[number]), LOWEST), 0.25, color=SERIES[number], label=measure
            )
            for place, value in zip(places, values[number], strict=True):
                bar_text(axes, place, value)
        lowest = float(np.nanmin(np.append(values, 0.0)))
        axes.set_ylim(max(1.15 * lowest, LOWEST), 108)
        axes.axhline(0, color="#444444", linewidth=0.8)
        axes.axvline(len(names) - 1.5, color="#9aa3ab", linewidth=0.8, linestyle=":")
        axes.set_xticks(np.arange(len(names)), names)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_ylabel(f"{class_name}, per cent")
        tidy(axes)
        if row == 0:
            axes.legend(ncols=len(BARS), loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    return svg_text(figure)


def hota_curves(scores: MotsScores) -> str:
    """SVG: for each class HOTA, DetA and AssA over the threshold, all sequences combined."""
    figure = new_figure(width=10.0, height=3.3)
    for column, (class_name, entry) in enumerate(scores.combined.items()):
        axes = figure.add_subplot(1, len(scores.combined), column + 1)
        thresholds = 0.05 * (np.arange(len(entry.hota)) + 1)
        curves = (("HOTA", entry.HOTA, entry.hota), ("DetA", entry.DetA, entry.deta), ("AssA", entry.AssA, entry.assa))
        for (name, mean, values), colour in zip(curves, SERIES, strict=True):
            shown = np.full_like(values, np.nan) if math.isnan(mean) else 100 * values
            axes.plot(thresholds, shown, color=colour, linewidth=1.8, label=f"{name}, mean {number_text(mean)}")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 104)
        axes.set_xlabel("threshold of mask IoU")
        axes.set_ylabel("per cent")
        axes.set_title(class_name, fontsize=10, loc="left")
        axes.legend(loc="lower left", frameon=False, fontsize=8)
        tidy(axes)
    return svg_text(figure)


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure, inches. InputError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('report: matplotlib is not installed; pip install "wsperception[eval]"') from None
    return Figure(figsize=(width, height), layout="constrained")


def bar_text(axes: Any, place: float, value: float) -> None:
    """The figure above a bar, a dash where it is undefined."""
    text = "–" if math.isnan(value) else f"{value:.0f}"
    axes.text(
        place,
        max(0.0 if math.isnan(value) else value, 0.0) + 1.5,
        text,
        ha="center",
        va="bottom",
        fontsize=5.5,
        color="#444444",
    )


def tidy(axes: Any) -> None:
    """No frame, a pale grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eceff1")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def svg_text(figure: Any) -> str:
    """The figure as an SVG element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

"""The report of panoptic scores: one HTML file with figures, bars per class, and the worst images."""

from collections.abc import Sequence
from html import escape

import numpy as np

from wsperception.evaluation.panoptic_pictures import class_colour
from wsperception.evaluation.panoptic_report import MEANING, class_rows, group_rows, shown_measures, table_cells
from wsperception.evaluation.panoptic_run import ImageErrors, PanopticResult
from wsperception.evaluation.report_colours import RED, SERIES, hex_colour
from wsperception.evaluation.report_html import glossary, html_page, measure_table, picture
from wsperception.evaluation.report_plots import bar_text, new_figure, svg_text, tidy

TITLE = "Panoptic segmentation scores"
BARS = ("PQ", "SQ", "RQ")


def panoptic_page(
    result: PanopticResult, pictures: Sequence[tuple[ImageErrors, bytes]], subject: str, notes: Sequence[str] = ()
) -> str:
    """HTML text.

    pictures  worst images and their PNG or JPEG bytes
    subject   what was evaluated, in words
    """
    meanings = {name: MEANING[name] for name in shown_measures(result)}
    groups, classes = table_cells(result, group_rows(result)), table_cells(result, class_rows(result))
    sections = [
        f"<h1>{TITLE}</h1><p>{escape(subject)}</p>",
        f'<p class="quiet">{result.images} images; per cent, TP FP FN plain; a segment is found at IoU &gt; 0.5 of its '
        "class, void left out; a dash where undefined.</p>",
        "".join(f"<p>Note: {escape(note)}</p>" for note in notes),
        measure_table("All classes", "", meanings, groups, bold=["all"]),
        measure_table("Per class", "class", meanings, classes),
        f'<h2>Quality per class</h2><div class="plot">{class_bars(result)}</div>' if classes else "",
        "<h2>Worst images</h2>",
        _key(result) if pictures else "<p>No image with a missed or a false segment, or with an IoU below 1.</p>",
        *(picture(_caption(errors), content) for errors, content in pictures),
        glossary(meanings),
    ]
    return html_page(TITLE, sections)


def class_bars(result: PanopticResult) -> str:
    """SVG: PQ, SQ and RQ of every class that occurs, things first; a dash where undefined."""
    rows = class_rows(result)
    order = sorted(rows, key=lambda name: not result.labels.is_thing[result.labels.names.index(name)])
    figure = new_figure(width=max(7.0, 0.62 * len(order) + 1.5), height=3.6)
    axes = figure.add_subplot(1, 1, 1)
    values = np.array([[100 * rows[name][measure] for name in order] for measure in BARS])  # (3, C')
    for number, measure in enumerate(BARS):
        places = np.arange(len(order)) + 0.27 * (number - 1)
        axes.bar(places, np.nan_to_num(values[number]), 0.25, color=SERIES[number], label=measure)
        for place, value in zip(places, values[number], strict=True):
            bar_text(axes, place, value)
    things = sum(result.labels.is_thing[result.labels.names.index(name)] for name in order)
    if 0 < things < len(order):
        axes.axvline(things - 0.5, color="#9aa3ab", linewidth=0.8, linestyle=":")
    axes.set_xticks(np.arange(len(order)), order, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.set_ylim(0, 108)
    axes.set_ylabel("per cent")
    axes.legend(ncols=len(BARS), loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    tidy(axes)
    return svg_text(figure)


def _key(result: PanopticResult) -> str:
    shown = class_rows(result)
    keys = "".join(
        f'<span class="key" style="background:{hex_colour(class_colour(class_id))}"></span>{escape(name)}'
        for class_id, name in enumerate(result.labels.names)
        if name in shown
    )
    red = hex_colour(RED)
    return (
        f'<p class="quiet"><span class="key" style="background:repeating-linear-gradient(135deg,{red} 0 2px,#fff 2px '
        f'6px)"></span>missed or false<span class="key hatched"></span>crowd{keys}</p>'
    )


def _caption(errors: ImageErrors) -> str:
    return (
        f"{errors.name}: quality {100 * errors.quality:.1f} % over all segments; {errors.found} found, "
        f"{errors.missed} missed, {errors.false} false"
    )

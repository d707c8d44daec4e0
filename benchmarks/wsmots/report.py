"""Tables and a plot of what the rows reached."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.wsmots.rows import CLASSES, EXTRAS, MEASURES, PAPER_DROPS, PAPER_STEPS, ROWS, SWEEP

Results = Mapping[str, Mapping[int, Mapping[str, Mapping[str, float]]]]
"""Row -> seed -> class -> measure -> per cent."""

COLUMNS = (*MEASURES, "box MOTSP", "box recall")
LOST = ("missed", "false", "switched", "inexact")
"""Why sMOTSA is not 100: objects without a mask of IoU 0.5, masks without an object, changed ids, and what the masks
that count lack to an IoU of 1."""
SMALLEST_BASE = 10.0
"""Points of the fully supervised row below which a relative drop is all noise."""
KNOWN = {**ROWS, **EXTRAS, **SWEEP}


def read_results(folder: Path) -> Results:
    """The results below `folder`: files ROW-SEED.json, in the order of the rows."""
    results: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for row in KNOWN:
        for path in sorted(folder.glob(f"{row}-*.json")):
            seed = path.stem.removeprefix(f"{row}-")
            if seed.isdigit():
                results.setdefault(row, {})[int(seed)] = json.loads(path.read_text())
    return results


def tables(results: Results) -> str:
    """All tables as Markdown: absolute values, drops against F beside the paper's, what single losses add, and what is
    lost where."""
    parts = [_absolute(results)]
    if "F" in results:
        parts.append(_drops(results))
    parts += [_steps(results), _lost(results)]
    return "\n".join(part for part in parts if part)


def drop(full: float, weak: float) -> float:
    """Relative drop in per cent; NaN where `full` is too little to take shares of."""
    return 100.0 * (full - weak) / full if full >= SMALLEST_BASE else math.nan


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation over seeds; a dash where no seed has a value."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "-"
    mean = statistics.fmean(finite)
    return f"{mean:.1f} ± {statistics.stdev(finite):.1f}" if len(finite) > 1 else f"{mean:.1f}"


def plot(results: Results, path: Path) -> None:
    """Bars of MOTSP and of MOTSP in the true boxes per row and class, with the spread over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(CLASSES), figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, class_name in zip(axes, CLASSES, strict=True):
        for offset, column, colour in ((-0.2, "MOTSP", "#4477aa"), (0.2, "box MOTSP", "#ccbb44")):
            values = [[seed[class_name][column] for seed in row.values()] for row in results.values()]
            finite = [[value for value in entry if math.isfinite(value)] for entry in values]
            means = [statistics.fmean(entry) if entry else 0.0 for entry in finite]
            errors = [statistics.stdev(entry) if len(entry) > 1 else 0.0 for entry in finite]
            places = [place + offset for place in range(len(means))]
            axis.bar(places, means, 0.4, yerr=errors, color=colour, label=column, capsize=2)
        axis.set_xticks(range(len(results)), list(results))
        axis.set_title(class_name)
        axis.set_ylim(40, 100)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylabel("per cent")
    axes[0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _absolute(results: Results) -> str:
    lines = ["Per cent, car / pedestrian, mean ± standard deviation over seeds.", ""]
    lines += _head(["row", "masks learn from", "seeds", *COLUMNS])
    for row, seeds in results.items():
        cells = [_pair(seeds, column) for column in COLUMNS]
        lines.append(_line([row, KNOWN[row].title, str(len(seeds)), *cells]))
    return "\n".join([*lines, ""])


def _drops(results: Results) -> str:
    lines = ["Relative drop against F in per cent, seed by seed; the paper's on KITTI MOTS.", ""]
    lines += _head(["row", *COLUMNS, *(f"{measure}, paper" for measure in MEASURES)])
    for row, seeds in results.items():
        common = {seed: values for seed, values in seeds.items() if seed in results["F"]}
        if row == "F" or not common:
            continue
        cells = []
        for column in COLUMNS:
            by_class = [
                spread(drop(results["F"][seed][name][column], values[name][column]) for seed, values in common.items())
                for name in CLASSES
            ]
            cells.append(" / ".join(by_class))
        paper = [_figures(PAPER_DROPS.get(row, {}).get(measure)) for measure in MEASURES]
        lines.append(_line([row, *cells, *paper]))
    return "\n".join([*lines, ""])


def _steps(results: Results) -> str:
    lines = ["What a loss adds, in points: the row with it minus the row without.", ""]
    lines += _head(["rows", *COLUMNS, *(f"{measure}, paper" for measure in MEASURES)])
    rows = 0
    for (row, without), paper in PAPER_STEPS.items():
        common = sorted(set(results.get(row, {})) & set(results.get(without, {})))
        if not common:
            continue
        rows += 1
        cells = []
        for column in COLUMNS:
            by_class = [
                spread(results[row][seed][name][column] - results[without][seed][name][column] for seed in common)
                for name in CLASSES
            ]
            cells.append(" / ".join(by_class))
        lines.append(_line([f"{row} - {without}", *cells, *(_figures(paper[measure]) for measure in MEASURES)]))
    return "\n".join([*lines, ""]) if rows else ""


def _lost(results: Results) -> str:
    lines = [
        "Points of sMOTSA lost, car / pedestrian, mean ± standard deviation over seeds; they sum to 100 - sMOTSA.",
        "",
    ]
    lines += _head(["row", *LOST])
    lines += [_line([row, *(_pair(seeds, column) for column in LOST)]) for row, seeds in results.items()]
    return "\n".join([*lines, ""])


def _pair(seeds: Mapping[int, Mapping[str, Mapping[str, float]]], column: str) -> str:
    return " / ".join(spread(values[name][column] for values in seeds.values()) for name in CLASSES)


def _figures(pair: tuple[float, float] | None) -> str:
    return f"{pair[0]:.1f} / {pair[1]:.1f}" if pair else ""


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"

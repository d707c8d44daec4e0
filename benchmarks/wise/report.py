"""The tables of what the rows reached."""

import itertools
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.wise.rows import MEASURES, ORDER, RATIO, ROWS
from benchmarks.wsmots.report import spread

Results = Mapping[int, Mapping[str, Mapping[str, float]]]
"""Seed -> kind of masks -> measure -> per cent."""


def read_results(folder: Path) -> Results:
    """The files wise-SEED.json and prm-SEED.json of training/score.py below `folder`, by seed."""
    results: dict[int, dict[str, Mapping[str, float]]] = {}
    for path in [*folder.glob("wise-*.json"), *folder.glob("prm-*.json")]:
        seed = int(path.stem.rpartition("-")[2])
        for kind, values in json.loads(path.read_text())["kinds"].items():
            scores = {name: math.nan if value is None else value for name, value in values.items()}
            results.setdefault(seed, {})[kind] = scores
    return dict(sorted(results.items()))


def table(results: Results) -> str:
    """Markdown: the rows, and whether they come in the paper's order."""
    lines = [
        f"Per cent, mean ± standard deviation over {len(results)} seed(s); the paper's on PASCAL VOC 2012.",
        "",
        line(["masks", *MEASURES, "paper: AP25 / AP50 / AP75"]),
        "|" + "---|" * (len(MEASURES) + 2),
    ]
    for kind, row in ROWS.items():
        there = [values[kind] for values in results.values() if kind in values]
        cells = [spread(values[measure] for values in there) for measure in MEASURES]
        paper = " / ".join(f"{value:.1f}" for value in row.paper) if row.paper else "-"
        lines.append(line([row.title, *cells, paper]))
    return "\n".join([*lines, "", *verdicts(results), ""])


def verdicts(results: Results) -> list[str]:
    """Whether the order of the paper's Table 1 and its ratio are reached, in the means over the seeds."""
    means = {kind: statistics.fmean(values[kind]["VOC AP50"] for values in results.values()) for kind in ORDER}
    steps = [
        f"{low} {'<' if means[low] < means[high] else '>= (not as in the paper)'} {high}"
        for low, high in itertools.pairwise(ORDER)
    ]
    ratio = means["wise"] / means["best"] if means["best"] > 0 else math.inf
    reached = "reached" if ratio >= RATIO else "missed"
    return [f"AP50: {', '.join(steps)}.", f"WISE over best proposal: {ratio:.2f}; aim {RATIO}: {reached}."]


def line(cells: Iterable[str]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"

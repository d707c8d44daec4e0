"""The table of what the rows reached."""

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.tags.community import ROWS
from benchmarks.wsmots.report import spread

COLUMNS: Mapping[str, str] = {
    "mask_ap25": "AP25", "mask_ap50": "AP50", "mask_ap75": "AP75", "abo": "ABO", "replaced_ap50": "AP50, replaced",
    "box_ap50": "box AP50", "corloc": "CorLoc",
}  # fmt: skip

STEPS = (("D", "IMG"), ("IMG", "IS"), ("IS", "REG"))
"""(row, row that adds something to it)."""

Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Row -> seed -> column -> per cent."""


def read_results(folder: Path) -> Results:
    """The results below `folder`: files ROW-SEED.json, in the order of the rows."""
    results: dict[str, dict[int, Mapping[str, float]]] = {}
    for row in ROWS:
        for path in sorted(folder.glob(f"{row}-*.json")):
            seed = path.stem.removeprefix(f"{row}-")
            if seed.isdigit():
                results.setdefault(row, {})[int(seed)] = json.loads(path.read_text())["scores"]
    return results


def table(results: Results) -> str:
    """Markdown: absolute values beside the paper's, and what each module adds, seed by seed."""
    lines = ["Per cent, VOC convention, mean ± standard deviation over seeds; the paper's on VOC 2012.", ""]
    lines += _head(["row", "", "seeds", *COLUMNS.values(), "AP50, paper (table)"])
    for row, seeds in results.items():
        cells = [spread(values[column] for values in seeds.values()) for column in COLUMNS]
        value, source = ROWS[row].paper
        lines.append(_line([row, ROWS[row].title, str(len(seeds)), *cells, f"{value:.1f} ({source})" if value else ""]))
    steps = [_step(results, before, after) for before, after in STEPS]
    if any(steps):
        lines += ["", "What a module adds, in points, seed by seed.", ""]
        lines += _head(["rows", "seeds", *COLUMNS.values(), "AP50, paper"])
        lines += [step for step in steps if step]
    return "\n".join([*lines, ""])


def _step(results: Results, before: str, after: str) -> str:
    common = sorted(set(results.get(before, {})) & set(results.get(after, {})))
    if not common:
        return ""
    cells = [
        spread(results[after][seed][column] - results[before][seed][column] for seed in common) for column in COLUMNS
    ]
    paper = ROWS[after].paper[0] - ROWS[before].paper[0]
    return _line([f"{after} - {before}", str(len(common)), *cells, f"{paper:.1f}"])


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"

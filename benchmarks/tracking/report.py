"""Tables and a picture of the benchmark's results."""

import json
import os
import platform
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tracking.conditions import CONDITIONS
from benchmarks.tracking.noise import LEVELS
from benchmarks.tracking.ours import CHOSEN, OURS
from benchmarks.tracking.peers import PEERS

Key = tuple[str, str, str, str, str]
"""Split, condition, level, class, tracker."""
COLOURS = ("#888888", "#c0392b", "#e08e79", "#2c7fb8", "#41ab5d", "#8856a7")


def write_report(out: Path) -> None:
    """`tables.md` and one picture per split, from all results in `out`."""
    results = [json.loads(path.read_text()) for path in sorted((out / "results").glob("*.json"))]
    if not results:
        return
    values = _collected(results)
    order = ["tuning", "walkers", "traffic", "report", "mot15_tud"]
    splits = sorted({result["split"] for result in results}, key=order.index)
    text = [f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}", ""]
    for split in splits:
        text += _verdict(values, split)
        for condition in CONDITIONS:
            text += _table(values, split, condition)
        _plot(values, split, out / f"hota_{split}.png")
    text += _times(results)
    part = out / "tables.part"
    part.write_text("\n".join(text) + "\n")
    part.replace(out / "tables.md")


def _collected(results: list[dict[str, Any]]) -> dict[Key, dict[str, list[float]]]:
    """Key -> measure -> one value per seed."""
    values: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for class_name, row in result["classes"].items():
            key = (result["split"], result["condition"], result["level"], class_name, result["tracker"])
            for measure, value in row.items():
                values[key][measure].append(value)
    return values


def _trackers() -> list[str]:
    return [*OURS, *PEERS]


def _table(values: dict[Key, dict[str, list[float]]], split: str, condition: str) -> list[str]:
    lines = [f"### {split}, {condition}", ""]
    lines += [
        "| noise | class | tracker | HOTA | DetA | AssA | IDF1 | IDS | Frag |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for level in LEVELS:
        for class_name in ("car", "pedestrian"):
            for tracker in _trackers():
                row = values.get((split, condition, level.name, class_name, tracker))
                if row is None:
                    continue
                cells = [_per_cent(row[name]) for name in ("HOTA", "DetA", "AssA", "IDF1")]
                cells += [_count(row[name]) for name in ("IDS", "Frag")]
                lines.append(f"| {level.name} | {class_name} | {tracker} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _per_cent(seeds: list[float]) -> str:
    spread = f" ± {100 * np.std(seeds):.1f}" if len(seeds) > 1 else ""
    return f"{100 * np.mean(seeds):.1f}{spread}"


def _count(seeds: list[float]) -> str:
    return f"{np.mean(seeds):.0f}"


def _verdict(values: dict[Key, dict[str, list[float]]], split: str) -> list[str]:
    """Where the chosen setting is not above every peer, or not below ByteTrack's id switches."""
    lines, checks, missed = [], 0, []
    for condition in CONDITIONS:
        for level in LEVELS:
            for class_name in ("car", "pedestrian"):
                ours = values.get((split, condition, level.name, class_name, CHOSEN))
                if ours is None:
                    continue
                where = f"{condition}, {level.name}, {class_name}"
                for measure in ("HOTA", "AssA", "IDF1"):
                    for peer in PEERS:
                        row = values.get((split, condition, level.name, class_name, peer))
                        if row is None:
                            continue
                        checks += 1
                        if np.mean(ours[measure]) <= np.mean(row[measure]):
                            missed.append(
                                f"{where}: {measure} {100 * np.mean(ours[measure]):.1f}, "
                                f"{peer} {100 * np.mean(row[measure]):.1f}"
                            )
                row = values.get((split, condition, level.name, class_name, "ByteTrack"))
                if row is not None:
                    checks += 1
                    if np.mean(ours["IDS"]) >= np.mean(row["IDS"]):
                        missed.append(f"{where}: IDS {np.mean(ours['IDS']):.1f}, ByteTrack {np.mean(row['IDS']):.1f}")
    lines += [f"## {split}", "", f"`{CHOSEN}` reaches {checks - len(missed)} of {checks} aims."]
    return [*lines, *[f"- not reached: {text}" for text in missed], ""]


def _times(results: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Time per frame, one core",
        "",
        "| split | tracker | objects | mean ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        if result["condition"] == "full rate":
            groups[result["split"], result["tracker"]].append(result)
    for (split, tracker), rows in groups.items():
        means = [np.mean([row[name] for row in rows]) for name in ("objects", "ms_mean", "ms_p99")]
        lines.append(f"| {split} | {tracker} | {means[0]:.1f} | {means[1]:.2f} | {means[2]:.2f} |")
    return [*lines, ""]


def _plot(values: dict[Key, dict[str, list[float]]], split: str, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    classes = [name for name in ("car", "pedestrian") if any(key[0] == split and key[3] == name for key in values)]
    figure, axes = plt.subplots(len(classes), len(CONDITIONS), figsize=(12, 3.6 * len(classes)), squeeze=False)
    names = [level.name for level in LEVELS]
    for line, class_name in zip(axes, classes, strict=True):
        for axis, condition in zip(line, CONDITIONS, strict=True):
            for index, tracker in enumerate(_trackers()):
                rows = [values.get((split, condition, name, class_name, tracker)) for name in names]
                if any(row is None for row in rows):
                    continue
                seeds = [100 * np.array(row["HOTA"]) for row in rows if row is not None]
                middle = np.array([seed.mean() for seed in seeds])
                spread = np.array([[m - s.min(), s.max() - m] for m, s in zip(middle, seeds, strict=True)]).T
                colour, width = COLOURS[index % len(COLOURS)], 2.4 if tracker == CHOSEN else 1.3
                place = np.arange(len(names)) + 0.015 * (index - 2.5)  # more would lift lines on the slope
                axis.errorbar(
                    place, middle, spread, color=colour, linewidth=width, marker="o", markersize=4, label=tracker
                )
            axis.set_xticks(range(len(names)), names)
            axis.set_title(f"{class_name}, {condition}", fontsize=10)
            axis.grid(alpha=0.3)
        line[0].set_ylabel("HOTA (%)")
    axes[0, 0].set_xlabel("noise")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )

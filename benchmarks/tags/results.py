"""What the two benchmarks share: results of one set of settings, a file per row and seed, and their table."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tags.learning import Schedule
from benchmarks.wsmots.report import spread
from training.results_folder import claim_folder
from wsperception.learn.kept_work import whole_file

Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Row -> seed -> measure -> value."""


@dataclass(frozen=True)
class Layout:
    """What the table shows.

    columns  measure -> heading
    rows     row -> its title, and what the paper reports for it
    steps    (row, row that adds something to it) -> what the paper says it adds
    paper    heading of the paper's column
    """

    columns: Mapping[str, str]
    rows: Mapping[str, tuple[str, str]]
    steps: Mapping[tuple[str, str], str]
    paper: str


def arguments(
    description: str | None, rows: Sequence[str], schedule: Schedule, scenes: Mapping[str, int]
) -> argparse.ArgumentParser:
    """A parser of what both benchmarks take, with defaults; scenes: how many to "train" on and "val" for scores."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(rows), default=list(rows), metavar="ROW", help="%(choices)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenes", type=int, default=500, help="seed of the scenes; those scored have the next one")
    parser.add_argument("--train", type=int, default=scenes["train"], help="scenes to learn from")
    parser.add_argument("--val", type=int, default=scenes["val"], help="scenes to score")
    parser.add_argument("--steps", type=int, default=schedule.steps, help="of each row")
    parser.add_argument("--warm-up", type=int, default=schedule.warm_up, help="steps on tags of whole images before")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def measure_missing(
    options: argparse.Namespace, settings: Mapping[str, Any], measure: Callable[[str, int], Mapping[str, Any]]
) -> None:
    """Calls `measure` for every row and seed that has no result in the folder yet, seed by seed, and keeps what it
    gives: {"scores": measure -> value, ...}.

    settings  what, besides row and seed, decides the results

    Raises InputError where the folder holds results of other settings.
    """
    claim_folder(options.out, settings)
    for seed in options.seeds:
        for row in options.rows:
            path = options.out / "results" / f"{row}@{seed}.json"
            if path.exists():
                continue
            found = measure(row, seed)
            write(path, json.dumps(found))
            listed = ", ".join(f"{name} {value:.1f}" for name, value in found["scores"].items())
            print(f"{row}, seed {seed}: {listed}", flush=True)


def finish(out: Path, layout: Layout) -> None:
    """Writes and prints the table of what is in the folder."""
    text = table(read_results(out / "results", list(layout.rows)), layout)
    write(out / "table.md", text)
    print(text)


def read_results(folder: Path, rows: Sequence[str]) -> Results:
    """The results below `folder`, in the order of the rows."""
    results: dict[str, dict[int, Mapping[str, float]]] = {}
    for row in rows:
        for path in sorted(folder.glob(f"{row}@*.json")):
            seed = path.stem.rpartition("@")[2]
            if seed.isdigit():
                results.setdefault(row, {})[int(seed)] = json.loads(path.read_text())["scores"]
    return results


def table(results: Results, layout: Layout) -> str:
    """Markdown: absolute values beside the paper's, and what each part adds, seed by seed."""
    head = " | ".join(layout.columns.values())
    rule = "|---" * (len(layout.columns) + 4) + "|"
    lines = [f"| row | | seeds | {head} | {layout.paper} |", rule]
    for row, seeds in results.items():
        cells = " | ".join(spread(values[column] for values in seeds.values()) for column in layout.columns)
        title, paper = layout.rows[row]
        lines.append(f"| {row} | {title} | {len(seeds)} | {cells} | {paper} |")
    lines += [
        "",
        "What a part adds, in points, seed by seed.",
        "",
        f"| rows | seeds | {head} | the paper's |",
        rule[4:],
    ]
    for (before, after), paper in layout.steps.items():
        common = sorted(set(results.get(before, {})) & set(results.get(after, {})))
        first, second = results.get(before, {}), results.get(after, {})
        cells = " | ".join(spread(second[seed][name] - first[seed][name] for seed in common) for name in layout.columns)
        if common:
            lines.append(f"| {after} - {before} | {len(common)} | {cells} | {paper} |")
    return "\n".join([*lines, ""])


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(text.encode())

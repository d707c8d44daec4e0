"""Table 1 of WISE on synthetic drives, and what minutes of labelling buy with points, boxes and masks.

    python -m benchmarks.wise.run --out out/wise                 # Table 1, three seeds
    python -m benchmarks.wise.run --out out/wise --minutes 5 20  # and the tables of these budgets

Goes on where it stopped: what has its result is not repeated, a training that was cut short resumes at its last
checkpoint. Writes table.md below --out.
"""

import argparse
from pathlib import Path

from benchmarks.wise import budget
from benchmarks.wise.report import read_results, table
from benchmarks.wise.rows import ROWS
from benchmarks.wise.runs import ROOT, Bench, run_once
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import write_drive

CONFIG = ROOT / "config/wise-tiny.yaml"
SEED = 5200
"""Of the training drives; the validation drives take the next."""


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    drives = {}
    for number, (name, sequences) in enumerate((("train", options.train_sequences), ("val", options.val_sequences))):
        drives[name] = options.out / "drives" / name
        if not drives[name].exists():
            height, width = options.size
            settings = DriveSettings(SEED + number, options.frames, height, width, 0.5)
            write_drive(drives[name], settings, sequences=sequences, bag=False)
    bench = Bench(options.out, drives["train"], drives["val"], options.min_area)
    for seed in options.seeds:
        result = options.out / "results" / f"wise-{seed}.json"
        run_once(bench, result, "wise", CONFIG, seed, tuple(options.set), tuple(ROWS))
    text = table(read_results(options.out / "results"))
    if options.minutes:
        seconds = budget.measured_seconds(options.labels) if options.labels else {}
        text += "\n" + budget.table(bench, options.minutes, options.seeds, seconds, CONFIG, tuple(options.set))
    (options.out / "table.md").write_text(text)
    print(text)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, nargs="*", default=[], help="budgets of labelling")
    parser.add_argument("--labels", type=Path, help="folder of `wsperception label` whose labelling times are taken")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument("--train-sequences", type=int, default=32)
    parser.add_argument("--val-sequences", type=int, default=12)
    parser.add_argument("--frames", type=int, default=3, help="of each sequence, two seconds apart")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 640), metavar=("H", "W"), help="of the images")
    parser.add_argument("--min-area", type=int, default=60, help="smaller objects are ignored; pixels at network size")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

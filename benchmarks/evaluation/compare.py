"""`wsperception eval` against TrackEval's own evaluation of the same files: equal numbers, and the ratio of the times.

    python benchmarks/evaluation/compare.py [--data ../shared/data] [--repeats 5]

Ground truth: the 12 KITTI MOTS training sequences. Predictions: the perturbed copies in `mots_eval_vectors` for the
five sequences that have one, the ground truth without its ignore regions for the others. Both commands run as processes
of their own, in turns, and write all that they write by default: TrackEval its tables and curves, ours scores.json and
report.html with plots, timelines and pictures.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "sMOTSA": ("CLEAR", "sMOTA"),
    "MOTSA": ("CLEAR", "MOTA"),
    "MOTSP": ("CLEAR", "MOTP"),
    "recall": ("CLEAR", "CLR_Re"),
    "precision": ("CLEAR", "CLR_Pr"),
    "HOTA": ("HOTA", "HOTA"),
    "DetA": ("HOTA", "DetA"),
    "AssA": ("HOTA", "AssA"),
    "LocA": ("HOTA", "LocA"),
    "IDF1": ("Identity", "IDF1"),
    "IDS": ("CLEAR", "IDSW"),
    "MT": ("CLEAR", "MT"),
    "ML": ("CLEAR", "ML"),
    "Frag": ("CLEAR", "Frag"),
}
PLAIN = {"IDS", "MT", "ML", "Frag"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    truth = arguments.data / "kitti_mots_gt" / "instances_txt"
    seqmap = arguments.data / "kitti_mots_gt" / "train.seqmap"
    if not truth.is_dir():
        sys.exit(f"{truth}: not present; expected the MOTS text of the KITTI MOTS training sequences")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = folder / "trackers" / "result" / "data"
        write_predictions(truth, arguments.data / "mots_eval_vectors" / "dev_train_seqs" / "tracker", result)
        script = str(Path(__file__).with_name("trackeval_command.py"))
        theirs = [
            sys.executable,
            script,
            str(truth),
            str(folder / "trackers"),
            str(seqmap),
            str(folder / "theirs.json"),
        ]
        ours = [sys.executable, "-m", "wsperception", "eval", "--gt", str(truth), "--pred", str(result)]
        ours += ["--seqmap", str(seqmap), "--out", str(folder / "ours"), "--overwrite"]
        times = run_in_turns({"TrackEval": theirs, "wsperception eval": ours}, arguments.repeats)
        report_times(times)
        report_numbers(folder / "theirs.json", folder / "ours" / "scores.json")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


def write_predictions(truth: Path, perturbed: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in sorted(truth.glob("*.txt")):
        source = perturbed / path.name
        lines = (source if source.is_file() else path).read_text().splitlines()
        kept = [line for line in lines if line.split()[2] != "10"]
        (folder / path.name).write_text("\n".join(kept) + "\n")


def run_in_turns(commands: dict[str, list[str]], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Name -> (wall, processor) seconds of each run; a first run, which warms the disk cache, is not counted."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            if turn:
                times[name].append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return times


def report_times(times: dict[str, list[tuple[float, float]]]) -> None:
    medians = {}
    for name, entries in times.items():
        walls, processors = zip(*entries, strict=True)
        medians[name] = (statistics.median(walls), statistics.median(processors))
        wall, processor = medians[name]
        print(f"{name}: wall {wall:.2f} s ({min(walls):.2f} to {max(walls):.2f}), CPU {processor:.2f} s")
    (their_wall, their_cpu), (our_wall, our_cpu) = medians.values()
    print(f"ratio of ours to TrackEval's: wall {our_wall / their_wall:.2f}, CPU {our_cpu / their_cpu:.2f}")


def report_numbers(theirs: Path, ours: Path) -> None:
    """Greatest difference in per cent over all sequences, classes and measures that are defined."""
    expected, found = json.loads(theirs.read_text()), json.loads(ours.read_text())
    greatest, compared, undefined = 0.0, 0, 0
    for sequence, classes in {**found["sequences"], "COMBINED_SEQ": found["combined"]}.items():
        for class_name, measures in classes.items():
            for name, (metric, field) in FIELDS.items():
                if measures[name] is None:
                    undefined += 1
                    continue
                value = their_value(expected[sequence][class_name][metric][field]) * (1 if name in PLAIN else 100)
                greatest = max(greatest, abs(value - measures[name]))
                compared += 1
    print(f"{compared} numbers compared, greatest difference {greatest:.1e}; {undefined} undefined (null) left out")


def their_value(value: Any) -> float:
    return float(np.mean(value))


if __name__ == "__main__":
    main()

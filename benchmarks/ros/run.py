"""All figures of the node, as the table of benchmarks/ros/README.md. On an idle machine:

    python benchmarks/ros/run.py [--model tiny] [--drive FOLDER]

On a machine that others use too, `chrt -r 5` before it (as root) shuts their load out.
About 6 minutes on 2 cores, one of them for a drive of 100 frames where none is given.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OVERHEAD_RUNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="bundle of the live measurement (default: tiny)")
    parser.add_argument("--drive", type=Path, help="synthetic drive to play (default: one of seed 1, made for it)")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{date.today()}, commit {commit or 'unknown'}, {processor()}, {os.cpu_count()} cores, load {load}{priority()}"
    )
    print(f"Python {platform.python_version()}\n\n| | measured | aim |\n|---|---|---|", flush=True)
    for name in (*["overhead"] * OVERHEAD_RUNS, "delivery", "without_profile", "memory"):
        run("-m", "benchmarks.ros.node", name)
    with tempfile.TemporaryDirectory() as folder:
        drive = arguments.drive or Path(folder) / "drive"
        if arguments.drive is None:
            run("-m", "wsperception", "drive", "--out", str(drive), "--seed", "1", "--frames", "100", quiet=True)
        run("-m", "benchmarks.ros.live", str(drive / "bags/0000"), arguments.model)


def run(*arguments: str, quiet: bool = False) -> None:
    output = subprocess.DEVNULL if quiet else None
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=output, stderr=output)


def priority() -> str:
    """Whether everything here runs before ordinary processes, as under `chrt -r 5`."""
    return ", real-time priority" if os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO) else ""


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()

"""`wsperception demo`: the whole path on a synthetic drive."""

import argparse
from pathlib import Path

from wsperception.cli.progress import progress_bar


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = "Makes a synthetic drive, tracks it with a shipped model and scores the result."
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: out/demo")
    parser.add_argument(
        "--model", default="tiny-weak", metavar="BUNDLE", help="folder or name of a model (default: tiny-weak)"
    )
    parser.add_argument("--seed", type=int, default=2026, metavar="N", help="another seed, another drive")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="length of the drive (default: 100)")
    parser.add_argument("--offline", action="store_true", help="do not replay the drive over ROS 2 topics")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from wsperception.demo import can_go_live, run_demo

    live = can_go_live() and not arguments.offline
    summary = run_demo(arguments.out, arguments.model, arguments.seed, arguments.frames, live, progress_bar)
    rate = summary.track.frames / summary.track.seconds
    print(f"{summary.track.frames} frames tracked at {rate:.1f} frames/s")
    if summary.supervision == "weak":
        print(f"{arguments.model} learnt from boxes and track ids alone: the masks on screen were never annotated")
    print(f"\n{summary.table}\n")
    if live:
        print(f"the same drive, offline and live over ROS 2 topics\n\n{summary.live_table}\n")
    elif not arguments.offline:
        print("live replay left out: there is no ROS 2 in this environment (pip install 'wsperception[ros]')\n")
    for what, where in summary.files:
        print(f"{what + ':':<27}{where}")

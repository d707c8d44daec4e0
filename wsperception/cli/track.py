"""`wsperception track`: masks and track ids of recordings."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsperception.cli.exit_codes import FOUND_WRONG, OK
from wsperception.cli.progress import progress_bar

if TYPE_CHECKING:
    from wsperception.track import TrackRequest

SHOWN_SKIPS = 5


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = (
        "Writes <sequence>.txt (MOTS text), overlay.mp4 and timings.json into a folder; of several sources, into a "
        "folder of its name for each. Called again, it goes on with the sources that are not done."
    )
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="KITTI sequence, folder of images, video file or rosbag2 folder",
    )
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument("--sequence", metavar="NAME", help="sequence, where SOURCE is a KITTI root with several")
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="frames per second of images without time stamps (default: 10)"
    )
    parser.add_argument("--backend", default="auto", help="engine that runs the network (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the engine (default: one per core)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="YAML file of pipeline settings")
    parser.add_argument("--no-video", action="store_true", help="leave overlay.mp4 out")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's files in DIR")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="sources tracked at the same time (default: one per core)"
    )
    parser.add_argument("--engine", choices=("processes", "ray"), help="what runs several sources (default: processes)")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from wsperception.track import TrackRequest, run_track

    request = TrackRequest(
        arguments.sources[0],
        arguments.model,
        arguments.out,
        topic=arguments.topic,
        sequence=arguments.sequence,
        rate_hz=arguments.rate,
        backend=arguments.backend,
        threads=arguments.threads,
        settings=arguments.settings,
        video=not arguments.no_video,
        replace=arguments.overwrite,
    )
    if len(arguments.sources) > 1 or arguments.jobs is not None or arguments.engine is not None:
        return _track_fleet(arguments, request)
    with progress_bar("tracking") as progress:
        summary = run_track(request, progress)
    for skip in summary.skipped[:SHOWN_SKIPS]:
        print(f"wsperception: skipped: {skip.reason}", file=sys.stderr)
    if len(summary.skipped) > SHOWN_SKIPS:
        print(f"wsperception: skipped: {len(summary.skipped) - SHOWN_SKIPS} more", file=sys.stderr)
    rate = summary.frames / summary.seconds
    print(f"{summary.sequence}: {summary.frames} frames, {len(summary.skipped)} skipped, {rate:.1f} frames/s")
    for file in (summary.text, summary.video, summary.panoptic, summary.timings):
        if file is not None:
            print(f"  {file}")
    return OK


def _track_fleet(arguments: argparse.Namespace, each: "TrackRequest") -> int:
    from wsperception.fleet import FleetRequest, run_fleet

    request = FleetRequest(tuple(arguments.sources), each, arguments.jobs, arguments.engine or "processes")
    with progress_bar("tracking", " bags") as progress:
        outcomes = run_fleet(request, progress)
    for outcome in outcomes:
        print(outcome, file=sys.stderr if outcome.error else sys.stdout)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} done, {failed} failed")
    return FOUND_WRONG if failed else OK

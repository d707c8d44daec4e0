"""`wsperception label`: points, boxes and tags, on a local page."""

import argparse
from pathlib import Path

from wsperception.cli.progress import progress_bar


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = (
        "Takes frames from SOURCE into a folder and serves one page, on this machine only, to label them: points, "
        "boxes, classes, ids, tags, ignore regions. Every change is saved at once in DIR/labels.json, the weak-label "
        "file that training reads. Ctrl-C ends it; the same command goes on where it ended. With --import or --export "
        "labels of CVAT or LabelMe are taken in or handed out instead, and no page is served."
    )
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        metavar="SOURCE",
        help="KITTI sequence, folder of images, video file or rosbag2 folder; may be left out to go on in DIR",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the frames and labels")
    parser.add_argument(
        "--every", type=int, metavar="N", help="take every N-th frame (default: 1); a smaller N later adds frames"
    )
    parser.add_argument(
        "--classes", metavar="NAMES", help="car,pedestrian,... in the order of their ids; more may follow later"
    )
    parser.add_argument("--model", metavar="BUNDLE", help="classes of this model (default: tiny)")
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument("--sequence", metavar="NAME", help="sequence, where SOURCE is a KITTI root with several")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of the page (default: a free one)")
    parser.add_argument("--jpeg", action="store_true", help="keep frames as JPEG of quality 95 instead of PNG")
    parser.add_argument(
        "--import", dest="take_in", type=Path, metavar="PATH", help="CVAT XML 1.1 file, or folder of LabelMe files"
    )
    parser.add_argument(
        "--export", dest="hand_out", type=Path, metavar="PATH", help="FILE.xml: CVAT for images; else LabelMe folder"
    )
    parser.add_argument("--video", action="store_true", help="export CVAT for video: tracks, no tags")
    parser.add_argument("--overwrite", action="store_true", help="replace labels and files that are there already")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from wsperception.labelling.command import LabelRequest, label_command

    request = LabelRequest(
        arguments.source,
        arguments.out,
        every=arguments.every,
        classes=None if arguments.classes is None else tuple(arguments.classes.split(",")),
        model=arguments.model,
        topic=arguments.topic,
        sequence=arguments.sequence,
        port=arguments.port,
        jpeg=arguments.jpeg,
        take_in=arguments.take_in,
        hand_out=arguments.hand_out,
        video=arguments.video,
        replace=arguments.overwrite,
    )

    def announce(url: str) -> None:
        print(f"label at {url}  (Ctrl-C ends)", flush=True)

    summary = label_command(request, announce, progress_bar)
    minutes = sum(summary.seconds.values()) / 60
    print(f"{summary.path}: {summary.labelled} of {summary.frames} frames labelled, {minutes:.1f} min")

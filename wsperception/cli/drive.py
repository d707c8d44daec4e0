"""`wsperception drive`: synthetic drives, and KITTI sequences as bags."""

import argparse
from pathlib import Path

from wsperception.cli.image_size import image_size
from wsperception.cli.progress import progress_bar


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = (
        "Writes frames, masks, ids, boxes and a rosbag2 into a new folder; a seed gives the same bytes."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that does not exist yet")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another drive (default: 0)")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="length of a sequence (default: 100)")
    parser.add_argument("--sequences", type=int, default=1, metavar="N", help="number of sequences (default: 1)")
    parser.add_argument(
        "--size",
        type=image_size,
        default=(375, 1242),
        metavar="HxW",
        help="height and width in pixels (default: 375x1242)",
    )
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="frames per second (default: 10)")
    parser.add_argument("--scene", default="any", help="kind of street (default: any, drawn by the seed)")
    parser.add_argument(
        "--silhouettes", type=Path, metavar="FILE", help="MOTS text whose masks, ids and motion are taken"
    )
    parser.add_argument(
        "--from-kitti",
        type=Path,
        metavar="SEQUENCE",
        help="write this KITTI sequence as a rosbag2 instead; --rate counts",
    )
    parser.add_argument("--panoptic", action="store_true", help="also write panoptic labels, in COCO's format")
    parser.add_argument("--no-bag", action="store_true", help="leave the rosbag2 out")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="sequences made at the same time (default: 1)")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from wsperception.data.drive.write import drive_command
    from wsperception.data.kitti_bag import kitti_to_bag

    if arguments.from_kitti is not None:
        with progress_bar("copying") as progress:
            name = kitti_to_bag(arguments.from_kitti, arguments.out, rate_hz=arguments.rate, progress=progress)
        print(f"{arguments.out}: sequence {name}")
        return
    with progress_bar("painting") as progress:
        names = drive_command(
            arguments.out,
            arguments.seed,
            sequences=arguments.sequences,
            frames=arguments.frames,
            size=arguments.size,
            rate_hz=arguments.rate,
            scene=arguments.scene,
            bag=not arguments.no_bag,
            panoptic=arguments.panoptic,
            silhouettes=arguments.silhouettes,
            jobs=arguments.jobs,
            progress=progress,
        )
    print(f"{arguments.out}: sequences {', '.join(names)}")

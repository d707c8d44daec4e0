"""Writes the tags that training/panoptic.py learns stuff from: what an annotator would have said of full labels.

python training/panoptic_tags.py --labels DRIVE/training/panoptic --out DRIVE/training/tags.json
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from wsperception.data.coco_panoptic import open_sequences
from wsperception.errors import InputError
from wsperception.learn.panoptic.crop_tags import write_tags


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong."""
    options = _parse(arguments)
    try:
        write_tags(options.out, open_sequences(options.labels), (options.crop[0], options.crop[1]), options.share)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, metavar="FOLDER", help="COCO panoptic JSON files")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--crop", type=int, nargs=2, default=(400, 500), metavar=("H", "W"), help="size of the crops (LAT: 400 500)"
    )
    parser.add_argument("--share", type=float, default=0.0, help="part of a crop that a class must cover to be named")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

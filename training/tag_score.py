"""Panoptic quality of a run of jtsm, or of community, on images with full labels.

    python training/tag_score.py --run runs/four --data DRIVE --truth DRIVE/training/panoptic --out scores

Nobody looks at the images' tags. Writes the segments in COCO's panoptic format, scores.json and report.html.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.score import load_run
from training.segment_scores import score_segments
from training.tag_masks import Picture, tag_segments, thing_count
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.sources.image_file import read_image
from wsperception.errors import InputError
from wsperception.nets.community_net import CommunityNet
from wsperception.nets.jtsm_net import JtsmNet
from wsperception.types import LabelSpace, SegmentMap


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong."""
    options = _parse(arguments)
    try:
        print(score_run(options.run, options.data, options.split, options.truth, options.out))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def score_run(run: Path, root: Path, split: str, truth: Path, out: Path) -> str:
    """Writes the folder; the table of scores. InputError for a run of another method, and where `out` has results."""
    net, settings, data = load_run(run)
    if not isinstance(net, CommunityNet | JtsmNet):
        raise InputError(f"{run}: expected a run of jtsm or community")
    things = thing_count(net)
    labels = LabelSpace(data.classes, tuple(row < things for row in range(len(data.classes))))

    def segments(frame: LabelledFrame) -> SegmentMap:
        image = read_image(frame.path)
        return tag_segments(net, settings, Picture(image, None, str(frame.path)))

    return score_segments(read_labelled_frames((root,), split, labels, "weak"), segments, labels, truth, out)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run of jtsm or community")
    parser.add_argument("--data", type=Path, required=True, help="images, as training reads them")
    parser.add_argument("--truth", type=Path, required=True, help="their COCO panoptic labels, a JSON file a sequence")
    parser.add_argument("--split", default="all", help="sequences: all, train, val, fulltrain, or names and commas")
    parser.add_argument("--out", type=Path, required=True, help="folder of the scores")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

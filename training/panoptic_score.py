"""Panoptic quality of a run of training/panoptic.py on images with full labels.

    python training/panoptic_score.py --run runs/rounds/round-1 --detector tiny --data DRIVE --out scores

Things are the boxes that a deployed model finds, cut out by the instance network. Writes the segments in COCO's
panoptic format, scores.json and report.html.
"""

import argparse
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from training.panoptic_labelling import image_probabilities
from training.score import load_run
from training.segment_scores import score_segments
from wsperception.backends import Network, open_backend
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.sources.image_file import read_image
from wsperception.decode import decode
from wsperception.errors import InputError
from wsperception.learn.methods.panoptic import DetectedBoxes, PanopticNet
from wsperception.preprocess import letterbox
from wsperception.types import LabelSpace, SegmentMap


class Detector:
    """The boxes that a deployed model finds in an image, of the classes of the same names."""

    def __init__(self, backend: Network, bundle: ModelBundle, labels: LabelSpace, lowest: float) -> None:
        self._backend, self._input_size, self._lowest = backend, bundle.input_size, lowest
        names = bundle.label_space.names
        self._classes = np.array([labels.id_of(name) for name in names[: bundle.label_space.thing_count]])

    def __call__(self, image: np.ndarray) -> DetectedBoxes:
        """Of an image (H, W, 3) uint8 RGB, in its pixels."""
        buffer, placing = letterbox(image, self._input_size)
        found = decode(self._backend.run(buffer[None])[0], placing, self._lowest, len(self._classes))
        return DetectedBoxes(found.boxes, self._classes[found.class_ids], found.scores)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong."""
    options = _parse(arguments)
    try:
        print(score_round(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def score_round(options: argparse.Namespace) -> str:
    """Writes the folder of scores; their table."""
    net, _, data = load_run(options.run)
    if not isinstance(net, PanopticNet):
        raise InputError(f"{options.run}: expected a run of panoptic")
    labels = LabelSpace(data.classes, net.is_thing)
    frames = read_labelled_frames((options.data,), options.split, labels, "weak")
    bundle = read_bundle(options.detector)
    with closing(open_backend(bundle)) as backend:
        detector = Detector(backend, bundle, labels, options.score)
        segments = partial(frame_segments, net, detector, data.input_size)
        return score_segments(frames, segments, labels, options.data / "training/panoptic", options.out)


def frame_segments(
    net: PanopticNet, detector: Detector, input_size: tuple[int, int], frame: LabelledFrame
) -> SegmentMap:
    """The segments of an image."""
    image = read_image(frame.path)
    return net.predict(image, image_probabilities(net, image, input_size), detector(image))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a round")
    parser.add_argument(
        "--detector", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)"
    )
    parser.add_argument("--data", type=Path, required=True, help="images with labels in training/panoptic")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="all", help="sequences: all, train, val, fulltrain, or names and commas")
    parser.add_argument("--score", type=float, default=0.5, help="score from which a detection is a label")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

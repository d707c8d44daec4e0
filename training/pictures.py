"""Shows the masks of a run of wise beside the truth: true objects' middles, and some of the ways from points to masks.

python training/pictures.py --run runs/two --data DRIVE --out masks.png
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np

from training.score import masks_of_run, whole_sample
from wsperception.data.clips import ClipFrame
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.data.labelled_points import mask_middle
from wsperception.errors import InputError
from wsperception.learn.kept_work import whole_file
from wsperception.learn.points.wise_masks import FoundMasks
from wsperception.overlay import track_colour

COLUMNS = ("blobs", "best", "wise", "true-points")
GAP = 2
SCALE = 2
SURE = 0.25
"""Masks of a lower score are not shown."""


def painted(image: np.ndarray, masks: np.ndarray, points: bool = False) -> np.ndarray:
    """A copy of an image (H, W, 3) with masks (N, H, W) bool, the smallest on top; or with their middles (`points`)."""
    drawn = image.copy()
    for row in np.argsort(-masks.sum(axis=(1, 2)), kind="stable").tolist():
        mask, colour = masks[row], track_colour(row + 1)
        if points and mask.any():
            x, y = mask_middle(mask)
            cv2.circle(drawn, (int(x), int(y)), 3, colour, -1, cv2.LINE_AA)
        elif mask.any():
            drawn[mask] = (0.5 * drawn[mask] + 0.5 * np.array(colour)).astype(np.uint8)
            outline, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, outline, -1, colour, 1)
    return drawn


def picture(run: Path, data: Path, images: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a row for each of `images` images, spread over all; columns: middles, COLUMNS, truth.

    Raises InputError for a run of another method.
    """
    kinds, settings = masks_of_run(run)
    if not kinds.keys() >= set(COLUMNS):
        raise InputError(f"{run}: expected a run of wise that learnt from points")
    frames = read_labelled_frames((data,), "all", settings.labels, "full")
    rows = []
    for number in np.unique(np.linspace(0, len(frames) - 1, images).round().astype(int)).tolist():
        sample = whole_sample(frames[number], settings)
        rows.append(_row(sample, [_sure(kinds[kind](sample)) for kind in COLUMNS]))
    return np.asarray(cv2.resize(np.concatenate(rows), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST))


def _sure(found: FoundMasks) -> np.ndarray:
    chosen: np.ndarray = found.masks[found.scores >= SURE]
    return chosen


def _row(sample: ClipFrame, found: list[np.ndarray]) -> np.ndarray:
    assert sample.masks is not None
    cells = [painted(sample.image, sample.masks, points=True)]
    cells += [painted(sample.image, masks) for masks in (*found, sample.masks)]
    return np.concatenate([np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for cell in cells], axis=1)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong."""
    options = _parse(arguments)
    try:
        drawn = picture(options.run, options.data, options.images)
        content = cv2.imencode(".png", drawn[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
        with whole_file(options.out) as file:
            file.write(content.tobytes())
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run of wise")
    parser.add_argument("--data", type=Path, required=True, help="images with full labels")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args(arguments)
    if options.images < 1:
        parser.error(f"--images: expected at least 1, got {options.images}")
    if options.out.suffix != ".png":
        parser.error(f"--out: expected a name that ends in .png, got {options.out}")
    return options


if __name__ == "__main__":
    sys.exit(main())

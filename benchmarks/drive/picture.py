"""Draws docs/drive.png: one frame of a drive, as it is and with its masks.

python benchmarks/drive/picture.py --seed 63 --scene mixed --frame 2 --rate-hz 0.2 --out docs/drive.png
"""

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from wsperception.data.drive.sequence import IGNORE_ID, Drive, DriveFrame
from wsperception.data.drive.settings import DriveSettings


def with_masks(frame: DriveFrame) -> np.ndarray:
    """(H, W, 3) uint8: the frame under a tint per object; the ignore region is greyed."""
    picture = frame.image.copy()
    ignore = frame.ignore_mask
    picture[ignore] = (0.5 * picture[ignore] + 100).astype(np.uint8)
    for number in frame.ids.tolist():
        hue = np.array([[[number * 67 % 180, 200, 255]]], np.uint8)
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]
        mask = frame.object_ids == number
        picture[mask] = (0.45 * picture[mask] + 0.55 * colour).astype(np.uint8)
        outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        picture[outline & ~(frame.object_ids == IGNORE_ID)] = colour
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scene", default="any")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--rate-hz", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=828, help="of the picture, pixels")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    settings = DriveSettings(seed=options.seed, frames=options.frame + 1, rate_hz=options.rate_hz, scene=options.scene)
    frame = next(islice(Drive(settings).frames(), options.frame, None))
    both = np.concatenate([frame.image, np.full((6, settings.width, 3), 255, np.uint8), with_masks(frame)])
    height = round(len(both) * options.width / settings.width)
    small = cv2.resize(both, (options.width, height), interpolation=cv2.INTER_AREA)
    # Grain does not compress: smoothing it away halves the file.
    smooth = cv2.bilateralFilter(small, 5, 14, 3)
    cv2.imwrite(str(options.out), smooth[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()

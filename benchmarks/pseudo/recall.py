"""How often is a true object among the segment proposals? Recall at IoU 0.5 and 0.7 per class and height of the object.

python benchmarks/pseudo/recall.py --data DRIVE --frames 12
"""

import argparse
import dataclasses
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pseudo.objects import HEIGHTS, even_frames, group, true_masks
from wsperception.learn.proposals.segments import Proposals, ProposalSettings, segment_proposals

FIRST = 200
"""The likeliest proposals, which are scored on their own: does the objectness put objects first?"""


def best_overlaps(found: Proposals, truth: np.ndarray) -> tuple[float, float]:
    """The highest IoU of any proposal with a mask (H, W) bool, and that of the first FIRST proposals."""
    common = np.bincount(found.superpixels[truth], minlength=len(found.membership)) @ found.membership
    overlaps = common / (truth.sum() + found.areas - common)
    return float(overlaps.max(initial=0.0)), float(overlaps[:FIRST].max(initial=0.0))


def measure(root: Path, count: int, settings: ProposalSettings) -> tuple[np.ndarray, float, float]:
    """(N, 4) class, height, best IoU, best IoU of the first; proposals per image; CPU seconds per image."""
    rows, proposals, seconds = [], 0, 0.0
    frames = even_frames(root, count)
    for frame in frames:
        image = cv2.imread(str(frame.path), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        start = time.process_time()
        found = segment_proposals(image, settings)
        seconds += time.process_time() - start
        proposals += len(found)
        for class_id, box, truth in zip(frame.class_ids, frame.boxes, true_masks(frame), strict=True):
            rows.append((class_id, box[3] - box[1], *best_overlaps(found, truth)))
    return np.array(rows).reshape(-1, 4), proposals / len(frames), seconds / len(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a drive, or KITTI MOTS")
    parser.add_argument("--frames", type=int, default=12, help="frames, evenly over the sequences")
    parser.add_argument("--superpixels", type=int, nargs="+", default=[600, 1500])
    parser.add_argument("--paired", type=int, nargs="+", default=[0, ProposalSettings().paired])
    parser.add_argument("--trees", type=int, default=ProposalSettings().trees)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for superpixels in options.superpixels:
        for paired in options.paired:
            settings = dataclasses.replace(
                ProposalSettings(), superpixels=superpixels, paired=paired, trees=options.trees
            )
            rows, proposals, seconds = measure(options.data, options.frames, settings)
            print(f"\n{superpixels} superpixels, {paired} paired, {options.trees} trees: ", end="")
            print(f"{proposals:.0f} proposals, {seconds:.2f} s per image")
            print(f"{'':24}{'objects':>8}{'mean IoU':>10}{'at 0.5':>8}{'at 0.7':>8}{f'first {FIRST} at 0.5':>20}")
            for name, chosen in group(rows[:, 0], rows[:, 1], HEIGHTS):
                part = rows[chosen]
                print(
                    f"{name:24}{len(part):>8}{part[:, 2].mean():>10.3f}{(part[:, 2] >= 0.5).mean():>8.2f}"
                    f"{(part[:, 2] >= 0.7).mean():>8.2f}{(part[:, 3] >= 0.5).mean():>20.2f}"
                )


if __name__ == "__main__":
    main()

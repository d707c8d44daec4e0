"""Seconds that the instance network's mean field takes at 384 x 1248 with 20 detections and 3 stuff classes.

Run from the repository root: `python benchmarks/panoptic/mean_field.py [--image FILE] [--iterations 5] [--threads 2]`
"""

import argparse
import dataclasses
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.errors import InputError
from wsperception.learn.crf.mean_field import PairwiseSettings
from wsperception.learn.panoptic.instance_crf import InstanceCrf, InstanceCrfSettings, instance_labels

SIZE = (384, 1248)
DETECTIONS = 20
IS_THING = (False, False, False, True, True)


def picture(path: Path | None) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a photograph, of which the middle is taken, or a frame of a synthetic drive."""
    if path is None:
        *_, frame = Drive(DriveSettings(seed=1, frames=2, height=SIZE[0], width=SIZE[1])).frames()
        return frame.image
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise InputError(f"{path}: expected an image that OpenCV reads")
    top, left = (image.shape[0] - SIZE[0]) // 2, (image.shape[1] - SIZE[1]) // 2
    return np.ascontiguousarray(image[top : top + SIZE[0], left : left + SIZE[1]])


def guesses(seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Probabilities (C, H, W) of stride 8 at the image's size, and boxes (D, 4)."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(0, 3, (1, len(IS_THING), SIZE[0] // 8, SIZE[1] // 8))).float()
    semantic = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")[0].softmax(dim=0)
    corners = rng.uniform(0, [SIZE[1] - 150, SIZE[0] - 100], (DETECTIONS, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, [150, 100], (DETECTIONS, 2))], axis=1)
    return semantic, boxes.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, help="a photograph of at least that size; default: a synthetic street")
    parser.add_argument("--iterations", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = torch.from_numpy(picture(options.image)).permute(2, 0, 1)
    semantic, boxes = guesses(seed=1)
    classes, scores = np.tile([3, 4], DETECTIONS // 2), np.linspace(0.5, 1.0, DETECTIONS)
    labels = instance_labels(classes, scores, boxes, IS_THING, SIZE)
    for iterations in options.iterations:
        pairwise = dataclasses.replace(PairwiseSettings(), iterations=iterations)
        network = InstanceCrf(InstanceCrfSettings(pairwise=pairwise))
        times = []
        with torch.no_grad():
            for _ in range(options.runs + 1):
                start = time.perf_counter()
                network(semantic, image, labels)
                times.append(time.perf_counter() - start)
        print(
            f"{SIZE[0]} x {SIZE[1]}, {len(labels)} labels, {iterations} updates, {options.threads} threads: "
            f"median {statistics.median(times[1:]):.2f} s, best {min(times[1:]):.2f} s (aim 1.5 s)"
        )


if __name__ == "__main__":
    main()

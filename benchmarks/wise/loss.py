"""What L-Net's loss costs outside the network: forward and backward of the four terms for one image.

python -m benchmarks.wise.loss
"""

import argparse
import statistics
import time

import cv2
import numpy as np
import torch

from wsperception.learn.points.lcfcn import location_terms
from wsperception.nets.wise_net import upsampled

CLASSES = 2


def scene(size: tuple[int, int], points: int, seed: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Logits at stride 8 as L-Net gives them in the middle of training, with their points.

    Some objects have a blob of their own, some share one, and there are blobs without a point.
    """
    random = np.random.default_rng(seed)
    height, width = size
    pixels = np.stack([random.integers(0, height, points), random.integers(0, width, points)], axis=1)
    class_ids = random.integers(0, CLASSES, points)
    maps = np.zeros((CLASSES + 1, height // 8, width // 8), np.float32)
    for (row, column), class_id in zip(pixels // 8, class_ids, strict=True):
        maps[class_id + 1, row, column] = 40.0
    maps[1:, random.integers(0, height // 8, 6), random.integers(0, width // 8, 6)] = 40.0
    for channel in range(1, CLASSES + 1):
        maps[channel] = cv2.GaussianBlur(maps[channel], (0, 0), 1.2)
    maps[0] = 2.0
    return torch.from_numpy(maps + random.normal(0, 0.2, maps.shape).astype(np.float32)), pixels, class_ids


def measure(size: tuple[int, int], points: int, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of wall clock and of processor time of `rounds` losses of as many scenes, after one to warm up."""
    wall, processor = [], []
    for seed in range(rounds + 1):
        logits, pixels, class_ids = scene(size, points, seed)
        full = upsampled(logits[None], size)[0].requires_grad_()
        clocks = time.perf_counter(), time.process_time()
        torch.stack(list(location_terms(full, pixels, class_ids).values())).sum().backward()  # type: ignore[no-untyped-call]
        if seed > 0:
            wall.append((time.perf_counter() - clocks[0]) * 1e3)
            processor.append((time.process_time() - clocks[1]) * 1e3)
    return wall, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 832), metavar=("H", "W"))
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    wall, processor = measure((options.size[0], options.size[1]), options.points, options.rounds)
    print(
        f"{options.points} points at {options.size[0]}x{options.size[1]}, {options.threads} threads: median "
        f"{statistics.median(wall):.1f} ms, slowest {max(wall):.1f} ms; processor {statistics.median(processor):.1f} ms"
    )


if __name__ == "__main__":
    main()

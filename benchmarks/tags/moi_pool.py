"""What pooling thousands of segments costs: seconds forward and backward, and memory.

    python -m benchmarks.tags.moi_pool

2,000 segment proposals of one 480x640 image, features at stride 16, a grid of 7x7; two threads on a CPU. Each kind of
pooling runs in a process of its own; memory is what that process grew by at its peak, pooled features and their
gradient among it. The image is a photograph where --image names one and a synthetic street otherwise.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.learn.proposals.segments import ProposalSettings, segment_proposals
from wsperception.nets.moi_pool import POOLINGS, pool_segments
from wsperception.nets.segment_set import SegmentSet

STRIDE = 16
SIDE = 7


def street() -> np.ndarray:
    """(480, 640, 3) uint8."""
    (frame,) = Drive(DriveSettings(seed=3, frames=1, height=480, width=640, scene="traffic")).frames()
    return np.asarray(frame.image)


def prepared(image: np.ndarray, count: int) -> SegmentSet:
    found = segment_proposals(image, ProposalSettings())
    if len(found) < count:
        raise SystemExit(f"the image gives {len(found)} segments, {count} are wanted")
    return SegmentSet(
        torch.from_numpy(found.superpixels).long(),
        torch.from_numpy(found.membership[:, :count]),
        torch.from_numpy(found.boxes[:count]),
    )


def measure(pooling: str, segments: SegmentSet, channels: int, rounds: int) -> str:
    height, width = segments.superpixels.shape
    features = torch.rand((channels, height // STRIDE, width // STRIDE), generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forward, backward = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        pooled = pool_segments(features, segments, STRIDE, SIDE, pooling, "cells", torch.ones(len(segments)))
        middle = time.perf_counter()
        torch.autograd.grad(pooled, features, torch.ones_like(pooled))
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
        del pooled
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    times = f"{statistics.median(forward):.2f} + {statistics.median(backward):.2f} s"
    return f"{pooling:14} {channels:4} channels  {times} forward + backward, median of {rounds}; {grown:.2f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poolings", nargs="+", choices=POOLINGS, default=list(POOLINGS), metavar="KIND")
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--segments", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image", type=Path, help="photograph; it is brought to 480x640")
    options = parser.parse_args()
    if len(options.poolings) > 1:
        arguments = [argument for argument in sys.argv[1:] if argument not in ("--poolings", *options.poolings)]
        for pooling in options.poolings:
            command = [sys.executable, "-m", "benchmarks.tags.moi_pool", *arguments, "--poolings", pooling]
            subprocess.run(command, check=True, env=os.environ)
        return
    torch.set_num_threads(options.threads)
    image = street() if options.image is None else cv2.imread(str(options.image), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise SystemExit(f"{options.image}: expected an image that OpenCV reads")
    segments = prepared(cv2.resize(image, (640, 480), interpolation=cv2.INTER_AREA), options.segments)
    print(measure(options.poolings[0], segments, options.channels, options.rounds), flush=True)


if __name__ == "__main__":
    main()

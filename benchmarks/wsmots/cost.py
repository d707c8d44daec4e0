"""What the terms of weak supervision cost: processor time of a training step with and without each, on a CPU.

    python -m benchmarks.wsmots.cost

The tiny network at 96x320, four frames with eight objects each, one thread; times of the calling thread, so that other
load on the machine counts little.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from wsperception.data.clips import ClipFrame
from wsperception.learn.methods import wsmots
from wsperception.learn.weak_masks.terms import WeakSettings
from wsperception.nets.settings import NetSettings

NET = NetSettings(
    backbone="tiny", fpn_channels=64, anchor_scale=4.0, canonical_size=56.0, box_features=128, mask_channels=32,
    mask_sampling=1, track_features=64,
)  # fmt: skip
SETTINGS = wsmots.Settings(net=NET, pre_nms=300, proposals=150, anchor_samples=128, roi_samples=32)
NOTHING = WeakSettings(loc_weight=0.0, crf_weight=0.0)
TERMS = {
    "boxes only": NOTHING,
    "filled boxes": replace(NOTHING, fill_weight=1.0),
    "L_loc": replace(NOTHING, loc_weight=1.0),
    "L_CRF at 128x128, 2 RoIs a frame": replace(NOTHING, crf_weight=0.3, crf_rois=2),
    "L_CRF at 128x128, all RoIs": replace(NOTHING, crf_weight=0.3),
    "projection": replace(NOTHING, projection_weight=1.0),
    "pairwise": replace(NOTHING, pairwise_weight=1.0),
    "temporal": replace(NOTHING, temporal_weight=1.0),
    "agreement": replace(NOTHING, agreement_weight=1.0),
    "mean teacher": replace(NOTHING, teacher_weight=1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = [_frame(0), _frame(0), _frame(1), _frame(1)]
    base = 0.0
    for name, weak in TERMS.items():
        seconds = _step_seconds(weak, frames, options.steps)
        base = base or seconds
        print(f"{name:34} {1000 * seconds:6.0f} ms  {100 * (seconds / base - 1):+5.0f} %", flush=True)


def _step_seconds(weak: WeakSettings, frames: list[ClipFrame], steps: int) -> float:
    """Median of a step's forward and backward pass."""
    torch.manual_seed(0)
    method = wsmots.build(replace(SETTINGS, weak=weak), 2)
    method.learn_from(wsmots.build(SETTINGS, 2).net.eval().requires_grad_(False))
    times = []
    for step in range(steps + 2):
        generators = [torch.Generator().manual_seed(number) for number in range(step, step + len(frames))]
        before = time.thread_time()
        terms, _ = method(frames, generators, 1.0)
        torch.stack(list(terms.values())).sum().backward()
        times.append(time.thread_time() - before)
        method.zero_grad(set_to_none=True)
    return statistics.median(times[2:])


def _frame(clip: int) -> ClipFrame:
    random = np.random.default_rng(clip)
    corners = random.uniform([0, 20], [270, 50], (8, 2))
    boxes = np.concatenate([corners, corners + random.uniform([10, 15], [45, 40], (8, 2))], axis=1).astype(np.float32)
    image = random.integers(0, 256, (96, 320, 3), np.uint8)
    keys = np.arange(8) + 10 * clip
    return ClipFrame(
        image, boxes, np.arange(8) % 2, keys, None, np.zeros((0, 4), np.float32), None, clip, "noise"
    )  # fmt: skip


if __name__ == "__main__":
    main()

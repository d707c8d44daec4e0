"""Small training data, and a method that trains in milliseconds."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wsperception import rle
from wsperception.data.clips import ClipFrame
from wsperception.learn.methods import METHODS
from wsperception.settings import setting

sys.path.insert(0, str(Path(__file__).parent))  # for train_runs

IMAGE_SIZE = (64, 160)


@pytest.fixture(scope="session")
def kitti_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of five frames 160x64 with a moving "car" and a moving "pedestrian", in masks and in boxes."""
    root = tmp_path_factory.mktemp("data") / "drive"
    for sequence in range(2):
        write_sequence(root, f"{sequence:04d}", 5, seed=sequence)
    return root


def write_sequence(root: Path, name: str, frames: int, seed: int) -> None:
    """One sequence in the layouts of KITTI MOTS (text) and KITTI tracking."""
    random = np.random.default_rng(seed)
    for part in ("image_02", "instances_txt", "label_02"):
        (root / "training" / part).mkdir(parents=True, exist_ok=True)
    (root / "training/image_02" / name).mkdir()
    height, width = IMAGE_SIZE
    masks, boxes = [], []
    for frame in range(frames):
        image = random.integers(60, 120, (height, width, 3), np.uint8)
        objects = {(1, 1001, "Car"): (20 + 4 * frame, 30, 70 + 4 * frame, 56)}
        objects[2, 2002, "Pedestrian"] = (110 - 3 * frame, 12, 126 - 3 * frame, 52)
        for (number, track, kind), (x0, y0, x1, y1) in objects.items():
            image[y0:y1, x0:x1, number] += 120
            mask = np.zeros((height, width), bool)
            mask[y0:y1, x0:x1] = True
            masks.append(f"{frame} {track} {number} {height} {width} {rle.encode(mask).decode()}\n")
            boxes.append(f"{frame} {track} {kind} 0 0 -10 {x0} {y0} {x1} {y1} -1 -1 -1 -1 -1 -1 -1\n")
        cv2.imwrite(str(root / "training/image_02" / name / f"{frame:06d}.png"), image)
    (root / "training/instances_txt" / f"{name}.txt").write_text("".join(masks))
    (root / "training/label_02" / f"{name}.txt").write_text("".join(boxes))


@dataclass(frozen=True)
class ToySettings:
    """Settings of the toy method."""

    clip_frames: int = setting(2, "frames per clip", low=1)
    poison: float = setting(2.0, "progress from which the second loss is infinite", low=0.0)
    steep: float = setting(2.0, "progress from which its gradient is infinite", low=0.0)


class Toy(nn.Module):
    """Fits the mean colour to a target that is drawn anew for each frame: every loss is a mean over frames."""

    def __init__(self, settings: ToySettings) -> None:
        super().__init__()
        self.settings = settings
        self.net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        colours = torch.tensor(np.stack([frame.image.mean(axis=(0, 1)) / 255 for frame in frames]), dtype=torch.float32)
        targets = torch.stack([torch.rand((), generator=generator) for generator in generators])
        error = self.net(colours)[:, 0] - targets
        second = error.abs().mean()
        if progress >= self.settings.poison:
            second = second / 0.0
        if progress >= self.settings.steep:
            second = (second * 0.0).sqrt()  # 0, with a slope of infinity times 0
        covered = [len(frame.boxes) / 2.0 for frame in frames if len(frame.boxes)]
        figures = {"mask_area_share": torch.tensor([sum(covered), len(covered)])}
        return {"square": error.square().mean(), "absolute": second}, figures


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name under which the toy method can be trained."""
    module: Any = ModuleType("toy")
    module.Settings = ToySettings
    module.build = lambda settings, class_count, supervision: Toy(settings)
    monkeypatch.setitem(METHODS, "toy", module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and with it the last bit, depends on the number of threads
    yield "toy"
    torch.set_num_threads(threads)

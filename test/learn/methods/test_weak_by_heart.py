"""A scene learnt by heart from boxes alone: its masks follow the objects, which fill half of their boxes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from wsperception.data.clips import ClipFrame  # noqa: E402
from wsperception.learn.detection import mask_targets  # noqa: E402
from wsperception.learn.methods import wsmots  # noqa: E402
from wsperception.learn.weak_masks.terms import WeakSettings  # noqa: E402
from wsperception.nets.settings import NetSettings  # noqa: E402
from wsperception.nets.tiny import TinyBackbone  # noqa: E402

SETTINGS = wsmots.Settings(
    net=NetSettings(
        backbone="tiny", fpn_channels=16, anchor_scale=4.0, canonical_size=60.0, box_features=32, mask_channels=16,
        mask_layers=2, mask_sampling=1, track_features=16,
    ),
    pre_nms=60, proposals=40, anchor_samples=64, roi_samples=32,
    weak=WeakSettings(crf_weight=1.0, crf_side=32, crf_rois=4),
)  # fmt: skip
STEPS = 150


def diamonds(shift: int) -> tuple[ClipFrame, np.ndarray]:
    """Two diamonds of one class and one of another, 64 x 96, and their masks, which the frame does not hold."""
    image = np.random.default_rng(5).integers(100, 108, (64, 96, 3)).astype(np.uint8)
    y, x = np.mgrid[:64, :96] + 0.5
    masks = np.stack([
        abs(x - 20 - shift) / 12 + abs(y - 30) / 16 < 1,
        abs(x - 52 - shift) / 14 + abs(y - 36) / 12 < 1,
        abs(x - 80 + shift) / 9 + abs(y - 32) / 20 < 1,
    ])  # fmt: skip
    for mask, colour in zip(masks, ((250, 40, 40), (40, 250, 40), (60, 60, 250)), strict=True):
        image[mask] = colour
    boxes = [
        [m.any(0).argmax(), m.any(1).argmax(), 96 - m.any(0)[::-1].argmax(), 64 - m.any(1)[::-1].argmax()]
        for m in masks
    ]
    frame = ClipFrame(
        image, np.array(boxes, np.float32), np.array([0, 0, 1]), np.array([11, 12, 13]), None,
        np.zeros((0, 4), np.float32), None, 0, "diamonds",
    )  # fmt: skip
    return frame, masks


def iou(a: Tensor, b: Tensor) -> Tensor:
    return (a & b).sum(dim=(1, 2)) / (a | b).sum(dim=(1, 2))


def test_masks_beat_the_filled_box_without_ever_seeing_one(monkeypatch: pytest.MonkeyPatch):
    # Three diamonds need no more features than these, and a step takes two thirds of the time.
    monkeypatch.setattr(TinyBackbone, "channels", (32, 64, 96, 96))
    monkeypatch.setattr(TinyBackbone, "blocks", (1, 1, 1, 1))
    torch.manual_seed(0)
    method = wsmots.build(SETTINGS, 2)
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / (1.1 * STEPS))
        frames = [diamonds(step % 5)[0], diamonds((step + 2) % 5)[0]]
        seeds = [torch.Generator().manual_seed(seed) for seed in (step, step + 1000)]
        terms, _ = method(frames, seeds, step / STEPS)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    frame, truth = diamonds(2)
    with torch.no_grad():
        boxes, rows = torch.from_numpy(frame.boxes), torch.arange(3)
        pyramid = method.net.pyramid(torch.from_numpy(frame.image)[None])
        features = method.net.pool(pyramid, boxes, torch.zeros(3, dtype=torch.long))
        masks = method.net.mask(features)[rows, torch.from_numpy(frame.class_ids)] > 0
    targets = mask_targets(torch.from_numpy(truth), rows, boxes) > 0
    ours, filled = iou(masks, targets), iou(torch.ones_like(masks), targets)
    assert filled.max() < 0.56
    assert (ours > filled).all(), ours.tolist()
    assert ours.mean() > filled.mean() + 0.1, ours.tolist()

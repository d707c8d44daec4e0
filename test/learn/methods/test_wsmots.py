"""The method as a whole: every part learns, frames are independent, and a small scene can be learnt by heart."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torchvision.ops import box_iou  # noqa: E402

from wsperception.data.clips import ClipFrame  # noqa: E402
from wsperception.learn.methods import wsmots  # noqa: E402
from wsperception.nets.detect import detect  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402

SETTINGS = wsmots.Settings(
    net=NetSettings(
        backbone="tiny", fpn_channels=16, anchor_scale=4.0, canonical_size=60.0, box_features=32, mask_channels=16,
        mask_layers=2, mask_sampling=1, track_features=16,
    ),
    pre_nms=60, proposals=40, anchor_samples=64, roi_samples=32,
)  # fmt: skip
TERMS = {"rpn_objectness", "rpn_box", "box_class", "box_delta", "mask", "track"}


def scene(shift: int, clip: int = 0) -> ClipFrame:
    """Two discs of one class and a bar of another on noise, 64 x 96; `shift` moves them by pixels."""
    random = np.random.default_rng(5)
    image = random.integers(90, 130, (64, 96, 3)).astype(np.uint8)
    y, x = np.mgrid[:64, :96] + 0.5
    masks = np.stack([
        (x - 20 - shift) ** 2 + (y - 30) ** 2 < 12**2,
        (x - 50 - shift) ** 2 + (y - 36) ** 2 < 10**2,
        (abs(x - 78 + shift) < 5) & (abs(y - 32) < 20),
    ])  # fmt: skip
    for mask, colour in zip(masks, ((250, 40, 40), (40, 250, 40), (60, 60, 250)), strict=True):
        image[mask] = colour
    boxes = [
        [m.any(0).argmax(), m.any(1).argmax(), 96 - m.any(0)[::-1].argmax(), 64 - m.any(1)[::-1].argmax()]
        for m in masks
    ]
    return ClipFrame(
        image, np.array(boxes, np.float32), np.array([0, 0, 1]), np.array([11, 12, 13]), masks,
        np.zeros((0, 4), np.float32), None, clip, "scene",
    )  # fmt: skip


def empty_scene() -> ClipFrame:
    return ClipFrame(
        np.full((64, 96, 3), 100, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
        np.zeros(0, np.int64), np.zeros((0, 64, 96), bool), np.zeros((0, 4), np.float32), None, 0, "empty",
    )  # fmt: skip


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def model() -> wsmots.Wsmots:
    torch.manual_seed(0)
    return wsmots.build(SETTINGS, 2)


def test_every_part_gets_a_gradient():
    method = model()
    terms = method([scene(0), scene(3)], generators(1, 2), 0.0)
    assert set(terms) == TERMS
    sum(terms.values()).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_frames_without_objects_train_the_rest():
    method = model()
    terms = method([empty_scene(), empty_scene()], generators(1, 2), 0.0)
    assert terms["mask"].item() == terms["track"].item() == terms["rpn_box"].item() == 0.0
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_the_joint_batch_is_the_mean_of_its_clips():
    # What makes several processes equal one: losses are means over frames and clips, and sampling follows the frame.
    method = model()
    first, second = [scene(0), scene(3)], [scene(5, 1), empty_scene()]
    together = method(first + second, generators(1, 2, 3, 4), 0.0)
    apart = [method(first, generators(1, 2), 0.0), method(second, generators(3, 4), 0.0)]
    for name in TERMS:
        mean = (apart[0][name] + apart[1][name]) / 2
        assert together[name].item() == pytest.approx(mean.item(), rel=1e-4, abs=1e-6), name


def test_the_tracking_loss_reaches_the_masks_unless_told_not_to():
    for reaches in (True, False):
        torch.manual_seed(0)
        method = wsmots.build(wsmots.Settings(**{**SETTINGS.__dict__, "track_to_masks": reaches}), 2)
        track = method([scene(0), scene(3)], generators(1, 2), 0.0)["track"]
        assert track.item() > 0
        track.backward()
        gradient = method.net.mask.logits.weight.grad
        assert (gradient is not None and gradient.abs().sum() > 0) == reaches


def test_weights_scale_their_terms():
    base = model()([scene(0), scene(3)], generators(1, 2), 0.0)
    torch.manual_seed(0)
    scaled = wsmots.build(wsmots.Settings(**{**SETTINGS.__dict__, "balance": 3.0, "track_weight": 0.5}), 2)
    found = scaled([scene(0), scene(3)], generators(1, 2), 0.0)
    for name in TERMS:
        factor = 0.5 if name == "track" else 3.0
        assert found[name].item() == pytest.approx(factor * base[name].item(), rel=1e-5), name


def test_a_scene_can_be_learnt_by_heart():
    method = model()
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / 170)
        terms = method([scene(step % 5), scene((step + 2) % 5)], generators(step, step + 1000), 0.0)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    truth = scene(2)
    # As many proposals as in training: worse ones than these were never seen as background.
    settings = DetectSettings(min_score=0.5, pre_nms=SETTINGS.pre_nms, proposals=SETTINGS.proposals)
    found = detect(method.net.eval(), torch.from_numpy(truth.image)[None], settings)[0]
    assert sorted(found.class_ids.tolist()) == [0, 0, 1]
    best, order = box_iou(torch.from_numpy(truth.boxes), found.boxes).max(dim=1)
    assert sorted(order.tolist()) == [0, 1, 2]
    assert best.min() > 0.7
    assert found.embeddings[order[0]] @ found.embeddings[order[1]] < 0.8  # two objects of a class are told apart
    with torch.no_grad():  # masks in the true boxes, so that an edge that is a little off does not count twice
        pyramid = method.net.pyramid(torch.from_numpy(truth.image)[None])
        features = method.net.pool(pyramid, torch.from_numpy(truth.boxes), torch.zeros(3, dtype=torch.long))
        masks = method.net.mask(features)[torch.arange(3), torch.from_numpy(truth.class_ids)] > 0
    filled = masks.float().mean(dim=(1, 2))
    assert 0.65 < filled[0] < 0.88  # pi / 4 of its box, not all of it
    assert filled[2] > 0.9

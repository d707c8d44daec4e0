"""The method as a whole: every part learns, frames are independent, and a small scene can be learnt by heart."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torchvision.ops import box_iou  # noqa: E402

from wsperception.data.clips import ClipFrame  # noqa: E402
from wsperception.data.panoptic_labels import PanopticLabels  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.methods import wsmots  # noqa: E402
from wsperception.learn.weak_masks.terms import WeakSettings  # noqa: E402
from wsperception.nets.detect import detect  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402
from wsperception.types import VOID  # noqa: E402

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
    return wsmots.build(SETTINGS, 2, "full")


def test_every_part_gets_a_gradient():
    method = model()
    terms, _ = method([scene(0), scene(3)], generators(1, 2), 0.0)
    assert set(terms) == TERMS
    sum(terms.values()).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_frames_without_objects_train_the_rest():
    method = model()
    terms, _ = method([empty_scene(), empty_scene()], generators(1, 2), 0.0)
    assert terms["mask"].item() == terms["track"].item() == terms["rpn_box"].item() == 0.0
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_the_joint_batch_is_the_mean_of_its_clips():
    # What makes several processes equal one: losses are means over frames and clips, and sampling follows the frame.
    method = model()
    first, second = [scene(0), scene(3)], [scene(5, 1), empty_scene()]
    together, _ = method(first + second, generators(1, 2, 3, 4), 0.0)
    apart = [method(first, generators(1, 2), 0.0)[0], method(second, generators(3, 4), 0.0)[0]]
    for name in TERMS:
        mean = (apart[0][name] + apart[1][name]) / 2
        assert together[name].item() == pytest.approx(mean.item(), rel=1e-4, abs=1e-6), name


def test_the_tracking_loss_reaches_the_masks_unless_told_not_to():
    for reaches in (True, False):
        torch.manual_seed(0)
        method = wsmots.build(wsmots.Settings(**{**SETTINGS.__dict__, "track_to_masks": reaches}), 2, "full")
        track = method([scene(0), scene(3)], generators(1, 2), 0.0)[0]["track"]
        assert track.item() > 0
        track.backward()
        gradient = method.net.mask.logits.weight.grad
        assert (gradient is not None and gradient.abs().sum() > 0) == reaches


def test_weights_scale_their_terms():
    base, _ = model()([scene(0), scene(3)], generators(1, 2), 0.0)
    torch.manual_seed(0)
    scaled = wsmots.build(wsmots.Settings(**{**SETTINGS.__dict__, "balance": 3.0, "track_weight": 0.5}), 2, "full")
    found, _ = scaled([scene(0), scene(3)], generators(1, 2), 0.0)
    for name in TERMS:
        factor = 0.5 if name == "track" else 3.0
        assert found[name].item() == pytest.approx(factor * base[name].item(), rel=1e-5), name


def test_a_scene_can_be_learnt_by_heart():
    method = model()
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / 170)
        terms, _ = method([scene(step % 5), scene((step + 2) % 5)], generators(step, step + 1000), 0.0)
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


WEAK_TERMS = TERMS - {"mask"} | {"mask_loc", "mask_crf"}
BEYOND = ("projection", "pairwise", "temporal", "agreement", "teacher", "fill")
EVERYTHING = WeakSettings(
    crf_side=32, crf_rois=2, projection_weight=1.0, pairwise_weight=1.0, temporal_weight=1.0, agreement_weight=1.0,
    fill_weight=0.5, teacher_weight=1.0, teacher_start=0.5,
)  # fmt: skip


TEACHER = model().net.eval().requires_grad_(False)


def boxes_only(frame: ClipFrame) -> ClipFrame:
    return replace(frame, masks=None)


def weak_model(weak: WeakSettings = EVERYTHING, **changes: object) -> wsmots.Wsmots:
    torch.manual_seed(0)
    method = wsmots.build(replace(SETTINGS, weak=weak, **changes), 2)
    if method.settings.needs_average:
        method.learn_from(TEACHER)
    return method


def weak_clip() -> list[ClipFrame]:
    return [boxes_only(scene(0)), boxes_only(scene(3))]


def test_weak_training_reaches_every_part():
    method = weak_model()
    terms, figures = method(weak_clip(), generators(1, 2), 0.7)
    assert set(terms) == WEAK_TERMS | {f"mask_{name}" for name in BEYOND}
    assert set(figures) >= {"mask_area_share", "mask_void_share", "mask_positive_share", "teacher_weight"}
    sum(terms.values()).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert not any("teacher" in name for name in method.state_dict())
    assert all(parameter.grad is None for parameter in TEACHER.parameters())


def test_a_term_without_weight_is_absent():
    terms, figures = weak_model(WeakSettings(loc_weight=0.0, crf_weight=0.0, fill_weight=1.0))(
        weak_clip(), generators(1, 2), 0.0
    )
    assert {name for name in terms if name.startswith("mask")} == {"mask_fill"}
    assert "mask_void_share" not in figures


def test_the_teacher_waits():
    method = weak_model()
    assert method(weak_clip(), generators(1, 2), 0.49)[0]["mask_teacher"].item() == 0.0
    early, late = (method(weak_clip(), generators(1, 2), progress)[0]["mask_teacher"] for progress in (0.5, 0.9))
    assert early.item() == late.item()


def test_frames_without_objects_train_the_rest_of_weak_training():
    method = weak_model()
    terms, figures = method([boxes_only(empty_scene())] * 2, generators(1, 2), 0.9)
    assert all(terms[name].item() == 0.0 for name in terms if name.startswith("mask"))
    assert figures["mask_area_share"].tolist() == [0.0, 0.0]
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_the_joint_weak_batch_is_the_mean_of_its_clips():
    method = weak_model()
    first, second = weak_clip(), [boxes_only(scene(5, 1)), boxes_only(empty_scene())]
    together, figures = method(first + second, generators(1, 2, 3, 4), 0.9)
    apart = [method(first, generators(1, 2), 0.9), method(second, generators(3, 4), 0.9)]
    for name in together:
        mean = (apart[0][0][name] + apart[1][0][name]) / 2
        assert together[name].item() == pytest.approx(mean.item(), rel=1e-4, abs=1e-6), name
    for name in figures:
        torch.testing.assert_close(figures[name], apart[0][1][name] + apart[1][1][name], msg=name)


def test_figures_tell_how_the_masks_do():
    method = weak_model(WeakSettings(crf_weight=0.0))
    with torch.no_grad():
        method.net.mask.logits.weight.zero_()
        method.net.mask.logits.bias.fill_(3.0)
    figures = method(weak_clip(), generators(1, 2), 0.0)[1]
    share, count = figures["mask_area_share"].tolist()
    assert share == pytest.approx(count)  # every mask fills the grid, which is the box
    void, positive = (figures[name][0] / figures[name][1] for name in ("mask_void_share", "mask_positive_share"))
    assert void + positive < 1  # the rest is background outside of the true boxes
    assert min(void, positive) > 0.02
    wide = weak_model(WeakSettings(crf_weight=0.0), net=replace(SETTINGS.net, mask_context=1.5))
    with torch.no_grad():
        wide.net.mask.logits.weight.zero_()
        wide.net.mask.logits.bias.fill_(3.0)
    share, count = wide(weak_clip(), generators(1, 2), 0.0)[1]["mask_area_share"].tolist()
    assert share == pytest.approx(2.25 * count)  # the grid is 1.5 x 1.5 of the box


def test_masks_are_refused_where_boxes_were_promised():
    with pytest.raises(InputError, match="scene: expected boxes and no masks under weak supervision, got masks"):
        weak_model()([scene(0), scene(3)], generators(1, 2), 0.0)
    with pytest.raises(InputError, match="scene: expected masks under full supervision, got none"):
        model()(weak_clip(), generators(1, 2), 0.0)


def test_weak_training_in_bf16_and_channels_last():
    method = weak_model().to(memory_format=torch.channels_last)
    exact = method(weak_clip(), generators(1, 2), 0.9)[0]
    with torch.autocast("cpu", torch.bfloat16):
        terms, _ = method(weak_clip(), generators(1, 2), 0.9)
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in method.net.box.parameters())
    for name in ("mask_loc", "mask_fill"):
        assert terms[name].item() == pytest.approx(exact[name].item(), rel=0.15), name


def test_the_crf_term_rises_to_its_weight():
    method = weak_model(WeakSettings(crf_weight=0.5, ramp=0.4, crf_side=32))
    values = [method(weak_clip(), generators(1, 2), progress)[0]["mask_crf"].item() for progress in (0.0, 0.1, 0.4, 1)]
    assert values[0] == 0.0
    assert values[1] == pytest.approx(values[2] / 4, rel=1e-5)
    assert values[2] == pytest.approx(values[3], rel=1e-5)
    assert 0 < values[3] <= 0.5 * 0.25  # at most a quarter of all affinity is cut


def test_pseudo_masks_take_the_place_of_masks():
    # Everything but the pseudo masks' own cells is as it was: void where undecided, else what the mask says.
    method = weak_model(WeakSettings(loc_weight=0.0, crf_weight=0.0, pseudo_weight=2.0))
    first, second = (replace(scene(shift), ignore_mask=np.zeros((64, 96), bool)) for shift in (0, 3))
    known = method([first, second], generators(1, 2), 0.0)[0]
    full = model()([scene(0), scene(3)], generators(1, 2), 0.0)[0]
    assert known["mask_pseudo"].item() == pytest.approx(2.0 * full["mask"].item(), rel=0.05)
    void = [
        replace(frame, ignore_mask=np.any(frame.masks, axis=0), masks=np.zeros((3, 64, 96), bool))
        for frame in (first, second)
    ]
    undecided = method(void, generators(1, 2), 0.0)[0]
    assert undecided["mask_pseudo"].item() != pytest.approx(known["mask_pseudo"].item(), rel=0.05)
    with pytest.raises(InputError, match="scene: expected masks under weak supervision, got none"):
        method(weak_clip(), generators(1, 2), 0.0)


def test_the_tracking_loss_alone_moves_masks_unless_told_not_to():
    for reaches in (True, False):
        method = weak_model(WeakSettings(crf_weight=0.0), track_to_masks=reaches)
        method(weak_clip(), generators(1, 2), 0.0)[0]["track"].backward()
        gradient = method.net.mask.logits.weight.grad
        assert (gradient is not None and gradient.abs().sum() > 0) == reaches


def panoptic_scene(shift: int) -> ClipFrame:
    """The scene with labels: its things, void left of column 10, stuff 2 above row 20 and stuff 3 below."""
    frame = scene(shift)
    assert frame.masks is not None
    ids = np.full((64, 96), 5, np.uint16)
    ids[:20] = 4
    for row, mask in enumerate(frame.masks, start=1):
        ids[mask] = row
    ids[:, :10] = 0
    classes = np.array([VOID, 0, 0, 1, 2, 3], np.int32)
    scores = (classes >= 0).astype(np.float32)
    return replace(frame, panoptic=PanopticLabels("scene", ids, classes, np.zeros(6, bool), scores))


def panoptic_model(**changes: object) -> wsmots.Wsmots:
    torch.manual_seed(0)
    net = replace(SETTINGS.net, stuff_classes=2, semantic_channels=8)
    return wsmots.build(replace(SETTINGS, net=net, **changes), 4, "full")


def test_the_semantic_branch_learns_with_the_others():
    plain, method = model(), panoptic_model(semantic_weight=2.0)
    assert method.settings.stuff_classes == 2
    frames = [panoptic_scene(0), panoptic_scene(3)]
    terms, _ = method(frames, generators(1, 2), 0.0)
    assert set(terms) == TERMS | {"semantic"}
    # Everything else has the loss that it has without the branch, given the same weights.
    plain.net.load_state_dict(
        {name: value for name, value in method.net.state_dict().items() if "semantic" not in name}
    )
    alone, _ = plain(frames, generators(1, 2), 0.0)
    for name in TERMS:
        assert terms[name].item() == alone[name].item(), name
    # At the start its logits are nearly 0, so that every labelled pixel costs log 3: "a thing" and two of stuff.
    assert terms["semantic"].item() == pytest.approx(2.0 * np.log(3.0), rel=0.1)
    sum(terms.values()).backward()
    assert all(parameter.grad is not None for parameter in method.net.semantic.parameters())
    with pytest.raises(InputError, match="scene: expected panoptic labels, got none"):
        method([scene(0), scene(3)], generators(1, 2), 0.0)


def test_the_semantic_branch_alone():
    method = panoptic_model(semantic_only=True)
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    optimizer = torch.optim.Adam([one for one in method.parameters() if one.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        terms, figures = method([panoptic_scene(0)], generators(1), 0.0)
        assert set(terms) == {"semantic"}
        assert figures == {}
        optimizer.zero_grad()
        terms["semantic"].backward()
        optimizer.step()
        losses.append(terms["semantic"].item())
    assert losses[-1] < 0.6 * losses[0]
    moved = {name for name, value in method.net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("semantic.") for name in moved)
    with pytest.raises(InputError, match=r"semantic_only: expected net.stuff_classes above 0, got 0"):
        wsmots.build(replace(SETTINGS, semantic_only=True), 2)

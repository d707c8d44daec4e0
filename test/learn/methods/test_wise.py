"""WISE as a whole: its terms, what it refuses, and a scene learnt by heart from points."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from wsperception.data.clips import ClipFrame
from wsperception.errors import InputError
from wsperception.evaluation.instance import mask_overlaps
from wsperception.learn.methods import METHODS, supervisions, wise
from wsperception.learn.points.affinity import pair_losses
from wsperception.learn.points.wise_masks import (
    BEST,
    KINDS,
    PRM,
    TRUE_MASK,
    TRUE_POINTS,
    WISE,
    find_masks,
    masks_of_points,
    read_maps,
)
from wsperception.learn.proposals.segment_store import image_segments
from wsperception.learn.proposals.segments import ProposalSettings
from wsperception.nets.wise_net import WiseNetSettings
from wsperception.types import WeakLabels

SEGMENTS = ProposalSettings(superpixels=60, paired=20)
SETTINGS = wise.Settings(
    net=WiseNetSettings(backbone="tiny", levels=4, embedding_length=8), segments=SEGMENTS, pixels_per_object=12,
    mean_pairs=True, balance=0.5,
)  # fmt: skip
TERMS = {"image", "point", "split", "false_positive", "pair"}


def scene(shift: int = 0) -> tuple[ClipFrame, np.ndarray]:
    """Two discs of one class and a bar of another, 64 x 96, with their points; and their masks, which are not in it."""
    image = np.random.default_rng(5).integers(90, 110, (64, 96, 3)).astype(np.uint8)
    y, x = np.mgrid[:64, :96] + 0.5
    masks = np.stack([
        (x - 20 - shift) ** 2 + (y - 30) ** 2 < 12**2,
        (x - 52 - shift) ** 2 + (y - 36) ** 2 < 10**2,
        (abs(x - 80 + shift) < 6) & (abs(y - 32) < 20),
    ])  # fmt: skip
    for mask, colour in zip(masks, ((250, 40, 40), (240, 60, 50), (60, 60, 250)), strict=True):
        image[mask] = colour
    points = np.array([[20 + shift, 30], [52 + shift, 36], [80 - shift, 32]], np.float32)
    weak = WeakLabels(points=points, point_classes=np.array([0, 0, 1], np.int32))
    none, nobody = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    frame = ClipFrame(
        image, none, nobody, nobody, None, none, None, 0, "scene", weak, image_segments(image, SEGMENTS, 0.25)
    )
    return frame, masks


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def method(settings: wise.Settings = SETTINGS) -> wise.Wise:
    torch.manual_seed(0)
    return wise.build(settings, 2)


def test_it_learns_from_points():
    assert METHODS["wise"] is wise
    assert supervisions("wise") == ("points",)
    assert supervisions("wsmots") == ("weak", "full")


def test_terms_are_weighted_means_over_images():
    frames = [scene(0)[0], scene(4)[0]]
    both, figures = method()(frames, generators(1, 2), 0.0)
    assert both.keys() == TERMS
    assert figures == {}
    alone = [method()([frame], generators(seed), 0.0)[0] for frame, seed in zip(frames, (1, 2), strict=True)]
    for name in TERMS:
        assert both[name].item() == pytest.approx((alone[0][name] + alone[1][name]).item() / 2, rel=1e-4)
    # lambda of Eq. 4: 0.1 instead of 0.5 leaves a fifth of L_L and 9/5 of L_E.
    other, _ = method(replace(SETTINGS, balance=0.1))(frames, generators(1, 2), 0.0)
    assert other["point"].item() == pytest.approx(both["point"].item() / 5, rel=1e-4)
    assert other["pair"].item() == pytest.approx(both["pair"].item() * 9 / 5, rel=1e-4)


def test_the_pairs_of_equation_3(monkeypatch: pytest.MonkeyPatch):
    """k = 3 objects: 3 points x 3 pixels of each of the 3 pseudo masks and the background; footnote 2."""
    seen: list[torch.Tensor] = []

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(arguments[2])
        return pair_losses(*arguments)

    monkeypatch.setattr("wsperception.learn.points.affinity.pair_losses", spy)
    frame, _ = scene()
    paper = replace(SETTINGS, pixels_per_object=0, mean_pairs=False)
    summed = method(paper)([frame], generators(1), 0.0)[0]["pair"].item()
    meant = method(replace(paper, mean_pairs=True))([frame], generators(1), 0.0)[0]["pair"].item()
    assert seen[0].shape == (3, 12)
    own = np.kron(np.eye(3), np.ones(3))
    np.testing.assert_array_equal(seen[0].numpy(), np.concatenate([own, np.zeros((3, 3))], axis=1) > 0)
    assert summed == pytest.approx(36 * meant, rel=1e-4)
    # As the released code: the 3 background pixels are anchors too, and alike among themselves.
    method(replace(paper, background_pairs=True))([frame], generators(1), 0.0)
    assert seen[2].shape == (6, 12)
    assert seen[2][3:, 9:].all() and not seen[2][3:, :9].any()


def test_an_image_without_objects_teaches_background():
    frame, _ = scene()
    nothing = WeakLabels(points=np.zeros((0, 2), np.float32), point_classes=np.zeros(0, np.int32))
    model = method()
    terms, _ = model([replace(frame, weak=nothing)], generators(0), 0.0)
    assert terms["pair"].item() == terms["point"].item() == terms["split"].item() == 0.0
    sum(terms.values()).backward()
    gradient = dict(model.named_parameters())["net.location.scores.0.weight"].grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_pixels_of_ignore_boxes_are_no_false_positives():
    frame, _ = scene()
    nothing = WeakLabels(points=np.zeros((0, 2), np.float32), point_classes=np.zeros(0, np.int32))
    model = method()
    with torch.no_grad():
        dict(model.named_parameters())["net.location.scores.3.bias"].copy_(torch.tensor([0.0, 9.0, 0.0]))  # one blob
    whole = replace(frame, weak=nothing, ignore_boxes=np.array([[0, 0, 96, 64]], np.float32))
    assert model([whole], generators(0), 0.0)[0]["false_positive"].item() == 0.0
    assert model([replace(frame, weak=nothing)], generators(0), 0.0)[0]["false_positive"].item() > 1.0


def test_frames_without_points_or_segments_are_refused():
    frame, _ = scene()
    with pytest.raises(InputError, match="scene: expected points, got none"):
        method()([replace(frame, weak=None)], generators(0), 0.0)
    with pytest.raises(InputError, match="scene: expected segment proposals, got none"):
        method()([replace(frame, segments=None)], generators(0), 0.0)


def test_tags_are_all_that_is_read_where_places_are_learnt_from_them():
    frame, _ = scene()
    assert frame.weak is not None and frame.weak.points is not None
    elsewhere = WeakLabels(points=frame.weak.points[:2] + 7.0, point_classes=np.array([1, 0], np.int32))
    model = method(replace(SETTINGS, places=wise.TAGS))
    terms, _ = model([frame], generators(0), 0.0)
    assert terms.keys() == {"tags", "pair"}
    moved, _ = model([replace(frame, weak=elsewhere)], generators(0), 0.0)
    assert {name: value.item() for name, value in moved.items()} == {name: v.item() for name, v in terms.items()}
    one = WeakLabels(points=frame.weak.points[:1], point_classes=np.zeros(1, np.int32))
    assert model([replace(frame, weak=one)], generators(0), 0.0)[0]["tags"].item() != terms["tags"].item()


def test_peaks_of_a_class_that_is_not_there_are_no_objects():
    frame, truth = scene()
    model = method(replace(SETTINGS, places=wise.TAGS))
    with torch.no_grad():
        dict(model.named_parameters())["net.location.scores.3.bias"].copy_(torch.tensor([0.0, 9.0, 9.0]))
    assert model([frame], generators(0), 0.0)[0]["pair"].item() > 0.0
    nothing = WeakLabels(points=np.zeros((0, 2), np.float32), point_classes=np.zeros(0, np.int32))
    assert model([replace(frame, weak=nothing)], generators(0), 0.0)[0]["pair"].item() == 0.0
    found = find_masks(PRM, read_maps(model.net.eval(), frame.image), frame.segments, truth, np.array([0, 0, 1]))
    assert set(found.class_ids.tolist()) == {0, 1}
    assert found.masks.shape == (len(found.scores), 64, 96)


def test_objectness_is_learnt_from_the_same_points():
    frame, _ = scene()
    settings = replace(SETTINGS, learn_objectness=True)
    model = method(settings)
    terms, _ = model([frame], generators(1), 0.0)
    assert terms.keys() == TERMS | {"objectness"}
    terms["objectness"].backward()
    changed = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    # The bias does nothing, and behind the last layer's zeros nothing else has a gradient.
    assert changed - {"net.judge.last.bias"} == {"net.judge.last.weight"}
    # A judge that has learnt nothing leaves pairs and masks as they are.
    assert terms["pair"].item() == method()([frame], generators(1), 0.0)[0]["pair"].item()
    with torch.no_grad():
        dict(model.named_parameters())["net.judge.last.weight"].normal_(generator=generators(3)[0])
    assert model([frame], generators(1), 0.0)[0]["pair"].item() != terms["pair"].item()  # others are drawn
    assert "objectness" not in method(replace(settings, places=wise.TAGS))([frame], generators(1), 0.0)[0]


def test_the_judge_has_its_say_in_masks_once():
    frame, truth = scene()
    assert frame.segments is not None
    model = method(replace(SETTINGS, learn_objectness=True))
    classes, pixels = np.array([0, 0, 1]), np.array([[30, 20], [36, 52], [32, 80]])
    with torch.no_grad():
        dict(model.named_parameters())["net.location.scores.3.bias"].copy_(torch.tensor([0.0, 9.0, 0.0]))  # one blob
    maps = read_maps(model.net.eval(), frame.image)
    before = find_masks(BEST, maps, frame.segments, truth, classes).masks
    with torch.no_grad():
        dict(model.named_parameters())["net.judge.last.weight"].normal_(generator=generators(3)[0])
    after = find_masks(BEST, maps, frame.segments, truth, classes).masks
    assert len(before) > 0 and (before != after).any()
    plain = replace(maps, judged=lambda segments: segments)
    for kind in (BEST, TRUE_POINTS, WISE):
        expected = find_masks(kind, plain, maps.judged(frame.segments), truth, classes)
        np.testing.assert_array_equal(find_masks(kind, maps, frame.segments, truth, classes).masks, expected.masks)
    given = masks_of_points(plain, maps.judged(frame.segments), pixels, classes).masks
    np.testing.assert_array_equal(masks_of_points(maps, frame.segments, pixels, classes).masks, given)


def test_a_scene_is_learnt_from_points():
    model = method()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    steps = 60
    frames = [scene(shift)[0] for shift in (0, 3, 6)]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / (1.1 * steps))
        chosen = [frames[step % 3], frames[(step + 1) % 3]]
        terms, _ = model(chosen, generators(step, step + 1000), step / steps)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    frame, truth = scene(3)
    maps = read_maps(model.net.eval(), frame.image)
    classes = np.array([0, 0, 1])
    found = find_masks(WISE, maps, frame.segments, truth, classes)
    overlaps = mask_overlaps(found.masks, truth)
    assert len(found.masks) == 3
    assert overlaps.max(axis=0).min() > 0.5  # as much as the proposals allow
    assert found.class_ids[overlaps.argmax(axis=0)].tolist() == [0, 0, 1]
    exact = find_masks(TRUE_MASK, maps, frame.segments, truth, classes)
    assert mask_overlaps(exact.masks, truth).max(axis=0).tolist() == [1.0, 1.0, 1.0]
    given = find_masks(TRUE_POINTS, maps, frame.segments, truth, classes)
    assert np.diag(mask_overlaps(given.masks, truth)).min() > 0.5
    # As sure as E-Net's mask and the proposal agree; what is found is also as sure as its place.
    assert 0.5 < given.scores.min() <= given.scores.max() <= 1.0
    assert (found.scores < find_masks(BEST, maps, frame.segments, truth, classes).scores).all()
    for kind in KINDS:
        assert find_masks(kind, maps, frame.segments, truth, classes).masks.shape == (3, 64, 96)
    assert masks_of_points(maps, frame.segments, np.zeros((0, 2), np.int64), classes[:0]).masks.shape == (0, 64, 96)

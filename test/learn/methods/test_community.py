"""The method as a whole: each part teaches what it should, and classes are learnt from tags alone."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.methods import community  # noqa: E402
from wsperception.learn.tags.community_inference import InferenceSettings, find_instances  # noqa: E402
from wsperception.learn.tags.tagged_image import TaggedImage  # noqa: E402
from wsperception.nets.community_net import CommunityNetSettings  # noqa: E402

NET = CommunityNetSettings(
    backbone="tiny", pooling="align", pool_side=3, regressor_features=16, cam_channels=8, mask_side=8, mask_channels=8,
    mask_layers=1,
)  # fmt: skip
SETTINGS = community.Settings(net=NET, scales=(64,), flip=False, foreground=4, background=4)
COLOURS = ((230, 40, 40), (40, 40, 230))


def scene(number: int, tags: tuple[bool, bool] | None = None) -> TaggedImage:
    """A disc of one of two colours on noise, 64 x 64, and twelve boxes of which one is the disc's."""
    random = np.random.default_rng(number)
    image = random.integers(90, 150, (64, 64, 3)).astype(np.uint8)
    kind = number % 2
    x, y, radius = *random.integers(20, 44, 2), 14
    across, down = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    image[(across - x) ** 2 + (down - y) ** 2 < radius**2] = COLOURS[kind]
    corners = random.integers(0, 36, (11, 2))
    boxes = np.concatenate([corners, corners + random.integers(16, 28, (11, 2))], axis=1)
    disc = [[x - radius, y - radius, x + radius, y + radius]]
    present = np.array(tags if tags is not None else (kind == 0, kind == 1))
    return TaggedImage(image, present, np.concatenate([disc, boxes]).astype(np.float32), f"scene {number}")


def seeds(count: int, first: int = 0):
    return [torch.Generator().manual_seed(first + number) for number in range(count)]


def built(**changes) -> community.Community:
    torch.manual_seed(0)
    return community.build(replace(SETTINGS, net=replace(NET, **changes)), 2)


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({"cams": 0, "segmentation": False, "regressor": "none"}, {"image", "refine"}),
        ({"segmentation": False, "regressor": "none"}, {"image", "refine", "map"}),
        ({"regressor": "none"}, {"image", "refine", "map", "mask"}),
        ({}, {"image", "refine", "box", "map", "mask"}),
        ({"regressor": "specific"}, {"image", "refine", "box", "map", "mask"}),
        (
            {"background": False, "smoothing": False, "centred": False, "cams": 2},
            {"image", "refine", "box", "map", "mask"},
        ),
    ],
    ids=["detector", "+IMG", "+IS", "+REG", "specific", "plain maps"],
)  # fmt: skip
def test_every_row_of_the_ablations_has_its_terms_and_trains_all_it_has(changes, terms):
    method = built(**changes)
    losses, figures = method.losses([scene(0), scene(1)], seeds(2))
    assert set(losses) == terms
    assert figures["idle_images"].tolist() == [0, 2]
    sum(losses.values()).backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None] == []


def test_terms_are_means_over_images():
    method = built()
    apart = [method.losses([scene(number)], seeds(1, number))[0] for number in range(2)]
    joint, _ = method.losses([scene(0), scene(1)], seeds(2))
    for name, value in joint.items():
        assert value.item() == pytest.approx((apart[0][name].item() + apart[1][name].item()) / 2, rel=1e-5), name


def test_images_that_teach_nothing_cost_nothing_and_are_counted():
    method = built()
    empty = scene(1)
    empty = TaggedImage(empty.image, empty.tags, empty.boxes[:0], empty.source)
    losses, figures = method.losses([scene(0, (False, False)), empty], seeds(2))
    assert {value.item() for value in losses.values()} == {0.0}
    assert figures["idle_images"].tolist() == [2, 2]
    sum(losses.values()).backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None] == []


def test_tags_of_other_classes_and_a_single_class_are_refused():
    with pytest.raises(InputError, match="scene 0: expected tags of 3 classes, got 2"):
        community.build(SETTINGS, 3).losses([scene(0)], seeds(1))
    with pytest.raises(InputError, match=r"data\.classes: expected two or more"):
        community.build(SETTINGS, 1)


def test_masks_teach_neither_the_detector_nor_the_maps_that_made_them():
    method = built()
    losses, _ = method.losses([scene(0)], seeds(1))
    losses["mask"].backward()
    taught = {name.split(".")[0] for name, parameter in method.net.named_parameters() if parameter.grad is not None}
    assert taught == {"backbone", "segmentation"}
    method.zero_grad()
    losses, _ = method.losses([scene(0)], seeds(1))
    losses["map"].backward()
    taught = {name.split(".")[0] for name, parameter in method.net.named_parameters() if parameter.grad is not None}
    assert taught == {"backbone", "cams"}


def test_the_background_of_maps_does_not_matter_where_there_is_none():
    method = built(background=False)
    with torch.no_grad():
        for cam in method.net.cams:
            cam.get_parameter("weights.weight")[0] += 5.0
    changed, _ = method.losses([scene(0)], seeds(1))
    before, _ = built(background=False).losses([scene(0)], seeds(1))
    assert changed["map"].item() == pytest.approx(before["map"].item())
    with_background = built()
    one, _ = with_background.losses([scene(0)], seeds(1))
    with torch.no_grad():
        for cam in with_background.net.cams:
            cam.get_parameter("weights.weight")[0] += 5.0
    two, _ = with_background.losses([scene(0)], seeds(1))
    assert one["map"].item() != pytest.approx(two["map"].item())


def test_the_same_seeds_draw_the_same_and_scales_are_drawn():
    settings = replace(SETTINGS, scales=(48, 64, 96), flip=True)
    torch.manual_seed(0)
    method = community.build(settings, 2)
    first = [method.losses([scene(0)], seeds(1, number))[0]["image"].item() for number in range(6)]
    again = [method.losses([scene(0)], seeds(1, number))[0]["image"].item() for number in range(6)]
    assert first == again and len(set(first)) > 1


def test_objects_are_told_apart_after_a_few_steps():
    torch.manual_seed(0)
    method = community.build(SETTINGS, 2)
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    images = [scene(number) for number in range(6)]
    for step in range(12):
        losses, _ = method.losses([images[(2 * step) % 6], images[(2 * step + 1) % 6]], seeds(2, step))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    settings = InferenceSettings(scales=(64,), flip=False)
    best = [find_instances(method.net, image, settings).class_ids[0] for image in images]
    assert best == [0, 1, 0, 1, 0, 1]


def test_settings_name_what_is_wrong():
    with pytest.raises(InputError, match="scales: expected at least one, got none"):
        community.Settings(scales=())
    with pytest.raises(InputError, match="mask_targets: expected one of label, all, got 'both'"):
        community.Settings(mask_targets="both")

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torchvision.models import resnet18  # noqa: E402

from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.community_net import (  # noqa: E402
    ClassMaps,
    CommunityNet,
    CommunityNetSettings,
    centre_weights,
)

SMALL = CommunityNetSettings(
    backbone="tiny", pool_side=4, regressor_features=16, cam_channels=8, mask_side=6, mask_channels=8, mask_layers=1
)
BOXES = torch.tensor([[4.0, 6, 40, 50], [10, 0, 60, 30], [0, 0, 64, 64]])


def image(seed: int = 0):
    return torch.randint(0, 255, (64, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def net(**changes) -> CommunityNet:
    torch.manual_seed(0)
    return CommunityNet(replace(SMALL, **changes), 2).eval()


def test_centre_weights_by_hand():
    # Offsets -1, 0, 1 with sigma 1: e = exp(-1/2) at the sides, 1 in the middle; products over (1 + 2 e)^2.
    e = torch.tensor(-0.5).exp()
    line = torch.tensor([e, 1, e]) / (1 + 2 * e)
    assert torch.allclose(centre_weights(3, 1.0), line[:, None] * line)
    assert torch.allclose(centre_weights(4, float("inf")), torch.full((4, 4), 1 / 16))


def test_pooled_maps_weigh_the_centre_by_hand():
    maps = torch.zeros(1, 3, 6, 6)
    maps[0, 1, 2:4, 2:4], maps[0, 2, 0, 0] = 1.0, 1.0
    centred, flat = net().map_logits(maps), net(centred=False).map_logits(maps)
    assert flat[0].tolist() == pytest.approx([0, 4 / 36, 1 / 36])
    weights = centre_weights(6, 0.25 * 6)
    assert centred[0].tolist() == pytest.approx([0, weights[2:4, 2:4].sum().item(), weights[0, 0].item()])
    assert centred[0, 1] > 2 * flat[0, 1] and centred[0, 2] < flat[0, 2] / 2


def test_a_class_map_is_the_weighted_sum_of_its_features():
    torch.manual_seed(1)
    maps = ClassMaps(5, SMALL, 2)
    features = 9 * torch.rand(2, 5, 6, 6)
    hidden = maps.conv(torch.log1p(features)).relu()
    by_hand = torch.einsum("kf,rfij->rkij", maps.weights.weight[:, :, 0, 0], hidden)
    assert torch.allclose(maps(features), by_hand, atol=1e-6)
    torch.manual_seed(1)
    rough = ClassMaps(5, replace(SMALL, smoothing=False), 2)
    assert torch.allclose(rough(torch.log1p(features)), by_hand, atol=1e-6)


def test_a_regressor_of_the_grid_sees_where_something_is():
    features = torch.rand(1, 192, 4, 4, generator=torch.Generator().manual_seed(2))
    turned = features.flip(3)  # the same mean
    for grid in (False, True):
        network = net(regressor_grid=grid)
        same = torch.allclose(network.detect(features).deltas, network.detect(turned).deltas, atol=1e-6)
        assert same != grid
        assert torch.allclose(network.detect(features).classes, network.detect(turned).classes, atol=1e-5)


@pytest.mark.parametrize(("regressor", "boxes"), [("agnostic", 1), ("specific", 2), ("none", 0)])
def test_what_each_part_gives(regressor: str, boxes: int):
    network = net(regressor=regressor, heads=2)
    levels = network.levels(image())
    assert [level.shape[2:] for level in levels] == [(16, 20), (8, 10), (4, 5)]
    features = network.proposal_features(levels, BOXES)
    assert features.shape == (3, 192, 4, 4)
    found = network.detect(features)
    assert found.classes.shape == found.proposals.shape == (3, 2)
    assert [head.shape for head in found.heads] == [(3, 3), (3, 3)]
    assert found.deltas.shape == (3, boxes, 4)
    assert network.masks(features).shape == (3, 3, 6, 6)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_class_maps_are_taken_from_the_top_downwards(count: int):
    network = net(cams=count)
    levels = network.levels(image())
    features = network.proposal_features(levels, BOXES)
    maps = network.class_maps(levels, BOXES, features)
    assert [part.shape for part in maps] == [(3, 3, 6, 6)] * count
    # The lower the level that is spoilt, the fewer maps see it: res5 is the last.
    spoilt = network.class_maps(levels, BOXES, features + 1)
    assert [torch.equal(a, b) for a, b in zip(maps, spoilt, strict=True)] == [True] * (count - 1) + [False]
    spoilt = network.class_maps([levels[0] + 1, levels[1], levels[2]], BOXES, features)
    assert [torch.equal(a, b) for a, b in zip(maps, spoilt, strict=True)] == [count < 4] + [True] * (count - 1)


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_a_proposal_sees_its_box_and_nothing_else(pooling: str):
    network = net(pooling=pooling)
    levels = [level.clone() for level in network.levels(image())]
    before = network.proposal_features(levels, BOXES)
    levels[2][:, :, :, 4:] += 1.0  # columns from 64 px on; only the second box ends near there, at 60
    after = network.proposal_features(levels, BOXES)
    assert torch.equal(before[0], after[0])
    alone = network.proposal_features(levels, BOXES[1:2])
    assert torch.allclose(alone, after[1:2], atol=1e-5)


def test_images_of_any_size_are_filled_up():
    network, whole = net(), image()
    levels = network.levels(whole[:50, :70])
    assert [level.shape[2:] for level in levels] == [(16, 20), (8, 10), (4, 5)]
    mean = network.mean.flatten()
    as_mean = whole.float().clone()
    as_mean[50:], as_mean[:, 70:] = mean, mean
    assert torch.allclose(levels[2], network.levels(as_mean)[2], atol=1e-5)


def test_residual_networks_keep_seven_cells_and_torchvisions_names():
    network = net(backbone="resnet18", norm="frozen", pool_side=7)
    levels = network.levels(image())
    assert network.proposal_features(levels, BOXES).shape == (3, 512, 7, 7)
    theirs = resnet18(weights=None)
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    network.backbone.body.load_state_dict(state)
    theirs.eval()
    hidden = theirs.layer1(theirs.maxpool(torch.relu(theirs.bn1(theirs.conv1(torch.ones(1, 3, 64, 64))))))
    ours = network.backbone(torch.ones(1, 3, 64, 64))
    assert torch.allclose(ours[0], hidden, atol=1e-4)
    assert torch.allclose(ours[2], theirs.layer3(theirs.layer2(hidden)), atol=1e-4)


def test_group_normalisation_is_the_default_and_leaves_no_batch_statistics():
    kinds = {type(module).__name__ for module in net(backbone="resnet18", norm="group").modules()}
    assert "GroupNorm" in kinds and not any("BatchNorm" in kind for kind in kinds)
    assert CommunityNetSettings().norm == "group"


@pytest.mark.parametrize("backbone", ["tiny", "resnet18"])
def test_no_proposals_reach_every_parameter(backbone: str):
    network = net(backbone=backbone)
    levels = network.levels(image())
    boxes = torch.zeros(0, 4)
    features = network.proposal_features(levels, boxes)
    found = network.detect(features)
    parts = [found.classes, found.proposals, *found.heads, found.deltas, network.masks(features)]
    parts += network.class_maps(levels, boxes, features)
    assert all(len(part) == 0 for part in parts)
    torch.stack([part.sum() for part in parts]).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_settings_that_contradict_each_other():
    with pytest.raises(InputError, match="segmentation: expected false where cams is 0"):
        CommunityNetSettings(cams=0)
    assert len(net(cams=0, segmentation=False).cams) == 0

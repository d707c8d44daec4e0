import pytest
import torch
from torchvision.models import resnet18

from wsperception.errors import InputError
from wsperception.nets.jtsm_net import JtsmNet, JtsmNetSettings
from wsperception.nets.moi_pool import POOLINGS
from wsperception.nets.segment_set import SegmentSet

SMALL = {"backbone": "tiny", "norm": "group", "stride": 8, "channels": 16, "hidden": 24, "branch_channels": 8}


def small_net(class_count: int = 5, stuff_count: int = 2, **changes) -> JtsmNet:
    torch.manual_seed(0)
    return JtsmNet(JtsmNetSettings(**{**SMALL, **changes}), class_count, stuff_count).eval()


def images(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, height, width, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def quarters(height: int, width: int) -> SegmentSet:
    """The four quarters of an image, and its upper half."""
    superpixels = torch.zeros((height, width), dtype=torch.int64)
    superpixels[:, width // 2 :] += 1
    superpixels[height // 2 :] += 2
    membership = torch.cat([torch.eye(4), torch.tensor([[1.0, 1, 0, 0]])]).bool().T
    x, y = width / 2, height / 2
    boxes = [[0, 0, x, y], [x, 0, width, y], [0, y, x, height], [x, y, width, height], [0, 0, width, y]]
    return SegmentSet(superpixels, membership, torch.tensor(boxes))


@pytest.mark.parametrize("backbone", ["tiny", "resnet18"])
@pytest.mark.parametrize("stride", [8, 16])
def test_features_are_one_cell_per_stride_and_not_negative(backbone, stride):
    net = small_net(backbone=backbone, stride=stride)
    found = net.features(images(50, 75))
    assert found.shape == (1, 16 if backbone == "tiny" else 512, -(-50 // stride), -(-75 // stride))
    assert found.min() == 0.0
    assert found.max() > 0.0


@pytest.mark.parametrize(("stride", "step"), [(16, 2), (8, 4)])
def test_dilated_stages_compute_what_strided_ones_do(stride, step):
    # With a trous filters every step-th cell is a cell of the network as it was trained.
    net = small_net(backbone="resnet18", stride=stride, norm="group")
    plain = resnet18(norm_layer=lambda channels: torch.nn.GroupNorm(32, channels)).eval()
    weights = {name: value for name, value in plain.state_dict().items() if not name.startswith("fc.")}
    net.backbone.body.load_state_dict(weights)
    for part in (plain, net.backbone.body):  # a norm over the cells would see more of them; left out of both
        for module in part.modules():
            for name, child in list(module.named_children()):
                if isinstance(child, torch.nn.GroupNorm):
                    setattr(module, name, torch.nn.Identity())
    image = torch.randn((1, 3, 128, 160), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        hidden = plain.maxpool(plain.relu(plain.bn1(plain.conv1(image))))
        expected = plain.layer4(plain.layer3(plain.layer2(plain.layer1(hidden))))
        found = net.backbone(image)
    assert found.shape[2:] == (128 // stride, 160 // stride)
    torch.testing.assert_close(found[:, :, ::step, ::step], expected, rtol=1e-3, atol=1e-3 * expected.max().item())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_gives_scores_of_every_segment(pooling):
    net = small_net(pooling=pooling, refinements=3, refine_boxes=True)
    found = net.mine(net.features(images(64, 96))[0], quarters(64, 96), torch.zeros(5))
    assert found.class_logits.shape == found.segment_logits.shape == (5, 5)
    assert [part.shape for part in found.refined] == [(5, 6)] * 3
    assert [part.shape for part in found.deltas] == [(5, 4)] * 3
    assert len({tuple(row) for row in found.class_logits.tolist()}) == 5  # no two segments look alike


def test_the_objectness_factor_doubles_features_of_objectness_one():
    # Without biases the layers are homogeneous: twice the features are twice the logits.
    plain, scaled = small_net(), small_net(objectness_factor=True)
    features = plain.features(images(64, 96))[0]
    objectness = torch.tensor([0.0, 1.0, 0.5, 0.0, 0.0])
    expected = plain.mine(features, quarters(64, 96), objectness).class_logits
    found = scaled.mine(features, quarters(64, 96), objectness).class_logits
    torch.testing.assert_close(found, expected * (1.0 + objectness)[:, None])


def test_dropout_is_for_training_only():
    net = small_net()
    features = net.features(images(64, 96))[0]
    first, second = (net.mine(features, quarters(64, 96), torch.zeros(5)).class_logits for _ in range(2))
    assert torch.equal(first, second)
    net.train()
    assert not torch.equal(net.mine(features, quarters(64, 96), torch.zeros(5)).class_logits, first)


def test_branches_know_their_classes():
    net = small_net(class_count=5, stuff_count=2)
    features = net.features(images(64, 96))
    assert net.mask_logits(features[0], torch.tensor([[3.0, 4.0, 60.0, 50.0]])).shape == (1, 3, 28, 28)
    assert net.semantic_logits(features).shape == (1, 3, 8, 12)
    assert net.mask_logits(features[0], torch.zeros((0, 4))).shape == (0, 3, 28, 28)


def test_what_the_settings_leave_out_has_no_weights():
    assert small_net(instance_branch=False).mask is None
    assert small_net(semantic_branch=False).semantic is None
    assert small_net(stuff_count=0).semantic is None
    assert small_net(stuff_count=5).mask is None
    assert len(small_net(refinements=0, refine_boxes=True).move) == 0
    assert len(small_net(refinements=2).move) == 0


def test_a_stride_that_no_backbone_has_is_refused():
    with pytest.raises(InputError, match="stride: expected 8 or 16, got 12"):
        JtsmNetSettings(stride=12)

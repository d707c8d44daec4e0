import pytest

torch = pytest.importorskip("torch")

from wsperception.nets.backbone import Backbone  # noqa: E402
from wsperception.nets.settings import BACKBONES, NetSettings  # noqa: E402
from wsperception.nets.tiny import StandardisedConv, TinyBackbone  # noqa: E402


def test_standard_weight_by_hand():
    # Filters 1 and 3: mean 2, variance 1, fan-in 2: (-1, 1) / sqrt(2), times the gain 3.
    conv = StandardisedConv(2, 1, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1))
        conv.gain.fill_(3.0)
    assert conv.standard_weight().flatten().tolist() == pytest.approx([-3 / 2**0.5, 3 / 2**0.5], abs=1e-4)


def test_the_scale_of_the_filters_does_not_matter():
    torch.manual_seed(0)
    conv, images = StandardisedConv(3, 4, 3), torch.randn(1, 3, 8, 8)
    before = conv(images)
    with torch.no_grad():
        conv.weight.mul_(5.0)
    assert torch.allclose(conv(images), before, atol=1e-3)


def test_tiny_features_start_at_unit_scale():
    # Without normalisation layers a signal that grows or fades over the depth would not train.
    torch.manual_seed(0)
    levels = TinyBackbone()(torch.randn(2, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in levels] == [(64, 16, 24), (128, 8, 12), (160, 4, 6), (192, 2, 3)]
    for level in levels:
        assert 0.4 < level.std().item() < 1.6


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("pool_level", [False, True])
def test_pyramid_strides(backbone: str, pool_level: bool):
    net = Backbone(NetSettings(backbone=backbone, fpn_channels=8, pool_level=pool_level, norm="group"))
    levels = net(torch.randn(1, 3, 64, 96))
    assert len(levels) == len(net.strides) == 4 + pool_level
    for level, stride in zip(levels, net.strides, strict=True):
        assert level.shape == (1, 8, 64 // stride, -(-96 // stride))


def test_no_image_sees_another():
    torch.manual_seed(0)
    backbone, images = TinyBackbone(), torch.randn(3, 3, 64, 64)
    together = backbone(images)[3]
    alone = backbone(images[1:2])[3]
    assert torch.allclose(together[1:2], alone, atol=1e-5)

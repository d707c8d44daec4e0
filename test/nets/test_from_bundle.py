"""A network rebuilt from its bundle has the weights that were exported, whatever the exporter made of them."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord, write_bundle  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.deployed import DeployedNet  # noqa: E402
from wsperception.nets.from_bundle import deployed_net  # noqa: E402
from wsperception.nets.onnx_export import export_onnx  # noqa: E402
from wsperception.nets.perception_net import PerceptionNet  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402
from wsperception.settings import to_mapping  # noqa: E402
from wsperception.types import LabelSpace  # noqa: E402

SIZE = (64, 96)
LABELS, IS_THING = ("car", "pedestrian", "road", "sky"), (True, True, False, False)
DETECT = DetectSettings(pre_nms=30, proposals=10, detections=5, min_score=0.0)
SMALL = NetSettings(
    fpn_channels=16, box_features=24, mask_channels=8, track_features=12, embedding_length=4, canonical_size=60.0
)
ARCHITECTURES = {
    # normalisations that stay, with weights that the exporter reshapes
    "group": dataclasses.replace(SMALL, backbone="resnet18", norm="group"),
    # frozen normalisations, which become a factor and a summand; a fifth level; two zero biases, stored once
    "frozen": dataclasses.replace(SMALL, backbone="resnet18", pool_level=True, box_conv_relu=False),
    # layers inside of layers, and convolutions without a normalisation
    "mobilenet": dataclasses.replace(SMALL, backbone="mobilenet_v3_large"),
    # standardised convolutions, whose weights are computed on export; layers called twice; biases of zeros left out
    "panoptic": dataclasses.replace(SMALL, backbone="tiny", stuff_classes=2, semantic_channels=8),
}


def network(settings: NetSettings) -> PerceptionNet:
    """Random weights; no two normalisations are alike, and none is the identity."""
    torch.manual_seed(3)
    net = PerceptionNet(settings, 2 + settings.stuff_classes).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.dim() == 1 and ("bn" in name or "downsample.1" in name or "features" in name):
                tensor.copy_(torch.rand_like(tensor) + 0.5)
        net.box.conv1.bias.zero_()
        net.box.conv2.bias.zero_()
        net.box.cls_score.weight.mul_(60)
    return net


def exported(settings: NetSettings, net: PerceptionNet, folder) -> ModelBundle:
    export_onnx(net, DETECT, SIZE, folder / "model.onnx")
    recipe = {"method": {"net": to_mapping(settings), "detect": to_mapping(DETECT)}}
    bundle = ModelBundle(
        name="small",
        input_size=SIZE,
        label_space=LabelSpace(LABELS[: 2 + settings.stuff_classes], IS_THING[: 2 + settings.stuff_classes]),
        mask_side=net.mask_side,
        mask_context=1.0,
        embedding_length=settings.embedding_length,
        max_detections=DETECT.detections,
        method="none",
        supervision="none",
        training=TrainingRecord("", "", "", recipe),
        thresholds=Thresholds(),
    )
    return write_bundle(folder / "bundle", folder / "model.onnx", bundle)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_rebuilt_network_computes_the_same(name, tmp_path):
    settings = ARCHITECTURES[name]
    net = network(settings)
    rebuilt = deployed_net(exported(settings, net, tmp_path))
    images = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for level, expected in zip(rebuilt.net.pyramid(images), net.pyramid(images), strict=True):
            assert torch.allclose(level, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
        original = DeployedNet(net, DETECT)
        for level in ("box", "mask", "track", "rpn", *(["semantic"] if settings.stuff_classes else [])):
            theirs = rebuilt.net.get_submodule(level).state_dict()
            for key, tensor in original.net.get_submodule(level).state_dict().items():
                assert torch.equal(theirs[key], tensor), f"{level}.{key}"
    assert not any(parameter.requires_grad for parameter in rebuilt.parameters())


def test_another_networks_file_is_refused(tmp_path):
    settings = ARCHITECTURES["group"]
    bundle = exported(settings, network(settings), tmp_path)
    for change, text in (
        ({"mask_layers": 5}, "expected a Conv for 'net.mask.convs.8', got ConvTranspose"),
        ({"mask_layers": 3}, "expected a ConvTranspose for 'net.mask.up', got Conv"),
        ({"track_features": 20}, r"net.track.hidden.weight: expected \(20, 16\), got \(12, 16\)"),
    ):
        recipe = {"method": {"net": to_mapping(dataclasses.replace(settings, **change)), "detect": to_mapping(DETECT)}}
        other = dataclasses.replace(bundle, training=dataclasses.replace(bundle.training, recipe=recipe))
        with pytest.raises(InputError, match=f"model.onnx: not the network of its recipe: {text}; use backend 'onnx'"):
            deployed_net(other)

"""The exported file computes what eager PyTorch does, for every backbone and the settings that change the graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.deployed import DeployedNet  # noqa: E402
from wsperception.nets.detect import detect  # noqa: E402
from wsperception.nets.onnx_export import Parity, export_onnx, parity  # noqa: E402
from wsperception.nets.perception_net import PerceptionNet  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402

DETECT = DetectSettings(pre_nms=100, proposals=40, detections=20, min_score=0.0)
SMALL = NetSettings(fpn_channels=16, box_features=32, mask_channels=8, track_features=16, canonical_size=100.0)
ARCHITECTURES = {
    "tiny": replace(SMALL, backbone="tiny", mask_context=1.4, mask_sampling=1),
    "mobilenet": replace(SMALL, backbone="mobilenet_v3_large", norm="frozen"),
    "resnet18": replace(SMALL, backbone="resnet18", norm="group"),
    "coco": replace(
        SMALL, backbone="resnet50", pool_level=True, roi_half_pixel=False, box_conv_relu=False, other_classes=3,
        track_head="pooled", embedding_length=16,
    ),
}  # fmt: skip
PANOPTIC = replace(SMALL, backbone="tiny", stuff_classes=3, semantic_channels=8)


def noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3)).astype(np.uint8)


def network(settings: NetSettings) -> PerceptionNet:
    """Random weights with scores spread over [0, 1] and some overlap to suppress."""
    torch.manual_seed(0)
    net = PerceptionNet(settings, 2 + settings.stuff_classes).eval()
    with torch.no_grad():
        net.box.cls_score.weight.mul_(60)
        net.box.bbox_pred.weight.mul_(30)
        net.rpn.cls_logits.weight.mul_(20)
        if net.semantic is not None:
            net.semantic.logits.weight.mul_(200)
    return net


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_runtime_computes_what_pytorch_does(name: str, tmp_path: Path):
    net = network(ARCHITECTURES[name])
    export_onnx(net, DETECT, (96, 160), tmp_path / "model.onnx")
    images = noise(3, 96, 160)
    report = parity(net, DETECT, tmp_path / "model.onnx", images)
    assert report.detections >= 30
    assert report.within(), report
    alone = [parity(net, DETECT, tmp_path / "model.onnx", images[i : i + 1]).detections for i in range(3)]
    assert sum(alone) == report.detections  # the batch is free
    model = onnx.load(tmp_path / "model.onnx")
    refused = {"RoiAlign", "NonMaxSuppression", "NonZero", "Unique", "DeformConv", "ScatterElements", "MaxRoiPool"}
    operators = {node.op_type for node in model.graph.node}
    assert not operators & refused
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert str(Path.cwd()).encode() not in (tmp_path / "model.onnx").read_bytes()


def test_static_detection_is_eager_detection():
    net = network(ARCHITECTURES["tiny"])
    images = torch.from_numpy(noise(2, 96, 160))
    with torch.no_grad():
        boxes, scores, class_ids, masks, _, _ = DeployedNet(net, DETECT)(images)
    for index, expected in enumerate(detect(net, images, DETECT)):
        count = len(expected.scores)
        assert count >= 10
        assert torch.allclose(scores[index, :count], expected.scores, atol=1e-5)
        assert (scores[index, count:] == 0).all()
        assert torch.allclose(boxes[index, :count], expected.boxes, atol=1e-2)
        assert torch.equal(class_ids[index, :count].long(), expected.class_ids)
        assert torch.allclose(masks[index, :count], expected.masks, atol=1e-3)


def test_the_semantic_output_is_the_branchs_probabilities(tmp_path: Path):
    net = network(PANOPTIC)
    images = noise(2, 96, 160)
    with torch.no_grad():
        *others, semantic = DeployedNet(net, DETECT)(torch.from_numpy(images))
        assert net.semantic is not None
        expected = net.semantic(net.pyramid(torch.from_numpy(images))).softmax(dim=1)
    assert len(others) == 6
    assert semantic.shape == (2, 4, 24, 40)  # "a thing" and 3 stuff classes at stride 4
    assert semantic.dtype == torch.uint8
    assert float(expected.std()) > 0.05  # not all alike
    assert (semantic / 255 - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_parity_sees_changed_weights(tmp_path: Path):
    net = network(PANOPTIC)
    export_onnx(net, DETECT, (96, 160), tmp_path / "model.onnx")
    images = noise(2, 96, 160)
    report = parity(net, DETECT, tmp_path / "model.onnx", images)
    assert report.detections >= 20
    assert report.within(), report
    assert report.semantic is not None
    assert report.semantic <= 0.5 / 255 + 1e-4
    assert net.semantic is not None
    assert net.semantic.logits.bias is not None
    with torch.no_grad():
        net.semantic.logits.bias[1] += 0.3
        changed = parity(net, DETECT, tmp_path / "model.onnx", images)
        net.semantic.logits.bias[1] -= 0.3
        net.mask.logits.bias.add_(0.3)
    assert changed.missing == 0
    assert changed.semantic is not None
    assert changed.semantic > 0.02
    assert not changed.within()
    changed = parity(net, DETECT, tmp_path / "model.onnx", images)
    assert changed.missing == 0
    assert changed.mask > 0.02
    assert not changed.within()


def test_a_missing_detection_is_no_parity():
    assert Parity(20, 0, 0.05, 1e-4, 1e-3, 1e-3).within()
    assert not Parity(20, 1, 0.0, 0.0, 0.0, 0.0).within()


def test_sizes_that_do_not_divide_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="expected multiples of 32, got 100x160"):
        export_onnx(network(ARCHITECTURES["tiny"]), DETECT, (100, 160), tmp_path / "model.onnx")

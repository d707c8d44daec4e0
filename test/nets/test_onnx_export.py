"""Exported files, one per architecture: they compute what eager PyTorch does, with masks for what is found alone; the
network comes back out of them; and TensorRT-RTX builds them without a GPU. One file for all, as an export takes long.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from wsperception.backends.engine_build import Library, build_engine  # noqa: E402
from wsperception.backends.engine_graph import engine_graph, read_graph, with_all_masks  # noqa: E402
from wsperception.backends.int8_graph import calibrate, quantisable  # noqa: E402
from wsperception.bundle import (  # noqa: E402
    MASK_ROWS,
    OUTPUTS,
    SEMANTIC,
    ModelBundle,
    Thresholds,
    TrainingRecord,
    write_bundle,
)
from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.deployed import DeployedNet  # noqa: E402
from wsperception.nets.from_bundle import deployed_net  # noqa: E402
from wsperception.nets.onnx_export import Parity, export_onnx, parity  # noqa: E402
from wsperception.nets.perception_net import PerceptionNet  # noqa: E402
from wsperception.nets.settings import BACKBONES, DetectSettings, NetSettings  # noqa: E402
from wsperception.settings import to_mapping  # noqa: E402
from wsperception.types import LabelSpace  # noqa: E402

pytestmark = pytest.mark.timeout(1500)  # a loaded machine is slow

SIZE = (96, 160)
DETECT = DetectSettings(pre_nms=100, proposals=40, detections=20, min_score=0.0)
SMALL = NetSettings(
    fpn_channels=16, box_features=32, mask_channels=8, track_features=16, embedding_length=4, canonical_size=100.0
)
ARCHITECTURES = {
    "tiny": replace(SMALL, backbone="tiny", mask_context=1.4, mask_sampling=1),
    # layers inside of layers, and convolutions without a normalisation
    "mobilenet": replace(SMALL, backbone="mobilenet_v3_large", norm="frozen"),
    "mobilenet_v2": replace(SMALL, backbone="mobilenet_v2", norm="frozen"),
    # normalisations that stay, with weights that the exporter reshapes
    "resnet18": replace(SMALL, backbone="resnet18", norm="group"),
    # frozen normalisations, which become a factor and a summand; a fifth level; two zero biases, stored once
    "coco": replace(
        SMALL, backbone="resnet50", pool_level=True, roi_half_pixel=False, box_conv_relu=False, other_classes=3,
        track_head="pooled", embedding_length=16,
    ),
    # standardised convolutions, whose weights are computed on export; layers called twice; biases of zeros left out
    "panoptic": replace(SMALL, backbone="tiny", stuff_classes=3, semantic_channels=8),
}  # fmt: skip
SURE = replace(DETECT, min_score=0.47)
"""Of "tiny": it finds 16, 20 and 16 objects in `noise(3)`, and none in grey."""
LABELS, IS_THING = ("car", "pedestrian", "road", "sky", "wall"), (True, True, False, False, False)


@dataclass(frozen=True)
class Exported:
    """A random network and its bundle."""

    settings: NetSettings
    detect: DetectSettings
    net: PerceptionNet
    bundle: ModelBundle


@pytest.fixture(scope="module")
def exported(random_network, tmp_path_factory) -> Callable[[str], Exported]:
    """From an architecture to its export. No two normalisations are alike, and none is the identity."""

    @functools.cache
    def export(name: str) -> Exported:
        settings, folder = ARCHITECTURES[name], tmp_path_factory.mktemp(name)
        detect = SURE if name == "tiny" else DETECT
        net = random_network(settings)
        spread = 0.05 if settings.backbone == "resnet50" else 1.0  # more, in so many layers, drives all scores to one
        with torch.no_grad():
            for key, tensor in net.state_dict().items():
                if tensor.dim() == 1 and ("bn" in key or "downsample.1" in key or "features" in key):
                    tensor.copy_(1.0 + spread * (torch.rand_like(tensor) - 0.5))
            net.box.conv1.bias.zero_()
            net.box.conv2.bias.zero_()
        export_onnx(net, detect, SIZE, folder / "model.onnx")
        classes = 2 + settings.stuff_classes
        bundle = ModelBundle(
            name=name,
            input_size=SIZE,
            label_space=LabelSpace(LABELS[:classes], IS_THING[:classes]),
            mask_side=net.mask_side,
            mask_context=settings.mask_context,
            embedding_length=settings.embedding_length,
            max_detections=DETECT.detections,
            method="none",
            supervision="none",
            training=TrainingRecord(
                "", "", "", {"method": {"net": to_mapping(settings), "detect": to_mapping(detect)}}
            ),
            thresholds=Thresholds(),
            outputs=(*OUTPUTS, SEMANTIC) if settings.stuff_classes else OUTPUTS,
        )
        return Exported(settings, detect, net, write_bundle(folder / "bundle", folder / "model.onnx", bundle))

    return export


@pytest.fixture(scope="module")
def rtx() -> Library:
    reason = "tensorrt-rtx-cu13 is not installed: nothing can build an engine here"
    api = pytest.importorskip("tensorrt_rtx", reason=reason)
    return Library("tensorrt_rtx", api.__version__, api)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, *SIZE, 3)).astype(np.uint8)


def run(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


# ---- What the file computes


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnx_runtime_computes_what_pytorch_does(exported, name: str):
    detect, net, path = exported(name).detect, exported(name).net, exported(name).bundle.onnx_path
    images = noise(3)
    report = parity(net, detect, path, images)
    assert report.detections >= 30
    assert report.within(), report
    alone = [parity(net, detect, path, images[i : i + 1]).detections for i in range(3)]
    assert sum(alone) == report.detections  # the batch is free
    model = onnx.load(path)
    refused = {"RoiAlign", "NonMaxSuppression", "NonZero", "Unique", "DeformConv", "ScatterElements", "MaxRoiPool"}
    operators = {node.op_type for node in model.graph.node}
    assert not operators & refused
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert str(Path.cwd()).encode() not in path.read_bytes()


def test_parity_sees_changed_weights(exported):
    path = exported("panoptic").bundle.onnx_path
    net = deployed_net(exported("panoptic").bundle).net  # of its own: it is changed
    images = noise(2)
    report = parity(net, DETECT, path, images)
    assert report.detections >= 20
    assert report.within(), report
    assert report.semantic is not None
    assert report.semantic <= 0.5 / 255 + 1e-4
    with torch.no_grad():
        net.semantic.logits.bias[1] += 0.3
        changed = parity(net, DETECT, path, images)
        net.semantic.logits.bias[1] -= 0.3
        net.mask.logits.bias.add_(0.3)
    assert changed.missing == 0
    assert changed.semantic is not None
    assert changed.semantic > 0.02
    assert not changed.within()
    changed = parity(net, DETECT, path, images)
    assert changed.missing == 0
    assert changed.mask > 0.02
    assert not changed.within()


def test_a_missing_detection_is_no_parity():
    assert Parity(20, 0, 0.05, 1e-4, 1e-3, 1e-3).within()
    assert not Parity(20, 1, 0.0, 0.0, 0.0, 0.0).within()


def test_sizes_that_do_not_divide_are_refused(random_network, tmp_path: Path):
    with pytest.raises(InputError, match="expected multiples of 32, got 100x160"):
        export_onnx(random_network(ARCHITECTURES["tiny"]), DETECT, (100, 160), tmp_path / "model.onnx")


# ---- Masks of what is found


def test_masks_are_computed_for_what_is_found_and_are_those_of_the_static_graph(exported):
    model = onnx.load(exported("tiny").bundle.onnx_path)
    static = with_all_masks(model)
    images = np.concatenate([noise(2), np.full((1, *SIZE, 3), 60, np.uint8)])
    for chosen, counts in (([0, 1], [16, 20]), ([0, 2], [16, 0]), ([0], [16]), ([2, 2], [0, 0])):
        found, everything = run(model, images[chosen]), run(static, images[chosen])
        assert (found["scores"] > 0).sum(axis=1).tolist() == counts
        most = max(*counts, 1)
        for name in OUTPUTS:
            assert (found[name].shape, found[name].dtype) == (everything[name].shape, everything[name].dtype)
            rows = most if name in ("masks", "embeddings") else DETECT.detections
            assert np.abs(found[name][:, :rows] - everything[name][:, :rows]).max() <= 1e-6
        for name in ("masks", "embeddings"):
            assert (found[name][:, most:] == 0).all()
            assert (everything[name][:, most:] != 0).any(axis=-1).all()


def test_without_its_length_the_file_is_the_static_network(exported):
    model = onnx.load(exported("tiny").bundle.onnx_path)
    static = with_all_masks(model)
    assert any(MASK_ROWS in node.output for node in model.graph.node)
    assert not any(MASK_ROWS in node.output for node in static.graph.node)
    assert with_all_masks(static) == static  # as a file from before there was a length
    images = noise(3)
    found = run(static, images)
    with torch.no_grad():
        expected = DeployedNet(exported("tiny").net, SURE)(torch.from_numpy(images))
    for name, wanted in zip(OUTPUTS, expected, strict=True):
        sure = (expected[1] > 0).numpy()  # padding may come in any order
        assert np.abs(found[name][sure] - wanted.numpy()[sure]).max() <= (1e-2 if "boxes" in name else 1e-4)


# ---- The network out of the file


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_rebuilt_network_computes_the_same(exported, name):
    settings, net, bundle = exported(name).settings, exported(name).net, exported(name).bundle
    rebuilt = deployed_net(bundle)
    images = torch.from_numpy(noise(1))
    with torch.no_grad():
        for level, expected in zip(rebuilt.net.pyramid(images), net.pyramid(images), strict=True):
            assert torch.allclose(level, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
        original = DeployedNet(net, exported(name).detect)
        for level in ("box", "mask", "track", "rpn", *(["semantic"] if settings.stuff_classes else [])):
            theirs = rebuilt.net.get_submodule(level).state_dict()
            for key, tensor in original.net.get_submodule(level).state_dict().items():
                assert torch.equal(theirs[key], tensor), f"{level}.{key}"
    assert not any(parameter.requires_grad for parameter in rebuilt.parameters())


def test_another_networks_file_is_refused(exported):
    settings, bundle = exported("resnet18").settings, exported("resnet18").bundle
    for change, text in (
        ({"mask_layers": 5}, "expected a Conv for 'net.mask.convs.8', got ConvTranspose"),
        ({"mask_layers": 3}, "expected a ConvTranspose for 'net.mask.up', got Conv"),
        ({"track_features": 20}, r"net.track.hidden.weight: expected \(20, 16\), got \(16, 16\)"),
    ):
        recipe = {"method": {"net": to_mapping(replace(settings, **change)), "detect": to_mapping(DETECT)}}
        other = replace(bundle, training=replace(bundle.training, recipe=recipe))
        with pytest.raises(InputError, match=f"model.onnx: not the network of its recipe: {text}; use backend 'onnx'"):
            deployed_net(other)


# ---- TensorRT


def test_every_backbone_has_its_architecture():
    assert {settings.backbone for settings in ARCHITECTURES.values()} == set(BACKBONES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_built_in_half_precision(rtx, exported, name):
    bundle = exported(name).bundle
    graph = engine_graph(read_graph(bundle), "fp16").SerializeToString()
    assert len(build_engine(rtx, graph, bundle, "fp16", 2)) > 100_000


def test_single_precision_and_int8_are_built_too(rtx, exported):
    bundle = exported("tiny").bundle
    model = read_graph(bundle)
    ranges = calibrate(model, noise(2))
    assert len(ranges) > 20
    assert len({node.input[0] for node in quantisable(model)}) == len(ranges)
    graphs = {
        precision: engine_graph(model, precision, ranges).SerializeToString() for precision in ("fp32", "fp16", "int8")
    }
    assert len(graphs["int8"]) < len(graphs["fp32"])
    sizes = {name: len(build_engine(rtx, graph, bundle, name, 1)) for name, graph in graphs.items()}
    assert sizes["fp16"] < sizes["fp32"]


def test_the_semantic_branch_is_reduced_and_its_probabilities_are_not(exported):
    # ONNX Runtime runs the graphs that TensorRT is given.
    model = read_graph(exported("panoptic").bundle)
    last_layer = next(entry for entry in model.graph.initializer if entry.name == "net.semantic.logits.weight")
    small = onnx.numpy_helper.to_array(last_layer) / 200  # so that the softmax does not multiply the steps of INT8
    last_layer.CopyFrom(onnx.numpy_helper.from_array(small, last_layer.name))
    images = noise(2)
    ranges = calibrate(model, images)
    found = {}
    for precision in ("fp32", "fp16", "int8"):
        graph = engine_graph(model, precision, ranges)
        weights = [node.input[1] for node in graph.graph.node if node.op_type == "Conv" and "semantic" in node.input[1]]
        branch, logits = weights[:-2], weights[-2:]
        assert len(branch) == 7
        ending = {"fp32": ".weight", "fp16": ".weight_half", "int8": ".weight_stepped_half"}[precision]
        assert all(name.endswith(ending) for name in branch)
        # The last layer's result is what is published, so INT8 leaves it in half precision.
        assert all(name.endswith(".weight" if precision == "fp32" else ".weight_half") for name in logits)
        last = [node for node in graph.graph.node if node.op_type == "Softmax"][-1]
        assert not last.input[0].endswith("_half")
        found[precision] = run(graph, images)[SEMANTIC]
        assert found[precision].dtype == np.uint8
        assert found[precision].shape == (2, 4, 24, 40)
    gaps = {name: int(np.abs(found[name].astype(int) - found["fp32"]).max()) for name in ("fp16", "int8")}
    assert gaps["fp16"] <= 2
    assert gaps["int8"] <= 16

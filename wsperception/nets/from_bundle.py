"""PerceptionNet back out of a bundle: built from the recipe, its weights read from the ONNX file.

The file keeps a weight's name only where the exporter found nothing to simplify: it folds normalisations into a factor
and a summand, and stores equal arrays once. So layers are matched by the order in which they are called, which is the
order of the file's nodes, and what has been found is checked by shape here and by its results in the backend.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from wsperception.bundle import ModelBundle
from wsperception.errors import InputError
from wsperception.nets.deployed import DeployedNet
from wsperception.nets.perception_net import PerceptionNet
from wsperception.nets.settings import DetectSettings, NetSettings
from wsperception.settings import from_mapping

LAYERS: dict[type[nn.Module], str] = {nn.Conv2d: "Conv", nn.ConvTranspose2d: "ConvTranspose", nn.Linear: "Gemm"}
"""Layers with weights, and the nodes that they become."""
NORMS: tuple[type[nn.Module], ...] = (FrozenBatchNorm2d, nn.GroupNorm)
LONGEST_NORM = 12
"""Nodes between a convolution and the last of the normalisation behind it."""


def deployed_net(bundle: ModelBundle) -> DeployedNet:
    """The exported network of a bundle, in evaluation mode, in float32 on the CPU; frozen normalisations are folded.

    Raises InputError where the bundle has no recipe of a PerceptionNet, or the ONNX file is not of that network.
    """
    settings, detect = _recipe(bundle)
    network = DeployedNet(PerceptionNet(settings, len(bundle.label_space)), detect)
    graph = _Graph(bundle)
    try:
        with torch.no_grad():
            _load(network, graph)
    except _ForeignError as error:
        raise InputError(f"{bundle.onnx_path}: not the network of its recipe: {error}; use backend 'onnx'") from None
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval()


class _ForeignError(Exception):
    """The file does not fit the network."""


class _Graph:
    """Nodes with weights, in their order, and what follows a node."""

    def __init__(self, bundle: ModelBundle) -> None:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            graph = onnx.load(str(bundle.onnx_path)).graph
        except (OSError, DecodeError) as error:
            raise InputError(f"{bundle.onnx_path}: not readable as ONNX: {' '.join(str(error).split())}") from None
        self.arrays = {
            entry.name: torch.from_numpy(onnx.numpy_helper.to_array(entry).copy()) for entry in graph.initializer
        }
        self.layers = [node for node in graph.node if node.op_type in LAYERS.values()]
        self._consumers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)

    def affine_after(self, node: Any) -> tuple[Tensor, Tensor]:
        """Factor and summand of the normalisation behind a convolution."""
        factor: Tensor | None = None
        for _ in range(LONGEST_NORM):
            followers = [each for each in self._consumers.get(node.output[0], []) if each.op_type != "Shape"]
            if len(followers) != 1:
                break
            node = followers[0]
            constants = [self.arrays[name] for name in node.input if name in self.arrays]
            if node.op_type == "Mul" and len(constants) == 1:
                factor = constants[0]
            elif node.op_type == "Add" and len(constants) == 1 and factor is not None:
                return factor.flatten(), constants[0].flatten()
        raise _ForeignError(f"no normalisation follows node '{node.name}'")


def _recipe(bundle: ModelBundle) -> tuple[NetSettings, DetectSettings]:
    """Architecture and detection settings, which stand in the recipe's method or, of converted weights, beside it."""
    recipe: Mapping[str, Any] = bundle.training.recipe
    method = recipe.get("method", recipe)
    where = f"{bundle.folder / 'bundle.json'}: training: recipe"
    if not isinstance(method, Mapping) or not {"net", "detect"} <= method.keys():
        raise InputError(f"{where}: has no net and detect, so PyTorch cannot rebuild the network; use backend 'onnx'")
    return (
        from_mapping(NetSettings, method["net"], f"{where}: net"),
        from_mapping(DetectSettings, method["detect"], f"{where}: detect"),
    )


def _load(network: DeployedNet, graph: _Graph) -> None:
    """Fills the layers of `network` from the graph."""
    nodes = iter(graph.layers)
    filled: dict[str, Any] = {}  # name -> node; a layer called for every level of the pyramid comes several times
    latest = ""
    for name in _call_order(network):
        module = network.get_submodule(name)
        if isinstance(module, NORMS):
            if name not in filled:
                filled[name] = filled[latest]
                _fill_norm(network, latest, name, *graph.affine_after(filled[latest]))
            continue
        node, latest = next(nodes, None), name
        if node is None or node.op_type != LAYERS[type(module)]:
            raise _ForeignError(f"expected a {LAYERS[type(module)]} for '{name}', got {node and node.op_type}")
        if name not in filled:
            filled[name] = node
            for kind, array in zip(("weight", "bias"), node.input[1:], strict=False):
                _fill(getattr(module, kind), graph.arrays.get(array), f"{name}.{kind}")
            if len(node.input) == 2 and isinstance(module.bias, Tensor):  # the exporter drops a bias of zeros
                module.bias.zero_()
    if next(nodes, None) is not None:
        raise _ForeignError("it has more layers")


def _fill(tensor: Tensor | None, array: Tensor | None, name: str) -> None:
    if tensor is None or array is None or tensor.shape != array.shape:
        wanted, got = (None if each is None else tuple(each.shape) for each in (tensor, array))
        raise _ForeignError(f"{name}: expected {wanted}, got {got}")
    tensor.copy_(array)


def _fill_norm(network: DeployedNet, conv_name: str, name: str, factor: Tensor, summand: Tensor) -> None:
    """A frozen normalisation moves into its convolution; another one takes its weights."""
    norm, conv = network.get_submodule(name), network.get_submodule(conv_name)
    if isinstance(norm, nn.GroupNorm):
        _fill(norm.weight, factor, f"{name}.weight")
        _fill(norm.bias, summand, f"{name}.bias")
        return
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d)
    _fill(norm.weight, factor, f"{name}.weight")
    _fill(norm.bias, summand, f"{name}.bias")
    conv.weight.mul_(factor[:, None, None, None])
    conv.bias = nn.Parameter(summand.clone())
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, nn.Identity())


def _call_order(network: DeployedNet) -> list[str]:
    """Names of layers and normalisations as a run calls them: found by running on a small image, with one proposal."""
    called: list[str] = []
    kinds = (*LAYERS, *NORMS)
    hooks = [
        module.register_forward_pre_hook(lambda _module, _inputs, name=name: called.append(name))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    settings = network.settings
    network.settings = dataclasses.replace(settings, pre_nms=1, proposals=1, detections=1)
    try:
        network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    finally:
        network.settings = settings
        for hook in hooks:
            hook.remove()
    return called

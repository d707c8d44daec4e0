"""An ONNX graph whose convolutions and products compute in INT8, by explicit quantisation.

Quantise and dequantise nodes around a layer say everything in the graph: TensorRT 10 and 11 and TensorRT-RTX all read
them, whereas calibrators are deprecated in the first and gone from the others; and ONNX Runtime runs the same graph on
a CPU. Symmetric, weights per output channel, activations per tensor (Wu et al., arXiv:2004.09602, Sec. 3.1 and 5.1).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from wsperception.backends.half_graph import FLOWING, LAYERS, SHAPING

LARGEST = 127


def calibrate(model: Any, images: Iterable[np.ndarray], threads: int = 1) -> dict[str, float]:
    """The range of what each layer that can be quantised reads: tensor -> largest magnitude.

    model   ONNX, FP32
    images  (h, w, 3) uint8 each, letterboxed

    The mean over the images of each one's maximum: a single outlier costs its own image precision, not all the others.
    """
    import onnx
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    tensors = sorted({node.input[0] for node in quantisable(model)})
    helper, axes = onnx.helper, []
    for name in tensors:
        axes += [
            helper.make_node("Abs", [name], [f"{name}_magnitude"]),
            helper.make_node("ReduceMax", [f"{name}_magnitude"], [f"{name}_range"], keepdims=0),
        ]
    probe.graph.node.extend(axes)
    del probe.graph.output[:]
    probe.graph.output.extend(
        helper.make_tensor_value_info(f"{name}_range", onnx.TensorProto.FLOAT, ()) for name in tensors
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [[float(value) for value in session.run(None, {"images": image[None]})] for image in images]
    return dict(zip(tensors, (float(value) for value in np.mean(found, axis=0)), strict=True)) if found else {}


def quantisable(model: Any) -> list[Any]:
    """Layers that lose least in INT8: convolutions and products inside the network.

    Left out: the first, which reads the image; those whose result leaves the layers for scores and coordinates; and
    grouped convolutions, whose channels have too little in common for one activation range.
    """
    weights = {entry.name for entry in model.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    layers = [node for node in model.graph.node if node.op_type in LAYERS and node.input[1] in weights]
    return [
        node
        for node in layers[1:]
        if node.op_type in ("Conv", "Gemm")
        and _attribute(node, "group", 1) == 1
        and _attribute(node, "transA", 0) == 0
        and node.output[0] not in outputs
        and _reaches_a_layer(node.output[0], readers)
    ]


def _reaches_a_layer(tensor: str, readers: Mapping[str, list[Any]]) -> bool:
    """Whether a layer reads the tensor, or what operators between layers make of it."""
    return any(
        reader.op_type in LAYERS
        or (reader.op_type in FLOWING | SHAPING and _reaches_a_layer(reader.output[0], readers))
        for reader in readers.get(tensor, [])
    )


def in_int8(model: Any, ranges: Mapping[str, float]) -> Any:
    """A copy of an ONNX model with quantise and dequantise nodes around each quantisable layer's input and weight.

    ranges  of `calibrate`; a layer whose input has none, or an empty one, stays as it is
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, helper = copy.graph, onnx.helper
    weights = {entry.name: entry for entry in graph.initializer}
    chosen = {node.output[0] for node in quantisable(copy) if ranges.get(node.input[0], 0.0) > 0.0}
    nodes: list[Any] = []
    done: set[str] = set()

    def constant(name: str, values: np.ndarray) -> str:
        graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        return name

    def quantise_activation(name: str) -> None:
        scale = constant(f"{name}_scale", np.array(ranges[name] / LARGEST, np.float32))
        zero = constant(f"{name}_zero", np.array(0, np.int8))
        nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_int8"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_int8", scale, zero], [f"{name}_stepped"]))

    def quantise_weight(name: str, axis: int) -> None:
        integers, scales = quantised_weight(onnx.numpy_helper.to_array(weights[name]), axis)
        stored = constant(f"{name}_int8", integers)
        scale = constant(f"{name}_scale", scales)
        zero = constant(f"{name}_zero", np.zeros(len(scales), np.int8))
        nodes.append(helper.make_node("DequantizeLinear", [stored, scale, zero], [f"{name}_stepped"], axis=axis))

    for node in graph.node:
        if node.output and node.output[0] in chosen:
            axis = 1 if node.op_type == "Gemm" and not _attribute(node, "transB", 0) else 0
            data, weight = node.input[0], node.input[1]
            if data not in done:
                quantise_activation(data)
            if weight not in done:
                quantise_weight(weight, axis)
            done |= {data, weight}
            node.input[0], node.input[1] = f"{data}_stepped", f"{weight}_stepped"
        nodes.append(node)
    return _with_nodes(copy, nodes)


def quantised_weight(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """`weight` as int8, and the scale (C,) float32 of each of the C slices along `axis`; zeros have scale 1."""
    others = tuple(other for other in range(weight.ndim) if other != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales.ravel()


def _with_nodes(model: Any, nodes: list[Any]) -> Any:
    import onnx

    kept = []
    for node in nodes:  # copies, because clearing the list empties those that live in it
        entry = onnx.NodeProto()
        entry.CopyFrom(node)
        kept.append(entry)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    # A weight that only quantised layers read is stored as int8 now.
    read = {name for node in kept for name in node.input}
    stored = [entry for entry in model.graph.initializer if entry.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored)
    return model


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)

"""An ONNX graph whose layers compute in half precision, while coordinates, scores and suppression stay in single.

Strongly typed engines take precision from the graph: TensorRT 11 and TensorRT-RTX know no other way, and TensorRT 10
recommends it. In half precision a pixel coordinate of 1248 is only known to half a pixel, so a converter that takes
whole graphs cannot be used; and a graph with types can be run, and judged, by ONNX Runtime on any CPU.
"""

from collections.abc import Iterator
from typing import Any

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators with weights: where the arithmetic is."""
FLOWING = {
    "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "MaxPool", "Mul", "Pad", "Relu", "Resize",
}  # fmt: skip
"""Operators between layers: in half precision when everything they read is."""
SHAPING = {"Reshape", "Flatten"}
"""As FLOWING, where only layers read the result. Elsewhere they lead out of the layers, to coordinates."""
DATA_INPUTS = {"Resize": 1, "QuantizeLinear": 2, "DequantizeLinear": 2}
"""How many inputs carry the data's type, where not all floating-point inputs do: a Resize's scales stay in single."""


def in_half(model: Any) -> Any:
    """A copy of an ONNX model (FP32, topologically sorted) that computes its layers in half precision.

    Inputs and outputs keep their names and types. Weights beyond the range of half precision become infinite, which
    the quality gate sees.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:], copy.graph.value_info[:]
    copy.graph.node.extend(_Walk(copy.graph, nodes).converted())
    return copy


class _Walk:
    """One pass over the nodes. Tensor `t` in half precision is called `t_half`; a Cast makes either from the other."""

    def __init__(self, graph: Any, nodes: list[Any]) -> None:
        import onnx

        self._onnx = onnx
        self._graph = graph
        self._nodes = nodes
        self._weights = {entry.name: entry for entry in graph.initializer}
        self._floats = {name for name, entry in self._weights.items() if entry.data_type == onnx.TensorProto.FLOAT}
        self._quantised = {
            node.output[0] for node in nodes if node.op_type == "DequantizeLinear" and node.input[0] in self._weights
        }
        self._readers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._half: set[str] = set()  # tensors that a half node gives
        self._cast: set[str] = set()  # names that a Cast gave already, or a converted weight

    def converted(self) -> Iterator[Any]:
        """The nodes, with casts between them."""
        for node in self._nodes:
            if self._is_half(node):
                yield from self._as_half(node)
            else:
                yield from self._as_single(node)
        for output in self._graph.output:
            yield from self._in_single(output.name)

    def _is_half(self, node: Any) -> bool:
        if node.op_type == "DequantizeLinear":
            return True
        if node.op_type in LAYERS:
            return node.input[1] in self._weights or node.input[1] in self._quantised
        reaches_layers = all(reader.op_type in LAYERS for reader in self._readers.get(node.output[0], []))
        if node.op_type in FLOWING or (node.op_type in SHAPING and reaches_layers) or node.op_type == "QuantizeLinear":
            data = [name for name in self._data_inputs(node) if name not in self._weights]
            return bool(data) and all(name in self._half for name in data)
        return False

    def _data_inputs(self, node: Any) -> list[str]:
        names = list(node.input)[: DATA_INPUTS.get(node.op_type, len(node.input))]
        return [name for name in names if name and (name not in self._weights or name in self._floats)]

    def _as_half(self, node: Any) -> Iterator[Any]:
        data = self._data_inputs(node)
        for position, name in enumerate(node.input):
            is_integer = node.op_type == "DequantizeLinear" and position == 0
            if name not in data or is_integer or position >= DATA_INPUTS.get(node.op_type, len(node.input)):
                continue
            yield from self._in_half(name)
            node.input[position] = f"{name}_half"
        if node.op_type != "QuantizeLinear":  # which gives integers
            self._half.update(node.output)
            node.output[:] = [f"{name}_half" for name in node.output]
        yield node

    def _as_single(self, node: Any) -> Iterator[Any]:
        if node.op_type == "Shape" and node.input[0] in self._half:
            node.input[0] = f"{node.input[0]}_half"
        for name in (*node.input, *_outer_names(node)):
            yield from self._in_single(name)
        yield node

    def _in_half(self, name: str) -> Iterator[Any]:
        """Makes `name`_half exist."""
        if name in self._half or f"{name}_half" in self._cast:
            return
        self._cast.add(f"{name}_half")
        if name in self._floats:
            import numpy as np

            with np.errstate(over="ignore"):
                values = self._onnx.numpy_helper.to_array(self._weights[name]).astype(np.float16)
            self._graph.initializer.append(self._onnx.numpy_helper.from_array(values, f"{name}_half"))
            return
        kind = self._onnx.TensorProto.FLOAT16
        yield self._onnx.helper.make_node("Cast", [name], [f"{name}_half"], name=f"{name}_to_half", to=kind)

    def _in_single(self, name: str) -> Iterator[Any]:
        """Makes `name` exist where so far only `name`_half does."""
        if name not in self._half or name in self._cast:
            return
        self._cast.add(name)
        kind = self._onnx.TensorProto.FLOAT
        yield self._onnx.helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_to_single", to=kind)


def _outer_names(node: Any) -> Iterator[str]:
    """Tensors that the bodies of an If or a Loop may read."""
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from inner.input
            yield from _outer_names(inner)

"""The ONNX graph that TensorRT is given: a bundle's network with every precision written into it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsperception.backends.contract import INPUT, one_line
from wsperception.backends.half_graph import in_half
from wsperception.backends.int8_graph import in_int8
from wsperception.bundle import MASK_ROWS, ModelBundle
from wsperception.errors import InputError

EDITION = 2
"""To be counted up where the same file becomes another graph than before, so that engines are built anew."""


def read_graph(bundle: ModelBundle) -> Any:
    """The bundle's ONNX model. Raises InputError where the package onnx is missing or the file is no ONNX model."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(f"backend 'tensorrt': {error}; expected the package onnx: pip install onnx") from None
    try:
        model = onnx.load(str(bundle.onnx_path))
    except (DecodeError, OSError, ValueError) as error:
        raise InputError(f"{bundle.onnx_path}: not an ONNX file: {one_line(error)}") from None
    if not model.graph.node:
        raise InputError(f"{bundle.onnx_path}: expected an ONNX graph with nodes, got none")
    return model


def engine_graph(model: Any, precision: str, ranges: Mapping[str, float] | None = None) -> Any:
    """A copy of `model` in which layers compute in `precision`: fp32, fp16 or int8.

    ranges  for int8, as `int8_graph.calibrate` gives them; what is not quantised computes in half precision
    """
    found = with_all_masks(with_cast_first(model))
    if precision == "int8":
        found = in_int8(found, ranges or {})
    return found if precision == "fp32" else in_half(found)


def with_cast_first(model: Any) -> Any:
    """A copy in which the image is cast to floating point before it is transposed.

    TensorRT takes uint8 as an input's type only, to be cast at once: "first input has type UInt8 but must have type
    Float" is what it says of an export that transposes first.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    for transpose in nodes:
        if transpose.op_type != "Transpose" or transpose.input[0] != INPUT:
            continue
        readers = [node for node in nodes if transpose.output[0] in node.input]
        if len(readers) != 1 or readers[0].op_type != "Cast":
            continue
        cast = readers[0]
        result, between = cast.output[0], f"{INPUT}_{transpose.output[0]}"
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(cast)
        second.CopyFrom(transpose)
        first.input[0], first.output[0] = INPUT, between
        second.input[0], second.output[0] = between, result
        transpose.CopyFrom(first)
        cast.CopyFrom(second)
    del copy.graph.value_info[:]
    return copy


def with_all_masks(model: Any) -> Any:
    """A copy that computes a mask for every row, found or not; a model without `MASK_ROWS` does so already.

    A length that depends on values makes the host wait for the GPU in the middle of a run, which then cannot be
    recorded as one launch, and leaves TensorRT nothing to choose its kernels by; and a GPU has room to spare.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    if all(MASK_ROWS not in node.output for node in graph.node):
        return copy
    masks = next(output for output in graph.output if output.name == "masks")
    count = np.array(masks.type.tensor_type.shape.dim[1].dim_value, np.int64)
    graph.initializer.append(onnx.numpy_helper.from_array(count, MASK_ROWS))
    readers = Counter([name for node in graph.node for name in node.input] + [output.name for output in graph.output])
    orphans = {MASK_ROWS}  # what nobody reads any more
    for node in reversed(list(graph.node)):  # from readers to what they read
        if orphans.issuperset(node.output):
            readers.subtract(node.input)
            orphans.update(name for name in node.input if readers[name] == 0)
            graph.node.remove(node)
    del graph.value_info[:]
    return copy

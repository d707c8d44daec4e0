"""What a bundle promises of its graph, and the check that a loaded graph keeps it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from wsperception.bundle import SEMANTIC, SEMANTIC_STRIDE, ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

INPUT = "images"
"""The graph's one input: (B, h, w, 3) uint8 RGB."""


@dataclass(frozen=True)
class Port:
    """An input or output of a loaded graph.

    dtype  as NumPy names it
    shape  with the batch; None where a size is free
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def output_shape(name: str, bundle: ModelBundle) -> tuple[int, ...]:
    """Shape of one image's output, without the batch."""
    if name == SEMANTIC:
        height, width = bundle.input_size
        stuff = len(bundle.label_space) - bundle.label_space.thing_count
        return (1 + stuff, height // SEMANTIC_STRIDE, width // SEMANTIC_STRIDE)
    tail = {
        "boxes": (4,),
        "scores": (),
        "class_ids": (),
        "masks": (bundle.mask_side, bundle.mask_side),
        "mask_boxes": (4,),
        "embeddings": (bundle.embedding_length,),
    }
    return (bundle.max_detections, *tail[name])


def output_dtype(name: str) -> str:
    """NumPy's name of an output's type."""
    return {"class_ids": "int32", SEMANTIC: "uint8"}.get(name, "float32")


def check_graph(bundle: ModelBundle, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Raises InputError where inputs or outputs are not those that the bundle promises; free sizes pass."""
    if [port.name for port in inputs] != [INPUT]:
        names = ", ".join(port.name for port in inputs)
        raise InputError(f"{bundle.onnx_path}: expected one input '{INPUT}', got {names}")
    _check_port(inputs[0], "uint8", (*bundle.input_size, 3), f"{bundle.onnx_path}: input '{INPUT}'")
    by_name = {port.name: port for port in outputs}
    for name in bundle.ordered_outputs:
        if name not in by_name:
            raise InputError(f"{bundle.onnx_path}: missing output '{name}'; it has {', '.join(by_name)}")
        where = f"{bundle.onnx_path}: output '{name}'"
        _check_port(by_name[name], output_dtype(name), output_shape(name, bundle), where)


def split_outputs(bundle: ModelBundle, arrays: Sequence[np.ndarray], batch: int) -> list[RawOutputs]:
    """Outputs of each of `batch` images. Raises InputError where a shape is wrong.

    arrays  as `bundle.ordered_outputs` names them
    """
    for name, array in zip(bundle.ordered_outputs, arrays, strict=True):
        expected = (batch, *output_shape(name, bundle))
        if array.shape != expected:
            raise InputError(f"{bundle.onnx_path}: output '{name}': expected {expected}, got {array.shape}")
    return [RawOutputs(*(array[index] for array in arrays)) for index in range(batch)]


def run_in_pieces(
    bundle: ModelBundle, batch: np.ndarray, largest: int, run: Callable[[np.ndarray], list[RawOutputs]]
) -> list[RawOutputs]:
    """Outputs of each image of `batch` (B, h, w, 3) uint8 from runs of at most `largest` images; no image, no run.

    A run may write over what the one before gave, so that is copied; what the last gave is handed on as it is.
    """
    assert batch.dtype == np.uint8 and batch.shape[1:] == (*bundle.input_size, 3)
    outputs: list[RawOutputs] = []
    for start in range(0, len(batch), largest):
        found = run(batch[start : start + largest])
        outputs += found if start + largest >= len(batch) else [copied(raw) for raw in found]
    return outputs


def copied(raw: RawOutputs) -> RawOutputs:
    """The same outputs in memory of their own."""
    values = (getattr(raw, field.name) for field in fields(raw))
    return RawOutputs(*(None if value is None else np.array(value) for value in values))  # type: ignore[arg-type]


def one_line(error: Exception | str) -> str:
    """An engine's error text, which may be long and have many lines, as part of one line."""
    return " ".join(str(error).split())[:300]


def _check_port(port: Port, dtype: str, shape: tuple[int, ...], where: str) -> None:
    """`shape` is without the batch, which must be 1 or free."""
    if port.dtype != dtype:
        raise InputError(f"{where}: expected {dtype}, got {port.dtype}")
    fits = len(port.shape) == len(shape) + 1 and port.shape[0] in (None, 1)
    fits = fits and all(have in (None, want) for have, want in zip(port.shape[1:], shape, strict=True))
    if not fits:
        have = ", ".join("free" if size is None else str(size) for size in port.shape)
        raise InputError(f"{where}: expected shape (batch 1 or free, {', '.join(map(str, shape))}), got ({have})")

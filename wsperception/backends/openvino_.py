"""OpenVINO on the CPU."""

import importlib.util
from typing import Any

import numpy as np

from wsperception.backends import EngineFacts, EngineOptions
from wsperception.backends.contract import INPUT, Port, check_graph, one_line, run_in_pieces, split_outputs
from wsperception.backends.threads import default_threads
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

_DTYPES = {"u8": "uint8", "f32": "float32", "f64": "float64", "f16": "float16", "i32": "int32", "i64": "int64"}
"""OpenVINO's names of types as NumPy's."""


class OpenVinoBackend:
    """A network in OpenVINO. Its graph's batch size is 1 or free; with 1, images are run one by one."""

    name = "openvino"

    def __init__(self, compiled: Any, bundle: ModelBundle, facts: EngineFacts) -> None:
        self._request = compiled.create_infer_request()
        self._bundle = bundle
        self._facts = facts
        self._places = [compiled.output(name) for name in bundle.ordered_outputs]
        batch = compiled.input(INPUT).partial_shape[0]
        self._one_by_one = batch.is_static and batch.get_length() == 1

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed."""
        return run_in_pieces(self._bundle, batch, 1 if self._one_by_one else max(len(batch), 1), self._run)

    def describe(self) -> EngineFacts:
        """What it runs on."""
        return self._facts

    def close(self) -> None:
        """Gives the engine's memory back."""
        self._request = None

    def _run(self, batch: np.ndarray) -> list[RawOutputs]:
        try:
            results = self._request.infer({INPUT: batch}, share_inputs=True)
        except RuntimeError as error:
            raise InputError(f"{self._bundle.onnx_path}: OpenVINO cannot run it: {one_line(error)}") from None
        return split_outputs(self._bundle, [results[place] for place in self._places], len(batch))


def obstacle() -> str:
    """Why `auto` should not try it on this machine; "" where it should."""
    return "" if importlib.util.find_spec("openvino") else "the package openvino is not installed"


def load(bundle: ModelBundle, options: EngineOptions) -> OpenVinoBackend:
    """The network of `bundle` in OpenVINO, in float32.

    Raises InputError, naming the ONNX file, where it cannot be loaded or is not what the bundle says.
    """
    try:
        import openvino  # type: ignore[import-not-found]
    except ImportError as error:
        raise InputError(
            f"backend 'openvino': {error}; install it with pip install openvino, or use backend 'onnx'"
        ) from None
    if options.precision not in ("auto", "fp32"):
        raise InputError(f"precision: expected fp32 for backend 'openvino', got {options.precision}")
    threads = options.threads if options.threads is not None else default_threads()
    path = bundle.onnx_path
    # On processors with bfloat16 instructions OpenVINO would use them unasked, and boxes move by pixels.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    try:
        core = openvino.Core()
        model = core.read_model(str(path))
        check_graph(bundle, [_port(port) for port in model.inputs], [_port(port) for port in model.outputs])
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        # Where operators are unknown, what follows from it comes first and fills a page.
        reason = str(error).rpartition("Summary:")[2]
        raise InputError(f"{path}: OpenVINO cannot load it: {one_line(reason)}") from None
    version = f"OpenVINO {openvino.get_version().partition('-')[0]}"
    return OpenVinoBackend(compiled, bundle, EngineFacts("openvino", "fp32", f"CPU, {threads} threads", version))


def _port(port: Any) -> Port:
    """An input or output as OpenVINO describes it."""
    kind = port.element_type.get_type_name()
    sizes = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    return Port(port.any_name, _DTYPES.get(kind, kind), sizes)

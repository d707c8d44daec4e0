"""ONNX Runtime on the CPU."""

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from wsperception.backends import EngineFacts, EngineOptions
from wsperception.backends.contract import INPUT, Port, check_graph, one_line, run_in_pieces, split_outputs
from wsperception.backends.threads import default_threads
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

_DTYPES = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names where they are not NumPy's."""


class OnnxBackend:
    """A network in ONNX Runtime. Its graph's batch size is 1 or free; with 1, images are run one by one."""

    name = "onnx"

    def __init__(
        self, session: Any, bundle: ModelBundle, facts: EngineFacts, run_errors: tuple[type[Exception], ...]
    ) -> None:
        self._session = session
        self._run_errors = run_errors
        self._bundle = bundle
        self._facts = facts
        self._names = list(bundle.ordered_outputs)
        self._one_by_one = session.get_inputs()[0].shape[0] == 1

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed."""
        return run_in_pieces(self._bundle, batch, 1 if self._one_by_one else max(len(batch), 1), self._run)

    def describe(self) -> EngineFacts:
        """What it runs on."""
        return self._facts

    def close(self) -> None:
        """Gives the engine's memory back."""
        self._session = None

    def _run(self, batch: np.ndarray) -> list[RawOutputs]:
        try:
            arrays = self._session.run(self._names, {INPUT: batch})
        except self._run_errors as error:
            raise InputError(f"{self._bundle.onnx_path}: ONNX Runtime cannot run it: {one_line(error)}") from None
        return split_outputs(self._bundle, arrays, len(batch))


def obstacle() -> str:
    """Why `auto` should not try it on this machine; "" where it should."""
    return "" if importlib.util.find_spec("onnxruntime") else "the package onnxruntime is not installed"


def load(bundle: ModelBundle, options: EngineOptions) -> OnnxBackend:
    """The network of `bundle` in ONNX Runtime.

    Raises InputError, naming the ONNX file, where it cannot be loaded or is not what the bundle says.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise InputError(f"backend 'onnx': {error}; expected the package onnxruntime") from None
    if options.precision not in ("auto", "fp32"):
        raise InputError(f"precision: expected fp32 for backend 'onnx', got {options.precision}")
    threads = options.threads if options.threads is not None else default_threads()
    path = bundle.onnx_path
    errors = (
        state.EPFail, state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoModel,
        state.NoSuchFile, state.NotImplemented, state.RuntimeException,
    )  # fmt: skip
    try:
        session = onnxruntime.InferenceSession(
            str(path), _session_options(onnxruntime, threads), providers=["CPUExecutionProvider"]
        )
    except errors as error:
        raise InputError(f"{path}: ONNX Runtime cannot load it: {one_line(error)}") from None
    check_graph(bundle, [_port(entry) for entry in session.get_inputs()], [_port(e) for e in session.get_outputs()])
    facts = EngineFacts("onnx", "fp32", f"CPU, {threads} threads", f"ONNX Runtime {onnxruntime.__version__}")
    return OnnxBackend(session, bundle, facts, errors)


def operator_times(bundle: ModelBundle, batch: np.ndarray) -> list[tuple[str, str, float, float]]:
    """Name, type, start and duration of every operator of one run, in microseconds from its first.

    Of a session of its own with ONNX Runtime's profiler, after one run that warms it up.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        options = _session_options(onnxruntime, default_threads())
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        session = onnxruntime.InferenceSession(str(bundle.onnx_path), options, providers=["CPUExecutionProvider"])
        for _ in range(2):
            session.run(list(bundle.ordered_outputs), {INPUT: batch})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    second_run = [event["ts"] for event in events if event["name"] == "model_run"][-1]
    nodes = [event for event in events if event.get("cat") == "Node" and event["ts"] >= second_run]
    first = min(event["ts"] for event in nodes)
    return [
        (event["name"], event["args"]["op_name"], event["ts"] - first, event["dur"])
        for event in nodes
        if event["name"].endswith("_kernel_time")
    ]


def _session_options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads took twice the processor time per frame, and on a busy machine a fifth more wall time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _port(entry: Any) -> Port:
    """An input or output as ONNX Runtime describes it; a size it does not know is a name or None."""
    kind = entry.type.removeprefix("tensor(").removesuffix(")")
    sizes = tuple(size if isinstance(size, int) else None for size in entry.shape)
    return Port(entry.name, _DTYPES.get(kind, kind), sizes)

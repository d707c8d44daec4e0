"""ONNX Runtime on the CPU."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from wsperception.bundle import OUTPUTS, ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError


class OnnxBackend:
    """A network in ONNX Runtime. Its graph's batch size is 1 or free; with 1, images are run one by one."""

    name = "onnx"

    def __init__(self, session: Any, bundle: ModelBundle, run_errors: tuple[type[Exception], ...]) -> None:
        self._session = session
        self._run_errors = run_errors
        self._bundle = bundle
        self._one_by_one = session.get_inputs()[0].shape[0] == 1

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed."""
        assert batch.dtype == np.uint8 and batch.shape[1:] == (*self._bundle.input_size, 3)
        if self._one_by_one:
            return [self._run(batch[index : index + 1])[0] for index in range(len(batch))]
        return self._run(batch) if len(batch) else []

    def close(self) -> None:
        """Gives the engine's memory back."""
        self._session = None

    def _run(self, batch: np.ndarray) -> list[RawOutputs]:
        try:
            arrays = self._session.run(list(OUTPUTS), {"images": batch})
        except self._run_errors as error:
            raise InputError(f"{self._bundle.onnx_path}: ONNX Runtime cannot run it: {_one_line(error)}") from None
        for name, array in zip(OUTPUTS, arrays, strict=True):
            expected = (len(batch), *_output_shape(name, self._bundle))
            if array.shape != expected:
                raise InputError(f"{self._bundle.onnx_path}: output '{name}': expected {expected}, got {array.shape}")
        return [RawOutputs(*(array[index] for array in arrays)) for index in range(len(batch))]


def load(bundle: ModelBundle, threads: int | None = None) -> OnnxBackend:
    """The network of `bundle` in ONNX Runtime; `threads` as for `open_backend`.

    Raises InputError, naming the ONNX file, where it cannot be loaded or is not what the bundle says.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise InputError(f"backend 'onnx': {error}; expected the package onnxruntime") from None
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected at least 1, got {threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads if threads is not None else default_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads took twice the processor time per frame, and on a busy machine a fifth more wall time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = bundle.onnx_path
    errors = (
        state.EPFail, state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoModel,
        state.NoSuchFile, state.NotImplemented, state.RuntimeException,
    )  # fmt: skip
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except errors as error:
        raise InputError(f"{path}: ONNX Runtime cannot load it: {_one_line(error)}") from None
    _check_graph(session, bundle)
    return OnnxBackend(session, bundle, errors)


def default_threads() -> int:
    """$WSPERCEPTION_THREADS, or the physical cores that this process may use, limited by the container's share.

    A second thread on the same core does not speed matrix products up, and takes the core from the rest of the robot.
    """
    chosen = os.environ.get("WSPERCEPTION_THREADS")
    if chosen is not None:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise InputError(f"WSPERCEPTION_THREADS: expected a number >= 1, got {chosen!r}")
        return int(chosen)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = {
        _read(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) or str(cpu) for cpu in usable
    }
    quota, _, period = _read(Path("/sys/fs/cgroup/cpu.max")).partition(" ")
    share = math.ceil(int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else len(cores)
    return max(1, min(len(cores), share))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _output_shape(name: str, bundle: ModelBundle) -> tuple[int, ...]:
    """Shape of one image's output, without the batch."""
    tail = {
        "boxes": (4,),
        "scores": (),
        "class_ids": (),
        "masks": (bundle.mask_side, bundle.mask_side),
        "mask_boxes": (4,),
        "embeddings": (bundle.embedding_length,),
    }
    return (bundle.max_detections, *tail[name])


def _check_graph(session: Any, bundle: ModelBundle) -> None:
    """Raises InputError where inputs or outputs are not those that the bundle promises; free sizes pass."""
    inputs = session.get_inputs()
    if [entry.name for entry in inputs] != ["images"]:
        raise InputError(
            f"{bundle.onnx_path}: expected one input 'images', got {', '.join(entry.name for entry in inputs)}"
        )
    _check_tensor(inputs[0], "tensor(uint8)", (*bundle.input_size, 3), f"{bundle.onnx_path}: input 'images'")
    outputs = {entry.name: entry for entry in session.get_outputs()}
    for name in OUTPUTS:
        if name not in outputs:
            raise InputError(f"{bundle.onnx_path}: missing output '{name}'; it has {', '.join(outputs)}")
        kind = "tensor(int32)" if name == "class_ids" else "tensor(float)"
        _check_tensor(outputs[name], kind, _output_shape(name, bundle), f"{bundle.onnx_path}: output '{name}'")


def _check_tensor(entry: Any, kind: str, shape: tuple[int, ...], where: str) -> None:
    """`shape` is without the batch, which must be 1 or free."""
    if entry.type != kind:
        raise InputError(f"{where}: expected {kind}, got {entry.type}")
    known = [size if isinstance(size, int) else None for size in entry.shape]
    fits = len(known) == len(shape) + 1 and known[0] in (None, 1)
    fits = fits and all(have in (None, want) for have, want in zip(known[1:], shape, strict=True))
    if not fits:
        raise InputError(f"{where}: expected shape (batch 1 or free, {', '.join(map(str, shape))}), got {entry.shape}")

"""PyTorch: the way to a CUDA GPU where there is no TensorRT. Runs on a CPU too, slower than the other backends."""

import ctypes
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from wsperception.backends import EngineFacts, EngineOptions, quality_gate
from wsperception.backends.contract import one_line, run_in_pieces, split_outputs
from wsperception.backends.reference_frames import measured_agreement
from wsperception.backends.threads import default_threads
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

_LOG = logging.getLogger(__name__)


class TorchBackend:
    """PerceptionNet rebuilt from a bundle.

    programs  batch size -> a function from images (B, h, w, 3) uint8 to arrays as the bundle orders its outputs; larger
              batches are run in pieces of the largest size
    """

    name = "torch"

    def __init__(
        self,
        programs: dict[int, Callable[[np.ndarray], list[np.ndarray]]],
        bundle: ModelBundle,
        facts: EngineFacts,
        held_bytes: Callable[[], int | None],
    ) -> None:
        self._programs = programs
        self._bundle = bundle
        self._facts = facts
        self._held_bytes = held_bytes

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed."""
        return run_in_pieces(self._bundle, batch, max(self._programs), self._run)

    def describe(self) -> EngineFacts:
        """What it runs on, with the memory it holds now."""
        facts = self._facts
        return EngineFacts(
            facts.backend, facts.precision, facts.device, facts.version, gpu_memory_bytes=self._held_bytes()
        )

    def close(self) -> None:
        """Gives the engine's memory back."""
        self._programs = {}

    def _run(self, piece: np.ndarray) -> list[RawOutputs]:
        return split_outputs(self._bundle, self._programs[len(piece)](piece), len(piece))


def obstacle() -> str:
    """Why `auto` should not try it on this machine; "" where it should: on a CPU the other backends are faster."""
    for package in ("torch", "torchvision", "onnx"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    try:
        ctypes.CDLL("libcuda.so.1")  # importing torch takes seconds, so first ask whether a GPU is possible
    except OSError:
        return "no NVIDIA driver (libcuda.so.1)"
    import torch

    return "" if torch.cuda.is_available() else "PyTorch finds no CUDA GPU that it can use"


def load(bundle: ModelBundle, options: EngineOptions) -> TorchBackend:
    """The network of `bundle` on the first CUDA GPU, or on the CPU where there is none.

    The network is built from the recipe in the bundle and takes its weights from the ONNX file; its results are held
    against ONNX Runtime's (`quality_gate`). Precision "auto" on a GPU: fp16, or fp32 where fp16 falls short of the bar.

    Raises InputError where a package or the recipe is missing, where the results differ, and where the GPU's memory is
    too small for one image.
    """
    try:
        import onnx  # noqa: F401
        import torch
        import torchvision  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"backend 'torch': {error}; pip install torch torchvision onnx, or use backend 'onnx'"
        ) from None
    from wsperception.nets.from_bundle import deployed_net

    on_gpu = torch.cuda.is_available()
    allowed = ("auto", "fp32", "fp16", "bf16") if on_gpu else ("auto", "fp32")
    if options.precision not in allowed:
        where = "on a GPU" if on_gpu else "without a CUDA GPU"
        raise InputError(
            f"precision: expected {', '.join(allowed)} for backend 'torch' {where}, got {options.precision}"
        )
    network = deployed_net(bundle)
    if not on_gpu:
        return _checked(_on_cpu(network, bundle, options), bundle)
    if options.precision != "auto":
        return _checked(_on_gpu(network, bundle, options, options.precision), bundle)
    try:
        return _checked(_on_gpu(network, bundle, options, "fp16"), bundle)
    except InputError as error:
        _LOG.warning("backend torch: fp32 instead of fp16: %s", error)
    return _checked(_on_gpu(network, bundle, options, "fp32"), bundle)


def _on_cpu(network: Any, bundle: ModelBundle, options: EngineOptions) -> TorchBackend:
    import torch

    threads = options.threads if options.threads is not None else default_threads()
    torch.set_num_threads(threads)

    def program(batch: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.numpy() for output in network(torch.from_numpy(batch))]

    facts = EngineFacts("torch", "fp32", f"CPU, {threads} threads", f"PyTorch {torch.__version__}")
    sizes = range(1, options.largest_batch + 1)
    return TorchBackend(dict.fromkeys(sizes, program), bundle, facts, lambda: None)


def _on_gpu(network: Any, bundle: ModelBundle, options: EngineOptions, precision: str) -> TorchBackend:
    """One captured graph per batch size; fewer sizes where the memory does not suffice for all."""
    import torch

    from wsperception.backends.torch_graph import capture, prepared

    device = torch.device("cuda", torch.cuda.current_device())
    programs: dict[int, Callable[[np.ndarray], list[np.ndarray]]] = {}
    try:
        ready = prepared(network, device, precision)
        for size in range(1, options.largest_batch + 1):
            programs[size] = capture(ready, bundle.input_size, size, device, precision)
    except torch.cuda.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info(device)
        room = f"{free / 1e6:.0f} of {total / 1e6:.0f} MB are free"
        if not programs:
            raise InputError(
                f"backend 'torch': the GPU's memory does not suffice for one image of {bundle.name}: {room}; end what "
                f"else uses the GPU, or use backend 'onnx': {one_line(error)}"
            ) from None
        _LOG.warning("backend torch: batches of %d instead of %d: %s", len(programs), options.largest_batch, room)
    facts = EngineFacts("torch", precision, torch.cuda.get_device_name(device), f"PyTorch {torch.__version__}")
    return TorchBackend(programs, bundle, facts, lambda: int(torch.cuda.memory_reserved(device)))


def _checked(backend: TorchBackend, bundle: ModelBundle) -> TorchBackend:
    """`backend`, if it agrees with ONNX Runtime; else its memory is given back and InputError raised."""
    facts = backend.describe()
    try:
        quality_gate.require(measured_agreement(backend, bundle), facts.precision, f"{bundle.onnx_path}: {facts}")
    except InputError:
        backend.close()
        raise
    return backend

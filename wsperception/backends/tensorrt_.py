"""TensorRT, or TensorRT-RTX where that is what is installed, on an NVIDIA GPU."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsperception.backends import EngineFacts, EngineOptions
from wsperception.backends.contract import INPUT, output_dtype, output_shape, run_in_pieces
from wsperception.backends.cuda_driver import OUT_OF_MEMORY, CudaError, Device, no_gpu, open_device
from wsperception.backends.engine_build import (
    LIBRARIES,
    Library,
    api_logger,
    installed_library,
    not_installed,
    ran_out_of_memory,
    reason,
)
from wsperception.backends.engine_supply import Engine, EngineOrder, engine_for
from wsperception.backends.quality_gate import EngineRefusedError, require
from wsperception.backends.reference_frames import measured_agreement
from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

PRECISIONS = ("fp16", "fp32", "int8")
MIB = 1 << 20

_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class _Shot:
    """One batch size: a context with its shape set, and the recorded work where it could be recorded.

    A context per size, because the recorded work is void once its context takes another shape; all share one block of
    device memory, since one runs at a time.
    """

    context: Any
    graph: int | None = None


class TensorRTBackend:
    """An engine on the GPU: one stream, pinned buffers for the largest batch, nothing allocated per frame.

    A batch beyond `largest_batch` is run in pieces. `run` may be called from another thread than the one that loaded.
    """

    name = "tensorrt"

    def __init__(self, engine: Engine, library: Library, device: Device, bundle: ModelBundle, largest: int) -> None:
        """Raises CudaError, with code OUT_OF_MEMORY where the GPU has no room, and leaves nothing allocated."""
        self._record, self._path = engine.record, engine.path
        self._library, self._device, self._bundle, self._largest = library, device, bundle, largest
        self._host: dict[str, np.ndarray] = {}
        self._addresses: dict[str, int] = {}
        self._shots: list[_Shot] = []
        self._end = ExitStack()
        free_before, _ = device.memory()
        try:
            self._allocate(engine.content)
        except CudaError:
            self.free()
            raise
        self._gpu_bytes = max(free_before - device.memory()[0], 0)

    @property
    def largest_batch(self) -> int:
        """Images that are run at once."""
        return self._largest

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed; valid until the next call.

        Raises InputError where the GPU fails; whether it will work again only the driver knows.
        """
        try:
            self._device.make_current()
            return run_in_pieces(self._bundle, batch, self._largest, self._run)
        except CudaError as error:
            raise InputError(f"{self._path or self._bundle.onnx_path}: the GPU failed: {error}") from None

    def describe(self) -> EngineFacts:
        """What it runs on; the memory is what the GPU had less after loading."""
        product = str(self._library)
        return EngineFacts(
            "tensorrt", self._record.key.precision, self._device.name, product, self._path, self._gpu_bytes
        )

    def close(self) -> None:
        """Gives the GPU and its memory back; what `run` gave is void."""
        self.free()
        self._device.close()

    def free(self) -> None:
        """Gives back what the engine holds, but not the GPU."""
        self._device.make_current()
        self._end.close()

    def _run(self, images: np.ndarray) -> list[RawOutputs]:
        count = len(images)
        self._host[INPUT][:count] = images
        shot = self._shots[count - 1]
        if shot.graph is not None:
            self._device.launch(shot.graph, self._stream)
        else:
            self._enqueue(shot.context, count)
        self._device.wait(self._stream)
        return [
            RawOutputs(*(self._host[name][index] for name in self._bundle.ordered_outputs)) for index in range(count)
        ]

    def _allocate(self, content: bytes) -> None:
        device, end = self._device, self._end
        log = api_logger(self._library)
        log.errors.clear()  # what is said of a failure is this one's
        try:
            runtime = self._library.api.Runtime(log.handle)
        except (RuntimeError, TypeError):  # pybind says TypeError where the factory gives nothing
            raise CudaError("Runtime", 1, reason(log)) from None
        engine = self._made(runtime.deserialize_cuda_engine(content))
        if engine.get_tensor_shape(INPUT)[0] == 1:  # not free: images are run one by one
            self._largest = 1
        self._stream = device.stream()
        end.callback(device.free_stream, self._stream)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {INPUT: ("uint8", (*self._bundle.input_size, 3))}
        outputs = self._bundle.ordered_outputs
        shapes |= {name: (output_dtype(name), output_shape(name, self._bundle)) for name in outputs}
        for name, (dtype, shape) in shapes.items():
            self._host[name] = device.pinned((self._largest, *shape), dtype)
            end.callback(device.free_pinned, self._host[name])
            self._addresses[name] = device.allocate(self._host[name].nbytes)
            end.callback(device.free, self._addresses[name])
        workspace_bytes = engine.device_memory_size_v2
        workspace = device.allocate(workspace_bytes)
        end.callback(device.free, workspace)
        end.callback(self._shots.clear)  # contexts go before the memory that they use
        for count in range(1, self._largest + 1):
            self._shots.append(self._shot(engine, workspace, workspace_bytes, count))

    def _shot(self, engine: Any, workspace: int, workspace_bytes: int, count: int) -> _Shot:
        context = self._made(engine.create_execution_context(self._context_settings(engine)))
        context.set_device_memory(workspace, workspace_bytes)
        for name, address in self._addresses.items():
            context.set_tensor_address(name, address)
        if not context.set_input_shape(INPUT, (count, *self._bundle.input_size, 3)):
            raise CudaError("set_input_shape", 1, reason(api_logger(self._library)))
        shot = _Shot(context)
        # Once without recording: what TensorRT puts off until the first run must not become part of every run.
        self._enqueue(context, count)
        self._device.wait(self._stream)
        shot.graph = self._recorded(context, count)
        if shot.graph is not None:
            self._end.callback(self._device.free_graph, shot.graph)
        return shot

    def _context_settings(self, engine: Any) -> Any:
        api = self._library.api
        shared = api.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self._library.is_rtx:
            return shared
        settings = engine.create_runtime_config()
        settings.set_execution_context_allocation_strategy(shared)
        # RTX compiles kernels for a shape when it meets it: here, not while the robot drives.
        settings.dynamic_shapes_kernel_specialization_strategy = api.DynamicShapesKernelSpecializationStrategy.EAGER
        return settings

    def _recorded(self, context: Any, count: int) -> int | None:
        """The work of a run as one launch: some hundred kernels cost more to launch than a small one takes."""
        try:
            self._device.begin_capture(self._stream)
            try:
                self._enqueue(context, count)
            finally:
                graph = self._device.end_capture(self._stream)
        except CudaError as error:
            if error.code == OUT_OF_MEMORY:
                raise
            _LOG.info("batch %d is launched kernel by kernel, because it cannot be recorded: %s", count, error)
            return None
        return graph

    def _enqueue(self, context: Any, count: int) -> None:
        device, stream = self._device, self._stream
        device.to_gpu(self._addresses[INPUT], self._host[INPUT][:count], stream)
        if not context.execute_async_v3(stream):
            log = api_logger(self._library)
            raise CudaError("execute_async_v3", OUT_OF_MEMORY if ran_out_of_memory(log) else 1, reason(log))
        for name in self._bundle.ordered_outputs:
            device.to_host(self._host[name][:count], self._addresses[name], stream)

    def _made(self, created: Any) -> Any:
        """TensorRT gives nothing where it fails, and says why in its log."""
        if created is None:
            log = api_logger(self._library)
            raise CudaError("TensorRT", OUT_OF_MEMORY if ran_out_of_memory(log) else 1, reason(log))
        return created


def obstacle() -> str:
    """Why `auto` should not try it on this machine; "" where it should."""
    return not_installed() or no_gpu()


def load(bundle: ModelBundle, options: EngineOptions) -> TensorRTBackend:
    """The network of `bundle` as an engine: from the cache, or built, which takes minutes, and accepted by the gate.

    precision auto: fp16, or fp32 where fp16 is refused. Raises InputError where something is missing, where the engine
    cannot be built or lies below the bar, and where the GPU has no room.
    """
    if options.precision not in ("auto", *PRECISIONS):
        expected = ", ".join(PRECISIONS)
        raise InputError(f"precision: expected {expected} for backend 'tensorrt', got {options.precision}")
    library = installed_library()
    device = open_device()
    try:
        check_supported(library, device.name, device.compute_capability)
        if options.precision != "auto":
            return _load(bundle, library, device, options.precision, options.largest_batch)
        try:
            return _load(bundle, library, device, "fp16", options.largest_batch)
        except EngineRefusedError as error:
            _LOG.warning("%s: fp32 is taken instead", error)
            return _load(bundle, library, device, "fp32", options.largest_batch)
    except (InputError, CudaError):
        device.close()
        raise


def check_supported(library: Library, gpu: str, compute_capability: tuple[int, int]) -> None:
    """Raises InputError where TensorRT-RTX does not know the GPU: it serves those with RTX only."""
    known = getattr(library.api, "ComputeCapability", None)
    if not library.is_rtx or known is None:
        return
    major, minor = compute_capability
    if f"SM{major}{minor}" not in known.__members__:
        serves = ", ".join(name for name in known.__members__ if name.startswith("SM"))
        raise InputError(
            f"backend 'tensorrt': {library} does not serve {gpu} (SM{major}{minor}), only {serves}; "
            f"install {LIBRARIES['tensorrt']}, or use backend 'torch' or 'onnx'"
        )


def _load(bundle: ModelBundle, library: Library, device: Device, precision: str, largest: int) -> TensorRTBackend:
    order = EngineOrder(bundle, library, precision, largest, device.name, ".".join(map(str, device.compute_capability)))
    engine = engine_for(order)
    if engine.gate is not None:
        require(engine.gate, precision, str(order))
    backend = _fitted(engine, library, device, bundle, largest)
    try:
        if engine.gate is None:
            figures = measured_agreement(backend, bundle)
            _LOG.info("%s: %s", order, figures)
            engine.judged(figures)
            require(figures, precision, str(order))
    except InputError:
        backend.free()
        raise
    return backend


def _fitted(engine: Engine, library: Library, device: Device, bundle: ModelBundle, largest: int) -> TensorRTBackend:
    """The engine with the largest batch, up to `largest`, that the GPU's memory has room for."""
    while True:
        try:
            return TensorRTBackend(engine, library, device, bundle, largest)
        except CudaError as error:
            if error.code != OUT_OF_MEMORY:
                raise InputError(f"{engine.path or bundle.onnx_path}: the GPU cannot load it: {error}") from None
            free, total = device.memory()
            left = f"{free / MIB:.0f} of {total / MIB:.0f} MiB free"
            if largest == 1:
                raise InputError(
                    f"{bundle.onnx_path}: out of GPU memory ({left} on {device.name}) even for one image: "
                    "free some, use a smaller precision or backend 'onnx'"
                ) from None
            _LOG.warning("out of GPU memory for batches of %d (%s): %d are run at once", largest, left, largest // 2)
            largest //= 2

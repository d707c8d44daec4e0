"""From an ONNX graph to a TensorRT engine, on the Python API that TensorRT and TensorRT-RTX share."""

import concurrent.futures
import functools
import importlib
import importlib.util
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from wsperception.backends.contract import INPUT, Port, check_graph
from wsperception.bundle import ModelBundle
from wsperception.errors import InputError

LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
"""Python module -> product, best first: TensorRT runs on every GPU that it is installed for, RTX on some."""
OLDEST = (10, 1)
"""TensorRT before it lacks device memory that several contexts share."""
HEARTBEAT_S = 5.0

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """The TensorRT that is installed.

    module   import name, a key of LIBRARIES
    version  as it says itself
    api      the module
    """

    module: str
    version: str
    api: Any

    @property
    def is_rtx(self) -> bool:
        return self.module == "tensorrt_rtx"

    def __str__(self) -> str:
        return f"{LIBRARIES[self.module]} {self.version}"


def not_installed() -> str:
    """What to install where neither library is there; "" where one is. Imports nothing."""
    if any(importlib.util.find_spec(module) for module in LIBRARIES):
        return ""
    return "TensorRT is not installed; expected NVIDIA's package tensorrt, or tensorrt-rtx-cu13 for RTX GPUs"


def installed_library() -> Library:
    """The first of LIBRARIES that can be imported. Raises InputError where none can, or where it is too old."""
    problem = not_installed()
    for module in LIBRARIES:
        if importlib.util.find_spec(module) is None:
            continue
        try:
            api = importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:
            # NVIDIA's stub packages raise what their missing libraries make them raise.
            problem = f"{LIBRARIES[module]} cannot be imported: {' '.join(str(error).split())[:200]}"
            continue
        version = str(getattr(api, "__version__", "unknown"))
        if module == "tensorrt" and _numbers(version) < OLDEST:
            raise InputError(f"backend 'tensorrt': expected TensorRT 10.1 or later, got {version}")
        return Library(module, version, api)
    raise InputError(f"backend 'tensorrt': {problem}; backend 'onnx' works without it")


def build_engine(library: Library, graph: bytes, bundle: ModelBundle, precision: str, largest_batch: int) -> bytes:
    """A serialized engine for batches 1 to `largest_batch`, tuned for the largest.

    graph  ONNX, with its precision written in (`engine_graph`); a graph of batch 1 gives an engine of batch 1

    Says what it does in the log at least every `HEARTBEAT_S`: a build takes seconds to minutes, and a robot that is
    silent for so long looks dead. Raises InputError, naming the bundle's ONNX file and the operator, node, input or
    output that TensorRT cannot take, or that is not the bundle's.
    """
    api, log = library.api, api_logger(library)
    log.errors.clear()
    try:
        builder = api.Builder(log.handle)
    except (RuntimeError, TypeError):  # pybind says TypeError where the factory gives nothing
        raise InputError(_cannot(library, bundle, log)) from None
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = api.OnnxParser(network, log.handle)
    if not parser.parse(graph):
        raise InputError(_parse_error(library, bundle, parser, log))
    check_graph(bundle, _inputs(network), _outputs(network))
    config = builder.create_builder_config()
    if precision == "fp32":
        # TF32 keeps ten bits of the mantissa, as half precision does: who asks for FP32 wants FP32.
        config.clear_flag(api.BuilderFlag.TF32)
    if network.get_input(0).shape[0] == -1:
        profile = builder.create_optimization_profile()
        height, width = bundle.input_size
        shapes = [(count, height, width, 3) for count in (1, largest_batch, largest_batch)]
        profile.set_shape(INPUT, *shapes)
        config.add_optimization_profile(profile)
    monitor = _monitor(api)
    if monitor is not None:
        config.progress_monitor = monitor
    title = f"building the {library} engine of {bundle.name} in {precision} for {largest_batch} image(s)"
    engine = watched(title, lambda: builder.build_serialized_network(network, config), monitor)
    if engine is None:
        raise InputError(_cannot(library, bundle, log))
    return bytes(engine)


def watched(title: str, call: Callable[[], T], monitor: Any = None, period_s: float = HEARTBEAT_S) -> T:
    """What `call` returns; logs `title`, then the time and the monitor's phase every `period_s`, then the end.

    It runs on a thread of its own: one phase of a build may last minutes without a step that a progress monitor would
    hear of, and on Ctrl-C the monitor is told to cancel, which must not be raised inside TensorRT's callbacks.
    """
    start = time.monotonic()
    _LOG.info("%s: this may take minutes", title)
    with concurrent.futures.ThreadPoolExecutor(1, "engine-build") as pool:
        try:
            future = pool.submit(call)
            while not concurrent.futures.wait([future], period_s).done:
                phase = getattr(monitor, "phase", "")
                _LOG.info("%s: %.0f s%s", title, time.monotonic() - start, f", {phase}" if phase else "")
        except KeyboardInterrupt:
            if monitor is not None:
                monitor.cancelled = True
            raise  # once the pool has ended, and with it the build
        result = future.result()
    _LOG.info("%s: done in %.1f s", title, time.monotonic() - start)
    return result


@dataclass(frozen=True)
class ApiLogger:
    """TensorRT's log. It keeps one logger per process, the first; so there is one.

    handle  what the API takes
    errors  its latest error lines, oldest first
    """

    handle: Any
    errors: deque[str]


def api_logger(library: Library) -> ApiLogger:
    return _api_logger(library.module)


@functools.cache
def _api_logger(module: str) -> ApiLogger:
    api: Any = importlib.import_module(module)
    errors: deque[str] = deque(maxlen=20)

    class Forward(api.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            api.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.Severity.ERROR, api.ILogger.Severity.INTERNAL_ERROR):
                errors.append(message)
            # Without a GPU TensorRT-RTX calls errors what it then does without; an InputError says what matters.
            _LOG.debug("%s: %s", LIBRARIES[module], message)

    return ApiLogger(Forward(), errors)


def _monitor(api: Any) -> Any:
    """A progress monitor with `phase`, the innermost that runs, and `cancelled`; None where the API has none."""
    if not hasattr(api, "IProgressMonitor"):
        return None

    class Phases(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self.running: list[str] = []
            self.cancelled = False

        @property
        def phase(self) -> str:
            running = self.running[-1:]  # a copy: the builder's threads change the list
            return running[0].lower() if running else ""

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.running.append(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            return not self.cancelled

        def phase_finish(self, phase: str) -> None:
            if phase in self.running:
                self.running.remove(phase)

    return Phases()


def _parse_error(library: Library, bundle: ModelBundle, parser: Any, log: ApiLogger) -> str:
    if parser.num_errors == 0:
        return _cannot(library, bundle, log)
    error = parser.get_error(0)
    where = ""
    if error.node_operator():
        where = f" operator '{error.node_operator()}' (node '{error.node_name() or error.node()}')"
    said = " ".join(str(error.desc()).split())[:300]
    return f"{bundle.onnx_path}: {library} cannot take{where or ' it'}: {said}"


def _cannot(library: Library, bundle: ModelBundle, log: ApiLogger) -> str:
    return f"{bundle.onnx_path}: {library} cannot build it: {reason(log)}"


def reason(log: ApiLogger) -> str:
    """What TensorRT's error lines mean, as part of one line."""
    text = " ".join(" ".join(log.errors).split())
    if "driver version is insufficient" in text or "no CUDA-capable device" in text:
        return "no NVIDIA GPU, or a driver too old for it: install or update the driver; backend 'onnx' works without"
    return text[:300] or "it does not say why"


def ran_out_of_memory(log: ApiLogger) -> bool:
    """Whether TensorRT's latest errors are about the GPU's memory."""
    text = " ".join(log.errors).lower()
    return "out of memory" in text or "outofmemory" in text or "cudaerror 2:" in text


def _inputs(network: Any) -> list[Port]:
    return [_port(network.get_input(index)) for index in range(network.num_inputs)]


def _outputs(network: Any) -> list[Port]:
    return [_port(network.get_output(index)) for index in range(network.num_outputs)]


def _port(tensor: Any) -> Port:
    names = {"FLOAT": "float32", "HALF": "float16"}
    kind = tensor.dtype.name
    return Port(tensor.name, names.get(kind, kind.lower()), tuple(None if size < 0 else size for size in tensor.shape))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())

"""PyTorch networks on a GPU as captured CUDA graphs: one launch per batch instead of a thousand."""

import copy
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from wsperception.backends.contract import one_line
from wsperception.errors import InputError

WARM_UP_RUNS = 3
"""Before a capture: cuDNN chooses its algorithms, and libraries make their handles."""

_LOG = logging.getLogger(__name__)


def prepared(network: Any, device: Any, precision: str) -> Any:
    """A copy of a DeployedNet on `device`, channels last, with the weights of its layers in `precision`.

    Under autocast, layers whose weights have the precision already need no conversion per run.
    """
    import torch

    ready = copy.deepcopy(network).to(device=device, memory_format=torch.channels_last)
    if precision != "fp32":
        layers = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)
        for module in ready.modules():
            if isinstance(module, layers):
                module.to(_dtype(precision))
    return ready


def capture(
    network: Any, input_size: tuple[int, int], size: int, device: Any, precision: str
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function from `size` images (B, h, w, 3) uint8 to the network's outputs, in memory that it uses again.

    Falls back to single launches, and says so, where the driver or an operator refuses to be captured.
    """
    import torch

    images = torch.zeros((size, *input_size, 3), dtype=torch.uint8, device=device)
    staging = torch.empty((size, *input_size, 3), dtype=torch.uint8, pin_memory=True)
    constants = _constants()

    def forward() -> tuple[Any, ...]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(device)  # new tensors are born there
            stack.enter_context(constants)
            if precision != "fp32":
                stack.enter_context(torch.autocast("cuda", _dtype(precision)))
            outputs = network(images)
            return tuple(output.float() if output.is_floating_point() else output for output in outputs)

    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_RUNS):
            outputs = forward()
    stream.synchronize()
    hosts = [torch.empty(output.shape, dtype=output.dtype, pin_memory=True) for output in outputs]
    graph: Any = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            outputs = forward()
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _LOG.warning(
            "backend torch: runs without a CUDA graph, which is slower: %s", " ".join(str(error).split())[:300]
        )
        graph = None

    def program(batch: np.ndarray) -> list[np.ndarray]:
        nonlocal outputs
        with torch.cuda.stream(stream):
            staging.copy_(torch.from_numpy(batch))
            images.copy_(staging, non_blocking=True)
            if graph is not None:
                graph.replay()
            else:
                try:
                    outputs = forward()
                except torch.cuda.OutOfMemoryError as error:
                    raise InputError(f"backend 'torch': out of GPU memory: {one_line(error)}") from None
            for host, output in zip(hosts, outputs, strict=True):
                host.copy_(output, non_blocking=True)
        stream.synchronize()
        return [host.numpy() for host in hosts]

    return program


def _dtype(precision: str) -> Any:
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def _constants() -> Any:
    """A context in which `torch.tensor` of the same values gives the same tensor.

    It copies from host memory, which a graph cannot capture; made in the warm-up, a constant needs no copy any more.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Constants(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self._made: dict[str, Any] = {}

        def __torch_function__(
            self, function: Any, types: Any, args: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
        ) -> Any:
            keywords = keywords or {}
            if function is not torch.tensor:
                return function(*args, **keywords)
            key = repr((args, sorted(keywords.items())))
            if key not in self._made:
                self._made[key] = function(*args, **keywords)
            return self._made[key]

    return Constants()

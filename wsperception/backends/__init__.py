"""Engines that run a bundle's network. Each is one module, which imports its engine only when it loads a model."""

import importlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
"""What a network may be computed in; auto: the fastest that the backend has proved to agree with the ONNX file."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineFacts:
    """What a loaded network runs on.

    backend           name in BACKENDS
    precision         of the network's arithmetic: fp32, fp16, bf16 or int8
    device            as a person calls it: "CPU, 2 threads" or the name of the GPU
    version           of the engine's library
    engine            file of the built engine; None where there is none
    gpu_memory_bytes  what the engine holds now; None on a CPU
    """

    backend: str
    precision: str
    device: str
    version: str
    engine: Path | None = None
    gpu_memory_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.backend} {self.version}, {self.precision}, {self.device}"

    def as_text(self) -> dict[str, str]:
        """Keys and values for diagnostics; what is None is left out."""
        values = {"backend": self.backend, "precision": self.precision, "device": self.device, "engine": str(self)}
        if self.engine is not None:
            values["engine file"] = str(self.engine)
        if self.gpu_memory_bytes is not None:
            values["GPU memory [MB]"] = f"{self.gpu_memory_bytes / 1e6:.0f}"
        return values


class Network(Protocol):
    """What the pipeline needs of a network."""

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed; valid until the next call."""


class Backend(Network, Protocol):
    """A loaded network and what it runs on."""

    name: str

    def describe(self) -> EngineFacts:
        """What it runs on, with the memory it holds now."""

    def close(self) -> None:
        """Gives the engine's memory back; `run` may not be called again."""


BACKENDS = {
    "onnx": "wsperception.backends.onnx_",
    "openvino": "wsperception.backends.openvino_",
    "torch": "wsperception.backends.torch_",
    "tensorrt": "wsperception.backends.tensorrt_",
}
"""Name to module, the fastest last. Each module has

load(bundle, options) -> Backend   raises InputError: what is missing, what to install, which backend would work
obstacle() -> str                  why `auto` should not try it on this machine; "" where it should. Imports no engine
                                   where a look at files tells.
"""


@dataclass(frozen=True)
class EngineOptions:
    """How to load a network.

    threads        CPU threads; None: $WSPERCEPTION_THREADS, or one per physical core
    precision      one of PRECISIONS
    largest_batch  images that `run` may be given at once: the number of cameras
    """

    threads: int | None = None
    precision: str = "auto"
    largest_batch: int = 1

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads: expected at least 1, got {self.threads}")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.largest_batch < 1:
            raise InputError(f"largest_batch: expected at least 1, got {self.largest_batch}")


def open_backend(
    bundle: ModelBundle,
    name: str = "auto",
    threads: int | None = None,
    *,
    precision: str = "auto",
    largest_batch: int = 1,
) -> Backend:
    """The network of `bundle`, loaded and checked against it.

    name  a key of BACKENDS, or "auto": the fastest that this machine can run; the log says which, and why no other
    threads, precision, largest_batch  as in EngineOptions

    Raises InputError for an unknown name, an engine that is not installed, and a network that is not the bundle's.
    """
    options = EngineOptions(threads, precision, largest_batch)
    if name != "auto":
        if name not in BACKENDS:
            raise InputError(f"backend '{name}': unknown; expected auto, {', '.join(BACKENDS)}")
        return _load(name, bundle, options)
    refused: list[str] = []
    *faster, last = reversed(BACKENDS)
    for candidate in faster:
        reason = str(importlib.import_module(BACKENDS[candidate]).obstacle())
        if not reason:
            try:
                return _chosen(_load(candidate, bundle, options), refused)
            except InputError as error:  # a slower engine is better than none, and said
                reason = str(error)
                _LOG.warning("backend %s cannot be used: %s", candidate, reason)
        refused.append(f"{candidate}: {reason}")
    return _chosen(_load(last, bundle, options), refused)


def _load(name: str, bundle: ModelBundle, options: EngineOptions) -> Backend:
    backend: Backend = importlib.import_module(BACKENDS[name]).load(bundle, options)
    return backend


def _chosen(backend: Backend, refused: list[str]) -> Backend:
    _LOG.info("backend auto: %s%s", backend.describe(), "".join(f"; not {reason}" for reason in refused))
    return backend

"""Engines that run a bundle's network. Each is one module, which imports its engine only when it loads a model."""

import importlib
from typing import Protocol

import numpy as np

from wsperception.bundle import ModelBundle
from wsperception.decode import RawOutputs
from wsperception.errors import InputError


class Backend(Protocol):
    """A loaded network."""

    name: str

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        """Outputs of each image of `batch` (B, h, w, 3) uint8 RGB, letterboxed; valid until the next call."""

    def close(self) -> None:
        """Gives the engine's memory back; `run` may not be called again."""


BACKENDS = {"onnx": "wsperception.backends.onnx_"}
"""Name to module; each has `load(bundle, threads) -> Backend`."""


def open_backend(bundle: ModelBundle, name: str = "auto", threads: int | None = None) -> Backend:
    """The network of `bundle`, loaded and checked against it.

    name     a key of BACKENDS, or "auto": the fastest that this machine can run
    threads  CPU threads; None: $WSPERCEPTION_THREADS, or one per physical core

    Raises InputError for an unknown name, an engine that is not installed, and a network that is not the bundle's.
    """
    chosen = "onnx" if name == "auto" else name
    if chosen not in BACKENDS:
        raise InputError(f"backend '{name}': unknown; expected auto, {', '.join(BACKENDS)}")
    backend: Backend = importlib.import_module(BACKENDS[chosen]).load(bundle, threads)
    return backend

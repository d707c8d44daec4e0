"""`wsperception engine`: builds the TensorRT engine of a model before a robot needs it."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from wsperception.backends import EngineOptions, engine_cache, engine_supply, tensorrt_
from wsperception.backends.cuda_driver import no_gpu, open_device
from wsperception.backends.engine_build import Library, installed_library
from wsperception.backends.engine_graph import read_graph
from wsperception.backends.engine_supply import EngineOrder
from wsperception.backends.int8_graph import calibrate
from wsperception.backends.threads import default_threads
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.preprocess import letterbox

CALIBRATION_FRAMES = 64


@dataclass(frozen=True)
class EngineRequest:
    """What `wsperception engine` is asked for.

    precision   fp32, fp16 or int8
    cameras     images that are run at once
    int8        source of frames to calibrate int8 with; None: an earlier calibration is used
    topic       image topic of a bag that has several
    build_only  build and keep the engine, without running it: no GPU is needed for TensorRT-RTX
    """

    model: str
    precision: str = "fp16"
    cameras: int = 1
    int8: Path | None = None
    topic: str | None = None
    build_only: bool = False


def engine_command(request: EngineRequest) -> str:
    """Makes sure that the engine is in the cache and, unless `build_only`, clears the quality gate; a report.

    Raises InputError where something is missing, the cache cannot be written, or the engine lies below the bar.
    """
    options = EngineOptions(precision=request.precision, largest_batch=request.cameras)
    if options.precision not in tensorrt_.PRECISIONS:
        raise InputError(f"precision: expected {', '.join(tensorrt_.PRECISIONS)}, got {options.precision}")
    if not request.build_only and no_gpu():
        raise InputError(f"{no_gpu()}; with --build-only TensorRT-RTX builds without one, and nothing is run")
    bundle = read_bundle(request.model)
    library = installed_library()
    engine_cache.require_writable(engine_cache.cache_folder())
    if request.int8 is not None:
        _calibrate(bundle, request.int8, request.topic)
    if request.build_only:
        return _report(engine_supply.engine_for(_order(bundle, library, options)))
    backend = tensorrt_.load(bundle, options)
    try:
        facts = backend.describe()
    finally:
        backend.close()
    found = engine_supply.engine_for(_order(bundle, library, options))
    return f"{_report(found)}\n  runs on {facts.device} with {(facts.gpu_memory_bytes or 0) / 1e6:.0f} MB of its memory"


def _order(bundle: ModelBundle, library: Library, options: EngineOptions) -> EngineOrder:
    """For the GPU of this machine, or for none where TensorRT-RTX can do without."""
    missing = no_gpu()
    if missing and not library.is_rtx:
        raise InputError(f"backend 'tensorrt': {missing}; {library} builds for the GPU that it finds")
    if missing:
        return EngineOrder(bundle, library, options.precision, options.largest_batch)
    device = open_device()
    name, capability = device.name, device.compute_capability
    device.close()
    tensorrt_.check_supported(library, name, capability)
    return EngineOrder(bundle, library, options.precision, options.largest_batch, name, ".".join(map(str, capability)))


def _calibrate(bundle: ModelBundle, path: Path, topic: str | None) -> None:
    """Measures the ranges of int8 on frames spread over a source, and keeps them."""
    source = open_source(path, topic=topic)
    step = max((source.length or 0) // CALIBRATION_FRAMES, 1)
    images = [
        letterbox(frame.image, bundle.input_size)[0] for frame in islice(source, 0, CALIBRATION_FRAMES * step, step)
    ]
    if not images:
        raise InputError(f"{path}: no frame to calibrate int8 with")
    ranges = calibrate(read_graph(bundle), np.stack(images), default_threads())
    engine_cache.write_ranges(engine_cache.cache_folder(), bundle.sha256, ranges, str(path.resolve()), len(images))


def _report(engine: engine_supply.Engine) -> str:
    record = engine.record
    key = record.key
    where = "without a GPU" if key.gpu == engine_supply.NO_GPU else f"on {key.gpu} ({key.compute_capability})"
    gate = f"quality gate: {engine.gate}" if engine.gate is not None else "quality gate: when it is first run"
    return (
        f"{engine.path}\n  {record.model}, {key.precision}, up to {key.largest_batch} image(s) of "
        f"{key.input_size[1]} x {key.input_size[0]}, {record.engine_bytes / 1e6:.1f} MB\n"
        f"  built {record.built} in {record.build_s:.1f} s by {key.library} {key.version} {where}\n  {gate}"
    )

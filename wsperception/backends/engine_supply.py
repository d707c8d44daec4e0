"""The engine for a bundle on this machine: from the cache, or built and kept there."""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

from wsperception.backends import engine_cache
from wsperception.backends.engine_build import Library, build_engine
from wsperception.backends.engine_cache import EngineKey, EngineRecord
from wsperception.backends.engine_graph import EDITION, engine_graph, read_graph
from wsperception.backends.quality_gate import Agreement
from wsperception.bundle import ModelBundle
from wsperception.errors import InputError
from wsperception.settings import from_mapping, to_mapping

NO_GPU = "none"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineOrder:
    """What is asked for. `gpu` and `compute_capability` are NO_GPU where an engine is built without one."""

    bundle: ModelBundle
    library: Library
    precision: str
    largest_batch: int
    gpu: str = NO_GPU
    compute_capability: str = NO_GPU

    def __str__(self) -> str:
        return f"{self.library} engine of {self.bundle.name} in {self.precision}"


@dataclass(frozen=True, eq=False)
class Engine:
    """A serialized engine and what is known of it.

    path  its file; None where the cache cannot be written and it lives in memory only
    """

    content: bytes
    record: EngineRecord
    path: Path | None

    @property
    def gate(self) -> Agreement | None:
        """The quality gate's figures; None where it has not been run yet."""
        if self.record.gate is None:
            return None
        return from_mapping(Agreement, self.record.gate, str(self.path))

    def judged(self, found: Agreement) -> "Engine":
        """The same engine with the gate's figures, which are kept beside it."""
        record = replace(self.record, gate=to_mapping(found))
        if self.path is not None:
            try:
                engine_cache.write_record(self.path.parent, record)
            except OSError as error:
                _LOG.warning("%s: the gate's figures cannot be kept: %s", self.path, error.strerror)
        return replace(self, record=record)


def engine_for(order: EngineOrder) -> Engine:
    """The engine that is ordered, built where the cache has none like it; the log says what differed.

    Where the cache cannot be written it is built in memory, with a warning. Raises InputError where it cannot be
    built, and for int8 without a calibration.
    """
    folder, bundle = engine_cache.cache_folder(), order.bundle
    ranges = _ranges(order, folder)
    key = engine_key(order, ranges)
    path = engine_cache.engine_path(folder, bundle.name, key)
    found = engine_cache.find(folder, bundle.name, key)
    if found is not None:
        return Engine(*found, path)
    try:
        engine_cache.require_writable(folder)
    except InputError as error:
        _LOG.warning("%s; the engine is built for this run only", error)
        content, seconds = _build(order, ranges)
        return Engine(content, engine_cache.record_of(bundle.name, key, content, seconds), None)
    with engine_cache.locked(path):
        found = engine_cache.find(folder, bundle.name, key)  # whom we waited for may have built it
        if found is not None:
            return Engine(*found, path)
        _LOG.info("no such engine in %s: %s", folder, engine_cache.what_differs(folder, bundle.name, key))
        content, seconds = _build(order, ranges)
        record = engine_cache.record_of(bundle.name, key, content, seconds)
        try:
            engine_cache.store(folder, record, content)
        except OSError as error:
            _LOG.warning("%s: cannot be kept (%s); the engine is used for this run only", path, error.strerror)
            return Engine(content, record, None)
    return Engine(content, record, path)


def engine_key(order: EngineOrder, ranges: dict[str, float]) -> EngineKey:
    """What the engine depends on."""
    library, bundle = order.library, order.bundle
    return EngineKey(
        bundle.sha256,
        library.module,
        library.version,
        order.gpu,
        order.compute_capability,
        order.precision,
        bundle.input_size,
        order.largest_batch,
        engine_cache.ranges_digest(ranges) if ranges else "",
        EDITION,
    )


def _ranges(order: EngineOrder, folder: Path) -> dict[str, float]:
    if order.precision != "int8":
        return {}
    ranges = engine_cache.read_ranges(folder, order.bundle.sha256)
    if not ranges:
        raise InputError(
            f"{order.bundle.onnx_path}: int8 needs a calibration, and {folder} has none: "
            f"wsperception engine --model {order.bundle.folder} --int8 SOURCE"
        )
    return ranges


def _build(order: EngineOrder, ranges: dict[str, float]) -> tuple[bytes, float]:
    start = time.monotonic()
    graph = engine_graph(read_graph(order.bundle), order.precision, ranges).SerializeToString()
    content = build_engine(order.library, graph, order.bundle, order.precision, order.largest_batch)
    return content, time.monotonic() - start

"""Built engines on disk, outside the repository: found only when everything matches, trusted only by their hash."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wsperception.errors import InputError
from wsperception.settings import check, from_mapping, to_mapping

SCHEMA_VERSION = 1
WAITING_LOG_S = 5.0
RANGES_SUFFIX = ".ranges.json"
_POLL_S = 0.2

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """What an engine depends on. Where one value differs, it is another engine.

    library             tensorrt or tensorrt_rtx
    gpu                 name as the driver calls it; "none" where it was built without one
    compute_capability  "8.9"; "none" likewise
    precision           fp32, fp16 or int8
    input_size          (h, w)
    largest_batch       images of the optimisation profile
    calibration         SHA-256 of the ranges that int8 was built with; "" for the others
    graph_edition       `engine_graph.EDITION`; 1 where a sidecar is older than it
    """

    onnx_sha256: str
    library: str
    version: str
    gpu: str
    compute_capability: str
    precision: str
    input_size: tuple[int, int]
    largest_batch: int
    calibration: str = ""
    graph_edition: int = 1

    def __post_init__(self) -> None:
        check(self)

    def digest(self) -> str:
        """The same for equal keys only."""
        return hashlib.sha256(json.dumps(to_mapping(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "EngineKey") -> list[str]:
        """What is another in `other`, as "field old -> new" with `other` as the old."""
        names = [field.name for field in dataclasses.fields(self)]
        pairs = [(name, getattr(other, name), getattr(self, name)) for name in names]
        return [f"{name} {_short(old)} -> {_short(new)}" for name, old, new in pairs if old != new]


@dataclass(frozen=True)
class EngineRecord:
    """The sidecar of an engine: `<engine>.json`.

    gate  figures of the quality gate by their names in `Agreement`; None: not run yet
    """

    model: str
    key: EngineKey
    engine_sha256: str
    engine_bytes: int
    build_s: float
    built: str
    gate: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        check(self)


def cache_folder() -> Path:
    """$WSPERCEPTION_ENGINES, or wsperception/engines in $XDG_CACHE_HOME (default: ~/.cache). It need not exist."""
    chosen = os.environ.get("WSPERCEPTION_ENGINES")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wsperception" / "engines"


def engine_path(folder: Path, model: str, key: EngineKey) -> Path:
    """The engine's file; the sidecar lies beside it."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', model)}-{key.precision}-{key.digest()[:16]}.engine"


def find(folder: Path, model: str, key: EngineKey) -> tuple[bytes, EngineRecord] | None:
    """A whole engine for exactly this key; None where there is none. A broken one is said in the log."""
    path = engine_path(folder, model, key)
    record = _read_record(path)
    if record is None:
        return None
    try:
        engine = path.read_bytes()
    except OSError as error:
        _LOG.warning("%s: cannot be read (%s): built anew", path, error.strerror)
        return None
    if record.key != key or len(engine) != record.engine_bytes or _sha256(engine) != record.engine_sha256:
        _LOG.warning("%s: corrupt or truncated, its SHA-256 is not its sidecar's: built anew", path)
        return None
    return engine, record


def what_differs(folder: Path, model: str, key: EngineKey) -> str:
    """What sets the key apart from the most similar engine that is kept of the model."""
    sidecars = [path for path in folder.glob("*.json") if not path.name.endswith(RANGES_SUFFIX)]
    records = [_read_record(path) for path in sorted(sidecars)]
    known = [record.key for record in records if record is not None and record.model == model and record.key != key]
    apart: list[list[str]] = [key.differences(other) for other in known]
    return ", ".join(sorted(apart, key=len)[0]) if apart else "there is none yet"


def record_of(model: str, key: EngineKey, engine: bytes, build_s: float) -> EngineRecord:
    """The sidecar of an engine that was built just now."""
    built = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return EngineRecord(model, key, _sha256(engine), len(engine), round(build_s, 2), built)


def store(folder: Path, record: EngineRecord, engine: bytes) -> None:
    """Writes an engine and its sidecar, the sidecar last: what an interruption leaves has not the sidecar's hash.

    Raises OSError where it cannot be written; nothing half-written stays.
    """
    path = engine_path(folder, record.model, record.key)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, engine)
    write_record(folder, record)


def write_record(folder: Path, record: EngineRecord) -> None:
    """Writes or replaces the sidecar."""
    path = engine_path(folder, record.model, record.key).with_suffix(".json")
    write_atomically(path, (json.dumps(to_mapping(record), indent=2) + "\n").encode())


def read_ranges(folder: Path, onnx_sha256: str) -> dict[str, float]:
    """Ranges of an earlier INT8 calibration of this network; empty where there is none."""
    path = _ranges_path(folder, onnx_sha256)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        _LOG.warning("%s: not readable as JSON: %s", path, " ".join(str(error).split()))
        return {}
    ranges = values.get("ranges") if isinstance(values, dict) else None
    if not isinstance(ranges, dict) or not all(isinstance(value, float) for value in ranges.values()):
        _LOG.warning("%s: expected a key 'ranges' of tensors and numbers", path)
        return {}
    return ranges


def write_ranges(folder: Path, onnx_sha256: str, ranges: Mapping[str, float], source: str, frames: int) -> Path:
    """Keeps a calibration, with where it comes from. Raises OSError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _ranges_path(folder, onnx_sha256)
    values = {"onnx_sha256": onnx_sha256, "source": source, "frames": frames, "ranges": dict(ranges)}
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())
    return path


def ranges_digest(ranges: Mapping[str, float]) -> str:
    """The same for equal ranges only."""
    return hashlib.sha256(json.dumps(dict(ranges), sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits until no other process builds the engine of this path, and keeps others waiting.

    The kernel holds the lock, not the file: whoever dies lets go of it, and the file that stays locks nobody out.
    Raises OSError where the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        said = -WAITING_LOG_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - said >= WAITING_LOG_S:
                    said = time.monotonic()
                    _LOG.info("%s: another process is building it; waiting", path)
                time.sleep(_POLL_S)
        yield


def require_writable(folder: Path) -> None:
    """Raises InputError where engines cannot be kept: before minutes of building, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); expected a folder for engines: "
            "set WSPERCEPTION_ENGINES to another"
        ) from None


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is whole or not there. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _read_record(path: Path) -> EngineRecord | None:
    sidecar = path.with_suffix(".json")
    try:
        record = from_mapping(EngineRecord, json.loads(sidecar.read_text(encoding="utf-8")), str(sidecar))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # InputError is one
        _LOG.warning("%s: not a sidecar of an engine: %s", sidecar, " ".join(str(error).split()))
        return None
    return record if record.schema_version == SCHEMA_VERSION else None


def _ranges_path(folder: Path, onnx_sha256: str) -> Path:
    return folder / f"{onnx_sha256[:16]}{RANGES_SUFFIX}"


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else str(value)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""What `wsperception bench` found: the machine, a table, a file, and the comparison with an earlier file."""

import datetime
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsperception import __version__
from wsperception.backends import EngineFacts
from wsperception.backends.threads import default_threads
from wsperception.errors import InputError

QUERY_TIMEOUT_S = 20.0
PERCENTS = (50, 95, 99)
PACKAGES = ("numpy", "opencv-python", "onnxruntime", "openvino", "torch", "tensorrt", "tensorrt-rtx-cu13")

Percentiles = Mapping[str, float]
"""p50, p95 and p99 in milliseconds."""


@dataclass(frozen=True, eq=False)
class CaseTimes:
    """One combination of engine, batch and image size.

    times_ms      stage -> milliseconds of each measured run; all cameras of the batch together
    objects       mean number per image
    memory_bytes  by which the process grew when the engine was loaded and had run once
    """

    engine: EngineFacts
    batch: int
    image_size: tuple[int, int]
    times_ms: Mapping[str, Sequence[float]]
    objects: float
    memory_bytes: int

    def as_mapping(self) -> dict[str, Any]:
        """Plain values for the file."""
        total_s = sum(self.times_ms["total"]) / 1e3
        return {
            "backend": self.engine.backend,
            "precision": self.engine.precision,
            "device": self.engine.device,
            "engine": self.engine.version,
            "batch": self.batch,
            "image_size": list(self.image_size),
            "objects": round(self.objects, 1),
            "runs": len(self.times_ms["total"]),
            "frames_per_s": round(len(self.times_ms["total"]) * self.batch / total_s, 2),
            "memory_mb": round(self.memory_bytes / 1e6, 1),
            "gpu_memory_mb": _megabytes(self.engine.gpu_memory_bytes),
            "stages_ms": {stage: _percentiles(values) for stage, values in self.times_ms.items()},
        }


@dataclass(frozen=True, eq=False)
class BenchReport:
    """All cases; `grown_bytes` is by how much the process grew over the measured runs of all."""

    machine: Mapping[str, Any]
    model: str
    model_sha256: str
    input_size: tuple[int, int]
    cases: Sequence[CaseTimes]
    grown_bytes: int

    def as_mapping(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            **self.machine,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "input_size": list(self.input_size),
            "grown_mb": round(self.grown_bytes / 1e6, 1),
            "cases": [case.as_mapping() for case in self.cases],
        }

    def write(self, path: Path) -> None:
        """Writes the file in one piece."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_text(json.dumps(self.as_mapping(), indent=2) + "\n", encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def bench_table(report: Mapping[str, Any], baseline: Mapping[str, Any] | None = None) -> str:
    """The content of a file as text: per case p50 of every stage and p50, p95, p99 of the whole, in milliseconds.

    With a baseline, the last column says by how many per cent the whole's p50 has changed; "new" where it lacks a case.
    """
    stages = [stage for stage in report["cases"][0]["stages_ms"] if stage != "total"]
    head = ["backend", "precision", "batch", "image", *stages, "p50", "p95", "p99", "frames/s", "MB", "GPU MB"]
    rows = [head + (["change"] if baseline else [])]
    before = {_key(case): case for case in baseline["cases"]} if baseline else {}
    for case in report["cases"]:
        times = case["stages_ms"]
        height, width = case["image_size"]
        row = [case["backend"], case["precision"], str(case["batch"]), f"{height}x{width}"]
        row += [_figure(times[stage]["p50"]) for stage in stages]
        row += [_figure(times["total"][f"p{percent}"]) for percent in PERCENTS]
        gpu = case["gpu_memory_mb"]
        row += [f"{case['frames_per_s']:.1f}", f"{case['memory_mb']:.0f}", "-" if gpu is None else f"{gpu:.0f}"]
        if baseline:
            row.append(_change(case, before.get(_key(case))))
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) + bool(baseline))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    height, width = report["input_size"]
    lines.append(f"milliseconds per batch; stages: p50; {report['model']}, input {height}x{width}, {_where(report)}")
    if baseline:
        lines.append(f"change of the p50 since {baseline['date']}, {baseline['model']}, {_where(baseline)}")
    return "\n".join(lines)


def read_baseline(path: Path) -> dict[str, Any]:
    """The content of an earlier file; raises InputError where it is not one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        for case in values["cases"]:
            _key(case), case["stages_ms"]["total"]["p50"]
        for name in ("date", "model", "cpu", "gpu", "commit"):
            values[name]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected one that `wsperception bench --out` wrote") from None
    except KeyError as error:
        raise InputError(f"{path}: missing key {error}; expected a file of `wsperception bench --out`") from None
    except (OSError, ValueError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a file of `wsperception bench --out`: {reason}") from None
    return dict(values)


def machine() -> dict[str, Any]:
    """Date, hardware, driver, versions and commit."""
    gpu, driver = _gpu()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": default_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": round(os.getloadavg()[0], 1),
        "gpu": gpu,
        "driver": driver,
        "system": platform.platform(),
        "versions": {"wsperception": __version__, "python": platform.python_version(), **_versions()},
    }


def resident_bytes() -> int:
    """Memory that this process holds now; where the system does not tell, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": round(float(np.percentile(values, percent)), 3) for percent in PERCENTS}


def _megabytes(count: int | None) -> float | None:
    return None if count is None else round(count / 1e6, 1)


def _key(case: Mapping[str, Any]) -> tuple[str, str, int, int, int]:
    """What makes cases of two files comparable."""
    height, width = case["image_size"]
    return case["backend"], case["precision"], case["batch"], height, width


def _change(case: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    if before is None:
        return "new"
    return f"{case['stages_ms']['total']['p50'] / before['stages_ms']['total']['p50'] - 1:+.0%}"


def _figure(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.1f}"


def _where(report: Mapping[str, Any]) -> str:
    gpu = f", {report['gpu']}" if report["gpu"] else ""
    return f"{report['cpu']}{gpu}, commit {report['commit'][:10] or 'unknown'}"


def _cpu() -> str:
    """The processor's name and how many cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {default_threads()} cores"


def _gpu() -> tuple[str, str]:
    """Name of the first NVIDIA GPU, and the driver's version; "" without one."""
    if shutil.which("nvidia-smi") is None:
        return "", ""
    lines = _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]).splitlines()
    name, _, driver = (lines[0] if lines else "").rpartition(",")
    return name.strip(), driver.strip()


def _commit() -> str:
    """The commit of the source tree that this package lies in, with "+" where files differ; "" outside of one."""
    folder = str(Path(__file__).parent)
    head = _output(["git", "-C", folder, "rev-parse", "HEAD"])
    return head + ("+" if head and _output(["git", "-C", folder, "status", "--porcelain", "--", folder]) else "")


def _output(command: list[str]) -> str:
    """What a command prints; "" where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found

"""How many CPU threads an engine gets."""

import math
import os
from pathlib import Path

from wsperception.errors import InputError


def default_threads() -> int:
    """$WSPERCEPTION_THREADS, or the physical cores that this process may use, limited by the container's share.

    A second thread on the same core does not speed matrix products up, and takes the core from the rest of the robot.
    """
    chosen = os.environ.get("WSPERCEPTION_THREADS")
    if chosen is not None:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise InputError(f"WSPERCEPTION_THREADS: expected a number >= 1, got {chosen!r}")
        return int(chosen)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = {
        _read(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) or str(cpu) for cpu in usable
    }
    quota, _, period = _read(Path("/sys/fs/cgroup/cpu.max")).partition(" ")
    share = math.ceil(int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else len(cores)
    return max(1, min(len(cores), share))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

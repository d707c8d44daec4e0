"""What the process does with memory that is free: kept between frames, given back on request."""

import subprocess
import sys

KEEPING = """
import resource
import numpy as np
from wsperception.ros import memory

def faults_per_frame():
    for number in range(60):
        if number == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(1_400_000, np.uint8) for _ in range(4)]
        del arrays
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50

without = faults_per_frame()
memory.keep_freed()
print(without, faults_per_frame())
"""

GIVING_BACK = """
from pathlib import Path
import numpy as np
from wsperception.ros import memory

def resident_mb():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS")) / 1024

memory.keep_freed()
before = resident_mb()
arrays = [np.ones(1_000_000, np.uint8) for _ in range(60)]
full = resident_mb()
del arrays
freed = resident_mb()
memory.give_back()
print(full - before, freed - before, resident_mb() - before)
"""


def figures(program):
    """What a program prints; in a process of its own, because the settings are the process's."""
    text = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return [float(word) for word in text.split()]


def test_kept_memory_is_not_faulted_in_again():
    without, kept = figures(KEEPING)
    # Four blocks of 1.4 MB are 1,368 pages of 4 KiB. With huge pages there may be few faults in either case.
    assert kept < 20 and kept <= without


def test_given_back_memory_is_no_longer_resident():
    full, freed, given_back = figures(GIVING_BACK)
    assert full > 50 and freed > 50  # kept
    assert given_back < 10

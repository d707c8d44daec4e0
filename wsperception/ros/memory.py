"""The process's free memory: kept from frame to frame, given back to the system when a model goes.

glibc's malloc returns large blocks to the system as soon as they are free and asks for them again for the next frame.
Each page of them is then zeroed and mapped anew at its first touch: some 400 page faults for an image of 1242x375.
"""

import ctypes
import platform

MEBIBYTE = 1 << 20
LARGEST_KEPT = 32 * MEBIBYTE
"""Blocks up to this size are kept; glibc allows no more. An image of four million pixels takes 12."""
MOST_KEPT = 256 * MEBIBYTE
"""Free memory at the end of an arena is kept up to this; the sum of what one frame needs is far below."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them


def keep_freed() -> None:
    """From now on the process keeps what it frees. To be called once, by the program; does nothing without glibc."""
    if _has_glibc():
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(_TRIM_THRESHOLD, MOST_KEPT)


def give_back() -> None:
    """Returns all memory that is free at this moment to the system; takes milliseconds. Does nothing without glibc."""
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"

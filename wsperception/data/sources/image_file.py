"""One image file as an RGB array, or the reason why not."""

import zlib
from pathlib import Path

import numpy as np

from wsperception.data.image_encodings import decode_compressed
from wsperception.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Endings, in small letters, of the files that count as images."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_TAIL_BYTES = 4096  # some cameras pad the file behind the end marker


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file; 16-bit samples keep their upper 8 bits, EXIF orientation is not applied.

    Raises InputError naming the file when it is missing, empty, truncated, damaged or no image.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected an image") from None
    if not data:
        raise InputError(f"{path}: empty file; expected an image")
    problem = damage(data)
    if problem:
        raise InputError(f"{path}: {problem}")
    try:
        return decode_compressed(data)
    except InputError:
        raise InputError(f"{path}: not an image that OpenCV reads ({len(data)} bytes)") from None


def damage(data: bytes) -> str:
    """What is wrong with the structure of a PNG or JPEG; empty if nothing is, or it is neither.

    libpng and libjpeg write to stderr past every log setting, and older ones fill a truncated picture with grey: so
    the structure is checked before they see it.
    """
    if data.startswith(_PNG_START):
        return _png_damage(data)
    if data.startswith(_JPEG_START) and _JPEG_END not in data[-_JPEG_TAIL_BYTES:]:
        return "truncated JPEG: it has no end marker"
    return ""


def _png_damage(data: bytes) -> str:
    """PNG is a list of chunks: length (4 bytes), type (4), content, CRC-32 of type and content (4)."""
    view, start = memoryview(data), len(_PNG_START)
    while start + 12 <= len(data):
        content_bytes = int.from_bytes(view[start : start + 4], "big")
        stop = start + 8 + content_bytes
        if stop + 4 > len(data):
            break
        kind = bytes(view[start + 4 : start + 8])
        if zlib.crc32(view[start + 4 : stop]) != int.from_bytes(view[stop : stop + 4], "big"):
            return f"damaged PNG: wrong checksum of the part at byte {start}"
        if kind == b"IEND":
            return ""
        start = stop + 4
    return f"truncated PNG: it ends at byte {len(data)} within the picture"

"""Bytes of a ROS image message (Image, CompressedImage) as an RGB array, without ROS and without cv_bridge.

The node and the reader of bags both decode here, so a camera looks the same live and replayed. Encodings are named
as in sensor_msgs/image_encodings. Letters: H W image height and width, C channels.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from wsperception.errors import InputError


@dataclass(frozen=True)
class _Packed:
    """Encoding with one sample group per pixel. `code`: OpenCV conversion to RGB, None where the bytes are RGB."""

    channels: int
    sample_bytes: int
    code: int | None


# OpenCV names a Bayer pattern by the pixels of the second row, second column; ROS by those of the first row.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_PACKED: dict[str, _Packed] = {
    "rgb8": _Packed(3, 1, None),
    "bgr8": _Packed(3, 1, cv2.COLOR_BGR2RGB),
    "rgba8": _Packed(4, 1, cv2.COLOR_RGBA2RGB),
    "bgra8": _Packed(4, 1, cv2.COLOR_BGRA2RGB),
    "mono8": _Packed(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": _Packed(1, 1, cv2.COLOR_GRAY2RGB),
    # Without a stated order, OpenCV programs mean blue first: cv_bridge reads 8UC3 and 8UC4 the same way.
    "8UC3": _Packed(3, 1, cv2.COLOR_BGR2RGB),
    "8UC4": _Packed(4, 1, cv2.COLOR_BGRA2RGB),
    "rgb16": _Packed(3, 2, None),
    "bgr16": _Packed(3, 2, cv2.COLOR_BGR2RGB),
    "rgba16": _Packed(4, 2, cv2.COLOR_RGBA2RGB),
    "bgra16": _Packed(4, 2, cv2.COLOR_BGRA2RGB),
    "mono16": _Packed(1, 2, cv2.COLOR_GRAY2RGB),
    "16UC1": _Packed(1, 2, cv2.COLOR_GRAY2RGB),
    "16UC3": _Packed(3, 2, cv2.COLOR_BGR2RGB),
    "yuv422": _Packed(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Packed(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": _Packed(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422_yuy2": _Packed(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    **{f"bayer_{pattern}8": _Packed(1, 1, code) for pattern, code in _BAYER.items()},
    **{f"bayer_{pattern}16": _Packed(1, 2, code) for pattern, code in _BAYER.items()},
}
_PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}

ENCODINGS = (*_PACKED, *_PLANAR)
"""Every encoding that `decode_image` takes."""


def decode_image(encoding: str, height: int, width: int, step: int, data: Any, is_bigendian: bool) -> np.ndarray:
    """(H, W, 3) uint8 RGB of the fields of a sensor_msgs/Image.

    encoding      one of ENCODINGS
    height width  pixels, >= 1
    step          bytes from one row to the next; may exceed the pixels' bytes (padding)
    data          bytes-like: bytes, bytearray, memoryview, array.array or a (n,) uint8 array
    is_bigendian  byte order of 16-bit samples

    rgb8 comes back as a view of `data`; the others cost one pass. 16-bit samples keep their upper 8 bits.
    Raises InputError naming the field: unknown encoding, zero size, a step shorter than a row, missing or surplus
    bytes, an odd size where the encoding shares colour between two pixels.
    """
    if encoding in _PLANAR:
        planes = _rows(encoding, height * 3 // 2, width, width, step, data)
        _expect_even(encoding, height, width)
        return _convert(np.ascontiguousarray(planes), _PLANAR[encoding])
    packed = _PACKED.get(encoding)
    if packed is None:
        raise InputError(f"image encoding '{encoding}': unknown; expected one of {', '.join(ENCODINGS)}")
    samples = _samples(encoding, packed, height, width, step, data, is_bigendian)
    if packed.channels == 2:
        _expect_even(encoding, 2, width)
    if encoding.startswith("bayer"):
        _expect_even(encoding, height, width)
    return samples if packed.code is None else _convert(samples, packed.code)


def decode_compressed(data: Any, format: str = "") -> np.ndarray:
    """(H, W, 3) uint8 RGB of the fields of a sensor_msgs/CompressedImage: JPEG, PNG, or what else OpenCV reads.

    The pixels stay as the camera wrote them: an EXIF orientation is not applied, because boxes and masks are given
    in the pixels of the message. Raises InputError for depth images and for bytes that are no image.
    """
    if "compressedDepth" in format:
        raise InputError(f"compressed image format '{format}': a depth image; expected jpeg or png of a colour camera")
    encoded = np.frombuffer(data, np.uint8)
    # cv2.error: OpenCV raises it, instead of answering None, for an empty buffer and for some damaged headers.
    try:
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise InputError(f"compressed image: expected jpeg or png, got {encoded.size} bytes that are neither")
    return _convert(bgr, cv2.COLOR_BGR2RGB)


def pixel_view(encoding: str, height: int, width: int, step: int, data: Any, is_bigendian: bool) -> np.ndarray:
    """(H, W) or (H, W, C) view of an image's own samples, uint8 or uint16, without a copy.

    For reading back id maps (mono16, mono8): nothing is converted, so 16-bit values stay whole. Raises like
    `decode_image`.
    """
    packed = _PACKED.get(encoding)
    if packed is None:
        raise InputError(f"image encoding '{encoding}': unknown; expected one of {', '.join(_PACKED)}")
    rows = _rows(encoding, height, width, width * packed.channels * packed.sample_bytes, step, data)
    if packed.sample_bytes == 2:
        rows = rows.view(">u2" if is_bigendian else "<u2")
    return rows if packed.channels == 1 else rows.reshape(height, width, packed.channels)


def _samples(
    encoding: str, packed: _Packed, height: int, width: int, step: int, data: Any, is_bigendian: bool
) -> np.ndarray:
    view = pixel_view(encoding, height, width, step, data, is_bigendian)
    return (view >> 8).astype(np.uint8) if packed.sample_bytes == 2 else view


def _rows(encoding: str, rows: int, width: int, row_bytes: int, step: int, data: Any) -> np.ndarray:
    """(rows, row_bytes) uint8 view of `data` with the padding cut off."""
    if rows < 1 or width < 1:
        raise InputError(f"image size: expected at least 1 x 1 pixel, got width {width} and {rows} rows")
    if step < row_bytes:
        raise InputError(f"image step: expected at least {row_bytes} bytes for {width} pixels {encoding}, got {step}")
    flat = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    # Some drivers leave the padding of the last row away; nothing else may be missing or left over.
    if flat.size not in (rows * step, (rows - 1) * step + row_bytes):
        raise InputError(
            f"image data: expected {rows} rows of {step} bytes = {rows * step} bytes ({encoding}), got {flat.size}"
        )
    return np.lib.stride_tricks.as_strided(flat, (rows, row_bytes), (step, 1), writeable=False)


def _convert(image: np.ndarray, code: int) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, code))


def _expect_even(encoding: str, height: int, width: int) -> None:
    if height % 2 or width % 2:
        raise InputError(f"image size: expected even numbers for {encoding}, got height {height} and width {width}")

"""Image messages' bytes to RGB: every encoding, any row step, and the errors a wrong message gets."""

import array

import cv2
import numpy as np
import pytest

from wsperception.data.image_encodings import ENCODINGS, decode_compressed, decode_image, pixel_view
from wsperception.errors import InputError

# Two rows of two pixels, no two samples equal: a swapped axis, channel or row shows.
RGB = np.array([[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [100, 110, 120]]], np.uint8)


def with_step(rows: np.ndarray, padding: int) -> tuple[int, bytes]:
    """Step and bytes of an image whose rows end with `padding` bytes of 255."""
    flat = rows.reshape(len(rows), -1).view(np.uint8)
    padded = np.concatenate([flat, np.full((len(flat), padding), 255, np.uint8)], axis=1)
    return padded.shape[1], padded.tobytes()


def alpha(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image, np.full((*image.shape[:2], 1), 7, np.uint8)], axis=2)


@pytest.mark.parametrize("padding", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", alpha(RGB)),
        ("bgra8", alpha(RGB[..., ::-1])),
        ("8UC4", alpha(RGB[..., ::-1])),
    ],
)
def test_colour_with_any_step(encoding, pixels, padding):
    step, data = with_step(np.ascontiguousarray(pixels), padding)
    np.testing.assert_array_equal(decode_image(encoding, 2, 2, step, data, False), RGB)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_fills_three_channels(encoding, padding):
    step, data = with_step(RGB[..., 0], padding)
    np.testing.assert_array_equal(decode_image(encoding, 2, 2, step, data, False), np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("padding", [0, 2, 3])
@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_sixteen_bits_keep_the_upper_byte(encoding, is_bigendian, padding):
    # 0x1234 -> 0x12 = 18, 0xFF00 -> 255, 0x00FF -> 0, 0x8001 -> 128
    values = np.array([[0x1234, 0xFF00], [0x00FF, 0x8001]], ">u2" if is_bigendian else "<u2")
    step, data = with_step(values, padding)
    image = decode_image(encoding, 2, 2, step, data, is_bigendian)
    np.testing.assert_array_equal(image[..., 1], [[18, 255], [0, 128]])
    np.testing.assert_array_equal(pixel_view(encoding, 2, 2, step, data, is_bigendian), values)


def test_sixteen_bit_colour_order():
    step, data = with_step(RGB[..., ::-1].astype("<u2") << 8, 4)
    np.testing.assert_array_equal(decode_image("bgr16", 2, 2, step, data, False), RGB)
    np.testing.assert_array_equal(decode_image("rgb16", 2, 2, step, data, False), RGB[..., ::-1])


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("pattern", "sites"),
    [("rggb", "RGGB"), ("bggr", "BGGR"), ("gbrg", "GBRG"), ("grbg", "GRBG")],
)
def test_bayer_of_a_flat_colour(pattern, sites, depth):
    # A flat colour has one right answer, whatever the interpolation: R 200, G 120, B 40.
    value = {"R": 200, "G": 120, "B": 40}
    tile = np.array([value[site] for site in sites], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (4, 5))
    if depth == 16:
        mosaic = mosaic.astype("<u2") << 8
    step, data = with_step(mosaic, 6)
    image = decode_image(f"bayer_{pattern}{depth}", 8, 10, step, data, False)
    np.testing.assert_array_equal(image, np.broadcast_to(np.array([200, 120, 40], np.uint8), (8, 10, 3)))


# BT.601, limited range: Y 81, U 90, V 240 is pure red; Y 145, U 54, V 34 pure green (rounded, hence the tolerance).
RED, GREEN = (81, 90, 240), (145, 54, 34)


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", "UYVY"), ("yuv422", "UYVY"), ("yuyv", "YUYV")])
def test_packed_yuv(encoding, order):
    rows = []
    for luma, u, v in (RED, GREEN):
        sample = {"Y": luma, "U": u, "V": v}
        rows.append([sample[letter] for letter in order] * 2)  # 4 pixels
    step, data = with_step(np.array(rows, np.uint8), 3)
    image = decode_image(encoding, 2, 4, step, data, False).astype(int)
    assert np.abs(image[0] - [255, 0, 0]).max() <= 2
    assert np.abs(image[1] - [0, 255, 0]).max() <= 2
    if encoding == "yuyv":
        np.testing.assert_array_equal(decode_image("yuv422_yuy2", 2, 4, step, data, False), image)


@pytest.mark.parametrize(("encoding", "first"), [("nv12", 1), ("nv21", 2)])
def test_planar_yuv(encoding, first):
    luma = np.full((2, 4), RED[0], np.uint8)
    chroma = np.array([[RED[first], RED[3 - first]] * 2], np.uint8)
    step, data = with_step(np.concatenate([luma, chroma]), 3)
    image = decode_image(encoding, 2, 4, step, data, False).astype(int)
    assert image.shape == (2, 4, 3)
    assert np.abs(image - [255, 0, 0]).max() <= 2


def test_rgb8_is_a_view_of_the_message():
    data = array.array("B", RGB.tobytes())
    image = decode_image("rgb8", 2, 2, 6, data, False)
    data[0] = 99
    assert image[0, 0, 0] == 99
    assert not image.flags.writeable


def test_last_row_may_lack_its_padding():
    step, data = with_step(RGB, 4)
    np.testing.assert_array_equal(decode_image("rgb8", 2, 2, step, data[:-4], False), RGB)


@pytest.mark.parametrize("container", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_container_of_bytes(container):
    np.testing.assert_array_equal(decode_image("rgb8", 2, 2, 6, container(RGB.tobytes()), False), RGB)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("32FC1", 2, 2, 8, bytes(16)), "image encoding '32FC1': unknown; expected one of rgb8, bgr8"),
        (("rgb8", 0, 2, 6, b""), "image size: expected at least 1 x 1 pixel, got width 2 and 0 rows"),
        (("rgb8", 2, 0, 0, b""), "image size: expected at least 1 x 1 pixel, got width 0 and 2 rows"),
        (("rgb8", 2, 2, 5, bytes(12)), "image step: expected at least 6 bytes for 2 pixels rgb8, got 5"),
        (("rgb8", 2, 2, 6, bytes(11)), "image data: expected 2 rows of 6 bytes = 12 bytes (rgb8), got 11"),
        (("rgb8", 2, 2, 7, bytes(15)), "image data: expected 2 rows of 7 bytes = 14 bytes (rgb8), got 15"),
        (("rgb8", 2, 2, 6, b""), "image data: expected 2 rows of 6 bytes = 12 bytes (rgb8), got 0"),
        (("mono16", 2, 2, 2, bytes(8)), "image step: expected at least 4 bytes"),
        (("uyvy", 2, 3, 6, bytes(12)), "expected even numbers for uyvy"),
        (("bayer_rggb8", 3, 4, 4, bytes(12)), "expected even numbers for bayer_rggb8, got height 3 and width 4"),
        (("nv12", 2, 3, 3, bytes(9)), "expected even numbers for nv12"),
    ],
)
def test_a_wrong_message_is_named(arguments, text):
    encoding, height, width, step, data = arguments
    with pytest.raises(InputError) as caught:
        decode_image(encoding, height, width, step, data, False)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_encoding_decodes_to_rgb():
    for encoding in ENCODINGS:
        rows = 6 if encoding in ("nv12", "nv21") else 4
        for step in (64, 65):
            image = decode_image(encoding, 4, 6, step, bytes(rows * step), False)
            assert image.shape == (4, 6, 3) and image.dtype == np.uint8, encoding


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_round_trip(suffix):
    flat = np.zeros((8, 12, 3), np.uint8) + np.array([200, 120, 40], np.uint8)
    encoded = cv2.imencode(suffix, flat[..., ::-1])[1].tobytes()
    image = decode_compressed(array.array("B", encoded), "rgb8; jpeg compressed bgr8")
    assert image.shape == (8, 12, 3)
    assert np.abs(image.astype(int) - flat).max() <= 3


def test_compressed_that_is_no_image():
    for data in (b"", b"not an image", cv2.imencode(".png", RGB)[1].tobytes()[:20]):
        with pytest.raises(InputError, match="expected jpeg or png"):
            decode_compressed(data)
    with pytest.raises(InputError, match="depth image"):
        decode_compressed(b"", "16UC1; compressedDepth png")

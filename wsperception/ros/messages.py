"""Messages to frames and results to messages; no node, no topic, no state.

Every output carries the header of its input unchanged, so that exact time synchronisation joins them. Boxes and masks
are in the pixels of the input image.
"""

import sys
from typing import TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionClass

from wsperception.data.image_encodings import ENCODINGS, decode_compressed, decode_image, pixel_view
from wsperception.errors import InputError
from wsperception.geometry import tight_boxes
from wsperception.types import VOID, Frame, LabelSpace, SegmentMap

UNLABELLED = 255
"""Value of void pixels in the semantic image."""

ImageMessage: TypeAlias = Image | CompressedImage


def to_frame(message: ImageMessage, source: str, index: int) -> Frame:
    """The frame of an image message; the stamp is the header's.

    Raises InputError for what `decode_image` and `decode_compressed` refuse, and for a negative stamp. Encodings that
    they do not know go to cv_bridge, where that is installed.
    """
    if isinstance(message, CompressedImage):
        image = decode_compressed(message.data, message.format)
    elif message.encoding in ENCODINGS:
        image = decode_image(
            message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
        )
    else:
        image = _with_cv_bridge(message)
    return Frame(image, stamp_ns(message.header), source, index)


def describe(message: ImageMessage) -> str:
    """Size, encoding and frame_id of an image message, in words."""
    if isinstance(message, CompressedImage):
        shown = message.format or "compressed, without a format"
    else:
        shown = f"{message.width} x {message.height} {message.encoding}"
    return f"{shown}, frame_id '{message.header.frame_id}'"


def stamp_ns(header: Header) -> int:
    """Nanoseconds of a header's stamp; 0 where the sender gave none."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def to_detections(segments: SegmentMap, header: Header, pool: list[Detection2D] | None = None) -> Detection2DArray:
    """One Detection2D per tracked object, best score first; an empty array where there is none.

    pool  detections to fill in instead of making new ones; it grows as needed. What was made from them before changes,
          so it has to be published by then.
    """
    # Whole tables to Python numbers at once: element by element costs more than the messages.
    table = zip(
        segments.boxes.tolist(),
        segments.class_ids.tolist(),
        segments.scores.tolist(),
        segments.track_ids.tolist(),
        strict=True,
    )
    tracked = [row for row in table if row[3] > 0]
    detections = [] if pool is None else pool
    detections.extend(_blank_detection() for _ in range(len(tracked) - len(detections)))
    message = Detection2DArray(header=header)
    message.detections = detections[: len(tracked)]
    for detection, row in zip(message.detections, tracked, strict=True):
        _fill_in(detection, header, *row)
    return message


def to_instance_ids(segments: SegmentMap, header: Header, canvas: Image | None = None) -> Image:
    """mono16: each pixel the number in `Detection2D.id` of its object; 0 where no tracked object is.

    canvas  a message to paint on instead of a new one: the last that this function made. Where it has another size, a
            new one is made.
    """
    return _painted(segments.ids, segments.track_ids.astype(np.uint16), header, "mono16", canvas)


def to_semantic(segments: SegmentMap, header: Header) -> Image:
    """mono8: class number of every pixel; UNLABELLED where there is no segment."""
    classes = np.where(segments.class_ids == VOID, UNLABELLED, segments.class_ids).astype(np.uint8)
    return _painted(segments.ids, classes, header, "mono8")


def to_bgr8(image: np.ndarray, header: Header) -> Image:
    """bgr8 message of an (H, W, 3) uint8 RGB picture."""
    message, pixels = _blank(image.shape[:2], np.dtype(np.uint8), 3, header, "bgr8")
    cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=pixels)
    return message


def to_rgb8(image: np.ndarray, header: Header) -> Image:
    """rgb8 message of an (H, W, 3) uint8 RGB picture."""
    message, pixels = _blank(image.shape[:2], np.dtype(np.uint8), 3, header, "rgb8")
    pixels[...] = image
    return message


def to_label_info(labels: LabelSpace, threshold: float, header: Header) -> LabelInfo:
    """Names of the class numbers, and the score from which detections are published."""
    message = LabelInfo(header=header, threshold=float(threshold))
    message.class_map = [VisionClass(class_id=number, class_name=name) for number, name in enumerate(labels.names)]
    return message


def to_segments(detections: Detection2DArray, instance_ids: Image) -> SegmentMap:
    """The segment map that the two messages were made from, less what has no track id.

    The inverse of `to_detections` and `to_instance_ids`, for a recorder or any other receiver. Raises InputError where
    the messages do not belong together: different headers, or a pixel with an id that no detection has.
    """
    if detections.header != instance_ids.header:
        raise InputError("detections and instance_ids: expected equal headers, got two different ones")
    picture = pixel_view(
        instance_ids.encoding,
        instance_ids.height,
        instance_ids.width,
        instance_ids.step,
        instance_ids.data,
        bool(instance_ids.is_bigendian),
    )
    found = detections.detections
    row_of_id = np.zeros(65536, np.uint16)
    row_of_id[[int(detection.id) for detection in found]] = np.arange(1, len(found) + 1, dtype=np.uint16)
    ids = row_of_id[picture]
    if np.any((ids == 0) & (picture > 0)):
        raise InputError("instance_ids: expected every id to be the id of a detection, got an id without one")
    best = [detection.results[0].hypothesis for detection in found]
    return SegmentMap(
        ids,
        np.array([VOID, *(int(hypothesis.class_id) for hypothesis in best)], np.int32),
        np.array([0.0, *(hypothesis.score for hypothesis in best)], np.float32),
        np.array([0, *(int(detection.id) for detection in found)], np.int32),
        tight_boxes(ids, len(found) + 1),
    )


def _blank_detection() -> Detection2D:
    detection = Detection2D()
    detection.results = [ObjectHypothesisWithPose()]
    return detection


def _fill_in(
    detection: Detection2D, header: Header, box: list[float], class_id: int, score: float, track_id: int
) -> None:
    detection.header = header
    detection.id = str(track_id)
    x0, y0, x1, y1 = box
    bounds = detection.bbox
    bounds.center.position.x, bounds.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
    bounds.size_x, bounds.size_y = x1 - x0, y1 - y0
    hypothesis = detection.results[0].hypothesis
    hypothesis.class_id, hypothesis.score = str(class_id), score


def _painted(
    rows: np.ndarray, value_of_row: np.ndarray, header: Header, encoding: str, canvas: Image | None = None
) -> Image:
    """Image whose pixels are `value_of_row[rows]`, written straight into the message's memory."""
    if canvas is not None and (canvas.height, canvas.width) == rows.shape:
        message, pixels = canvas, np.frombuffer(canvas.data, value_of_row.dtype).reshape(rows.shape)
        message.header = header
    else:
        message, pixels = _blank(rows.shape, value_of_row.dtype, 1, header, encoding)
    # OpenCV's table look-up takes 8-bit rows; with the narrowing it is three times as fast as NumPy.
    if len(value_of_row) <= 256:
        table = np.zeros(256, value_of_row.dtype)
        table[: len(value_of_row)] = value_of_row
        cv2.LUT(rows.astype(np.uint8), table, dst=pixels)
    else:
        # mode="clip": by default NumPy gathers into a buffer of its own first. Rows are in range, so it clips none.
        np.take(value_of_row, rows, out=pixels, mode="clip")
    return message


def _blank(
    size: tuple[int, ...], dtype: np.dtype, channels: int, header: Header, encoding: str
) -> tuple[Image, np.ndarray]:
    """A message of zeros, and its pixels (H, W) or (H, W, C) to write into.

    The message's own array grows in place: an array that is assigned is copied, and a NumPy array or bytes are looked
    at byte by byte (110 ms for a 1242x375 colour image).
    """
    height, width = size
    step = width * channels * dtype.itemsize
    message = Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=step,
    )
    data = message.data
    data.append(0)
    data *= height * step
    shape = (height, width) if channels == 1 else (height, width, channels)
    return message, np.frombuffer(data, dtype).reshape(shape)


def _with_cv_bridge(message: Image) -> np.ndarray:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except (ImportError, AttributeError) as error:
        # AttributeError: _ARRAY_API not found, a cv_bridge built against NumPy 1 under NumPy 2.
        raise InputError(
            f"image encoding '{message.encoding}': expected one of {', '.join(ENCODINGS)}; "
            f"others need cv_bridge, which cannot be imported ({error})"
        ) from None
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8"))
    except CvBridgeError as error:
        raise InputError(f"image encoding '{message.encoding}': cv_bridge refuses it: {error}") from None

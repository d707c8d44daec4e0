"""Conversions both ways, without a node."""

import array
import sys

import cv2
import numpy as np
import pytest
from ros_peer import header, pixels
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from wsperception.errors import InputError
from wsperception.ros import messages
from wsperception.types import VOID, LabelSpace, SegmentMap

HEADER = header(1_234_567_890_123_456_789, "camera_front")


def segments(track_ids=(7, 0, 65535), class_ids=(1, 0, 0)) -> SegmentMap:
    """A 4 x 6 picture: row 1 at the top left, row 2 one pixel, row 3 at the bottom right."""
    ids = np.zeros((4, 6), np.uint16)
    ids[0:2, 0:3], ids[2, 0], ids[3, 2:6] = 1, 2, 3
    boxes = np.array([[0, 0, 0, 0], [0, 0, 3, 2], [0, 2, 1, 3], [1.5, 2.5, 6, 4]], np.float32)
    return SegmentMap(
        ids,
        np.array([VOID, *class_ids], np.int32),
        np.array([0, 0.75, 0.6, 0.5], np.float32),
        np.array([0, *track_ids], np.int32),
        boxes,
    )


def test_detections_are_the_tracked_rows():
    message = messages.to_detections(segments(), HEADER)
    assert message.header == HEADER
    assert [detection.id for detection in message.detections] == ["7", "65535"]
    first, last = message.detections
    # 0 0 3 2 -> centre (1.5, 1), 3 x 2; 1.5 2.5 6 4 -> centre (3.75, 3.25), 4.5 x 1.5
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (1.5, 1.0)
    assert (first.bbox.size_x, first.bbox.size_y) == (3.0, 2.0)
    assert (last.bbox.center.position.x, last.bbox.center.position.y) == (3.75, 3.25)
    assert (last.bbox.size_x, last.bbox.size_y) == (4.5, 1.5)
    assert [entry.results[0].hypothesis.class_id for entry in message.detections] == ["1", "0"]
    assert [entry.results[0].hypothesis.score for entry in message.detections] == [0.75, 0.5]


def test_instance_ids_hold_the_numbers_of_the_detections():
    message = messages.to_instance_ids(segments(), HEADER)
    assert (message.encoding, message.height, message.width, message.step) == ("mono16", 4, 6, 12)
    assert message.is_bigendian == int(sys.byteorder == "big")
    expected = [[7, 7, 7, 0, 0, 0], [7, 7, 7, 0, 0, 0], [0] * 6, [0, 0, 65535, 65535, 65535, 65535]]
    np.testing.assert_array_equal(pixels(message), expected)


@pytest.mark.parametrize("rows", [2, 255, 256, 257, 400])
def test_any_number_of_objects(rows):
    ids = np.arange(rows, dtype=np.uint16).reshape(1, rows)
    class_ids = np.array([VOID, *range(1, rows)], np.int32) % 250
    class_ids[0] = VOID
    scores, boxes = np.linspace(0, 1, rows, dtype=np.float32), np.zeros((rows, 4), np.float32)
    many = SegmentMap(ids, class_ids, scores, np.array([0, *range(60_000, 60_000 + rows - 1)], np.int32), boxes)
    assert pixels(messages.to_instance_ids(many, HEADER)).tolist() == [[0, *range(60_000, 60_000 + rows - 1)]]
    assert pixels(messages.to_semantic(many, HEADER)).tolist() == [[255, *(row % 250 for row in range(1, rows))]]
    assert len(messages.to_detections(many, HEADER).detections) == rows - 1


def test_a_canvas_is_painted_anew():
    first = messages.to_instance_ids(segments(), header(5))
    again = messages.to_instance_ids(segments(track_ids=(9, 4, 0)), HEADER, first)
    assert again is first and again.header == HEADER
    expected = [[9, 9, 9, 0, 0, 0], [9, 9, 9, 0, 0, 0], [4, *[0] * 5], [0] * 6]
    np.testing.assert_array_equal(pixels(again), expected)
    other = messages.to_instance_ids(SegmentMap.empty((3, 5)), HEADER, first)
    assert (other.height, other.width, other.step) == (3, 5, 10) and not pixels(other).any()
    np.testing.assert_array_equal(pixels(first), expected)


def test_a_pool_of_detections_is_filled_in_anew():
    pool = []
    messages.to_detections(segments(), header(5, "other"), pool)
    for given in (segments(track_ids=(9, 4, 0)), segments((0, 0, 3)), segments()):  # 2, 1 and 2 detections
        assert messages.to_detections(given, HEADER, pool) == messages.to_detections(given, HEADER)
    assert len(pool) == 2
    assert messages.to_detections(SegmentMap.empty((3, 5)), HEADER, pool) == Detection2DArray(header=HEADER)


def test_semantic_holds_classes_also_of_the_untracked():
    message = messages.to_semantic(segments(), HEADER)
    assert (message.encoding, message.step) == ("mono8", 6)
    expected = [[1, 1, 1, 255, 255, 255], [1, 1, 1, 255, 255, 255], [0, *[255] * 5], [255, 255, 0, 0, 0, 0]]
    np.testing.assert_array_equal(pixels(message), expected)


def test_nothing_gives_empty_messages():
    empty = SegmentMap.empty((3, 5))
    assert len(messages.to_detections(empty, HEADER).detections) == 0
    assert pixels(messages.to_instance_ids(empty, HEADER)).tolist() == [[0] * 5] * 3
    assert pixels(messages.to_semantic(empty, HEADER)).tolist() == [[255] * 5] * 3


def test_the_receiver_gets_back_what_was_sent():
    sent = segments()
    got = messages.to_segments(messages.to_detections(sent, HEADER), messages.to_instance_ids(sent, HEADER))
    # Row 2 has no track id, so it is not published; row 3 comes back as row 2.
    assert got.track_ids.tolist() == [0, 7, 65535] and got.class_ids.tolist() == [VOID, 1, 0]
    np.testing.assert_array_equal(got.track_ids[got.ids], sent.track_ids[sent.ids])
    assert got.boxes[2].tolist() == [2, 3, 6, 4]  # tight around the pixels


def test_messages_that_do_not_belong_together_are_refused():
    sent = segments()
    detections, ids = messages.to_detections(sent, HEADER), messages.to_instance_ids(sent, HEADER)
    with pytest.raises(InputError, match="expected equal headers"):
        messages.to_segments(detections, messages.to_instance_ids(sent, header(5)))
    detections.detections = detections.detections[:1]
    with pytest.raises(InputError, match="an id without one"):
        messages.to_segments(detections, ids)


def test_label_info():
    labels = LabelSpace(("car", "road"), (True, False))
    message = messages.to_label_info(labels, np.float32(0.5), HEADER)
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [(0, "car"), (1, "road")]
    assert message.threshold == 0.5


def test_pictures_keep_their_colours():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    blue_first = messages.to_bgr8(image, HEADER)
    assert blue_first.encoding == "bgr8"
    np.testing.assert_array_equal(pixels(blue_first), image[..., ::-1])
    for message in (blue_first, messages.to_rgb8(image, HEADER)):
        frame = messages.to_frame(message, "front", 3)
        np.testing.assert_array_equal(frame.image, image)
        assert (frame.stamp_ns, frame.source, frame.index) == (1_234_567_890_123_456_789, "front", 3)


def test_rgb8_is_not_copied():
    message = messages.to_rgb8(np.zeros((4, 6, 3), np.uint8), HEADER)
    frame = messages.to_frame(message, "front", 0)
    message.data[0] = 200
    assert frame.image[0, 0, 0] == 200


def test_compressed_images():
    image = np.full((8, 8, 3), (250, 120, 10), np.uint8)
    for suffix, name in ((".png", "png"), (".jpg", "jpeg")):
        data = array.array("B", cv2.imencode(suffix, image[..., ::-1])[1].tobytes())
        frame = messages.to_frame(CompressedImage(header=HEADER, format=name, data=data), "front", 0)
        assert np.abs(frame.image.astype(int) - image).max() <= 4


def test_an_encoding_that_needs_cv_bridge(monkeypatch):
    message = Image(header=HEADER, height=1, width=1, encoding="32FC3", step=12, data=array.array("B", bytes(12)))
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # as where it is not installed
    with pytest.raises(InputError, match=r"'32FC3': expected one of rgb8.*others need cv_bridge"):
        messages.to_frame(message, "front", 0)


class FakeBridge:
    """cv_bridge's interface, as far as it is used."""

    class CvBridgeError(Exception):
        pass

    class CvBridge:
        def imgmsg_to_cv2(self, message, desired_encoding):
            if message.width == 2:
                raise FakeBridge.CvBridgeError("no conversion")
            assert desired_encoding == "rgb8"
            return np.full((message.height, message.width, 3), 42, np.uint8)


def test_cv_bridge_decodes_what_is_unknown_here(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", FakeBridge)
    message = Image(header=HEADER, height=1, width=1, encoding="32FC3", step=12, data=array.array("B", bytes(12)))
    assert messages.to_frame(message, "front", 0).image.tolist() == [[[42, 42, 42]]]
    message.width = 2
    with pytest.raises(InputError, match="cv_bridge refuses it: no conversion"):
        messages.to_frame(message, "front", 0)


def test_stamps():
    assert messages.stamp_ns(Header()) == 0
    assert messages.stamp_ns(HEADER) == 1_234_567_890_123_456_789
    with pytest.raises(InputError, match="stamp_ns >= 0"):
        messages.to_frame(messages.to_rgb8(np.zeros((1, 1, 3), np.uint8), header(-1)), "front", 0)

"""Type, encoding, header, QoS and content of every output of the node, between two processes."""

import array

import numpy as np
import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy, qos_profile_sensor_data
from ros_peer import Peer, Results, header, image, pixels
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger
from toy_model import HEIGHT, WIDTH, picture
from vision_msgs.msg import Detection2DArray, LabelInfo

from wsperception.ros import messages, qos

FIRST_NS = 1_700_000_000_123_456_789
STEP_NS = 100_000_000


@pytest.fixture(scope="module")
def node(start_shared, panoptic_bundle):
    """One node with a panoptic model for the tests of this file."""
    return start_shared({"model": panoptic_bundle})


@pytest.fixture
def camera(peer, node):
    """Publisher of images, with the node's tracks forgotten."""
    peer.until_state("active")
    publisher = peer.publisher(Image, "/image")
    assert peer.call(Trigger, "/perception/reset", Trigger.Request()).success
    return publisher


def test_detections_and_ids_of_two_objects(peer, camera):
    results = Results(peer, camera)
    # Red x 10..30, y 5..20: centre (20, 12.5), 20 x 15. Green x 50..56, y 8..40: centre (53, 24), 6 x 32.
    camera.publish(image(picture((10, 5, 30, 20), (50, 8, 56, 40)), FIRST_NS))
    results.until(peer, 1)
    message, ids = results.detections.messages[0], results.ids.messages[0]
    assert message.header == ids.header == header(FIRST_NS)
    red, green = message.detections
    assert (red.id, green.id) == ("1", "2")
    assert red.header == green.header == message.header
    assert (red.bbox.center.position.x, red.bbox.center.position.y, red.bbox.center.theta) == (20.0, 12.5, 0.0)
    assert (red.bbox.size_x, red.bbox.size_y) == (20.0, 15.0)
    assert (green.bbox.center.position.x, green.bbox.center.position.y) == (53.0, 24.0)
    assert [len(detection.results) for detection in (red, green)] == [1, 1]
    assert (red.results[0].hypothesis.class_id, green.results[0].hypothesis.class_id) == ("0", "1")
    assert red.results[0].hypothesis.score == pytest.approx(0.95)
    assert (ids.encoding, ids.height, ids.width, ids.step) == ("mono16", HEIGHT, WIDTH, 2 * WIDTH)
    expected = np.zeros((HEIGHT, WIDTH), np.uint16)
    expected[5:20, 10:30], expected[8:40, 50:56] = 1, 2
    np.testing.assert_array_equal(pixels(ids), expected)


def test_semantic_is_the_class_or_255(peer, camera):
    semantic = peer.listen(Image, "/perception/semantic")
    peer.connect(camera, semantic)
    camera.publish(image(picture((10, 5, 30, 20), (50, 8, 56, 40)), FIRST_NS))
    peer.until(lambda: len(semantic) == 1, "semantic")
    message = semantic.messages[0]
    assert (message.encoding, message.step, message.header) == ("mono8", WIDTH, header(FIRST_NS))
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    expected[5:20, 10:30], expected[8:40, 50:56] = 0, 1
    np.testing.assert_array_equal(pixels(message), expected)


def test_an_empty_frame_gives_an_empty_array_and_zero_masks(peer, camera):
    results = Results(peer, camera)
    camera.publish(image(picture(), FIRST_NS, "empty"))
    results.until(peer, 1)
    assert len(results.detections.messages[0].detections) == 0
    assert results.detections.messages[0].header == header(FIRST_NS, "empty")
    assert pixels(results.ids.messages[0]).max() == 0


def test_ids_last_over_frames_and_headers_are_each_frames_own(peer, camera):
    results = Results(peer, camera)
    for number in range(5):
        camera.publish(image(picture((10 + number, 5, 30 + number, 20)), FIRST_NS + number * STEP_NS, f"f{number}"))
        results.until(peer, number + 1)
    assert [message.detections[0].id for message in results.detections.messages] == ["1"] * 5
    wanted = [header(FIRST_NS + number * STEP_NS, f"f{number}") for number in range(5)]
    assert [message.header for message in results.detections.messages] == wanted
    assert [message.header for message in results.ids.messages] == wanted


def test_boxes_are_in_pixels_of_the_image_whatever_its_size(peer, camera):
    results = Results(peer, camera)
    # Four times the network's input: the box must come back in the image's pixels, to within one of the network's.
    camera.publish(image(picture((80, 40, 240, 160), size=(4 * HEIGHT, 4 * WIDTH)), FIRST_NS))
    results.until(peer, 1)
    box = results.detections.messages[0].detections[0].bbox
    assert (box.center.position.x, box.center.position.y) == pytest.approx((160, 100), abs=4)
    assert (box.size_x, box.size_y) == pytest.approx((160, 120), abs=8)
    assert pixels(results.ids.messages[0]).shape == (4 * HEIGHT, 4 * WIDTH)


def test_overlay_only_while_somebody_listens(peer, camera):
    overlay = peer.listen(Image, "/perception/overlay")
    results = Results(peer, camera, "/perception/", overlay)
    camera.publish(image(picture((10, 5, 30, 20)), FIRST_NS))
    peer.until(lambda: len(overlay) == 1, "overlay")
    drawn = overlay.messages[0]
    assert (drawn.encoding, drawn.height, drawn.width, drawn.step) == ("bgr8", HEIGHT, WIDTH, 3 * WIDTH)
    assert drawn.header == header(FIRST_NS)
    assert np.any(pixels(drawn) != pixels(image(picture((10, 5, 30, 20)), FIRST_NS)))
    overlay.stop(peer)
    camera.publish(image(picture((10, 5, 30, 20)), FIRST_NS + STEP_NS))
    results.until(peer, 2)
    assert len(overlay) == 1


def test_label_info_reaches_late_joiners(peer, camera):
    camera.publish(image(picture(), FIRST_NS))
    late = Peer("late")
    received = late.listen(LabelInfo, "/perception/label_info", qos.latched())
    late.until(lambda: len(received) == 1, "label info")
    late.close()
    message = received.messages[0]
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [
        (0, "car"),
        (1, "pedestrian"),
        (2, "road"),
    ]
    assert message.threshold == pytest.approx(0.9)


def test_quality_of_service_of_every_topic(peer, camera):
    reliable, volatile = QoSReliabilityPolicy.RELIABLE, QoSDurabilityPolicy.VOLATILE
    expected = {
        "detections": ("vision_msgs/msg/Detection2DArray", reliable, volatile),
        "instance_ids": ("sensor_msgs/msg/Image", reliable, volatile),
        "semantic": ("sensor_msgs/msg/Image", reliable, volatile),
        "overlay": ("sensor_msgs/msg/Image", reliable, volatile),
        "label_info": ("vision_msgs/msg/LabelInfo", reliable, QoSDurabilityPolicy.TRANSIENT_LOCAL),
    }
    for name, wanted in expected.items():
        topic = f"/perception/{name}"
        peer.until(lambda topic=topic: peer.node.count_publishers(topic) == 1, f"the publisher of {topic}")
        info = peer.node.get_publishers_info_by_topic(topic)[0]
        assert (info.topic_type, info.qos_profile.reliability, info.qos_profile.durability) == wanted
    subscription = peer.node.get_subscriptions_info_by_topic("/image")[0]
    assert subscription.topic_type == "sensor_msgs/msg/Image"
    assert subscription.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT


def test_a_camera_driver_with_best_effort_is_heard(peer, camera):
    driver = peer.publisher(Image, "/image", qos_profile_sensor_data)
    results = Results(peer, driver)
    driver.publish(image(picture((10, 5, 30, 20)), FIRST_NS))
    results.until(peer, 1)
    assert results.detections.stamps() == [FIRST_NS]


def test_reset_starts_ids_at_1_again(peer, camera):
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20)), FIRST_NS))
    results.until(peer, 1)
    camera.publish(image(picture((50, 5, 70, 20)), FIRST_NS + STEP_NS))  # no overlap: another object
    results.until(peer, 2)
    assert peer.call(Trigger, "/perception/reset", Trigger.Request()).success
    camera.publish(image(picture((50, 5, 70, 20)), FIRST_NS + 2 * STEP_NS))
    results.until(peer, 3)
    assert [message.detections[0].id for message in results.detections.messages] == ["1", "2", "1"]


def test_disabled_means_no_output(peer, camera):
    results = Results(peer, camera)
    response = peer.call(SetBool, "/perception/enable", SetBool.Request(data=False))
    assert response.success and response.message == "images are ignored"
    camera.publish(image(picture(), FIRST_NS))
    peer.until(lambda: results.value("image", "images ignored") == "1", "an ignored image")
    assert len(results.detections) == 0
    assert peer.call(SetBool, "/perception/enable", SetBool.Request(data=True)).success
    camera.publish(image(picture(), FIRST_NS + STEP_NS))
    results.until(peer, 1)
    assert results.detections.stamps() == [FIRST_NS + STEP_NS]


def test_results_can_be_joined_back(peer, camera):
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20), (50, 8, 56, 40)), FIRST_NS))
    results.until(peer, 1)
    segments = messages.to_segments(results.detections.messages[0], results.ids.messages[0])
    assert segments.track_ids.tolist() == [0, 1, 2]
    assert segments.boxes[2].tolist() == [50, 8, 56, 40]
    assert isinstance(results.detections.messages[0], Detection2DArray)


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_compressed_images(peer, start_node, toy_bundle, transport):
    """Either by the parameter, or because the topic is remapped to one that ends in /compressed."""
    import cv2

    name = f"compressed_{transport}"
    remap = ["-r", f"__node:={name}"]
    if transport == "raw":
        remap += ["-r", "image:=/front/compressed"]
    else:
        remap += ["-r", "image:=/front"]
    start_node({"model": toy_bundle, "image_transport": transport}, remap)
    peer.until_state("active", f"/{name}")
    camera = peer.publisher(CompressedImage, "/front/compressed")

    class Driver:
        def publish(self, message):
            """The same image, as a PNG (OpenCV takes the message's own order, blue first)."""
            encoded = cv2.imencode(".png", pixels(message))[1].tobytes()
            camera.publish(CompressedImage(header=message.header, format="png", data=array.array("B", encoded)))

    results = Results(peer, Driver(), f"/{name}/")
    Driver().publish(image(picture((10, 5, 30, 20)), FIRST_NS))
    results.until(peer, 1)
    assert results.detections.messages[0].header == header(FIRST_NS)
    assert results.detections.messages[0].detections[0].bbox.size_x == 20.0

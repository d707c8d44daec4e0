"""A wrong topic, type or QoS is the commonest complaint about perception nodes: ours says what is wrong."""

import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from ros_peer import Results, image
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from toy_model import picture
from vision_msgs.msg import Detection2DArray

BEST_EFFORT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
FAST = {"diagnostics.silence_s": 0.3, "diagnostics.period_s": 0.2}


@pytest.fixture
def node(start_node, toy_bundle):
    def start(*arguments, **parameters):
        return start_node({"model": toy_bundle, **FAST, **parameters}, list(arguments))

    return start


def test_nobody_publishes(peer, node):
    process = node()
    peer.until(lambda: "no image for" in process.log, "a warning")
    assert "/image: no image for" in process.log and "nobody publishes it" in process.log
    assert "is the camera driver running" in process.log


def test_the_topic_has_another_name(peer, node):
    peer.publisher(Image, "/rig/front/image_raw", match=False)
    process = node()
    peer.until(lambda: "remap one: image:=/rig/front/image_raw" in process.log, "the hint")


def test_a_reason_that_changes_is_told_at_once(peer, node):
    process = node()
    peer.until(lambda: "nobody publishes it" in process.log, "a warning")
    peer.publisher(Image, "/rig/front/image_raw", match=False)
    peer.until(lambda: "remap one: image:=/rig/front/image_raw" in process.log, "the hint")


def test_another_type(peer, node):
    peer.publisher(CompressedImage, "/image", match=False)
    process = node()
    peer.until(lambda: "it is published as" in process.log, "a warning")
    assert "published as sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image" in process.log
    assert "set the parameter image_transport to compressed" in process.log


def test_a_type_that_is_no_image(peer, node):
    peer.publisher(String, "/image", match=False)
    process = node()
    peer.until(lambda: "published as std_msgs/msg/String, expected sensor_msgs/msg/Image" in process.log, "a warning")


def test_an_incompatible_qos_and_how_to_override_it(peer, node):
    driver = peer.publisher(Image, "/image", BEST_EFFORT, match=False)
    process = node("-p", "qos_overrides./image.subscription.reliability:=reliable")
    peer.until(lambda: "offers best_effort" in process.log, "a warning")
    assert "offers best_effort volatile, this node asks for reliable volatile" in process.log
    assert "change qos_overrides./image.subscription" in process.log
    assert driver.get_subscription_count() == 0


def test_an_override_that_fits_is_used(peer, node):
    node("-p", "qos_overrides./image.subscription.reliability:=reliable")
    peer.until_state("active")
    camera = peer.publisher(Image, "/image")
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20)), 10**9))
    results.until(peer, 1)
    info = peer.node.get_subscriptions_info_by_topic("/image")[0]
    assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_a_subscriber_that_wants_what_is_not_offered_is_reported(peer, node):
    process = node()
    peer.until_state("active")
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    peer.listen(Detection2DArray, "/perception/detections", latched)
    peer.until(lambda: "detections', requesting incompatible QoS" in process.log, "a warning")


def test_a_publisher_that_is_there_but_silent(peer, node):
    peer.publisher(Image, "/image", match=False)
    process = node()
    peer.until(lambda: "but sends nothing" in process.log, "a warning")
    assert "matches (reliable volatile)" in process.log

"""What the doctor finds out about ROS: the middleware and its limits, and a camera's topic as the node would see it."""

import os
import time
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from wsperception.errors import InputError
from wsperception.findings import ERROR, NOTE, OK, WARN, Finding
from wsperception.ros import fastdds, messages, qos

DISCOVERY_S = 5.0
CLASSES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


def check_middleware() -> list[Finding]:
    """Implementation, domain, and whether Fast DDS has room for raw images."""
    name = get_rmw_implementation_identifier()
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or (
        "LOCALHOST" if os.environ.get("ROS_LOCALHOST_ONLY") == "1" else "SUBNET"
    )
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    findings = [Finding(OK, "middleware", f"{name}, domain {domain}, discovery {reach.lower()}")]
    if "fastrtps" in name:
        findings.append(_check_profile())
    return findings


def _check_profile() -> Finding:
    variable, ours = fastdds.profile_variable(), fastdds.profile()
    given = os.environ.get(variable)
    if not given:
        advice = f"export {variable}={ours or 'config/fastdds.xml'}, as the launch files do; for the camera driver too"
        return Finding(WARN, "Fast DDS", "no profile: most raw images sent best effort are lost", advice)
    if not os.path.isfile(given):
        return Finding(ERROR, "Fast DDS", f"its profile {given} does not exist", f"mend {variable}")
    return Finding(OK, "Fast DDS", f"profile {given}")


def check_topics(topic: str | None, seconds: float) -> list[Finding]:
    """The camera's topic: whether it is there, with which type and QoS, how often, and whether its images are usable.

    topic    name; None: lists the image topics that there are
    seconds  how long to listen
    """
    context = Context()
    rclpy.init(context=context)
    node = Node("wsperception_doctor", context=context, enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        resolved = node.resolve_topic_name(topic) if topic else None
        return _look(node, executor, resolved, seconds)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def _look(node: Node, executor: SingleThreadedExecutor, topic: str | None, seconds: float) -> list[Finding]:
    def discovered() -> bool:
        if topic is None:
            return bool(qos.image_topics(node))
        publishers = node.get_publishers_info_by_topic(topic)
        ends = [*publishers, *node.get_subscriptions_info_by_topic(topic)]
        return bool(publishers) and all(qos.is_known(end) for end in ends)

    deadline = time.monotonic() + DISCOVERY_S
    while not discovered() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    found = qos.image_topics(node)
    listed = ", ".join(f"{name} ({kind.rsplit('/', 1)[-1]})" for name, kind in found)
    if topic is None:
        if not found:
            advice = f"start the camera driver; is its ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')} too?"
            return [Finding(NOTE, "image topics", "none is published", advice)]
        return [Finding(OK, "image topics", listed, "look closer: wsperception doctor --image-topic NAME")]
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        reason = qos.explain_silence(node, topic, "sensor_msgs/msg/Image", qos.image_input())
        return [Finding(ERROR, topic, reason, "start the camera driver, or name one of the topics that are there")]
    kind = str(publishers[0].topic_type)
    if kind not in CLASSES:
        return [
            Finding(ERROR, topic, f"is a {kind}", f"expected {' or '.join(CLASSES)}; image topics: {listed or 'none'}")
        ]
    heard = _listen(node, executor, topic, kind, seconds)
    # Looked up after listening: on a busy machine subscribers are discovered later than the camera.
    others = [end for end in node.get_subscriptions_info_by_topic(topic) if end.node_name != node.get_name()]
    return [_check_qos(topic, publishers), *_check_listeners(topic, publishers, others), *heard]


def _check_qos(topic: str, publishers: list[Any]) -> Finding:
    for publisher in publishers:
        verdict, reason = qos_check_compatible(publisher.qos_profile, qos.image_input())
        if verdict == QoSCompatibility.ERROR:
            offered, wanted = qos.describe(publisher.qos_profile), qos.describe(qos.image_input())
            text = f"{qos.sender(publisher)} offers {offered}, the node asks for {wanted}: {reason}"
            return Finding(ERROR, topic, text, f"set qos_overrides.{topic}.subscription.*")
    first = publishers[0]
    text = f"{first.topic_type} from {qos.sender(first)}, {qos.describe(first.qos_profile)}: matches the node"
    if len(publishers) > 1:
        return Finding(WARN, topic, f"{text}; {len(publishers)} publishers at once", "remap so that one is left")
    return Finding(OK, topic, text)


def _check_listeners(topic: str, publishers: list[Any], subscriptions: list[Any]) -> list[Finding]:
    """Whoever subscribes the topic already, a perception node for one, and gets nothing for its QoS."""
    findings = []
    for subscription in subscriptions:
        for publisher in publishers:
            verdict, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
            if verdict == QoSCompatibility.ERROR:
                name, wanted = qos.sender(subscription), qos.describe(subscription.qos_profile)
                offered = f"{qos.sender(publisher)} offers {qos.describe(publisher.qos_profile)}"
                text = f"{name} asks for {wanted}, {offered}: it hears nothing ({reason.strip().rstrip(';')})"
                advice = f"change {name}'s side; of a perception node: qos_overrides.{topic}.subscription.*"
                findings.append(Finding(ERROR, topic, text, advice))
    return findings


def _listen(node: Node, executor: SingleThreadedExecutor, topic: str, kind: str, seconds: float) -> list[Finding]:
    arrivals: list[tuple[float, Any]] = []

    def on_image(message: Any) -> None:
        arrivals.append((time.monotonic(), message))
        del arrivals[1:-1]  # of the messages only the first and the newest matter
        counted[0] += 1

    counted = [0]
    node.create_subscription(CLASSES[kind], topic, on_image, qos.image_input())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    if not arrivals:
        advice = "is the camera on? are raw images lost (Fast DDS profile)? is the network in between fast enough?"
        return [Finding(ERROR, topic, f"no image in {seconds:g} s", advice)]
    lasted = arrivals[-1][0] - arrivals[0][0]
    rate = f"{(counted[0] - 1) / lasted:.1f} Hz" if lasted > 0 else "one image"
    newest = arrivals[-1][1]
    try:
        frame = messages.to_frame(newest, topic, 0)
    except InputError as error:
        return [Finding(ERROR, topic, f"{rate}, but: {error}", "change the driver's encoding, or install cv_bridge")]
    encoding = getattr(newest, "encoding", "") or getattr(newest, "format", "")
    height, width = frame.image.shape[:2]
    findings = [Finding(OK, topic, f"{rate}, {width} x {height} {encoding}, frame_id '{newest.header.frame_id}'")]
    age_s = node.get_clock().now().nanoseconds / 1e9 - frame.stamp_ns / 1e9
    if frame.stamp_ns == 0:
        findings.append(Finding(WARN, topic, "images carry no stamp", "let the driver stamp them"))
    elif not -0.05 < age_s < 1.0:
        advice = "synchronise the clocks; for a replay, use simulated time on both sides"
        findings.append(Finding(WARN, topic, f"images are {age_s:.1f} s old when they arrive", advice))
    return findings

"""Quality of service of every topic, and words for what keeps two ends apart.

After REP-2003: images are subscribed best effort, keep last 1, which matches either kind of publisher; results are
published reliably. All can be overridden by the standard parameters `qos_overrides.<topic>.<subscription|publisher>.*`.
"""

from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def image_input() -> QoSProfile:
    """For camera images: the newest one only, lost rather than late."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT
    )  # fmt: skip


def output() -> QoSProfile:
    """For results: reliable; a few are kept, so that a reader that was busy for a moment misses none."""
    return QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=5, reliability=QoSReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """For what is said once: late joiners get it."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )


def overridable() -> QoSOverridingOptions:
    """Lets the parameters `qos_overrides.*` change what a user may have to change."""
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    return QoSOverridingOptions(policy_kinds=kinds)


def describe(profile: QoSProfile) -> str:
    """The policies that decide whether two ends match, in words."""
    return f"{profile.reliability.name} {profile.durability.name}".lower()


def explain_silence(node: Node, topic: str, message_type: str, wanted: QoSProfile) -> str:
    """Why nothing arrives on `topic`, as far as the graph tells, and what to do about it. One line.

    topic         fully resolved name
    message_type  as "sensor_msgs/msg/Image"
    wanted        the subscription's profile
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f"nobody publishes it; {_other_images(node, topic)}"
    offered = sorted({str(publisher.topic_type) for publisher in publishers})
    if message_type not in offered:
        hint = ""
        if offered[0] in IMAGE_TYPES:
            transport = "compressed" if offered[0].endswith("CompressedImage") else "raw"
            hint = f"; set the parameter image_transport to {transport}, or remap image to a topic of this type"
        return f"it is published as {', '.join(offered)}, expected {message_type}{hint}"
    for publisher in publishers:
        verdict, reason = qos_check_compatible(publisher.qos_profile, wanted)
        if verdict == QoSCompatibility.ERROR:
            return (
                f"its publisher {sender(publisher)} offers {describe(publisher.qos_profile)}, this node asks for "
                f"{describe(wanted)}: {reason.strip().rstrip(';')}; change qos_overrides.{topic}.subscription.*"
            )
    return (
        f"its publisher {sender(publishers[0])} matches ({describe(publishers[0].qos_profile)}) but sends nothing, "
        "or images are lost on the way: raise the middleware's limits (config/fastdds.xml)"
    )


def sender(publisher: Any) -> str:
    """Name of the node behind an endpoint; for a moment after its discovery only the endpoint is known."""
    return str(publisher.node_name) if is_known(publisher) else "of a node not known yet"


def is_known(publisher: Any) -> bool:
    """Whether the node behind an endpoint has been discovered."""
    return not str(publisher.node_name).startswith("_NODE_NAME_UNKNOWN")


def image_topics(node: Node) -> list[tuple[str, str]]:
    """(name, type) of every image topic that somebody publishes, in order of the names."""
    return sorted(
        (name, kind)
        for name, kinds in node.get_topic_names_and_types()
        for kind in kinds
        if kind in IMAGE_TYPES and node.count_publishers(name)
    )


def _other_images(node: Node, topic: str) -> str:
    own = node.get_name()
    names = [
        name
        for name, _ in image_topics(node)
        if name != topic and not all(_is(info, own) for info in node.get_publishers_info_by_topic(name))
    ]
    if not names:
        return "no image topic is published at all: is the camera driver running, with the same ROS_DOMAIN_ID?"
    return f"image topics that are: {', '.join(names)}; remap one: image:={names[0]}"


def _is(info: Any, node_name: str) -> bool:
    return str(info.node_name) == node_name

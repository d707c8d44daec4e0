"""Settings dataclasses as ROS parameters: declared with description and range, read back, checked while running."""

from dataclasses import dataclass, field

import pytest
import rclpy
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_peer import Results, image
from sensor_msgs.msg import Image
from toy_model import picture
from vision_msgs.msg import LabelInfo

from wsperception.errors import InputError
from wsperception.pipeline import PipelineSettings
from wsperception.ros import parameters, qos
from wsperception.ros.parameters import NodeSettings
from wsperception.settings import check, setting


@dataclass(frozen=True)
class Inner:
    ratio: float = setting(0.25, "How much", unit="m/s", low=0.0, high=1.0)
    names: tuple[str, ...] = setting(("a", "b"), "Which")
    weights: tuple[float, ...] = setting((0.5, 2.0), "How heavy")

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    count: int = setting(3, "How many", low=1, high=9)
    mode: str = setting("slow", "How", choices=("slow", "fast"))
    flag: bool = setting(True, "Whether")

    def __post_init__(self):
        check(self)
        if self.count > 5 and self.mode == "fast":
            raise InputError("count: expected at most 5 with mode fast")


@pytest.fixture
def make_node():
    context = Context()
    rclpy.init(context=context)
    made = []

    def make(**overrides):
        given = [Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
        made.append(Node("settings", context=context, parameter_overrides=given))
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()
    context.try_shutdown()


def test_what_is_declared_is_what_is_read(make_node):
    node = make_node()
    parameters.declare(node, Outer(), "x.", read_only=False)
    assert parameters.read(node, Outer, "x.") == Outer()
    assert node.get_parameter("x.inner.ratio").value == 0.25
    assert list(node.get_parameter("x.inner.names").value) == ["a", "b"]


def test_overrides_replace_defaults_and_nothing_else(make_node):
    node = make_node(x__inner__ratio=0.5, x__mode="fast")
    parameters.declare(node, Outer(), "x.", read_only=False)
    assert parameters.read(node, Outer, "x.") == Outer(inner=Inner(ratio=0.5), mode="fast")


def test_descriptors_carry_help_unit_and_range(make_node):
    node = make_node()
    parameters.declare(node, Outer(), "", read_only=True)
    ratio = node.describe_parameter("inner.ratio")
    assert ratio.description == "How much [m/s]" and ratio.read_only
    assert (ratio.floating_point_range[0].from_value, ratio.floating_point_range[0].to_value) == (0.0, 1.0)
    count = node.describe_parameter("count")
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 9)
    assert node.describe_parameter("mode").additional_constraints == "one of slow, fast"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"inner__ratio": 1.5}, "parameter inner.ratio"),
        ({"count": "many"}, "parameter count"),
        ({"mode": "never"}, "mode: expected one of slow, fast, got 'never'"),
    ],
)
def test_a_wrong_override_is_named(make_node, overrides, text):
    node = make_node(**overrides)

    def declare_and_read():
        parameters.declare(node, Outer(), "", read_only=False)
        parameters.read(node, Outer, "")

    with pytest.raises(InputError) as caught:
        declare_and_read()
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_changes_are_checked_together(make_node):
    node = make_node()
    parameters.declare(node, Outer(), "", read_only=False)
    fast = Parameter("mode", value="fast")
    assert parameters.verdict(node, Outer, "", [fast]).successful
    refused = parameters.verdict(node, Outer, "", [fast, Parameter("count", value=6)])
    assert not refused.successful and "at most 5 with mode fast" in refused.reason


def test_declaring_twice_keeps_the_user_s_value(make_node):
    node = make_node()
    parameters.declare(node, Outer(), "", read_only=False)
    node.set_parameters([Parameter("count", value=7)])
    parameters.declare(node, Outer(), "", read_only=False)
    assert parameters.read(node, Outer, "").count == 7


@pytest.mark.parametrize("cameras", [(), ("front", "front"), ("front", ""), ("1st",), ("a b",)])
def test_camera_names_are_checked(cameras):
    with pytest.raises(InputError, match="cameras: expected"):
        NodeSettings(cameras=cameras)


def test_camera_names_that_are_fine():
    for cameras in (("",), ("front",), ("front", "left"), ("rig/front",)):
        assert NodeSettings(cameras=cameras).cameras == cameras


# ---- the node's own, while it runs


def set_one(peer, name, value):
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return peer.call(SetParameters, "/perception/set_parameters", request).results[0]


def test_the_node_s_parameters(peer, start_node, toy_bundle):
    start_node({"model": toy_bundle})
    peer.until_state("active")
    camera = peer.publisher(Image, "/image")
    results = Results(peer, camera)

    # The bundle's threshold, 0.9, is the default.
    request = GetParameters.Request(names=["pipeline.tracker.min_score", "pipeline.tracker.window"])
    values = peer.call(GetParameters, "/perception/get_parameters", request).values
    assert values[0].double_value == pytest.approx(0.9) and values[1].integer_value == 10

    # Red scores 0.95, green 0.92. Each image is sent only after the last one's result: what is set in between holds.
    both = picture((10, 5, 30, 20), (50, 8, 56, 40))
    camera.publish(image(both, 10**9))
    results.until(peer, 1)
    label_info = peer.listen(LabelInfo, "/perception/label_info", qos.latched())
    peer.until(lambda: len(label_info) == 1, "label info")
    assert set_one(peer, "pipeline.tracker.min_score", 0.94).successful
    peer.until(lambda: len(label_info) == 2, "label info with the new threshold")
    assert label_info.messages[1].threshold == pytest.approx(0.94)
    camera.publish(image(both, 2 * 10**9))
    results.until(peer, 2)
    assert set_one(peer, "pipeline.tracker.min_score", 0.9).successful
    camera.publish(image(both, 3 * 10**9))
    results.until(peer, 3)
    ids = [[detection.id for detection in message.detections] for message in results.detections.messages]
    assert ids == [["1", "2"], ["1"], ["1", "2"]]  # the tracks outlive the change

    refused = set_one(peer, "pipeline.tracker.min_score", 1.5)
    assert not refused.successful and "min_score" in refused.reason
    refused = set_one(peer, "model", "other")
    assert not refused.successful and "read-only" in refused.reason
    refused = set_one(peer, "pipeline.tracker.window", "ten")
    assert not refused.successful
    assert set_one(peer, "diagnostics.silence_s", 2.0).successful

    names = [f"pipeline.{name}" for name in ("tracker.min_score", "fusion.min_area", "keep_untracked")]
    described = peer.call(
        DescribeParameters, "/perception/describe_parameters", DescribeParameters.Request(names=names)
    ).descriptors
    assert all(entry.description and not entry.read_only for entry in described)
    assert PipelineSettings().tracker.min_score == described[0].floating_point_range[0].to_value - 0.1

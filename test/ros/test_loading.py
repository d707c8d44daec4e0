"""Configuring may take minutes where an engine is built: the node answers meanwhile, and says what it waits for."""

import signal
import time
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_peer import Peer, Results, image
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool
from toy_model import picture

from wsperception.ros.aside import Aside
from wsperception.ros.spinning import spin_once

ODD_NODE = str(Path(__file__).parent / "odd_node.py")
# What rclpy of Humble and Jazzy raises for a transition that the state does not allow (rclpy/src/rclpy/lifecycle.cpp).
REFUSED = (
    "Failed to trigger lifecycle state machine transition: Transition is not registered., at ./src/rcl_lifecycle.c"
)


def until_configuring(peer: Peer) -> None:
    peer.until(lambda: peer.state() == "configuring", "the state configuring")


@pytest.mark.parametrize("autostart", [True, False])
def test_the_node_answers_while_an_engine_is_built(peer, start_node, toy_bundle, tmp_path, autostart):
    diagnostics = peer.listen(DiagnosticArray, "/diagnostics", match=False)
    parameters = {"model": toy_bundle, "backend": "onnx", "autostart": autostart, "diagnostics.period_s": 0.2}
    built = tmp_path / "built"
    node = start_node(parameters, [], ODD_NODE, LOAD_UNTIL=str(built), PROGRESS_PERIOD_S="0.5")
    if not autostart:
        client = peer.node.create_client(ChangeState, "/perception/change_state")
        peer.until(client.service_is_ready, "the service")
        configure = ChangeState.Request()
        configure.transition.id = Transition.TRANSITION_CONFIGURE

        def asked() -> bool:
            client.call_async(configure)  # again where it was lost; whoever loads already refuses it
            return peer.state() == "configuring"

        peer.until(asked, "the state configuring")
    until_configuring(peer)
    # Services, parameters and diagnostics go on; another transition is refused.
    assert peer.call(SetBool, "/perception/enable", SetBool.Request(data=True)).success
    window = Parameter("pipeline.tracker.min_score", value=0.93).to_parameter_msg()
    request = SetParameters.Request(parameters=[window])
    assert peer.call(SetParameters, "/perception/set_parameters", request).results[0].successful
    activate = ChangeState.Request()
    activate.transition.id = Transition.TRANSITION_ACTIVATE
    assert not peer.call(ChangeState, "/perception/change_state", activate).success

    def told():
        statuses = [status for message in diagnostics.messages for status in message.status]
        return any(
            status.message.startswith("configuring: loading model toy with backend onnx, ") for status in statuses
        )

    peer.until(told, "diagnostics of the loading")
    progress = "still loading model toy with backend onnx, "
    peer.until(lambda: node.log.count(progress) >= 2, "progress in the log, twice")
    assert peer.state() == "configuring"
    built.touch()
    peer.until_state("active" if autostart else "inactive")
    assert "[perception]: building the engine for 1 images" in node.log  # Python's logging is ROS's
    if not autostart:
        return
    # What was set meanwhile holds: red scores 0.95, green 0.92.
    camera = peer.publisher(Image, "/image")
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20), (50, 8, 56, 40)), 10**9))
    results.until(peer, 1)
    assert [entry.results[0].hypothesis.class_id for entry in results.detections.messages[0].detections] == ["0"]
    peer.until(lambda: results.value("pipeline", "backend") == "onnx", "the engine in the diagnostics")
    assert "ONNX Runtime" in results.value("pipeline", "engine")
    assert results.value("pipeline", "device").startswith("CPU")


def test_an_engine_that_cannot_be_built_fails_configure_with_the_reason(peer, start_node, toy_bundle):
    reason = "model.onnx: TensorRT takes no NonZero"
    node = start_node({"model": toy_bundle, "backend": "onnx"}, [], ODD_NODE, LOAD_FAILS=reason)
    peer.until(lambda: "cannot configure" in node.log, "the reason")
    assert f"cannot configure: {reason}" in node.log and "Traceback" not in node.log
    peer.until_state("unconfigured")


@pytest.mark.parametrize("signals", [1, 3])
def test_an_interrupt_does_not_wait_for_the_engine(peer, start_node, toy_bundle, tmp_path, signals):
    never = str(tmp_path / "never")
    node = start_node({"model": toy_bundle, "backend": "onnx"}, [], ODD_NODE, LOAD_UNTIL=never)
    peer.until(lambda: "building the engine" in node.log, "the engine's build")
    for _ in range(signals):
        node.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert node.wait() == 0
    assert "interrupted while loading model toy" in node.log and "Traceback" not in node.log


def test_the_batch_is_as_large_as_the_rig(peer, start_node, toy_bundle):
    parameters = {"model": toy_bundle, "backend": "onnx", "cameras": ["front", "left", "right"]}
    node = start_node(parameters, [], ODD_NODE)
    peer.until_state("active")
    assert "building the engine for 3 images" in node.log


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    made = Node("anything", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


def spinning(node: Node) -> SingleThreadedExecutor:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    return executor


def raises(text: str):
    def callback() -> None:
        raise RuntimeError(text)

    return callback


def test_a_request_that_does_not_fit_the_state_does_not_end_the_spinning(node):
    executor = spinning(node)
    timer = node.create_timer(0.01, raises(REFUSED))
    for _ in range(3):
        spin_once(executor, 0.5)
    node.destroy_timer(timer)
    node.create_timer(0.01, raises("another"))

    def spin_on() -> None:
        for _ in range(10):
            spin_once(executor, 0.5)

    with pytest.raises(RuntimeError, match="another"):
        spin_on()
    executor.shutdown()


def test_what_is_done_aside_gives_its_result_or_its_error_and_the_node_goes_back(node):
    executor = spinning(node)
    assert Aside(node).do("adding", lambda: 2 + 3) == 5
    with pytest.raises(ZeroDivisionError):
        Aside(node).do("dividing", lambda: 1 // 0)
    assert node.executor is executor and executor.get_nodes() == [node]
    executor.shutdown()


def test_without_an_executor_work_is_waited_for(node):
    aside = Aside(node)

    def slept() -> str:
        time.sleep(0.2)
        return aside.text.partition(",")[0]

    assert aside.do("sleeping", slept) == "sleeping"
    assert aside.text == ""

"""Every transition of the lifecycle, and what makes configuring fail."""

import shutil

import pytest
from lifecycle_msgs.msg import Transition
from ros_peer import NodeProcess, Results, image
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from toy_model import picture

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


def test_the_whole_circle_twice(peer, start_node, toy_bundle):
    start_node({"model": toy_bundle, "autostart": False})
    for round_number in range(2):
        assert peer.state() == "unconfigured"
        assert peer.node.count_subscribers("/image") == 0
        assert peer.change_state(CONFIGURE)
        assert peer.state() == "inactive"
        assert peer.node.count_subscribers("/image") == 0
        assert not peer.call(Trigger, "/perception/reset", Trigger.Request()).success
        assert peer.change_state(ACTIVATE)
        camera = peer.publisher(Image, "/image")
        results = Results(peer, camera)
        camera.publish(image(picture((10, 5, 30, 20)), 10**9 * (1 + round_number)))
        results.until(peer, 1)
        assert results.detections.messages[0].detections[0].id == "1"
        assert peer.change_state(DEACTIVATE)
        peer.until(lambda camera=camera: camera.get_subscription_count() == 0, "the end of the subscription")
        assert peer.change_state(CLEANUP)
        peer.until(lambda: peer.node.count_publishers("/perception/detections") == 0, "the end of the publishers")
        for received in (results.detections, results.ids, results.diagnostics):
            peer.node.destroy_subscription(received.subscription)
        peer.node.destroy_publisher(camera)


def test_activate_again_starts_anew(peer, start_node, toy_bundle):
    start_node({"model": toy_bundle})
    peer.until_state("active")
    camera = peer.publisher(Image, "/image")
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20)), 10**9))
    results.until(peer, 1)
    assert peer.change_state(DEACTIVATE) and peer.change_state(ACTIVATE)
    peer.until(lambda: camera.get_subscription_count() == 1, "the subscription")
    camera.publish(image(picture((50, 5, 70, 20)), 2 * 10**9))
    results.until(peer, 2)
    # A track of before would have made this object, which does not overlap it, number 2.
    assert results.detections.messages[1].detections[0].id == "1"


def test_shutdown_from_active(peer, start_node, toy_bundle):
    node: NodeProcess = start_node({"model": toy_bundle})
    peer.until_state("active")
    assert peer.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert peer.state() == "finalized"
    assert node.process.poll() is None  # the process stays, as every lifecycle node's does, until it is ended
    assert node.stop() == 0


def break_missing(bundle):
    shutil.rmtree(bundle)


def break_onnx(bundle):
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def break_json(bundle):
    (bundle / "bundle.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_missing, "no such model"),
        (break_onnx, "expected SHA-256"),
        (break_json, "not readable as JSON"),
    ],
)
def test_a_broken_bundle_fails_to_configure_with_the_reason(peer, start_node, toy_bundle, tmp_path, damage, reason):
    bundle = tmp_path / "bundle"
    shutil.copytree(toy_bundle, bundle)
    damage(bundle)
    node = start_node({"model": bundle, "autostart": False})
    assert not peer.change_state(CONFIGURE)
    assert peer.state() == "unconfigured"
    peer.until(lambda: "cannot configure" in node.log, "the reason")
    assert reason in node.log and "Traceback" not in node.log
    # Mended, the same node configures.
    shutil.rmtree(bundle, ignore_errors=True)
    shutil.copytree(toy_bundle, bundle)
    assert peer.change_state(CONFIGURE)
    assert peer.state() == "inactive"


def test_autostart_with_an_unknown_backend_says_which_there_are(peer, start_node, toy_bundle):
    node = start_node({"model": toy_bundle, "backend": "abacus"})
    peer.until(lambda: "cannot configure" in node.log, "the reason")
    assert "backend 'abacus': unknown; expected auto, onnx" in node.log
    assert peer.state() == "unconfigured"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (
            "/perception/detections.publisher.reliability",
            "foo",
            "cannot configure: ~/detections: Unexpected QoS override",
        ),
        ("/image.subscription.depth", "many", "cannot activate: /image: Trying to set parameter"),
    ],
)
def test_a_wrong_qos_override_is_one_line(peer, start_node, toy_bundle, name, value, reason):
    node = start_node({"model": toy_bundle, f"qos_overrides.{name}": value})
    peer.until(lambda: "cannot " in node.log, "the reason")
    assert reason in node.log and "Traceback" not in node.log
    peer.until_state("unconfigured" if "configure" in reason else "inactive")
    assert peer.node.count_subscribers("/image") == 0

"""Several cameras in one process: own topics, own tracker, and none waits for another."""

import pytest
from ros_peer import Results, image
from sensor_msgs.msg import Image
from toy_model import HEIGHT, WIDTH, picture


@pytest.fixture
def rig(peer, start_node, toy_bundle):
    """Cameras front and left with all their results."""
    start_node({"model": toy_bundle, "cameras": ["front", "left"], "diagnostics.silence_s": 1.0})
    peer.until_state("active")
    cameras = {name: peer.publisher(Image, f"/{name}/image") for name in ("front", "left")}
    return cameras, {name: Results(peer, camera, f"/perception/{name}/") for name, camera in cameras.items()}


def test_each_camera_has_its_own_tracker_and_topics(peer, rig):
    cameras, results = rig
    boxes = {"front": [(10, 5, 30, 20), (50, 5, 70, 20)], "left": [(10, 25, 30, 40)] * 2}
    for number in range(2):
        for name, camera in cameras.items():
            camera.publish(image(picture(boxes[name][number]), 10**9 * (1 + number), name))
        for entry in results.values():
            entry.until(peer, number + 1)
    # In front a second object appears (no overlap with the first); on the left it is the same one.
    ids = {name: [message.detections[0].id for message in entry.detections.messages] for name, entry in results.items()}
    assert ids == {"front": ["1", "2"], "left": ["1", "1"]}
    frames = {name: {message.header.frame_id for message in entry.ids.messages} for name, entry in results.items()}
    assert frames == {"front": {"front"}, "left": {"left"}}


def test_one_camera_that_stops_does_not_stop_the_other(peer, rig):
    cameras, results = rig
    for number in range(5):
        cameras["left"].publish(image(picture(), 10**9 * (1 + number), "left"))
        results["left"].until(peer, number + 1)
    peer.until(lambda: "no image for" in getattr(results["left"].status("front"), "message", ""), "a diagnostic error")
    assert results["left"].status("front").level == b"\x02"
    cameras["front"].publish(image(picture((10, 5, 30, 20)), 10**9, "front"))
    results["front"].until(peer, 1)
    assert len(results["left"].detections) == 5


def test_cameras_of_different_size(peer, rig):
    cameras, results = rig
    cameras["front"].publish(image(picture(), 10**9, "front"))
    cameras["left"].publish(image(picture(size=(2 * HEIGHT, WIDTH)), 10**9, "left"))
    for entry in results.values():
        entry.until(peer, 1)
    assert [results[name].ids.messages[0].height for name in ("front", "left")] == [HEIGHT, 2 * HEIGHT]


def test_two_nodes_in_one_process(peer, start_node, toy_bundle, tmp_path):
    """Nothing is global: each node has its own name, model, tracks and worker."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys, rclpy\n"
        "from rclpy.executors import SingleThreadedExecutor, ExternalShutdownException\n"
        "from rclpy.parameter import Parameter\n"
        "from wsperception.ros.perception_node import PerceptionNode\n"
        "rclpy.init()\n"
        "executor = SingleThreadedExecutor()\n"
        f"options = [Parameter('model', value='{toy_bundle}')]\n"
        "nodes = [PerceptionNode(n, namespace=n, parameter_overrides=options) for n in ('one', 'two')]\n"
        "for node in nodes: executor.add_node(node)\n"
        "try:\n    executor.spin()\n"
        "except (ExternalShutdownException, KeyboardInterrupt):\n    pass\n"
        "for node in nodes: node.close()\n"
    )
    start_node({}, module=str(script))
    cameras = {}
    for name in ("one", "two"):
        peer.until_state("active", f"/{name}/{name}")
        cameras[name] = peer.publisher(Image, f"/{name}/image")
    results = {name: Results(peer, camera, f"/{name}/{name}/") for name, camera in cameras.items()}
    cameras["one"].publish(image(picture((10, 5, 30, 20)), 10**9, "one"))
    results["one"].until(peer, 1)
    cameras["two"].publish(image(picture(green=(10, 5, 30, 20)), 10**9, "two"))
    results["two"].until(peer, 1)
    classes = {
        name: entry.detections.messages[0].detections[0].results[0].hypothesis.class_id
        for name, entry in results.items()
    }
    assert classes == {"one": "0", "two": "1"}

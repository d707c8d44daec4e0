"""What goes wrong on a robot: never a dead node, never a wrong header, always a warning that says what to do."""

import array
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_peer import Peer, Results, header, image, pixels
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from toy_model import HEIGHT, WIDTH, picture
from vision_msgs.msg import Detection2DArray

from wsperception.ros import messages

ODD_NODE = str(Path(__file__).parent / "odd_node.py")
SECOND = 10**9


@pytest.fixture(scope="module")
def node(start_shared, toy_bundle):
    """One node for all faults of this file: each test also shows that it survived those before."""
    # Stamps in these tests are of 1970, so their age is no news.
    quiet = {"diagnostics.warn_age_ms": 0.0, "diagnostics.error_age_ms": 0.0}
    return start_shared({"model": toy_bundle, "diagnostics.silence_s": 1.0, "diagnostics.period_s": 0.1, **quiet})


@pytest.fixture
def camera(peer, node):
    peer.until_state("active")
    publisher = peer.publisher(Image, "/image")
    peer.call(Trigger, "/perception/reset", Trigger.Request())
    return publisher


def bad_image(stamp_ns, **fields):
    """An image message that is right but for `fields`."""
    message = image(picture((10, 5, 30, 20)), stamp_ns)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


UNUSABLE = {
    "unknown encoding": {"encoding": "32FC1"},
    "no encoding": {"encoding": ""},
    "no width": {"width": 0, "step": 0, "data": array.array("B")},
    "no height": {"height": 0, "data": array.array("B")},
    "step of a grey image": {"step": WIDTH},
    "step too long": {"step": 3 * WIDTH + 1},
    "short data": {"data": array.array("B", bytes(100))},
    "no data": {"data": array.array("B")},
    "stamp before 1970": {"header": header(-5 * SECOND)},
}


def test_unusable_images_are_dropped_counted_and_warned_about(peer, node, camera):
    results = Results(peer, camera)
    refused = int(results.value("image", "images refused") or 0)
    for number, (name, fields) in enumerate(UNUSABLE.items()):
        camera.publish(bad_image(5 * SECOND, **fields))
        wanted = str(refused + number + 1)
        peer.until(lambda wanted=wanted: results.value("image", "images refused") == wanted, f"the count of {name}")
    assert "/image: image dropped: image encoding '32FC1': expected one of rgb8" in node.log
    assert node.log.count("image dropped") < len(UNUSABLE)  # throttled
    camera.publish(image(picture((10, 5, 30, 20)), 6 * SECOND))
    results.until(peer, 1)
    assert [message.header for message in results.detections.messages] == [header(6 * SECOND)]


def test_stamps_that_repeat_and_jump_back(peer, node, camera):
    results = Results(peer, camera)
    stamps = [5 * SECOND, 5 * SECOND, 3 * SECOND, 4 * SECOND]
    for number, stamp in enumerate(stamps):
        camera.publish(image(picture((10, 5, 30, 20)), stamp))
        results.until(peer, number + 1)
    assert results.detections.stamps() == stamps and results.ids.stamps() == stamps
    ids = [message.detections[0].id for message in results.detections.messages]
    assert ids == ["1", "1", "2", "2"]  # a repeated stamp goes on, a jump back starts anew with ids that are new
    assert "stamps do not advance" in node.log and "stamps jump back by" in node.log


def test_an_image_size_that_changes(peer, node, camera):
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20)), SECOND))
    results.until(peer, 1)
    camera.publish(image(picture((20, 10, 60, 40), size=(2 * HEIGHT, 2 * WIDTH)), 2 * SECOND))
    results.until(peer, 2)
    camera.publish(image(picture((10, 5, 30, 20)), 3 * SECOND))
    results.until(peer, 3)
    assert [message.height for message in results.ids.messages] == [HEIGHT, 2 * HEIGHT, HEIGHT]
    assert [message.detections[0].id for message in results.detections.messages] == ["1", "1", "1"]
    assert f"images are now {2 * WIDTH} x {2 * HEIGHT}" in node.log


def test_a_camera_silent_for_5_s_and_back(peer, node, camera):
    results = Results(peer, camera)
    camera.publish(image(picture((10, 5, 30, 20)), SECOND))
    results.until(peer, 1)
    peer.spin(5.0)
    status = results.status("image")
    assert status.level == b"\x02" and status.message.startswith("no image for")
    assert "/image: no image for" in node.log
    camera.publish(image(picture((10, 5, 30, 20)), 7 * SECOND))
    results.until(peer, 2)
    assert [message.detections[0].id for message in results.detections.messages] == ["1", "1"]

    def fine_again():
        camera.publish(image(picture(), 8 * SECOND))
        return results.status("image").level == b"\x00"

    peer.until(fine_again, "the diagnostics to be fine again")


def test_publishers_and_subscribers_that_come_and_go(peer, node, camera):
    for number in range(3):
        other = Peer(f"other_{number}")
        own_camera = other.publisher(Image, "/image")
        results = Results(other, own_camera)
        own_camera.publish(image(picture((10, 5, 30, 20)), SECOND * (number + 1)))
        results.until(other, 1)
        assert results.detections.stamps() == [SECOND * (number + 1)]
        other.close()


def test_parameters_set_while_images_come(peer, node, camera):
    results = Results(peer, camera)
    client = peer.node.create_client(SetParameters, "/perception/set_parameters")
    peer.until(client.service_is_ready, "the service")
    answers = []
    for number in range(60):
        camera.publish(image(picture((10, 5, 30, 20), (50, 8, 56, 40)), SECOND + number))
        value = 0.9 if number % 2 else 0.5
        changed = Parameter("pipeline.tracker.min_score", value=value).to_parameter_msg()
        answers.append(client.call_async(SetParameters.Request(parameters=[changed])))
        peer.spin(0.01)
    peer.until(lambda: all(answer.done() for answer in answers), "all answers")
    assert all(answer.result().results[0].successful for answer in answers)
    camera.publish(image(picture((10, 5, 30, 20)), 2 * SECOND))
    peer.until(lambda: 2 * SECOND in results.detections.stamps(), "a result after all changes")
    for message in results.detections.messages:
        assert {detection.id for detection in message.detections} <= {"1", "2"}


def test_nothing_is_queued_while_the_network_is_busy(peer, start_node, toy_bundle):
    start_node({"model": toy_bundle}, ["-r", "__node:=busy"], ODD_NODE, SLOW_S="0.3")
    peer.until_state("active", "/busy")
    camera = peer.publisher(Image, "/image")
    results = Results(peer, camera, "/busy/")
    for number in range(40):  # far more than a network that takes 0.3 s can work on
        camera.publish(image(picture((10, 5, 30, 20)), SECOND + number))
        peer.spin(0.02)
    last = SECOND + 39
    peer.until(lambda: last in results.detections.stamps(), "the newest image's result")
    stamps = results.detections.stamps()
    assert stamps == sorted(stamps) and len(stamps) < 40

    def settled():
        counts = [results.value("image", f"images {name}") for name in ("received", "published", "dropped")]
        return "" not in counts and int(counts[0]) == int(counts[1]) + int(counts[2]) and int(counts[2]) > 0

    peer.until(settled, "counts that add up")


@pytest.mark.parametrize("signals", [1, 2, 5])
def test_interrupts_during_inference_end_the_process_cleanly(peer, start_node, toy_bundle, signals):
    node = start_node({"model": toy_bundle}, ["-r", "__node:=stopped"], ODD_NODE, SLOW_S="1.0")
    peer.until_state("active", "/stopped")
    camera = peer.publisher(Image, "/image")
    camera.publish(image(picture(), SECOND))
    peer.spin(0.3)  # the network is at work now
    for _ in range(signals):
        node.process.send_signal(signal.SIGINT)
        peer.spin(0.15)
    assert node.wait() == 0
    assert "Traceback" not in node.log and "KeyboardInterrupt" not in node.log


def test_interrupts_without_end_do_not_break_the_shutdown(peer, start_node, toy_bundle):
    node = start_node({"model": toy_bundle}, ["-r", "__node:=nagged"])
    peer.until_state("active", "/nagged")
    deadline = time.monotonic() + 15
    while node.process.poll() is None and time.monotonic() < deadline:
        node.process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    assert node.process.poll() == 0
    assert "Traceback" not in node.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_node_ends_at_once(peer, start_node, toy_bundle, number):
    node = start_node({"model": toy_bundle}, ["-r", "__node:=idle"])
    peer.until_state("active", "/idle")
    start = time.monotonic()
    node.process.send_signal(number)
    assert node.wait() == 0
    assert time.monotonic() - start < 25  # not STOP_TIMEOUT_S; a loaded machine is slow
    assert "Traceback" not in node.log


def test_an_engine_that_fails_once_costs_that_image_only(peer, start_node, toy_bundle):
    node = start_node({"model": toy_bundle}, ["-r", "__node:=failing"], ODD_NODE, FAIL_AT="2")
    peer.until_state("active", "/failing")
    camera = peer.publisher(Image, "/image")
    detections = peer.listen(Detection2DArray, "/failing/detections")
    deadline = time.monotonic() + 15
    number = 0
    while len(detections) < 5 and time.monotonic() < deadline:
        number += 1
        camera.publish(image(picture(), SECOND + number))
        peer.spin(0.1)
    assert len(detections) >= 5
    assert "image dropped, the network failed: model.onnx: the engine ran out of memory" in node.log


def test_a_defect_ends_the_process_loudly(peer, start_node, toy_bundle):
    node = start_node({"model": toy_bundle}, ["-r", "__node:=dying"], ODD_NODE, DIE_AT="1")
    peer.until_state("active", "/dying")
    peer.publisher(Image, "/image").publish(image(picture(), SECOND))
    assert node.wait() == 1
    assert "ZeroDivisionError: a defect" in node.log and "ended by a defect" in node.log


def test_a_wrong_parameter_at_start_is_one_line_and_exit_2(start_node, toy_bundle):
    node = start_node({"model": toy_bundle, "image_transport": "theora"})
    assert node.wait() == 2
    assert "image_transport: expected one of raw, compressed, got 'theora'" in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "--params-file /nowhere/perception.yaml",
            "Couldn't parse params file: '--params-file /nowhere/perception.yaml'",
        ),
        ("-r __node:=front-camera", "Couldn't parse remap rule: '-r __node:=front-camera'"),
        ("-p model", "Couldn't parse parameter override rule: '-p model'"),
    ],
)
def test_wrong_arguments_of_ros_are_one_line_and_exit_2(start_node, toy_bundle, given, told):
    node = start_node({"model": toy_bundle}, given.split())
    assert node.wait() == 2
    fatal = [line for line in node.log.splitlines() if "[FATAL]" in line]
    assert len(fatal) == 1 and told in fatal[0] and ".c:" not in fatal[0]
    assert "Traceback" not in node.log


def test_headers_are_never_mixed_up_under_load(peer, node, camera):
    """Each image carries its number in a pixel and in its stamp; both must come out together."""
    results = Results(peer, camera)
    for number in range(100):
        shift = number % 40
        camera.publish(image(picture((shift, 5, shift + 20, 20)), SECOND * 2 + shift))
        peer.spin(0.01)
    peer.until(lambda: len(results.ids) > 10, "results")
    for message in results.ids.messages:
        shift = messages.stamp_ns(message.header) - 2 * SECOND
        assert int(np.flatnonzero(pixels(message)[10])[0]) == shift

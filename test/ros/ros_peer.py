"""The other side of the topics: a node in the test's process, and processes of the ROS layer to talk to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from toy_model import HEIGHT, WIDTH
from vision_msgs.msg import Detection2DArray

from wsperception.data.image_encodings import pixel_view
from wsperception.ros import messages, qos

REPOSITORY = Path(__file__).parents[2]
WAIT_S = float(os.environ.get("ROS_TEST_WAIT_S", "15"))
"""Discovery takes 0.07 to 2.5 s on an idle machine; where a dozen jobs share two cores, give more."""
RETRY_S = 3.0
GOALS = {
    Transition.TRANSITION_CONFIGURE: "inactive",
    Transition.TRANSITION_ACTIVATE: "active",
    Transition.TRANSITION_DEACTIVATE: "inactive",
    Transition.TRANSITION_CLEANUP: "unconfigured",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "finalized",
}
PROBE = "probe"
"""frame_id of images that only find out whether results arrive."""


class NodeProcess:
    """A module of the ROS layer in a process of its own, with what it logs."""

    def __init__(
        self,
        module: str,
        parameters: dict[str, Any],
        folder: Path,
        arguments: list[str],
        environment: dict[str, str],
    ) -> None:
        self.log_path = folder / f"{module.rsplit('.', 1)[-1]}.log"
        options = [option for name, value in parameters.items() for option in ("-p", f"{name}:={as_yaml(value)}")]
        runnable = [module] if module.endswith(".py") else ["-m", module]
        command = [sys.executable, *runnable, "--ros-args", *options, *arguments]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait(self) -> int:
        """Waits for its own end; its exit status."""
        return self.process.wait(WAIT_S)

    def stop(self) -> int:
        """Interrupts it where it still runs; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def as_yaml(value: Any) -> str:
    """A parameter's value for the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(f"'{entry}'" for entry in value) + "]" if isinstance(value, list | tuple) else str(value)


class Received:
    """What arrived on one topic, oldest first."""

    def __init__(self, peer: "Peer", kind: Any, topic: str, profile: QoSProfile) -> None:
        self.messages: list[Any] = []
        self.is_probed = False
        self.subscription = peer.node.create_subscription(kind, topic, self._take, profile)

    def _take(self, message: Any) -> None:
        if getattr(getattr(message, "header", None), "frame_id", "") == PROBE:
            self.is_probed = True
        else:
            self.messages.append(message)

    def stop(self, peer: "Peer") -> None:
        """Listens no more, and waits until the publishers know."""
        topic = self.subscription.topic_name
        before = peer.node.count_subscribers(topic)
        peer.node.destroy_subscription(self.subscription)
        peer.until(lambda: peer.node.count_subscribers(topic) < before, f"the end of a subscription of {topic}")

    def __len__(self) -> int:
        return len(self.messages)

    def stamps(self) -> list[int]:
        return [messages.stamp_ns(message.header) for message in self.messages]


class Peer:
    """Publishes images, listens to results, calls services. Its own context: a test may have several."""

    def __init__(self, name: str = "peer") -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._clients: dict[tuple[Any, str], Any] = {}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
        """Spins until `condition()` holds; fails, naming `what` was waited for, after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds: float) -> None:
        """Spins for a while: to show that something does NOT happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def listen(self, kind: Any, topic: str, profile: QoSProfile | None = None, match: bool = True) -> Received:
        """Everything that arrives on `topic` from now on, after its publisher is found."""
        received = Received(self, kind, topic, profile or qos.output())
        if match:
            self.until(lambda: self.node.count_publishers(topic) > 0, f"a publisher of {topic}")
        return received

    def publisher(self, kind: Any, topic: str, profile: QoSProfile | None = None, match: bool = True) -> Any:
        """A publisher, by default reliable, after a subscription of it is found."""
        publisher = self.node.create_publisher(kind, topic, profile or qos.output())
        if match:
            self.until(lambda: publisher.get_subscription_count() > 0, f"a subscription of {topic}")
        return publisher

    def connect(self, camera: Any, *received: Received) -> None:
        """Sends empty images until a result arrives on each topic.

        That an endpoint is in the graph says nothing about whether the other side has matched it yet; what is sent in
        between is lost. Probes show no object and their stamps are early, so that they leave no trace in the tracker.
        """
        deadline = time.monotonic() + WAIT_S
        stamp_ns = 1
        while not all(entry.is_probed for entry in received):
            assert time.monotonic() < deadline, f"no result of any image arrived within {WAIT_S:.0f} s"
            camera.publish(image(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), stamp_ns, PROBE))
            stamp_ns += 1
            self.spin(0.05)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The response of a service, which must bear being asked twice.

        That a service is ready says nothing about the way back: a server drops a response whose reader it has not
        matched yet. So the question is asked again when no answer comes.
        """
        if (kind, name) not in self._clients:
            self._clients[kind, name] = self.node.create_client(kind, name)
        client = self._clients[kind, name]
        self.until(client.service_is_ready, f"service {name}")
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            future = client.call_async(request)
            self.spin_until(future.done, RETRY_S)
            if future.done():
                return future.result()
        raise AssertionError(f"waited {WAIT_S:.0f} s for a response of {name}")

    def spin_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Spins until `condition()` holds, or for `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def change_state(self, transition: int, node: str = "/perception") -> bool:
        """Whether the lifecycle transition succeeded: either the node says so, or it has got where it leads."""
        request = ChangeState.Request()
        request.transition.id = transition
        said = self.call(ChangeState, f"{node}/change_state", request).success
        return bool(said) or self.state(node) == GOALS[transition]

    def state(self, node: str = "/perception") -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def until_state(self, label: str, node: str = "/perception") -> None:
        self.until(lambda: self.state(node) == label, f"state {label} of {node}")


class Results:
    """A camera's outputs, all of them."""

    def __init__(self, peer: Peer, camera: Any, prefix: str = "/perception/", *others: Received) -> None:
        self._prefix = prefix
        self.detections = peer.listen(Detection2DArray, f"{prefix}detections")
        self.ids = peer.listen(Image, f"{prefix}instance_ids")
        self.diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
        peer.connect(camera, self.detections, self.ids, *others)

    def until(self, peer: Peer, count: int) -> None:
        """Waits for `count` frames of detections and ids."""
        peer.until(lambda: len(self.detections) >= count and len(self.ids) >= count, f"{count} frames of results")

    def status(self, name: str) -> Any:
        """This node's newest status whose name ends with ": <name>"; None where there is none yet."""
        found = [
            status
            for message in self.diagnostics.messages
            for status in message.status
            if status.name.endswith(f": {name}") and self._prefix.startswith(status.name.partition(":")[0] + "/")
        ]
        return found[-1] if found else None

    def value(self, name: str, key: str) -> str:
        """One of its values; "" where it is not there."""
        status = self.status(name)
        return next((pair.value for pair in status.values if pair.key == key), "") if status is not None else ""


def header(stamp_ns: int, frame_id: str = "camera_left") -> Header:
    """A header with a stamp in nanoseconds."""
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return made


def image(picture: np.ndarray, stamp_ns: int, frame_id: str = "camera_left") -> Image:
    """bgr8 message of an RGB picture."""
    return messages.to_bgr8(np.ascontiguousarray(picture), header(stamp_ns, frame_id))


def pixels(message: Image) -> np.ndarray:
    """A message's own samples, unconverted."""
    return pixel_view(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )

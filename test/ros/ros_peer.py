"""The other side of the topics: a node in the test's process, and processes of the ROS layer to talk to."""

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
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from wsperception.ros import messages, qos

REPOSITORY = Path(__file__).parents[2]
WAIT_S = 15.0


class NodeProcess:
    """A module of the ROS layer in a process of its own, with what it logs."""

    def __init__(self, module: str, parameters: dict[str, Any], folder: Path, arguments: list[str]) -> None:
        self.log_path = folder / f"{module.rsplit('.', 1)[-1]}.log"
        options = [option for name, value in parameters.items() for option in ("-p", f"{name}:={as_yaml(value)}")]
        command = [sys.executable, "-m", module, "--ros-args", *options, *arguments]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

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

    def __init__(self) -> None:
        self.messages: list[Any] = []

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
        received = Received()
        subscription = self.node.create_subscription(kind, topic, received.messages.append, profile or qos.output())
        if match:
            self.until(lambda: subscription.handle and self.node.count_publishers(topic) > 0, f"a publisher of {topic}")
        return received

    def publisher(self, kind: Any, topic: str, profile: QoSProfile | None = None, match: bool = True) -> Any:
        """A publisher, by default reliable, after a subscription of it is found."""
        publisher = self.node.create_publisher(kind, topic, profile or qos.output())
        if match:
            self.until(lambda: publisher.get_subscription_count() > 0, f"a subscription of {topic}")
        return publisher

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The response of a service."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.until(future.done, f"a response of {name}")
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, transition: int, node: str = "/perception") -> bool:
        """Whether the lifecycle transition succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str = "/perception") -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def until_state(self, label: str, node: str = "/perception") -> None:
        self.until(lambda: self.state(node) == label, f"state {label} of {node}")


class Results:
    """A camera's outputs, all of them."""

    def __init__(self, peer: Peer, prefix: str = "/perception/") -> None:
        self.detections = peer.listen(Detection2DArray, f"{prefix}detections")
        self.ids = peer.listen(Image, f"{prefix}instance_ids")
        self.label_info = peer.listen(LabelInfo, f"{prefix}label_info", qos.latched())
        self.diagnostics = peer.listen(DiagnosticArray, "/diagnostics")


def header(stamp_ns: int, frame_id: str = "camera_left") -> Header:
    """A header with a stamp in nanoseconds."""
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return made


def image(pixels: np.ndarray, stamp_ns: int, frame_id: str = "camera_left") -> Image:
    """bgr8 message of an RGB picture."""
    return messages.to_bgr8(np.ascontiguousarray(pixels), header(stamp_ns, frame_id))

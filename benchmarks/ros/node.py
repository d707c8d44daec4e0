"""What the node adds to the pipeline: time, lost images, memory. Two processes, loopback only.

Run from the repository root, on an idle machine: `python -m benchmarks.ros.node NAME`
Names: overhead, delivery, without_profile, memory. Prints rows of the README's table; run.py runs them all.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from benchmarks.ros.fixed_model import write_fixed_bundle
from wsperception.ros import fastdds, messages, qos
from wsperception.ros.demo import live_environment
from wsperception.ros.process import Spinner

HEIGHT, WIDTH = 375, 1242
RATE_HZ, FRAMES = 10.0, 200
MEMORY_FRAMES, WARM_FRAMES = 10_000, 500
PARTS = {"wait": "waiting for the worker's thread", "convert": "image to RGB", "publish": "messages and publishing"}


class Camera(Node):  # type: ignore[misc]
    """Sends images as a driver does, listens to everything, keeps the node's newest diagnostics."""

    def __init__(self) -> None:
        super().__init__("camera")
        self.images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self.results = 0
        self.values: dict[str, str] = {}
        self.create_subscription(Detection2DArray, "/perception/detections", self._on_result, qos.output())
        self.create_subscription(Image, "/perception/instance_ids", lambda _: None, qos.output())
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        self.message = messages.to_bgr8(picture, Header(frame_id="camera"))

    def send(self) -> None:
        self.message.header.stamp = self.get_clock().now().to_msg()
        self.images.publish(self.message)

    def _on_result(self, _: Detection2DArray) -> None:
        self.results += 1

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": image"):
                self.values = {str(pair.key): str(pair.value) for pair in status.values}


@contextmanager
def running(bundle: Path) -> Iterator[tuple[Camera, Spinner, int]]:
    """A node in a process of its own, and a camera in this one that it hears."""
    command = [sys.executable, "-m", "wsperception.ros.perception_node", "--ros-args", "-p", f"model:={bundle}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        rclpy.init()
        camera = Camera()
        spinner = Spinner(camera, threading.Event())
        try:
            until(spinner, lambda: camera.images.get_subscription_count() > 0)
            # The subscription exists; one result shows that the way back does too. Then the counts start anew.
            while camera.results == 0:
                camera.send()
                spin(spinner, 0.1)
            spin(spinner, 1.0)
            yield camera, spinner, process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
            spinner.close()
            camera.destroy_node()
            rclpy.shutdown()


def spin(spinner: Spinner, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        spinner.spin_once(left)


def until(spinner: Spinner, condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the node does not answer"
        spinner.spin_once(0.05)


def send_frames(camera: Camera, spinner: Spinner, count: int) -> None:
    """At RATE_HZ, whatever the node does."""
    start = time.monotonic()
    for number in range(count):
        camera.send()
        spin(spinner, start + (number + 1) / RATE_HZ - time.monotonic())


def overhead(bundle: Path) -> None:
    with running(bundle) as (camera, spinner, process_id):
        send_frames(camera, spinner, FRAMES // 2)
        before = page_faults(process_id)
        send_frames(camera, spinner, FRAMES // 2)
        faults = (page_faults(process_id) - before) / (FRAMES // 2)
        spin(spinner, 1.1)
        p50, p95, p99 = percentiles(camera, "overhead")
        row(
            "overhead: callback entry to last publish, less the pipeline",
            f"p50 {p50}, p95 {p95}, p99 {p99} ms",
            "p50 < 3 ms",
        )
        row("... pipeline included", f"p50 {percentiles(camera, 'total')[0]} ms", "")
        for stage, text in PARTS.items():
            row(f"... of it {text}", f"p50 {percentiles(camera, stage)[0]} ms", "")
        row("page faults of the node per image", f"{faults:.0f}", "")


def percentiles(camera: Camera, stage: str) -> list[str]:
    return camera.values[f"{stage} p50 p95 p99 [ms]"].split()


def row(what: str, measured: str, aim: str) -> None:
    """A row of the README's table."""
    print(f"| {what} | {measured} | {aim} |", flush=True)


def delivery(bundle: Path, profile: str = "with") -> None:
    with running(bundle) as (camera, spinner, _):
        before, results = int(camera.values["images received"]), camera.results
        send_frames(camera, spinner, FRAMES)
        spin(spinner, 2.1)
        arrived = int(camera.values["images received"]) - before
        measured = f"{arrived} of {FRAMES}, {camera.results - results} results came back"
        aim = f"{FRAMES} of {FRAMES}" if profile == "with" else ""
        row(f"images that arrive {profile} config/fastdds.xml, best effort, {RATE_HZ:g} Hz", measured, aim)


def without_profile(bundle: Path) -> None:
    delivery(bundle, "without")


def memory(bundle: Path) -> None:
    with running(bundle) as (camera, spinner, process_id):
        resident = []
        for count in (WARM_FRAMES, MEMORY_FRAMES):
            goal = camera.results + count
            while camera.results < goal:
                sent = camera.results
                camera.send()
                deadline = time.monotonic() + 0.5
                while camera.results == sent and time.monotonic() < deadline:
                    spinner.spin_once(0.05)
            resident.append(resident_mb(process_id))
        first, last = resident
        row(f"resident memory after {WARM_FRAMES} frames", f"{first:.1f} MB", "")
        row(f"... after {MEMORY_FRAMES:,} more", f"{last:.1f} MB ({last - first:+.1f})", "growth < 20 MB")


def page_faults(process_id: int) -> int:
    """Pages that a process has had mapped so far, from the kernel."""
    # The command's name, in brackets, may hold blanks; minflt is the eighth field behind it.
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[7])


def resident_mb(process_id: int) -> float:
    """Resident memory of a process, from the kernel."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


MEASURES = {"overhead": overhead, "delivery": delivery, "without_profile": without_profile, "memory": memory}


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in MEASURES:
        sys.exit(f"expected one of {', '.join(MEASURES)}")  # one a process: Fast DDS reads its profile once in its life
    name = sys.argv[1]
    os.environ.update(live_environment())
    if name == "without_profile":
        del os.environ[fastdds.profile_variable()]
    with tempfile.TemporaryDirectory() as folder:
        MEASURES[name](write_fixed_bundle(Path(folder)))


if __name__ == "__main__":
    main()

"""Publishes a recorded sequence as a camera would: in its own time, with its own stamps.

    python -m wsperception.ros.player --ros-args -p source:=out/drive/bags/0000

Reads whatever `wsperception track` reads. With `/clock`, nodes that use simulated time see ages and rates as they were
when it was recorded. What was sent, and when, goes into a log: the frame number of a stamp, for whoever records.
"""

import csv
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Header

from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.ros import messages, parameters, qos
from wsperception.ros.process import Spinner, run_node
from wsperception.settings import check, setting
from wsperception.types import Frame

CLOCK_STEP_S = 0.01
LOG_FIELDS = ("index", "stamp_ns", "sent_monotonic_ns")


@dataclass(frozen=True)
class PlayerSettings:
    """What is played, and how."""

    source: str = setting("", "rosbag2 folder, KITTI sequence, folder of images or video")
    topic: str = setting("", "Image topic of a bag with several")
    rate: float = setting(1.0, "Speed: 1 as recorded, 0.5 half as fast", low=0.01, high=100.0)
    frame_id: str = setting("camera", "frame_id of the headers")
    reliability: str = setting("best_effort", "As a camera driver sends", choices=("best_effort", "reliable"))
    clock: bool = setting(True, "Publish the recorded time on /clock")
    wait_s: float = setting(60.0, "Wait this long for a subscriber", unit="s", low=0.0, high=3600.0)
    wait_for: str = setting("", "Also wait for a message on this topic (recorder_ready); empty: for none")
    log: str = setting("", "CSV file of what was sent; empty: none")

    def __post_init__(self) -> None:
        check(self)


class Player(Node):
    """The node `player`; `play` does the work."""

    def __init__(self) -> None:
        super().__init__("player")
        parameters.declare(self, PlayerSettings(), "", read_only=True)
        self.settings = parameters.read(self, PlayerSettings, "")
        if not self.settings.source:
            raise InputError("parameter source: expected a bag, a KITTI sequence, a folder of images or a video")
        if self.settings.log:
            parameters.make_folder("log", Path(self.settings.log).parent)
        self._frames = open_source(Path(self.settings.source), topic=self.settings.topic or None)
        profile = QoSProfile(depth=5, reliability=QoSReliabilityPolicy[self.settings.reliability.upper()])
        self._images = self.create_publisher(Image, "image", profile)
        self._clock = self.create_publisher(ClockMessage, "/clock", 1)
        self._is_awaited = bool(self.settings.wait_for)
        if self._is_awaited:
            self.create_subscription(Bool, self.settings.wait_for, self._on_ready, qos.latched())

    def play(self, spinner: Spinner) -> int:
        """Sends every frame. 0; 1 where nobody listened or it was interrupted."""
        if not self._wait_for_listeners(spinner):
            return 1
        self.get_logger().info(f"playing {self.settings.source} at {self.settings.rate:g} times its speed")
        sent: list[tuple[int, int, int]] = []
        first_ns, start_s = None, time.monotonic()
        for frame in self._frames:
            first_ns = frame.stamp_ns if first_ns is None else first_ns
            due_s = start_s + (frame.stamp_ns - first_ns) / 1e9 / self.settings.rate
            if not self._sleep_until(due_s, frame.stamp_ns, spinner):
                break
            sent.append((frame.index, frame.stamp_ns, time.monotonic_ns()))
            self._images.publish(messages.to_rgb8(frame.image, self._header(frame)))
        self._write_log(sent)
        for skipped in self._frames.skipped:
            self.get_logger().warning(f"not sent: {skipped.reason}")
        self.get_logger().info(f"sent {len(sent)} images")
        return 0 if spinner.goes_on else 1

    def _on_ready(self, _: Bool) -> None:
        self._is_awaited = False

    def _wait_for_listeners(self, spinner: Spinner) -> bool:
        deadline = time.monotonic() + self.settings.wait_s
        while self._images.get_subscription_count() == 0 or self._is_awaited:
            if not spinner.goes_on or time.monotonic() > deadline:
                nobody = self._images.get_subscription_count() == 0
                what = f"subscriber of {self._images.topic_name}" if nobody else f"message on {self.settings.wait_for}"
                self.get_logger().error(f"waited {self.settings.wait_s:g} s for a {what}: does the node run, active?")
                return False
            spinner.spin_once(0.01)
        return True

    def _sleep_until(self, due_s: float, stamp_ns: int, spinner: Spinner) -> bool:
        """Waits, while the recorded time goes on. False where the process is to end."""
        while spinner.goes_on:
            left_s = due_s - time.monotonic()
            now_ns = stamp_ns - int(max(left_s, 0.0) * self.settings.rate * 1e9)
            if self.settings.clock:
                self._clock.publish(ClockMessage(clock=_time(now_ns)))
            if left_s <= 0:
                return True
            time.sleep(min(left_s, CLOCK_STEP_S))
        return False

    def _header(self, frame: Frame) -> Header:
        return Header(stamp=_time(frame.stamp_ns), frame_id=self.settings.frame_id)

    def _write_log(self, sent: list[tuple[int, int, int]]) -> None:
        if not self.settings.log:
            return
        path = Path(self.settings.log)
        # The recorder takes its existence for the sign that all has been sent.
        arriving = path.with_name(f".{path.name}.part")
        with arriving.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(LOG_FIELDS)
            writer.writerows(sent)
        os.replace(arriving, path)


def _time(stamp_ns: int) -> Time:
    seconds, nanoseconds = divmod(max(0, stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def main(arguments: list[str] | None = None) -> int:
    """Plays one sequence. 0; 1 where nobody listened; 2 for a wrong parameter or source."""
    return run_node(Player, Player.play, arguments)


if __name__ == "__main__":
    sys.exit(main())

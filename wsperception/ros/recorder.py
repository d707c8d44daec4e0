"""Writes what the node publishes as KITTI MOTS text, and tells which frames of a replay never came out.

    python -m wsperception.ros.recorder --ros-args -p out:=out/live -p sequence:=0000

Subscribes `detections`, `instance_ids` and `label_info` (remap them to `/perception/...`), joins the first two by their
equal headers, and writes `<sequence>.txt` and `<sequence>.json`.
"""

import csv
import json
import os
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from vision_msgs.msg import Detection2DArray, LabelInfo

from wsperception.errors import InputError
from wsperception.rle import write_mots_lines
from wsperception.ros import messages, parameters, qos
from wsperception.ros.process import Spinner, run_node
from wsperception.settings import check, setting
from wsperception.types import LabelSpace

MOST_UNPAIRED = 100
READY_TOPIC = "recorder_ready"
"""Says, latched, that the recorder hears the node: a player that waits for it loses no first frame."""


@dataclass(frozen=True)
class RecorderSettings:
    """What is written, and when to stop."""

    out: str = setting("", "Folder of the results")
    sequence: str = setting("recording", "Name of the result files")
    published: str = setting("", "The player's log, which gives frame numbers; empty: they count up from 0")
    idle_s: float = setting(
        3.0,
        "Ends after this long without a message, once one came and the player's log is there; 0: never",
        unit="s",
        low=0.0,
        high=3600.0,
    )
    first_s: float = setting(120.0, "Ends after this long without a first message; 0: never", low=0.0, high=86400.0)

    def __post_init__(self) -> None:
        check(self)


class Recorder(Node):
    """The node `recorder`; `record` waits until the messages end, `write` makes the files."""

    def __init__(self) -> None:
        super().__init__("recorder")
        parameters.declare(self, RecorderSettings(), "", read_only=True)
        self.settings = parameters.read(self, RecorderSettings, "")
        if not self.settings.out:
            raise InputError("parameter out: expected a folder for the results")
        self._received: list[tuple[int, int]] = []  # stamp, arrival on the monotonic clock, both in ns
        self._folder = Path(self.settings.out)
        parameters.make_folder("out", self._folder)
        # Lines go to a file at once, with the stamp where the frame number belongs: memory does not grow with them.
        self._draft = (self._folder / f".{self.settings.sequence}.draft").open("w+")
        self._labels: LabelSpace | None = None
        self._counts: dict[str, str] = {}
        self._half: dict[type, OrderedDict[int, Any]] = {Detection2DArray: OrderedDict(), Image: OrderedDict()}
        self._last_s = time.monotonic()
        self._written = False
        self._ready = self.create_publisher(Bool, READY_TOPIC, qos.latched())
        many = QoSProfile(depth=50)
        self.create_subscription(LabelInfo, "label_info", self._on_labels, qos.latched())
        self.create_subscription(Detection2DArray, "detections", self._on_message, many)
        self.create_subscription(Image, "instance_ids", self._on_message, many)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def record(self, spinner: Spinner) -> int:
        """Spins until nothing comes any more. 0; 1 where nothing came at all."""
        while spinner.goes_on and not self._is_over():
            spinner.spin_once()
        return 0 if self._received else 1

    def write(self) -> None:
        """`<sequence>.txt` and `<sequence>.json`; each appears in one piece."""
        if self._written:
            return
        self._written = True
        if self.settings.published and not Path(self.settings.published).exists():
            self._draft.close()
            os.unlink(self._draft.name)
            self.get_logger().error(f"nothing written: the player left no {self.settings.published}")
            return
        sent = _read_log(Path(self.settings.published)) if self.settings.published else {}
        number_of = {stamp: index for stamp, (index, _) in sent.items()}
        if not sent:
            number_of = {stamp: number for number, (stamp, _) in enumerate(self._received)}
        arrived = {stamp for stamp, _ in self._received if stamp in number_of}
        delays = [(received - sent[stamp][1]) / 1e6 for stamp, received in self._received if stamp in sent]
        report = {
            "published": len(number_of),
            "received": len(arrived),
            "missing": sorted(number for stamp, number in number_of.items() if stamp not in arrived),
            "latency_ms": _percentiles(delays),
            "node": self._counts,
        }
        self._write_text(number_of)
        _replace(self._folder / f"{self.settings.sequence}.json", json.dumps(report, indent=2) + "\n")
        self.get_logger().info(f"{report['received']} of {report['published']} frames written to {self._folder}")

    def _write_text(self, number_of: dict[int, int]) -> None:
        """The draft with frame numbers for stamps; frames that were not sent by the player have none."""
        arriving = self._folder / f".{self.settings.sequence}.txt.part"
        self._draft.seek(0)
        with arriving.open("w") as file:
            for line in self._draft:
                stamp, _, rest = line.partition(" ")
                if int(stamp) in number_of:
                    file.write(f"{number_of[int(stamp)]} {rest}")
        self._draft.close()
        os.unlink(self._draft.name)
        os.replace(arriving, self._folder / f"{self.settings.sequence}.txt")

    def _is_over(self) -> bool:
        # A slow network may be silent for long; what it still works on came before the player wrote its log.
        if self._received and self.settings.published and not Path(self.settings.published).exists():
            return False
        limit_s = self.settings.idle_s if self._received else self.settings.first_s
        return 0.0 < limit_s < time.monotonic() - self._last_s

    def _on_labels(self, message: LabelInfo) -> None:
        entries = sorted(message.class_map, key=lambda entry: int(entry.class_id))
        names = tuple(str(entry.class_name) for entry in entries)
        self._labels = LabelSpace(names, (True,) * len(names))
        self._ready.publish(Bool(data=True))

    def _on_message(self, message: Detection2DArray | Image) -> None:
        """Keeps a message until its other half is there; the header's stamp joins them."""
        stamp_ns = messages.stamp_ns(message.header)
        own = self._half[type(message)]
        own[stamp_ns] = message
        detections = self._half[Detection2DArray]
        ids = self._half[Image]
        if stamp_ns in detections and stamp_ns in ids and self._labels is not None:
            self._take(detections.pop(stamp_ns), ids.pop(stamp_ns), self._labels)
        while len(own) > MOST_UNPAIRED:
            own.popitem(last=False)

    def _take(self, detections: Detection2DArray, ids: Image, labels: LabelSpace) -> None:
        received_ns = time.monotonic_ns()
        self._last_s = time.monotonic()
        try:
            segments = messages.to_segments(detections, ids)
        except InputError as error:
            self.get_logger().error(f"not written: {error}")
            return
        stamp_ns = messages.stamp_ns(ids.header)
        self._draft.writelines(f"{line}\n" for line in write_mots_lines(stamp_ns, segments, labels))
        self._received.append((stamp_ns, received_ns))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": image"):
                self._counts = {str(pair.key): str(pair.value) for pair in status.values}


def _read_log(path: Path) -> dict[int, tuple[int, int]]:
    """Stamp -> frame number and sending time, of the player's log."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {int(row["stamp_ns"]): (int(row["index"]), int(row["sent_monotonic_ns"])) for row in rows}


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "p99": round(float(p99), 2)}


def _replace(path: Path, text: str) -> None:
    arriving = path.with_name(f".{path.name}.part")
    arriving.write_text(text)
    os.replace(arriving, path)


def _record_and_write(recorder: Recorder, spinner: Spinner) -> int:
    status = recorder.record(spinner)
    recorder.write()
    return status


def main(arguments: list[str] | None = None) -> int:
    """Records until the messages end or it is interrupted. 0; 1 where nothing came; 2 for a wrong parameter."""
    return run_node(Recorder, _record_and_write, arguments, Recorder.write)


if __name__ == "__main__":
    sys.exit(main())

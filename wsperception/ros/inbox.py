"""Where the newest image of each camera waits for the worker: one place per camera, never a queue."""

import threading
from dataclasses import dataclass

from wsperception.ros.messages import ImageMessage

HANDOVER_S = 0.002
"""Longest wait for an idle worker to begin. It takes a quarter of this at 1242x375."""


@dataclass(frozen=True)
class Arrival:
    """An image that came in. `received_s` is a monotonic clock's time at the entry of the callback."""

    camera: str
    message: ImageMessage
    received_s: float


class Inbox:
    """Hands images from the executor's thread to the worker's. A newer image replaces one that still waits."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self._cameras = cameras
        self._waiting: dict[str, Arrival] = {}
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._begun = threading.Condition(lock)
        self._is_idle = False  # the worker waits in `take`
        self._closed = False

    def put(self, arrival: Arrival) -> bool:
        """Leaves the camera's newest image. True where it replaced one that nobody had taken: that one is dropped.

        Where the worker is idle, waits until it has begun with the image, HANDOVER_S at most: Python runs one thread at
        a time, and the executor, which calls this, would first set up its next waits, half a millisecond in Python.
        """
        with self._changed:
            replaced = arrival.camera in self._waiting
            self._waiting[arrival.camera] = arrival
            self._changed.notify()
            if self._is_idle and len(self._waiting) == len(self._cameras):
                self._begun.wait(HANDOVER_S)
            return replaced

    def take(self, window_s: float, timeout_s: float) -> list[Arrival]:
        """The newest images, at most one per camera, in the order of the cameras; empty after `timeout_s` or closing.

        Once one is there, waits up to `window_s` for those of the other cameras, so that the network runs once for
        all. A camera that stays silent holds the others up by no more than that.
        """
        with self._changed:
            self._is_idle = True
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed, timeout_s)
            if len(self._cameras) > 1 and self._waiting and window_s > 0:
                self._changed.wait_for(lambda: len(self._waiting) == len(self._cameras) or self._closed, window_s)
            taken = [] if self._closed else [self._waiting[name] for name in self._cameras if name in self._waiting]
            self._waiting.clear()
            self._is_idle = False
            return taken

    def begun(self) -> None:
        """Lets `put` go on: the worker has turned what it took into frames."""
        with self._changed:
            self._begun.notify()

    def close(self) -> None:
        """Wakes the worker for the last time; what waits is forgotten."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._closed

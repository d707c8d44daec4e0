"""Where the newest image of each camera waits for the worker: one place per camera, never a queue."""

import threading
from dataclasses import dataclass

from wsperception.ros.messages import ImageMessage


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
        self._changed = threading.Condition()
        self._closed = False

    def put(self, arrival: Arrival) -> bool:
        """Leaves the camera's newest image. True where it replaced one that nobody had taken: that one is dropped."""
        with self._changed:
            replaced = arrival.camera in self._waiting
            self._waiting[arrival.camera] = arrival
            self._changed.notify()
            return replaced

    def take(self, window_s: float, timeout_s: float) -> list[Arrival]:
        """The newest images, at most one per camera, in the order of the cameras; empty after `timeout_s` or closing.

        Once one is there, waits up to `window_s` for those of the other cameras, so that the network runs once for
        all. A camera that stays silent holds the others up by no more than that.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed, timeout_s)
            if len(self._cameras) > 1 and self._waiting and window_s > 0:
                self._changed.wait_for(lambda: len(self._waiting) == len(self._cameras) or self._closed, window_s)
            taken = [] if self._closed else [self._waiting[name] for name in self._cameras if name in self._waiting]
            self._waiting.clear()
            return taken

    def close(self) -> None:
        """Wakes the worker for the last time; what waits is forgotten."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._closed

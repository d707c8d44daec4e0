"""The thread that turns the newest images into results, while the executor stays free for services and parameters."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from wsperception.errors import InputError
from wsperception.pipeline import Pipeline, PipelineSettings
from wsperception.ros import messages
from wsperception.ros.camera import Camera
from wsperception.ros.inbox import Arrival, Inbox
from wsperception.types import Frame

IDLE_S = 0.5


class Worker:
    """Takes arrivals out of an inbox, runs the pipeline on them in one batch and has the cameras publish.

    An image that cannot be used, or on which the network fails, is counted and warned about; work goes on. Whatever
    else goes wrong is a defect: the thread ends, `on_death` is called, and the process must not pretend to live.
    """

    def __init__(
        self, pipeline: Pipeline, cameras: Mapping[str, Camera], window_s: float, on_death: Callable[[], None]
    ) -> None:
        self.inbox = Inbox(tuple(cameras))
        self._pipeline = pipeline
        self._cameras = cameras
        self._window_s = window_s
        self._on_death = on_death
        self._requests: deque[Callable[[], None]] = deque()
        self._indices = dict.fromkeys(cameras, 0)
        self._last: dict[str, tuple[int, tuple[int, ...]]] = {}  # stamp in ns and shape
        self._thread = threading.Thread(target=self._run, name="perception-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends after the batch in work; what waits is dropped. False where it did not end in time."""
        self.inbox.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def reset(self) -> None:
        """Forgets all tracks before the next batch."""
        self._requests.append(self._pipeline.reset)

    def use(self, settings: PipelineSettings) -> None:
        """New thresholds from the next batch on; tracks stay."""
        self._requests.append(lambda: setattr(self._pipeline, "settings", settings))

    def _run(self) -> None:
        try:
            while not self.inbox.is_closed:
                self._work(self.inbox.take(self._window_s, IDLE_S))
            self._serve_requests()  # those that came during the last batch: settings outlive the worker
        finally:
            if not self.inbox.is_closed:
                self._on_death()

    def _work(self, arrivals: list[Arrival]) -> None:
        self._serve_requests()
        taken_s = time.perf_counter()
        ready = [(arrival, frame) for arrival in arrivals if (frame := self._to_frame(arrival)) is not None]
        self.inbox.begun()
        if not ready:
            return
        start = time.perf_counter()
        try:
            results = self._pipeline.batch([frame for _, frame in ready])
        except InputError as error:  # the engine refused: these images only
            for arrival, _ in ready:
                self._cameras[arrival.camera].statistics.count("failed")
                self._cameras[arrival.camera].warn("failed", f"image dropped, the network failed: {error}")
            return
        for (arrival, _), result in zip(ready, results, strict=True):
            camera = self._cameras[arrival.camera]
            publish_s = time.perf_counter()
            try:
                camera.publish(result, arrival.message.header)
            except RuntimeError:
                # rclpy's RCLError or InvalidHandle: while the network was at work, somebody shut the context down, or
                # the node has waited for this thread in vain and taken its topics away.
                if camera.can_publish and not self.inbox.is_closed:
                    raise
                return
            times_ms = dict(result.timings_ms)
            total_ms = _ms(arrival.received_s, time.perf_counter())
            times_ms["overhead"] = total_ms - sum(times_ms.values())
            times_ms |= {"wait": _ms(arrival.received_s, taken_s), "convert": _ms(taken_s, start)}
            times_ms |= {"publish": _ms(publish_s, time.perf_counter()), "total": total_ms}
            camera.statistics.published(times_ms)
            if result.broken:
                camera.warn("broken", f"{result.broken} detections dropped: the network gave NaN or nonsense for them")

    def _serve_requests(self) -> None:
        while self._requests:
            self._requests.popleft()()

    def _to_frame(self, arrival: Arrival) -> Frame | None:
        """The frame of an image; None, with a count and a warning, where it is not usable."""
        camera = self._cameras[arrival.camera]
        try:
            frame = messages.to_frame(arrival.message, arrival.camera or camera.topic, self._indices[arrival.camera])
        except InputError as error:
            camera.statistics.count("refused")
            camera.warn("refused", f"image dropped: {error}")
            return None
        self._indices[arrival.camera] += 1
        self._compare(camera, frame)
        return frame

    def _compare(self, camera: Camera, frame: Frame) -> None:
        """Warns about what the tracker can only put up with: time that stands still or runs back, another size."""
        before = self._last.get(camera.name)
        self._last[camera.name] = (frame.stamp_ns, frame.image.shape)
        if before is None:
            return
        stamp_ns, shape = before
        if frame.stamp_ns < stamp_ns:
            back_s = (stamp_ns - frame.stamp_ns) / 1e9
            camera.warn("back", f"stamps jump back by {back_s:.3f} s: tracks start anew (a replay that starts again?)")
        elif frame.stamp_ns == stamp_ns:
            camera.warn("still", f"stamps do not advance ({frame.stamp_ns} ns twice): let the driver stamp its images")
        if frame.image.shape != shape:
            (old_height, old_width), (height, width) = shape[:2], frame.image.shape[:2]
            camera.warn(
                "size", f"images are now {width} x {height}, were {old_width} x {old_height}: tracks are scaled"
            )


def _ms(start_s: float, end_s: float) -> float:
    return (end_s - start_s) * 1e3

"""One camera's topics: the image that comes in, the results that go out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo

from wsperception.errors import InputError
from wsperception.overlay import draw_overlay
from wsperception.pipeline import Result
from wsperception.ros import messages, qos
from wsperception.ros.messages import ImageMessage
from wsperception.ros.statistics import CameraStatistics
from wsperception.types import LabelSpace

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

WARNING_PERIOD_S = 5.0
SILENCE_PERIOD_S = 30.0
"""A camera's silence is told again after this long, or when its reason changes."""


class Camera:
    """Publishers of one camera from configure to cleanup, and its subscription from activate to deactivate.

    With a name, topics are `<name>/image` and `~/<name>/detections`; without one, `image` and `~/detections`.
    """

    def __init__(self, node: LifecycleNodeMixin, name: str, transport: str, labels: LabelSpace) -> None:
        self.name = name
        self.statistics = CameraStatistics()
        self._node = node
        self._labels = labels
        self._subscription: Any = None
        self._warned_s: dict[str, float] = {}
        self._is_awaited = True
        self._silence = ("", 0.0)  # reason that was told, and when
        self._input_qos: QoSProfile = qos.image_input()
        self.topic = node.resolve_topic_name(f"{name}/image" if name else "image")
        compressed = transport == "compressed" or self.topic.endswith("/compressed")
        if compressed and not self.topic.endswith("/compressed"):
            self.topic += "/compressed"
        self.message_class: type[ImageMessage] = CompressedImage if compressed else Image

        # Kept from frame to frame: to make messages anew takes longer than to fill them in.
        self._pool: list[Detection2D] = []
        self._canvas: Image | None = None
        self._publishers: list[Any] = []
        try:
            self._create_publishers()
        except InputError:
            self.destroy()
            raise

    def _create_publishers(self) -> None:
        self._detections = self._create_publisher(Detection2DArray, "detections")
        self._instance_ids = self._create_publisher(Image, "instance_ids")
        # Without stuff the class of a pixel is that of its detection: no topic that says it twice.
        self._semantic = None if all(self._labels.is_thing) else self._create_publisher(Image, "semantic")
        self._overlay = self._create_publisher(Image, "overlay")
        self._label_info = self._create_publisher(LabelInfo, "label_info", qos.latched())

    def _create_publisher(self, kind: Any, name: str, profile: QoSProfile | None = None) -> Any:
        topic = f"~/{self.name}/{name}" if self.name else f"~/{name}"
        with _qos_mistakes(topic):
            publisher = self._node.create_lifecycle_publisher(
                kind, topic, profile or qos.output(), qos_overriding_options=qos.overridable()
            )
        self._publishers.append(publisher)
        return publisher

    def subscribe(self, on_image: Callable[[ImageMessage], None]) -> None:
        """Starts to receive; the newest image only."""
        self.statistics.clear()
        self._is_awaited = True
        try:
            self._subscription = self._create_subscription(on_image, {"message_lost": self._on_lost})
        except UnsupportedEventTypeError:  # a middleware that does not say what it loses
            self._subscription = self._create_subscription(on_image, {})

    def _create_subscription(
        self, on_image: Callable[[ImageMessage], None], more_events: dict[str, Callable[[Any], None]]
    ) -> Any:
        events = SubscriptionEventCallbacks(
            incompatible_qos=lambda _: self.warn("qos", self.explain_silence()), **more_events
        )
        with _qos_mistakes(self.topic):
            return self._node.create_subscription(
                self.message_class,
                self.topic,
                on_image,
                self._input_qos,
                event_callbacks=events,
                qos_overriding_options=qos.overridable(),
            )

    def _on_lost(self, event: Any) -> None:
        self.statistics.count("lost", int(event.total_count_change))

    def unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def publish(self, result: Result, header: Header) -> None:
        """All messages of one frame. Pictures are made only where somebody listens."""
        segments = result.segments
        self._detections.publish(messages.to_detections(segments, header, self._pool))
        if self._instance_ids.get_subscription_count():
            self._canvas = messages.to_instance_ids(segments, header, self._canvas)
            self._instance_ids.publish(self._canvas)
        if self._semantic is not None and self._semantic.get_subscription_count():
            self._semantic.publish(messages.to_semantic(segments, header))
        if self._overlay.get_subscription_count():
            drawn = draw_overlay(result.frame.image, segments, self._labels)
            self._overlay.publish(messages.to_bgr8(drawn, header))

    @property
    def can_publish(self) -> bool:
        """False once the context has been shut down under the node."""
        return bool(self._node.context.ok())

    def publish_label_info(self, threshold: float, header: Header) -> None:
        """Says once what the class numbers mean; whoever comes later gets it too."""
        self._label_info.publish(messages.to_label_info(self._labels, threshold, header))

    def arrived(self, message: ImageMessage, age_ms: float | None) -> None:
        """An image came in; `age_ms` since its stamp, None where it has none. The first one is news."""
        self.statistics.arrived(age_ms)
        if self._is_awaited:
            self._is_awaited = False
            self._silence = ("", 0.0)
            described = messages.describe(message)
            self._node.get_logger().info(f"{self.topic}: images arrive: {described}")

    def tell_silence(self, silent_s: float) -> str:
        """Warns that nothing has arrived for so long, and gives the reason."""
        self._is_awaited = True
        reason, now = self.explain_silence(), time.monotonic()
        told, told_s = self._silence
        if reason != told or now - told_s >= SILENCE_PERIOD_S:
            self._silence = (reason, now)
            # Not by `warn`: its period would hold back a new reason, such as a topic that is discovered a moment later.
            self._node.get_logger().warning(f"{self.topic}: no image for {silent_s:.0f} s: {reason}")
        return reason

    def explain_silence(self) -> str:
        """Why no image arrives, and what to do."""
        kind = f"sensor_msgs/msg/{self.message_class.__name__}"
        return qos.explain_silence(self._node, self.topic, kind, self._input_qos)

    def warn(self, kind: str, text: str) -> None:
        """A warning about this camera, at most every WARNING_PERIOD_S for each `kind`."""
        now = time.monotonic()
        if now - self._warned_s.get(kind, -WARNING_PERIOD_S) >= WARNING_PERIOD_S:
            self._warned_s[kind] = now
            self._node.get_logger().warning(f"{self.topic}: {text}")

    def destroy(self) -> None:
        """Takes all topics away."""
        self.unsubscribe()
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)


@contextmanager
def _qos_mistakes(topic: str) -> Iterator[None]:
    """Turns what rclpy raises for a wrong `qos_overrides` parameter into one line for the user."""
    try:
        yield
    except (InvalidParameterTypeException, InvalidParameterValueException, RuntimeError) as error:
        if isinstance(error, UnsupportedEventTypeError):
            raise
        raise InputError(f"{topic}: {' '.join(str(error).split())}") from None

"""The lifecycle node `perception`: camera images in, detections, masks and ids out. It holds no perception logic."""

import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from wsperception.backends import Backend, open_backend
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.errors import InputError
from wsperception.pipeline import Pipeline, PipelineSettings, default_settings
from wsperception.ros import diagnostics, memory, messages, parameters
from wsperception.ros.aside import Aside, InterruptionError, end_process_if_busy
from wsperception.ros.camera import Camera
from wsperception.ros.inbox import Arrival
from wsperception.ros.interfaces import require_vision_msgs
from wsperception.ros.parameters import DiagnosticSettings, NodeSettings
from wsperception.ros.process import Spinner, run_node
from wsperception.ros.worker import Worker
from wsperception.types import Frame

STOP_TIMEOUT_S = 30.0
PIPELINE, DIAGNOSTICS = "pipeline.", "diagnostics."


class PerceptionNode(LifecycleNodeMixin, Node):
    """Configure loads, activate subscribes, deactivate stops, cleanup gives the memory back.

    While configure loads, which may take minutes where an engine is built, all other callbacks go on.

    failed  True once the worker has died of a defect; whoever spins the node should then end the process
    aside   does what takes long
    """

    def __init__(self, name: str = "perception", **options: Any) -> None:
        # rclpy's LifecycleNode is these two; it would put the transitions into the group of all other callbacks, which
        # could then not run while one loads. Reentrant, so that the state can be asked for meanwhile.
        transitions = ReentrantCallbackGroup()
        Node.__init__(self, name, **options)
        LifecycleNodeMixin.__init__(self, callback_group=transitions)
        self.failed = False
        self.aside = Aside(self)
        self._enabled = True
        self._bundle: ModelBundle | None = None
        self._backend: Backend | None = None
        self._pipeline: Pipeline | None = None
        self._worker: Worker | None = None
        self._cameras: dict[str, Camera] = {}
        parameters.declare(self, NodeSettings(), "", read_only=True)
        parameters.declare(self, DiagnosticSettings(), DIAGNOSTICS, read_only=False)
        self._settings = parameters.read(self, NodeSettings, "")
        self._thresholds = parameters.read(self, DiagnosticSettings, DIAGNOSTICS)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady time: with use_sim_time a stopped clock would stop the diagnostics that say so.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._report_timer = self.create_timer(self._thresholds.period_s, self._report, clock=steady)
        if self._settings.autostart:
            self._start_timer = self.create_timer(0.0, self._autostart, callback_group=transitions, clock=steady)

    # ---- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            with self._telling_defects():
                self._load()
        except (InputError, InterruptionError) as error:
            self.get_logger().error(f"cannot configure: {error}")
            self._unload()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            with self._telling_defects():
                return self._start(state)
        except InputError as error:
            self.get_logger().error(f"cannot activate: {error}")
            self._stop()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE

    def _start(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._pipeline is not None
        verdict = super().on_activate(state)
        window_s = self._settings.batch_window_ms / 1e3
        self._worker = Worker(self._pipeline, self._cameras, window_s, self._on_worker_death)
        self._worker.start()
        self._publish_label_info(self._pipeline.settings)
        for camera in self._cameras.values():
            camera.subscribe(self._receiver(camera, self._worker))
        topics = ", ".join(camera.topic for camera in self._cameras.values())
        self.get_logger().info(f"active: waiting for images on {topics}")
        return verdict

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._stop():
            return TransitionCallbackReturn.ERROR
        if self._pipeline is not None:
            self._pipeline.reset()
        memory.give_back()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._unload()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._unload()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.get_logger().error(f"a transition from '{state.label}' failed by a defect; the node is unconfigured again")
        self._unload()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stops the worker and gives the engine back; for the end of the process."""
        self._unload()

    @contextlib.contextmanager
    def _telling_defects(self) -> Iterator[None]:
        """rclpy turns whatever a transition raises into a failure without a word; here it is logged on its way."""
        try:
            yield
        finally:
            if sys.exc_info()[0] not in (None, InputError, InterruptionError):
                self.get_logger().error(traceback.format_exc())

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _load(self) -> None:
        """Bundle, engine and topics; everything that can be wrong is found here, before the first image."""
        require_vision_msgs()
        start, wanted = time.monotonic(), self._settings
        bundle = self.aside.do(f"reading model {wanted.model}", lambda: read_bundle(wanted.model))
        parameters.declare(self, default_settings(bundle), PIPELINE, read_only=False)
        parameters.read(self, PipelineSettings, PIPELINE)  # what is wrong with them is said before the engine is built
        self._bundle = bundle
        self.get_logger().info(f"loading {bundle.onnx_path} with backend {wanted.backend}")
        self._backend = self.aside.do(
            f"loading model {bundle.name} with backend {wanted.backend}",
            lambda: open_backend(
                bundle,
                wanted.backend,
                wanted.threads or None,
                precision=wanted.precision,
                largest_batch=len(wanted.cameras),
            ),
        )
        pipeline = Pipeline(self._backend, bundle)
        # The first run allocates; better now than on the first images, and a graph that cannot run fails here.
        blank = np.zeros((*bundle.input_size, 3), np.uint8)
        frames = [Frame(blank, 0, name, 0) for name in wanted.cameras]
        self.aside.do("running the network once", lambda: pipeline.batch(frames))
        pipeline.reset()
        pipeline.settings = parameters.read(self, PipelineSettings, PIPELINE)
        self._pipeline = pipeline
        for name in wanted.cameras:
            self._cameras[name] = Camera(self, name, wanted.image_transport, bundle.label_space)
        memory.give_back()  # what building and loading have left free
        taken_s = time.monotonic() - start
        self.get_logger().info(f"model {bundle.name} is ready after {taken_s:.1f} s: {self._backend.describe()}")

    def _stop(self) -> bool:
        """Ends the worker. False where the engine does not come back to it: then it is left with the engine."""
        for camera in self._cameras.values():
            camera.unsubscribe()
        worker, self._worker = self._worker, None
        if worker is None or worker.stop(STOP_TIMEOUT_S):
            return True
        # To close an engine or to use a pipeline while a thread is inside may end the process.
        self._backend = self._pipeline = None
        self.get_logger().error(
            f"the engine did not end its run within {STOP_TIMEOUT_S:g} s and is given up, with its memory: "
            "start the process again"
        )
        return False

    def _unload(self) -> None:
        self._stop()
        for camera in self._cameras.values():
            camera.destroy()
        self._cameras = {}
        if self._backend is not None:
            self._backend.close()
        self._backend = self._pipeline = self._bundle = None
        memory.give_back()

    def _on_worker_death(self) -> None:
        self.failed = True
        self.get_logger().fatal("the worker ended by a defect: its traceback follows; start the process again")

    # ---- images

    def _receiver(self, camera: Camera, worker: Worker) -> Callable[[messages.ImageMessage], None]:
        def on_image(message: messages.ImageMessage) -> None:
            received_s = time.perf_counter()
            stamp_ns = messages.stamp_ns(message.header)
            age_ms = (self.get_clock().now().nanoseconds - stamp_ns) / 1e6 if stamp_ns else None
            camera.arrived(message, age_ms)
            if not self._enabled:
                camera.statistics.count("ignored")
            elif worker.inbox.put(Arrival(camera.name, message, received_s)):
                camera.statistics.dropped()

        return on_image

    def _publish_label_info(self, settings: PipelineSettings) -> None:
        header = Header(stamp=self.get_clock().now().to_msg())
        for camera in self._cameras.values():
            camera.publish_label_info(settings.tracker.min_score, header)

    # ---- services and parameters

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._worker is not None
        response.message = "tracks forgotten; ids start at 1" if response.success else "not active: there are no tracks"
        if self._worker is not None:
            self._worker.reset()
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        response.success = True
        response.message = "images are processed" if self._enabled else "images are ignored"
        return response

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Checks the values together, and puts them into force from the next image on."""
        thresholds = [change for change in changes if change.name.startswith(DIAGNOSTICS)]
        pipeline = [change for change in changes if change.name.startswith(PIPELINE)]
        for kind, prefix, group in (
            (DiagnosticSettings, DIAGNOSTICS, thresholds),
            (PipelineSettings, PIPELINE, pipeline if self._bundle is not None else []),
        ):
            verdict = parameters.verdict(self, kind, prefix, group) if group else SetParametersResult(successful=True)
            if not verdict.successful:
                return verdict
        if thresholds:
            self._thresholds = parameters.read(self, DiagnosticSettings, DIAGNOSTICS, thresholds)
            self._report_timer.timer_period_ns = int(self._thresholds.period_s * 1e9)
        if pipeline and self._pipeline is not None:
            settings = parameters.read(self, PipelineSettings, PIPELINE, pipeline)
            if self._worker is not None:
                self._worker.use(settings)
                self._publish_label_info(settings)
            else:
                self._pipeline.settings = settings
        return SetParametersResult(successful=True)

    # ---- diagnostics

    def _report(self) -> None:
        name = self.get_fully_qualified_name()
        engine = self._backend.describe().as_text() if self._backend is not None else {}
        statuses = [diagnostics.node_status(f"{name}: pipeline", self._state_label(), self._bundle, engine)]
        if self._worker is not None:
            statuses += [self._camera_status(camera, name) for camera in self._cameras.values()]
        header = Header(stamp=self.get_clock().now().to_msg())
        self._diagnostics.publish(diagnostics.to_array(header, statuses))

    def _camera_status(self, camera: Camera, name: str) -> Any:
        snapshot = camera.statistics.snapshot()
        silence = ""
        if snapshot.silent_s > self._thresholds.silence_s:
            silence = camera.tell_silence(snapshot.silent_s)
        title = f"{name}: {camera.name or 'image'}"
        return diagnostics.camera_status(
            title, camera.topic, snapshot, self._thresholds, enabled=self._enabled, silence=silence
        )

    def _state_label(self) -> str:
        if self.aside.text:
            return f"configuring: {self.aside.text}"
        if self._worker is not None:
            return "active"
        return "inactive" if self._pipeline is not None else "unconfigured"


def _spin(node: PerceptionNode, spinner: Spinner) -> int:
    node.aside.goes_on = lambda: spinner.goes_on
    while spinner.goes_on and not node.failed:
        spinner.spin_once()
    return 1 if node.failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until it is interrupted. 0; 1 after a defect; 2 for a parameter that is wrong."""
    memory.keep_freed()
    status = run_node(PerceptionNode, _spin, arguments, PerceptionNode.close)
    end_process_if_busy(status)
    return status


if __name__ == "__main__":
    sys.exit(main())

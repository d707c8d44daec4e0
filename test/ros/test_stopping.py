"""The end of a worker: what it was told still counts, and an engine that hangs is left alone."""

import threading
import time

import pytest
import rclpy
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_peer import image
from toy_model import picture

from wsperception.backends.onnx_ import OnnxBackend
from wsperception.ros import perception_node
from wsperception.ros.inbox import Arrival
from wsperception.ros.perception_node import PerceptionNode

SECOND = 10**9


class Gate:
    """Holds runs of the engine up until it is opened."""

    def __init__(self, run):
        self._run = run
        self.entered, self.opened = threading.Event(), threading.Event()

    def run(self, backend, batch):
        self.entered.set()
        assert self.opened.wait(60)
        return self._run(backend, batch)


@pytest.fixture
def active(toy_bundle):
    context = Context()
    rclpy.init(context=context)
    given = [Parameter(name, value=value) for name, value in {"autostart": False, "model": str(toy_bundle)}.items()]
    node = PerceptionNode(context=context, parameter_overrides=given)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    yield node
    node.close()
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def gate(monkeypatch):
    made = Gate(OnnxBackend.run)
    yield made
    made.opened.set()


def send(node, gate, monkeypatch):
    """Gives the worker an image and waits until the engine holds it; returns the worker's thread."""
    monkeypatch.setattr(OnnxBackend, "run", lambda *arguments: gate.run(*arguments))
    node._worker.inbox.put(Arrival("", image(picture((10, 5, 30, 20)), SECOND), time.perf_counter()))
    assert gate.entered.wait(60)
    return node._worker._thread


def test_a_parameter_that_is_set_during_the_last_batch_is_kept(active, gate, monkeypatch):
    send(active, gate, monkeypatch)
    assert active.set_parameters([Parameter("pipeline.tracker.window", value=23)])[0].successful
    threading.Timer(0.1, gate.opened.set).start()
    assert active.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert active._pipeline.settings.tracker.window == 23


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_hangs_is_neither_closed_nor_used_again(active, gate, monkeypatch, capfd):
    closed = []
    monkeypatch.setattr(OnnxBackend, "close", closed.append)
    monkeypatch.setattr(perception_node, "STOP_TIMEOUT_S", 0.1)
    thread = send(active, gate, monkeypatch)
    assert active.trigger_deactivate() == TransitionCallbackReturn.ERROR
    assert active._state_label() == "unconfigured" and closed == []
    assert "did not end its run within 0.1 s and is given up" in "".join(capfd.readouterr())
    gate.opened.set()
    thread.join(60)  # its topics are gone; that is no defect
    assert not thread.is_alive() and not active.failed
    assert active.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert active.trigger_activate() == TransitionCallbackReturn.SUCCESS

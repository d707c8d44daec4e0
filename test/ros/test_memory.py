"""Cleanup gives back what configure took."""

import gc
import weakref

import pytest
import rclpy
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from wsperception.ros import memory
from wsperception.ros.perception_node import PerceptionNode


@pytest.fixture
def make_node():
    context = Context()
    rclpy.init(context=context)
    made = []

    def make(**overrides):
        given = [Parameter(name, value=value) for name, value in {"autostart": False, **overrides}.items()]
        made.append(PerceptionNode(context=context, parameter_overrides=given))
        return made[-1]

    yield make
    for node in made:
        node.close()
        node.destroy_node()
    context.try_shutdown()


def test_cleanup_lets_the_engine_and_the_topics_go(make_node, toy_bundle):
    node = make_node(model=str(toy_bundle))
    before = len(list(node.publishers))
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    held = [weakref.ref(entry) for entry in (node._pipeline, node._backend, node._worker, *node._cameras.values())]
    assert len(list(node.publishers)) == before + 4  # detections, instance_ids, overlay, label_info
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    gc.collect()
    assert [entry() for entry in held] == [None] * len(held)
    assert len(list(node.publishers)) == before


def test_free_memory_goes_back_to_the_system(make_node, toy_bundle, monkeypatch):
    node = make_node(model=str(toy_bundle))
    held = []
    monkeypatch.setattr(memory, "give_back", lambda: held.append((node._worker, node._backend is not None)))
    node.trigger_configure()
    node.trigger_activate()
    assert held == [(None, True)]  # what loading has left free
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert held[1:] == [(None, True), (None, False)]


def test_a_failed_configure_keeps_nothing(make_node, tmp_path):
    node = make_node(model=str(tmp_path / "nothing"))
    before = len(list(node.publishers))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert (node._pipeline, node._backend, node._cameras) == (None, None, {})
    assert len(list(node.publishers)) == before


def test_a_defect_in_a_transition_is_told(make_node, toy_bundle, monkeypatch, capfd):
    def defect(*_, **__):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("wsperception.ros.perception_node.open_backend", defect)
    node = make_node(model=str(toy_bundle))
    assert node.trigger_configure() == TransitionCallbackReturn.ERROR
    text = capfd.readouterr()
    assert "ZeroDivisionError: a defect" in text.out + text.err
    assert "failed by a defect; the node is unconfigured again" in text.out + text.err

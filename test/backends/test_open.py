"""Which backend `auto` takes, what it says, and what may be asked of one."""

import logging
import sys
import types
from pathlib import Path

import pytest

from wsperception import backends
from wsperception.backends import BACKENDS, EngineFacts, EngineOptions, open_backend
from wsperception.errors import InputError

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


class Loaded:
    name = "fast"

    def describe(self):
        return EngineFacts("fast", "fp16", "a GPU", "7.1")


def engine(monkeypatch, name, obstacle="", error=""):
    """A module of that name in BACKENDS."""

    def load(bundle, options):
        if error:
            raise InputError(error)
        return Loaded()

    module = types.SimpleNamespace(obstacle=lambda: obstacle, load=load)
    monkeypatch.setitem(sys.modules, f"made_up_{name}", module)
    return f"made_up_{name}"


def test_auto_takes_the_fastest_that_has_no_obstacle_and_says_why_no_other(constant_bundle, monkeypatch, caplog):
    names = {
        "onnx": BACKENDS["onnx"],
        "second": engine(monkeypatch, "second"),
        "first": engine(monkeypatch, "first", obstacle="no NVIDIA GPU"),
    }
    monkeypatch.setattr(backends, "BACKENDS", names)
    with caplog.at_level(logging.INFO):
        assert isinstance(open_backend(constant_bundle), Loaded)
    assert caplog.messages == ["backend auto: fast 7.1, fp16, a GPU; not first: no NVIDIA GPU"]


def test_auto_goes_on_with_a_slower_engine_where_a_faster_fails_and_warns(constant_bundle, monkeypatch, caplog):
    names = {"onnx": BACKENDS["onnx"], "first": engine(monkeypatch, "first", error="engine.plan: cannot be written")}
    monkeypatch.setattr(backends, "BACKENDS", names)
    with caplog.at_level(logging.INFO):
        backend = open_backend(constant_bundle, threads=1)
    assert backend.name == "onnx"
    warned, chosen = caplog.records
    assert warned.levelname == "WARNING"
    assert warned.message == "backend first cannot be used: engine.plan: cannot be written"
    assert chosen.message.startswith("backend auto: onnx ONNX Runtime ")
    assert chosen.message.endswith(", fp32, CPU, 1 threads; not first: engine.plan: cannot be written")


def test_who_names_a_backend_gets_it_or_an_error(constant_bundle, monkeypatch):
    monkeypatch.setattr(backends, "BACKENDS", {"first": engine(monkeypatch, "first", "no GPU", "no GPU: use onnx")})
    with pytest.raises(InputError, match=r"^no GPU: use onnx$"):
        open_backend(constant_bundle, "first")
    with pytest.raises(InputError, match=r"^backend 'onnx': unknown; expected auto, first$"):
        open_backend(constant_bundle, "onnx")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"precision": "half"}, "precision: expected one of auto, fp32, fp16, bf16, int8, got 'half'"),
        ({"largest_batch": 0}, "largest_batch: expected at least 1, got 0"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(InputError, match=f"^{text}$"):
        EngineOptions(**options)


def test_a_precision_that_the_engine_does_not_have_is_refused(constant_bundle):
    with pytest.raises(InputError, match=r"^precision: expected fp32 for backend 'onnx', got fp16$"):
        open_backend(constant_bundle, "onnx", precision="fp16")


def test_facts_as_text():
    facts = EngineFacts("tensorrt", "fp16", "NVIDIA H200", "TensorRT 11.2", Path("x.engine"), 123_600_000)
    assert str(facts) == "tensorrt TensorRT 11.2, fp16, NVIDIA H200"
    assert facts.as_text() == {
        "backend": "tensorrt",
        "precision": "fp16",
        "device": "NVIDIA H200",
        "engine": "tensorrt TensorRT 11.2, fp16, NVIDIA H200",
        "engine file": "x.engine",
        "GPU memory [MB]": "124",
    }
    assert "GPU memory [MB]" not in EngineFacts("onnx", "fp32", "CPU", "1").as_text()


def test_every_backend_says_whether_auto_should_try_it():
    for module in BACKENDS.values():
        assert isinstance(__import__(module, fromlist=["obstacle"]).obstacle(), str)

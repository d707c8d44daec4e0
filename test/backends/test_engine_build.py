"""What TensorRT-RTX parses and builds without a GPU, and what it refuses; architectures: nets/test_onnx_export.py."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsperception.backends.engine_build import Library, _monitor, build_engine, installed_library, watched
from wsperception.backends.engine_graph import engine_graph, read_graph
from wsperception.backends.tensorrt_ import check_supported
from wsperception.bundle import ModelBundle, read_bundle, write_bundle
from wsperception.errors import InputError

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be made")
pytestmark = pytest.mark.timeout(1500)  # a loaded machine is slow


@pytest.fixture(scope="module")
def rtx() -> Library:
    reason = "tensorrt-rtx-cu13 is not installed: nothing can build an engine here"
    api = pytest.importorskip("tensorrt_rtx", reason=reason)
    return Library("tensorrt_rtx", api.__version__, api)


def built(library: Library, bundle: ModelBundle, precision: str = "fp32", batch: int = 1) -> bytes:
    graph = engine_graph(read_graph(bundle), precision).SerializeToString()
    return build_engine(library, graph, bundle, precision, batch)


def changed(bundle: ModelBundle, change: Callable[[Any], None], folder: Path) -> ModelBundle:
    """The bundle with another graph."""
    model = onnx.load(bundle.onnx_path)
    change(model)
    onnx.save(model, folder / "changed.onnx")
    return write_bundle(folder / "changed", folder / "changed.onnx", bundle)


def test_the_shipped_model_is_built(rtx):
    bundle = read_bundle("tiny")
    engine = built(rtx, bundle, "fp16")
    # Weights in half precision are half of the ONNX file; the code of the kernels comes on top.
    assert len(engine) > bundle.onnx_path.stat().st_size / 2


def test_an_image_that_is_transposed_before_its_cast_is_taken_all_the_same(rtx, tmp_path, constant_bundle):
    # What PyTorch exports: TensorRT takes uint8 only into a Cast.
    def transpose(model: Any) -> None:
        assert model.graph.node[0].op_type == "Cast"
        model.graph.node[0].input[0] = "turned"
        model.graph.node.insert(0, onnx.helper.make_node("Transpose", ["images"], ["turned"], perm=[0, 3, 1, 2]))

    bundle = changed(constant_bundle, transpose, tmp_path)
    with pytest.raises(InputError, match=r"model.onnx: TensorRT-RTX .* cannot take operator 'Transpose'.*UInt8"):
        build_engine(rtx, bundle.onnx_path.read_bytes(), bundle, "fp32", 2)
    assert built(rtx, bundle, batch=2)  # more images than the graph's fixed batch of 1: an engine for 1


@pytest.mark.parametrize(("kind", "domain"), [("Spin", "com.example"), ("NonZero", "")])
def test_a_foreign_operator_is_named_with_its_node(rtx, tmp_path, constant_bundle, kind, domain):
    def add(model: Any) -> None:
        if domain:
            model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
        model.graph.node.append(onnx.helper.make_node(kind, ["pixels"], ["made"], name="wheel", domain=domain))
        model.graph.node.append(onnx.helper.make_node("Cast", ["made"], ["made_float"], to=1))
        model.graph.node.append(onnx.helper.make_node("ReduceSum", ["made_float"], ["made_sum"], keepdims=0))
        boxes = next(node for node in model.graph.node if node.output[0] == "boxes")
        added = onnx.helper.make_node("Add", [boxes.input[0], "made_sum"], ["boxes"])
        model.graph.node.remove(boxes)
        model.graph.node.append(added)

    bundle = changed(constant_bundle, add, tmp_path)
    with pytest.raises(InputError, match=rf"changed/model.onnx: TensorRT-RTX .*'{kind}' \(node 'wheel'\): ") as caught:
        built(rtx, bundle)
    assert "\n" not in str(caught.value)


def renamed(model: Any) -> None:
    for node in model.graph.node:
        node.output[:] = ["points" if name == "scores" else name for name in node.output]
    next(output for output in model.graph.output if output.name == "scores").name = "points"


def floating(model: Any) -> None:
    node = next(node for node in model.graph.node if node.output[0] == "class_ids")
    node.op_type = "Cast"
    node.attribute.append(onnx.helper.make_attribute("to", 1))
    next(output for output in model.graph.output if output.name == "class_ids").type.tensor_type.elem_type = 1


def smaller(model: Any) -> None:
    entry = next(entry for entry in model.graph.initializer if entry.name == "constant_masks")
    entry.CopyFrom(onnx.numpy_helper.from_array(np.ones((1, 3, 6, 6), np.float32), entry.name))
    output = next(output for output in model.graph.output if output.name == "masks")
    for place in (2, 3):
        output.type.tensor_type.shape.dim[place].dim_value = 6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (renamed, "missing output 'scores'; it has .*points"),
        (floating, "output 'class_ids': expected int32, got float32"),
        (smaller, "output 'masks': expected shape .batch 1 or free, 3, 7, 7., got .1, 3, 6, 6"),
    ],
)
def test_a_graph_that_is_not_the_bundles_is_refused_before_it_is_built(rtx, tmp_path, constant_bundle, change, text):
    with pytest.raises(InputError, match=f"changed/model.onnx: {text}"):
        built(rtx, changed(constant_bundle, change, tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 40], ids=["empty", "text", "noise"])
def test_a_file_that_is_no_network(tmp_path, constant_bundle, content):
    (tmp_path / "m.onnx").write_bytes(content)
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "m.onnx", constant_bundle)
    with pytest.raises(InputError, match=r"bundle/model.onnx: (not an ONNX file|expected an ONNX graph)") as caught:
        read_graph(bundle)
    assert "\n" not in str(caught.value)


def test_a_build_leaves_the_interpreter_free(rtx, constant_bundle):
    # The node's executor and the heartbeat run meanwhile: a build that held the lock of the interpreter would stop
    # both, and then this counter would stand still between the build's start and its end.
    graph = engine_graph(read_graph(constant_bundle), "fp32").SerializeToString()
    ticks, done = [0], threading.Event()

    def count() -> None:
        while not done.wait(1e-4):
            ticks[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = ticks[0]
        build_engine(rtx, graph, constant_bundle, "fp32", 1)
        assert ticks[0] > before
    finally:
        done.set()
        thread.join()


def test_the_heartbeat_speaks_while_nothing_else_does(caplog):
    class Monitor:
        phase = "timing tactics"

    def silent() -> int:
        started = time.monotonic()
        while len(caplog.records) < 4 and time.monotonic() < started + 60:
            time.sleep(0.01)
        return 7

    caplog.set_level(logging.INFO, "wsperception.backends")
    assert watched("building x", silent, Monitor(), period_s=0.02) == 7
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == "building x: this may take minutes"
    assert all(text.endswith(" s, timing tactics") for text in texts[1:4])
    assert texts[-1].startswith("building x: done in ")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine-build")]


def test_what_a_build_raises_comes_out():
    def fail() -> None:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        watched("building x", fail)


def test_an_interrupt_cancels_the_build_and_waits_for_it(rtx, caplog):
    caplog.set_level(logging.INFO, "wsperception.backends")
    monitor, ended = _monitor(rtx.api), []

    def build() -> None:
        deadline = time.monotonic() + 60
        while len(caplog.records) < 2:  # the main thread waits, and has said so
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)  # Python hands it to the main thread
        while monitor.step_complete("tactics", 1) and time.monotonic() < deadline:
            time.sleep(0.01)
        ended.append(monitor.cancelled)

    with pytest.raises(KeyboardInterrupt):
        watched("building x", build, monitor, period_s=0.02)
    assert ended == [True]


def test_rtx_says_which_gpus_it_serves(rtx):
    check_supported(rtx, "NVIDIA GeForce RTX 4090", (8, 9))
    with pytest.raises(InputError, match=r"does not serve NVIDIA H200 \(SM90\), only SM75, .*install TensorRT"):
        check_supported(rtx, "NVIDIA H200", (9, 0))


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"backend 'tensorrt': TensorRT is not installed; expected .* 'onnx' works"):
        installed_library()


@pytest.fixture
def forgotten_modules():
    """Imports of TensorRT's modules start anew in the test, and what it imports is forgotten after it."""
    before = {name: sys.modules.pop(name) for name in ("tensorrt", "tensorrt_rtx") if name in sys.modules}
    yield
    for name in ("tensorrt", "tensorrt_rtx"):
        sys.modules.pop(name, None)
    sys.modules.update(before)


def test_an_old_tensorrt_is_refused(monkeypatch, tmp_path, forgotten_modules):
    (tmp_path / "tensorrt.py").write_text("__version__ = '8.6.1'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"expected TensorRT 10.1 or later, got 8.6.1"):
        installed_library()


def test_a_stub_without_libraries_gives_way(monkeypatch, tmp_path, forgotten_modules):
    # NVIDIA's wheel on the package index raises where the real libraries are missing.
    (tmp_path / "tensorrt.py").write_text("raise RuntimeError('libnvinfer.so.10:\\n not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "tensorrt_rtx.py").write_text("__version__ = '1.7'\n")
    assert str(installed_library()) == "TensorRT-RTX 1.7"
    (tmp_path / "tensorrt_rtx.py").write_text("raise ImportError('no libraries\\n here either')\n")
    del sys.modules["tensorrt_rtx"]
    with pytest.raises(InputError, match="'tensorrt': TensorRT-RTX cannot be imported: no libraries here either; back"):
        installed_library()

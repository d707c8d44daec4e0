"""Engines of real bytes, built by TensorRT-RTX without a GPU: kept, found, rebuilt and said; and the command."""

import json
import logging
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import cli
from wsperception.backends import engine_cache
from wsperception.backends.cuda_driver import no_gpu
from wsperception.backends.engine_build import Library
from wsperception.backends.engine_supply import EngineOrder, engine_for
from wsperception.backends.quality_gate import Agreement
from wsperception.bundle import write_bundle
from wsperception.errors import InputError

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be made")
pytestmark = pytest.mark.timeout(900)  # a loaded machine is slow
needs_no_gpu = pytest.mark.skipif(not no_gpu(), reason="this machine has a GPU: the engine is built for it")


@pytest.fixture
def library(monkeypatch, tmp_path, caplog) -> Library:
    """TensorRT-RTX, with an empty cache and a log that is read."""
    api = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: nothing can build an engine")
    monkeypatch.setenv("WSPERCEPTION_ENGINES", str(tmp_path / "engines"))
    caplog.set_level(logging.INFO, "wsperception.backends")
    return Library("tensorrt_rtx", api.__version__, api)


@pytest.fixture
def order(library, constant_bundle) -> EngineOrder:
    return EngineOrder(constant_bundle, library, "fp32", 2, "NVIDIA RTX 4090", "8.9")


def test_an_engine_is_built_once(order, caplog):
    first = engine_for(order)
    assert "there is none yet" in caplog.text
    assert caplog.text.count("done in") == 1
    caplog.clear()
    again = engine_for(order)
    assert again.content == first.content
    assert again.record == first.record
    assert caplog.text == ""
    assert first.path.read_bytes() == first.content
    assert first.gate is None
    key = first.record.key
    assert (key.library, key.version) == ("tensorrt_rtx", order.library.version)
    assert (key.gpu, key.largest_batch, key.input_size) == ("NVIDIA RTX 4090", 2, order.bundle.input_size)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpu": "NVIDIA RTX 5090"}, "gpu NVIDIA RTX 4090 -> NVIDIA RTX 5090"),
        ({"precision": "fp16"}, "precision fp32 -> fp16"),
        ({"largest_batch": 4}, "largest_batch 2 -> 4"),
    ],
)
def test_another_gpu_or_setting_is_built_and_said(order, caplog, change, said):
    engine_for(order)
    caplog.clear()
    engine_for(replace(order, **change))
    assert said in caplog.text
    assert "done in" in caplog.text


def test_another_version_is_built_and_said(order, caplog):
    engine_for(order)
    engine_for(replace(order, library=replace(order.library, version="1.8.0")))
    assert f"version {order.library.version} -> 1.8.0" in caplog.text


def test_an_engine_of_a_graph_that_was_written_otherwise_is_built_anew(order, caplog, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr("wsperception.backends.engine_supply.EDITION", 1)
        path = engine_for(order).path
        sidecar = json.loads(path.with_suffix(".json").read_text())
        del sidecar["key"]["graph_edition"]  # as sidecars were before there were editions
        path.with_suffix(".json").write_text(json.dumps(sidecar))
        caplog.clear()
        engine_for(order)
        assert "done in" not in caplog.text
    assert engine_for(order).path != path
    assert "graph_edition 1 -> 2" in caplog.text


def test_another_network_of_the_same_name_is_built_and_said(order, tmp_path, caplog):
    engine_for(order)
    caplog.clear()
    model = onnx.load(order.bundle.onnx_path)
    model.producer_name = "somebody"
    onnx.save(model, tmp_path / "m.onnx")
    other = write_bundle(tmp_path / "other", tmp_path / "m.onnx", order.bundle)
    engine_for(replace(order, bundle=other))
    assert "onnx_sha256 " in caplog.text
    assert "done in" in caplog.text


@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda content: b"", lambda c: c[::-1]]
)
def test_a_broken_engine_is_built_anew(order, caplog, damage):
    first = engine_for(order)
    first.path.write_bytes(damage(first.content))
    caplog.clear()
    again = engine_for(order)
    assert "corrupt or truncated" in caplog.text
    assert "done in" in caplog.text
    assert again.path.read_bytes() == again.content
    assert engine_cache.find(again.path.parent, order.bundle.name, again.record.key) is not None


def test_a_cache_that_cannot_be_written_is_done_without(order, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WSPERCEPTION_ENGINES", str(tmp_path / "file" / "engines"))
    engine = engine_for(order)
    assert engine.path is None
    assert len(engine.content) == engine.record.engine_bytes
    assert "cannot be written (Not a directory)" in caplog.text
    assert "built for this run only" in caplog.text
    assert engine.judged(Agreement(3, 0.0, 0.1, 0.0, 1.0, 1.0)).gate.box_px == 0.1


def test_a_full_disk_costs_the_cache_but_not_the_engine(order, monkeypatch, caplog):
    def full(path, content):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(engine_cache, "write_atomically", full)
    engine = engine_for(order)
    assert engine.path is None
    assert "cannot be kept (No space left on device)" in caplog.text


def test_who_waited_takes_what_the_other_built(order, monkeypatch, caplog):
    first = engine_for(order)
    sidecar = first.path.with_suffix(".json")
    text = sidecar.read_text()
    sidecar.unlink()  # as while the other is still at it
    monkeypatch.setattr("wsperception.backends.engine_supply.build_engine", None)  # nothing is built from here on
    caplog.clear()
    found = []
    thread = threading.Thread(target=lambda: found.append(engine_for(order)))
    with engine_cache.locked(first.path):
        thread.start()
        deadline = time.monotonic() + 120
        while "another process is building it" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        sidecar.write_text(text)
    thread.join(120)
    assert [engine.content for engine in found] == [first.content]


def test_the_gates_figures_are_kept(order):
    figures = Agreement(7, 0.0, 0.125, 0.01, 0.99, 0.999)
    engine_for(order).judged(figures)
    assert engine_for(order).gate == figures


def test_int8_without_a_calibration_says_how_to_get_one(order):
    with pytest.raises(InputError, match=r"int8 needs a calibration.*wsperception engine --model .* --int8 SOURCE"):
        engine_for(replace(order, precision="int8"))


def test_an_interrupted_build_leaves_only_a_lock(order, monkeypatch, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("wsperception.backends.engine_supply.build_engine", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine_for(order)
    assert [path.suffix for path in (tmp_path / "engines").iterdir()] == [".lock"]
    monkeypatch.undo()
    monkeypatch.setenv("WSPERCEPTION_ENGINES", str(tmp_path / "engines"))
    assert engine_for(order).content


# ---- the command


@needs_no_gpu
def test_build_only_needs_no_gpu(library, constant_bundle, capsys, tmp_path):
    arguments = ["engine", "--model", str(constant_bundle.folder), "--build-only", "--cameras", "3"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    (engine,) = (tmp_path / "engines").glob("*.engine")
    assert said.startswith(f"{engine}\n  constant-model, fp16, up to 3 image(s) of 320 x 96, ")
    assert f"tensorrt_rtx {library.version} without a GPU" in said
    assert "quality gate: when it is first run" in said
    built = json.loads(engine.with_suffix(".json").read_text())
    assert built["key"]["gpu"] == "none"
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == said  # found, not built: date and seconds are the same


@needs_no_gpu
def test_without_build_only_a_gpu_is_needed(library, constant_bundle, capsys):
    assert cli.main(["engine", "--model", str(constant_bundle.folder)]) == 2
    assert "no NVIDIA driver" in capsys.readouterr().err


def test_build_only_needs_a_cache(library, constant_bundle, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WSPERCEPTION_ENGINES", str(tmp_path / "file" / "engines"))
    assert cli.main(["engine", "--model", str(constant_bundle.folder), "--build-only"]) == 2
    said = capsys.readouterr().err
    assert "cannot be written (Not a directory); expected a folder for engines" in said
    assert said.count("\n") == 1


@needs_no_gpu
def test_int8_is_calibrated_on_a_folder_of_images(library, constant_bundle, tmp_path, capsys):
    # A convolution that is quantised lies between the image and the score.
    helper = onnx.helper
    model = onnx.load(constant_bundle.onnx_path)
    graph = model.graph
    random = np.random.default_rng(1)
    shapes = {"w0": (4, 96, 1, 1), "w1": (4, 4, 1, 1), "w2": (2, 4, 1, 1)}
    for name, shape in shapes.items():
        weight = random.normal(0, 0.1, shape).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    chain, place = ["pixels", "c0", "r0", "c1", "r1", "c2"], 1
    for index in range(3):
        graph.node.insert(place, helper.make_node("Conv", [chain[2 * index], f"w{index}"], [chain[2 * index + 1]]))
        place += 1
        if index < 2:
            graph.node.insert(place, helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
            place += 1
    next(node for node in graph.node if node.op_type == "ReduceSum").input[0] = "c2"
    onnx.save(model, tmp_path / "m.onnx")
    bundle = write_bundle(tmp_path / "deep", tmp_path / "m.onnx", constant_bundle)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(3):
        cv2.imwrite(str(images / f"{index}.png"), random.integers(0, 255, (48, 160, 3)).astype(np.uint8))
    arguments = ["engine", "--model", str(bundle.folder), "--int8", str(images), "--build-only"]
    assert cli.main(arguments) == 0
    assert "constant-model, int8, " in capsys.readouterr().out
    (kept,) = (tmp_path / "engines").glob("*.ranges.json")
    values = json.loads(kept.read_text())
    assert (values["frames"], values["source"]) == (3, str(images))
    assert set(values["ranges"]) == {"r0"}
    assert values["ranges"]["r0"] > 0
    # With the calibration kept, int8 can be built again, for another number of cameras, without the images.
    shutil.rmtree(images)
    again = ["engine", "--model", str(bundle.folder), "--precision", "int8", "--cameras", "2", "--build-only"]
    assert cli.main(again) == 0
    assert len(list((tmp_path / "engines").glob("*.engine"))) == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--cameras", "0"], "largest_batch: expected at least 1, got 0"),
        (["--int8", "/no/such/bag"], "/no/such/bag: no such file or folder"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
    ],
)
def test_mistakes_are_one_line(library, constant_bundle, capsys, arguments, text):
    assert cli.main(["engine", "--model", str(constant_bundle.folder), "--build-only", *arguments]) == 2
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1


def test_an_empty_folder_of_images_is_named(library, constant_bundle, tmp_path, capsys):
    (tmp_path / "none").mkdir()
    command = ["engine", "--model", str(constant_bundle.folder), "--build-only", "--int8", str(Path(tmp_path / "none"))]
    assert cli.main(command) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err

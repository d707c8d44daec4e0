"""ONNX Runtime and OpenVINO: the graph must be the bundle's; a small model runs the whole path."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsperception.backends import open_backend
from wsperception.bundle import OUTPUTS, ModelBundle, Thresholds, TrainingRecord, read_bundle, write_bundle
from wsperception.errors import InputError
from wsperception.pipeline import STAGES, Pipeline
from wsperception.rle import write_mots_lines
from wsperception.types import Frame, LabelSpace

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no model can be made")

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}

HEIGHT, WIDTH, ROWS, SIDE, LENGTH = 24, 40, 4, 2, 3
DESCRIPTION = ModelBundle(
    name="constant",
    input_size=(HEIGHT, WIDTH),
    label_space=LabelSpace(("car", "pedestrian"), (True, True)),
    mask_side=SIDE,
    mask_context=1.0,
    embedding_length=LENGTH,
    max_detections=ROWS,
    method="none",
    supervision="none",
    training=TrainingRecord("", "", "", {}),
    thresholds=Thresholds(),
)
BOXES = np.array([[4, 2, 12, 10], [20, 8, 28, 20], [30, 4, 36, 8], [0, 0, 0, 0]], np.float32)
VALUES = {
    "boxes": BOXES,
    "scores": np.array([0.95, 0.99, 0.5, 0.0], np.float32),
    "class_ids": np.array([0, 1, 0, 0], np.int32),
    "masks": np.ones((ROWS, SIDE, SIDE), np.float32),
    "mask_boxes": BOXES,
    "embeddings": np.tile(np.array([[0, 1, 0]], np.float32), (ROWS, 1)),
}

PANOPTIC = {"label_space": LabelSpace(("car", "road"), (True, False)), "outputs": (*OUTPUTS, "semantic")}


def write_model(path: Path, batch: int | str = 1, values: dict[str, np.ndarray] = VALUES, **changes: Any) -> Path:
    """A graph that gives `values` for every image; the boxes' first number is the image's first sample.

    changes: `image_type`, `image_shape`, `image_name` of the input.
    """
    helper = onnx.helper
    shape = changes.get("image_shape", (batch, HEIGHT, WIDTH, 3))
    kind = changes.get("image_type", onnx.TensorProto.UINT8)
    image = changes.get("image_name", "images")
    nodes, constants = [], []

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    # zeros (B): the first sample of each image, times nothing. It carries the batch into the outputs.
    nodes.append(helper.make_node("Cast", [image], ["floats"], to=onnx.TensorProto.FLOAT))
    nodes.append(helper.make_node("ReduceMax", ["floats", constant("axes", np.array([1, 2, 3]))], ["top"], keepdims=0))
    for name, array in values.items():
        tail = [1] * array.ndim
        nodes.append(
            helper.make_node("Reshape", ["top", constant(f"{name}_tail", np.array([-1, *tail]))], [f"{name}_b"])
        )
        factor = np.zeros(array.shape, np.float32)
        if name == "boxes":
            factor[0, 0] = 1.0
        nodes.append(helper.make_node("Mul", [f"{name}_b", constant(f"{name}_factor", factor[None])], [f"{name}_m"]))
        added = constant(f"{name}_value", array[None].astype(np.float32))
        nodes.append(helper.make_node("Add", [f"{name}_m", added], [f"{name}_f"]))
        to = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        nodes.append(helper.make_node("Cast", [f"{name}_f"], [name], to=to))
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(image, kind, shape)],
        [
            helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), (shape[0], *array.shape)
            )
            for name, array in values.items()
        ],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def bundle_of(tmp_path: Path, model: Path, **changes: object) -> ModelBundle:
    return write_bundle(tmp_path / "bundle", model, dataclasses.replace(DESCRIPTION, **changes))


def images(count: int) -> np.ndarray:
    """Images whose greatest samples are 0, 1, 2, ..."""
    batch = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    batch[:, 5, 7, 1] = np.arange(count)
    return batch


@pytest.fixture(params=PACKAGES)
def engine(request: pytest.FixtureRequest) -> str:
    """Name of a backend that runs on a CPU."""
    if importlib.util.find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{PACKAGES[request.param]} is not installed")
    return str(request.param)


@pytest.mark.parametrize("batch", [1, "batch"])
def test_outputs_of_each_image(tmp_path, engine, batch):
    backend = open_backend(bundle_of(tmp_path, write_model(tmp_path / "m.onnx", batch)), engine, threads=1)
    assert backend.name == backend.describe().backend == engine
    assert backend.describe().device == "CPU, 1 threads"
    for count in (1, 3):
        outputs = backend.run(images(count))
        assert len(outputs) == count
        for index, raw in enumerate(outputs):
            assert raw.boxes[0].tolist() == [4 + index, 2, 12, 10]
            assert raw.boxes[1:].tolist() == BOXES[1:].tolist()
            for name in OUTPUTS[1:]:
                assert (getattr(raw, name) == VALUES[name]).all()
                assert getattr(raw, name).dtype == VALUES[name].dtype
    assert backend.run(images(0)) == []
    backend.close()


@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_panoptic_network_gives_its_semantic_map_too(tmp_path, engine, batch):
    # One stuff class, so two channels, at a quarter of 24 x 40.
    semantic = np.arange(2 * 6 * 10, dtype=np.uint8).reshape(2, 6, 10)
    model = write_model(tmp_path / "m.onnx", batch, {"semantic": semantic, **VALUES})
    bundle = bundle_of(tmp_path, model, **PANOPTIC)
    backend = open_backend(bundle, engine, threads=1)
    for raw in backend.run(images(2)):
        assert raw.semantic is not None
        assert raw.semantic.dtype == np.uint8
        assert (raw.semantic == semantic).all()
    backend.close()
    # A bundle that does not promise the map does not give it, whatever the graph has.
    plain = open_backend(bundle_of(tmp_path / "plain", model), engine, threads=1)
    assert plain.run(images(1))[0].semantic is None
    plain.close()


@pytest.mark.parametrize(
    ("semantic", "text"),
    [
        (None, "missing output 'semantic'; it has boxes"),
        (np.zeros((2, 6, 10), np.float32), "output 'semantic': expected uint8, got float32"),
        (np.zeros((3, 6, 10), np.uint8), r"output 'semantic': expected shape \(batch 1 or free, 2, 6, 10\), got"),
        (np.zeros((2, 24, 40), np.uint8), r"output 'semantic': expected shape \(batch 1 or free, 2, 6, 10\), got"),
    ],
)
def test_foreign_semantic_maps_are_refused(tmp_path, engine, semantic, text):
    values = VALUES if semantic is None else {**VALUES, "semantic": semantic}
    bundle = bundle_of(tmp_path, write_model(tmp_path / "m.onnx", values=values), **PANOPTIC)
    with pytest.raises(InputError, match=f"bundle/model.onnx: {text}"):
        open_backend(bundle, engine)


def test_outputs_are_found_by_name_not_by_place(tmp_path, engine):
    turned = dict(reversed(VALUES.items()))
    backend = open_backend(bundle_of(tmp_path, write_model(tmp_path / "m.onnx", values=turned)), engine, threads=1)
    assert backend.run(images(1))[0].scores.tolist() == VALUES["scores"].tolist()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"image_name": "image"}, "expected one input 'images', got image"),
        ({"image_type": 1}, r"input 'images': expected uint8, got float32"),
        (
            {"image_shape": (1, 24, 41, 3)},
            r"input 'images': expected shape \(batch 1 or free, 24, 40, 3\), got \(1, 24, 41",
        ),
        ({"image_shape": (1, 3, 24, 40)}, "input 'images': expected shape"),
        ({"image_shape": (2, 24, 40, 3)}, "input 'images': expected shape .batch 1 or free"),
    ],
)
def test_foreign_inputs_are_refused(tmp_path, engine, model, text):
    bundle = bundle_of(tmp_path, write_model(tmp_path / "m.onnx", **model))
    with pytest.raises(InputError, match=f"bundle/model.onnx: {text}") as caught:
        open_backend(bundle, engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scores": None}, "missing output 'scores'; it has boxes, class_ids"),
        ({"class_ids": np.zeros(ROWS, np.int64)}, r"output 'class_ids': expected int32, got int64"),
        ({"scores": np.zeros(ROWS + 1, np.float32)}, r"output 'scores': expected shape \(batch 1 or free, 4\), got"),
        ({"masks": np.zeros((ROWS, 3, 3), np.float32)}, r"output 'masks': expected shape \(batch 1 or free, 4, 2, 2\)"),
        ({"embeddings": np.zeros((ROWS, 5), np.float32)}, "output 'embeddings': expected shape .batch 1 or free, 4, 3"),
        ({"boxes": np.zeros((ROWS, 5), np.float32)}, "output 'boxes': expected shape .batch 1 or free, 4, 4"),
    ],
)
def test_foreign_outputs_are_refused(tmp_path, engine, change, text):
    values = {name: array for name, array in {**VALUES, **change}.items() if array is not None}
    bundle = bundle_of(tmp_path, write_model(tmp_path / "m.onnx", values=values))
    with pytest.raises(InputError, match=f"bundle/model.onnx: {text}"):
        open_backend(bundle, engine)


def test_free_sizes_are_checked_when_they_show(tmp_path, engine):
    # A score for every sample of the image that is not 0: ONNX Runtime cannot know how many before it runs.
    path = write_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    kept = [node for node in model.graph.node if node.output[0] != "scores"]
    helper = onnx.helper
    kept.append(helper.make_node("NonZero", ["floats"], ["places"]))
    kept.append(helper.make_node("Slice", ["places", "zero", "one", "zero"], ["lines"]))
    kept.append(helper.make_node("Cast", ["lines"], ["scores"], to=onnx.TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for name, value in (("zero", 0), ("one", 1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value]), name))
    next(entry for entry in model.graph.output if entry.name == "scores").type.tensor_type.shape.dim[1].dim_param = "n"
    onnx.save(model, path)
    backend = open_backend(bundle_of(tmp_path, path), engine, threads=1)
    image = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    image[0, 0, :ROWS, 0] = 1
    assert backend.run(image)[0].scores.shape == (ROWS,)
    image[0, 0, ROWS, 0] = 1
    with pytest.raises(InputError, match=r"model.onnx: output 'scores': expected \(1, 4\), got \(1, 5\)"):
        backend.run(image)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 40])
def test_a_file_that_is_no_network(tmp_path, engine, content):
    (tmp_path / "m.onnx").write_bytes(content)
    bundle = bundle_of(tmp_path, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"bundle/model.onnx: (ONNX Runtime|OpenVINO) cannot load it: ") as caught:
        open_backend(bundle, engine)
    assert "\n" not in str(caught.value)


def test_a_foreign_operator_is_named(tmp_path, engine):
    model = onnx.load(write_model(tmp_path / "m.onnx"))
    model.graph.node[0].op_type, model.graph.node[0].domain = "Shimmer", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"bundle/model.onnx: .* cannot load it: .*Shimmer") as caught:
        open_backend(bundle_of(tmp_path, tmp_path / "m.onnx"), engine)
    assert "\n" not in str(caught.value)


def test_unknown_backend_and_threads(tmp_path, monkeypatch):
    bundle = bundle_of(tmp_path, write_model(tmp_path / "m.onnx"))
    with pytest.raises(InputError, match="backend 'fpga': unknown; expected auto, onnx"):
        open_backend(bundle, "fpga")
    with pytest.raises(InputError, match="threads: expected at least 1, got 0"):
        open_backend(bundle, "onnx", threads=0)
    monkeypatch.setenv("WSPERCEPTION_THREADS", "many")
    with pytest.raises(InputError, match="WSPERCEPTION_THREADS: expected a number >= 1, got 'many'"):
        open_backend(bundle, "onnx")


def test_the_whole_path(tmp_path, engine):
    # Images of 48 x 80 into 24 x 40: scale 0.5, so boxes double. The third detection is below 0.9, the fourth padding.
    bundle = read_bundle(bundle_of(tmp_path, write_model(tmp_path / "m.onnx")).folder)
    pipeline = Pipeline(open_backend(bundle, engine, threads=1), bundle)
    for index in range(2):
        result = pipeline(Frame(np.zeros((48, 80, 3), np.uint8), index, "front", index))
        assert result.segments.boxes.tolist() == [[0, 0, 0, 0], [40, 16, 56, 40], [8, 4, 24, 20]]
        assert result.segments.track_ids.tolist() == [0, 1, 2]
        assert result.segments.class_ids.tolist() == [-1, 1, 0]
        assert np.bincount(result.segments.ids.ravel()).tolist() == [48 * 80 - 16 * 24 - 16 * 16, 16 * 24, 16 * 16]
        assert tuple(result.timings_ms) == STAGES
        lines = write_mots_lines(index, result.segments, bundle.label_space)
        assert [line.split()[:5] for line in lines] == [
            [str(index), "1", "2", "48", "80"],
            [str(index), "2", "1", "48", "80"],
        ]

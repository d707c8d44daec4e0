"""Fixtures that several tests share: a model that needs no training, and real sample data where it lies beside us."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord, write_bundle
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
INPUT_SIZE = (96, 320)
"""(h, w) of the constant bundle's network."""
CONSTANT_BOXES = np.array([[20, 30, 120, 80], [200, 20, 230, 90]], np.float32)
"""What the constant bundle sees in every image, in network-input pixels: a car and a pedestrian."""


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts into the background deaf to Ctrl-C, and all processes of the tests would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def constant_bundle(tmp_path: Path) -> ModelBundle:
    """A bundle whose network sees a car (score 0.98) and a pedestrian (score 0.95) at CONSTANT_BOXES in every image."""
    return write_constant_bundle(tmp_path / "constant-model")


def write_constant_bundle(folder: Path) -> ModelBundle:
    """Writes it into `folder`."""
    rows, side, length = 3, 7, 4  # the last row is padding
    boxes = np.zeros((1, rows, 4), np.float32)
    boxes[0, :2] = CONSTANT_BOXES
    embeddings = np.zeros((1, rows, length), np.float32)
    embeddings[0, :, 0] = 1.0
    embeddings[0, 1] = (0.0, 1.0, 0.0, 0.0)
    outputs = {
        "boxes": boxes,
        "scores": np.array([[0.98, 0.95, 0.0]], np.float32),
        "class_ids": np.array([[0, 1, 0]], np.int32),
        "masks": np.full((1, rows, side, side), 0.9, np.float32),
        "mask_boxes": boxes,
        "embeddings": embeddings,
    }
    file = folder.with_suffix(".onnx")
    file.write_bytes(_constant_model(outputs))
    bundle = ModelBundle(
        name=folder.name,
        input_size=INPUT_SIZE,
        label_space=LABELS,
        mask_side=side,
        mask_context=1.0,
        embedding_length=length,
        max_detections=rows,
        method="constant",
        supervision="none",
        training=TrainingRecord("none", "none", "none", {}),
        thresholds=Thresholds(),
    )
    return write_bundle(folder, file, bundle)


def _constant_model(outputs: dict[str, np.ndarray]) -> bytes:
    """ONNX of a network that gives `outputs` whatever it sees: one has 0 x the sum of the image added."""
    pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
    from onnx import TensorProto, helper, numpy_helper

    height, width = INPUT_SIZE
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["pixels"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["constant_scores", "nothing"], ["scores"]),
    ]
    nodes += [helper.make_node("Identity", [f"constant_{name}"], [name]) for name in outputs if name != "scores"]
    initializers = [numpy_helper.from_array(array, f"constant_{name}") for name, array in outputs.items()]
    initializers.append(numpy_helper.from_array(np.array(0.0, np.float32), "zero"))
    kinds = {name: TensorProto.INT32 if name == "class_ids" else TensorProto.FLOAT for name in outputs}
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, (1, height, width, 3))],
        [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in outputs.items()],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Folder of real sample data by name; the test is skipped, with the reason, where the data is absent."""

    def find(name: str) -> Path:
        folder = Path(__file__).resolve().parents[2] / "shared" / "data" / name
        if not folder.exists():
            pytest.skip(f"real sample data ../shared/data/{name} not present")
        return folder

    return find

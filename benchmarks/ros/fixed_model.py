"""A network that takes no time and always finds the same objects: what is left is the node."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord, write_bundle
from wsperception.types import LabelSpace

INPUT_SIZE = (96, 320)
OBJECTS, MASK_SIDE, EMBEDDING = 20, 28, 8


def write_fixed_bundle(folder: Path) -> Path:
    """A bundle whose graph answers with OBJECTS disjoint boxes whatever the image shows."""
    height, width = INPUT_SIZE
    column, row = np.meshgrid(np.arange(10), np.arange(2))
    left, top = column.ravel() * width / 10 + 2, row.ravel() * height / 2 + 8
    boxes = np.stack([left, top, left + 24, top + 30], axis=1).astype(np.float32)
    constants = {
        "boxes": boxes[None],
        "scores": np.full((1, OBJECTS), 0.95, np.float32),
        "class_ids": (np.arange(OBJECTS) % 2).astype(np.int32)[None],
        "masks": np.full((1, OBJECTS, MASK_SIDE, MASK_SIDE), 0.9, np.float32),
        "mask_boxes": boxes[None],
        "embeddings": np.eye(OBJECTS, EMBEDDING, dtype=np.float32)[np.arange(OBJECTS) % EMBEDDING][None],
    }
    nodes = [helper.make_node("Identity", [f"{name}_0"], [name]) for name in constants]
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in constants.items()
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, [1, height, width, 3])
    weights = [numpy_helper.from_array(array, f"{name}_0") for name, array in constants.items()]
    graph = helper.make_graph(nodes, "fixed", [images], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "source.onnx")
    bundle = ModelBundle(
        name="fixed",
        input_size=INPUT_SIZE,
        label_space=LabelSpace(("car", "pedestrian"), (True, True)),
        mask_side=MASK_SIDE,
        mask_context=1.0,
        embedding_length=EMBEDDING,
        max_detections=OBJECTS,
        method="none",
        supervision="none",
        training=TrainingRecord("none", "none", "none", {}),
        thresholds=Thresholds(),
    )
    write_bundle(folder / "fixed", folder / "source.onnx", bundle)
    return folder / "fixed"

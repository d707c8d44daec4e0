"""A model small enough to know its answers by heart: it finds what is painted pure red and pure green."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord, write_bundle
from wsperception.types import LabelSpace

HEIGHT, WIDTH = 48, 80
"""Size of the toy model's input. Images of this size are not scaled, so boxes come out as they were painted."""

RED, GREEN = (255, 0, 0), (0, 255, 0)


def write_toy_bundle(
    folder: Path, classes: tuple[str, ...] = ("car", "pedestrian"), stuff: tuple[str, ...] = ()
) -> Path:
    """A bundle that finds the pure red pixels as a car (score 0.95) and the pure green ones as a pedestrian (0.92).

    Each is one object, whose box is tight around its pixels and whose mask is the whole box.
    """
    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {
        "zero": np.zeros(1, np.float32),
        "columns": np.arange(WIDTH, dtype=np.float32).reshape(1, 1, WIDTH),
        "rows": np.arange(HEIGHT, dtype=np.float32).reshape(1, HEIGHT, 1),
        "width": np.array([WIDTH], np.float32),
        "height": np.array([HEIGHT], np.float32),
        "one": np.ones(1, np.float32),
        "plane": np.array([1, 2], np.int64),
        "last": np.array([-1], np.int64),
    }

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    scores, boxes = [], []
    for name, colour, score in (("red", RED, 0.95), ("green", GREEN, 0.92)):
        constants[f"{name}_colour"] = np.array(colour, np.uint8)
        constants[f"{name}_score"] = np.array([score], np.float32)
        add("Equal", ["images", f"{name}_colour"], f"{name}_equal")
        add("Cast", [f"{name}_equal"], f"{name}_channels", to=TensorProto.FLOAT)
        mask = add("ReduceMin", [f"{name}_channels", "last"], f"{name}_mask", keepdims=0)  # (1, h, w)
        found = add("ReduceMax", [mask, "plane"], f"{name}_found", keepdims=0)  # (1,)
        scores.append(add("Mul", [found, f"{name}_score"], f"{name}_scored"))
        for axis, size in (("columns", "width"), ("rows", "height")):
            # The last index is max(mask * index); the first is size - max(mask * (size - index)).
            add("Add", [axis, "one"], f"{name}_{axis}_after")
            add("Mul", [mask, f"{name}_{axis}_after"], f"{name}_{axis}_masked")
            add("ReduceMax", [f"{name}_{axis}_masked", "plane"], f"{name}_{axis}_end", keepdims=0)
            add("Sub", [size, axis], f"{name}_{axis}_mirrored")
            add("Mul", [mask, f"{name}_{axis}_mirrored"], f"{name}_{axis}_back")
            add("ReduceMax", [f"{name}_{axis}_back", "plane"], f"{name}_{axis}_reach", keepdims=0)
            add("Sub", [size, f"{name}_{axis}_reach"], f"{name}_{axis}_start")
        corners = [f"{name}_{axis}_{end}" for end in ("start", "end") for axis in ("columns", "rows")]
        for corner in corners:
            add("Unsqueeze", [corner, "last"], f"{corner}_1")
        boxes.append(add("Concat", [f"{corner}_1" for corner in corners], f"{name}_box", axis=1))  # (1, 4)
    constants["padding_scores"] = np.zeros((1, 1), np.float32)
    constants["padding_boxes"] = np.zeros((1, 1, 4), np.float32)
    for group in (scores, boxes):
        for name in group:
            add("Unsqueeze", [name, "one_axis"], f"{name}_row")
    constants["one_axis"] = np.array([1], np.int64)
    add("Concat", [*(f"{name}_row" for name in scores), "padding_scores"], "scores", axis=1)
    add("Concat", [*(f"{name}_row" for name in boxes), "padding_boxes"], "boxes", axis=1)
    add("Identity", ["boxes"], "mask_boxes")
    constants["class_ids_0"] = np.array([[0, 1, 0]], np.int32)
    constants["masks_0"] = np.ones((1, 3, 4, 4), np.float32)
    constants["embeddings_0"] = np.eye(3, dtype=np.float32)[None]
    for name in ("class_ids", "masks", "embeddings"):
        add("Identity", [f"{name}_0"], name)

    value = helper.make_tensor_value_info
    outputs = [
        value("boxes", TensorProto.FLOAT, [1, 3, 4]),
        value("scores", TensorProto.FLOAT, [1, 3]),
        value("class_ids", TensorProto.INT32, [1, 3]),
        value("masks", TensorProto.FLOAT, [1, 3, 4, 4]),
        value("mask_boxes", TensorProto.FLOAT, [1, 3, 4]),
        value("embeddings", TensorProto.FLOAT, [1, 3, 3]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [value("images", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "source.onnx"
    onnx.save(model, path)
    names = (*classes, *stuff)
    labels = LabelSpace(names, tuple(name in classes for name in names))
    bundle = ModelBundle(
        name="toy",
        input_size=(HEIGHT, WIDTH),
        label_space=labels,
        mask_side=4,
        mask_context=1.0,
        embedding_length=3,
        max_detections=3,
        method="by hand",
        supervision="none",
        training=TrainingRecord("none", "none", "none", {}),
        thresholds=Thresholds(score=0.9),
    )
    write_bundle(folder / "toy", path, bundle)
    return folder / "toy"


def picture(
    red: tuple[int, int, int, int] | None = None,
    green: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> np.ndarray:
    """(H, W, 3) uint8 RGB grey picture with a red and a green box, x0 y0 x1 y1 exclusive."""
    image = np.full((*size, 3), 90, np.uint8)
    for box, colour in ((red, RED), (green, GREEN)):
        if box is not None:
            image[box[1] : box[3], box[0] : box[2]] = colour
    return image

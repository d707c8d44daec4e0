"""Precision written into a graph: what becomes half, what stays, and that ONNX Runtime computes the same."""

import numpy as np
import pytest

from wsperception.backends.engine_graph import engine_graph, with_all_masks, with_cast_first
from wsperception.backends.half_graph import in_half
from wsperception.backends.int8_graph import calibrate, in_int8, quantisable, quantised_weight

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no graph can be made")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
helper = onnx.helper

IMAGE = np.random.default_rng(3).integers(0, 255, (1, 6, 9, 3)).astype(np.uint8)


def model_of(nodes, weights, outputs):
    """A graph from `images` (1, 6, 9, 3) uint8 to FP32 outputs of any shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ("batch", 6, 9, 3))],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * dimensions)
            for name, dimensions in outputs.items()
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def network():
    """Two convolutions with a ReLU between, whose map `map` leaves for arithmetic in pixels; 1000 + 4 * its mean."""
    random = np.random.default_rng(0)
    weights = {
        "w0": random.normal(0, 0.05, (4, 3, 3, 3)).astype(np.float32),
        "b0": np.array([0.5, -0.25, 0.0, 1.0], np.float32),
        "w1": random.normal(0, 0.3, (5, 4, 1, 1)).astype(np.float32),
        "w2": random.normal(0, 0.3, (2, 5, 1, 1)).astype(np.float32),
        "scale": np.array(1 / 64, np.float32),
        "four": np.array(4.0, np.float32),
        "corner": np.array([[[1000.0]], [[1248.0]]], np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["turned"], perm=[0, 3, 1, 2], name="turn"),
        helper.make_node("Cast", ["turned"], ["pixels"], to=1, name="cast"),
        helper.make_node("Mul", ["pixels", "scale"], ["normal"], name="normalise"),
        helper.make_node("Conv", ["normal", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1], name="conv0"),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], name="conv1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Shape", ["r1"], ["size"], name="shape"),
        helper.make_node("Conv", ["r1", "w2"], ["map"], name="conv2"),
        helper.make_node("ReduceMean", ["map"], ["mean"], keepdims=1, name="mean"),
        helper.make_node("Mul", ["mean", "four"], ["delta"], name="decode"),
        helper.make_node("Add", ["delta", "corner"], ["boxes"], name="place"),
    ]
    return model_of(nodes, weights, {"boxes": 4, "map": 4})


def run(model, image=IMAGE):
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(
        zip((output.name for output in session.get_outputs()), session.run(None, {"images": image}), strict=True)
    )


def types(model):
    """Element type of every tensor, as ONNX infers it."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {entry.name: entry.type.tensor_type.elem_type for entry in (*inferred.value_info, *inferred.output)}
    return {name: onnx.TensorProto.DataType.Name(kind) for name, kind in found.items()}


def test_layers_are_half_and_coordinates_are_not():
    model = network()
    half = in_half(model)
    kinds = types(half)
    for name in ("c0_half", "r0_half", "c1_half", "r1_half", "map_half"):
        assert kinds[name] == "FLOAT16"
    for name in ("normal", "map", "mean", "delta", "boxes"):
        assert kinds[name] == "FLOAT"
    casts = [node.name for node in half.graph.node if node.op_type == "Cast"]
    assert casts == ["cast", "normal_to_half", "map_to_single"]  # one on the way in, one on the way out
    assert next(node for node in half.graph.node if node.op_type == "Shape").input[0] == "r1_half"


def test_half_computes_the_same_within_its_precision():
    wanted, got = run(network()), run(in_half(network()))
    # Values of about 3 are known to 3 / 2048; a corner of 1248 to much less than the half pixel of half precision.
    assert np.abs(got["map"] - wanted["map"]).max() < 0.01
    assert np.abs(got["map"] - wanted["map"]).max() > 0  # it was not simply left alone
    assert np.abs(got["boxes"] - wanted["boxes"]).max() < 0.02
    assert {name: array.dtype for name, array in got.items()} == {"boxes": np.float32, "map": np.float32}


def test_a_weight_that_half_precision_cannot_hold_shows_in_the_result():
    model = network()
    bias = next(entry for entry in model.graph.initializer if entry.name == "b0")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([7e4, 0, 0, 0], np.float32), "b0"))
    assert np.isfinite(run(model)["map"]).all()
    assert not np.isfinite(run(in_half(model))["map"]).any()


def test_the_model_given_is_not_changed():
    model = network()
    before = model.SerializeToString()
    in_half(model)
    in_int8(model, calibrate(model, IMAGE))
    with_cast_first(model)
    assert model.SerializeToString() == before


def test_sums_of_half_and_single_stay_single():
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=1),
        helper.make_node("Reshape", ["pixels", "flat"], ["rows"]),
        helper.make_node("Gemm", ["rows", "w"], ["hidden"]),
        helper.make_node("Add", ["hidden", "rows"], ["mixed"]),
        helper.make_node("Add", ["hidden", "hidden"], ["twice"]),
        helper.make_node("Reshape", ["twice", "flat"], ["again"]),
        helper.make_node("Gemm", ["again", "w"], ["deep"]),
    ]
    weights = {"flat": np.array([-1, 3]), "w": np.eye(3, dtype=np.float32) / 2}
    model = model_of(nodes, weights, {"mixed": 2, "deep": 2})
    kinds = types(in_half(model))
    assert kinds["mixed"] == "FLOAT"
    assert "mixed_half" not in kinds
    assert kinds["twice_half"] == kinds["again_half"] == kinds["deep_half"] == "FLOAT16"
    got = run(in_half(model))
    # x / 2 + x; and (x / 2 + x / 2) / 2. Both are exact in half precision for whole x up to 255.
    assert (got["mixed"] == IMAGE.reshape(-1, 3) * np.float32(1.5)).all()
    assert (got["deep"] == IMAGE.reshape(-1, 3) / np.float32(2)).all()


def test_a_resize_keeps_its_scales_in_single():
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=1),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["c"]),
        helper.make_node("Resize", ["c", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Conv", ["large", "w"], ["out"]),
    ]
    weights = {"w": np.eye(3, dtype=np.float32)[:, :, None, None], "scales": np.array([1, 1, 2, 2], np.float32)}
    half = in_half(model_of(nodes, weights, {"out": 4}))
    resize = next(node for node in half.graph.node if node.op_type == "Resize")
    assert list(resize.input) == ["c_half", "", "scales"]
    assert (run(half)["out"] == IMAGE.transpose(0, 3, 1, 2).repeat(2, axis=2).repeat(2, axis=3)).all()


def test_products_of_two_computed_tensors_stay_single():
    # Suppression multiplies matrices too, and counts up to 1000 there.
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=1),
        helper.make_node("MatMul", ["pixels", "pixels_t"], ["product"]),
        helper.make_node("Transpose", ["pixels"], ["pixels_t"], perm=[0, 1, 3, 2]),
    ]
    nodes[1], nodes[2] = nodes[2], nodes[1]
    assert types(in_half(model_of(nodes, {}, {"product": 4})))["product"] == "FLOAT"


def test_weights_in_int8_by_hand():
    # Rows of maxima 2.54, 0 and 0.127: scales 0.02, 1 (nothing to scale) and 0.001.
    weight = np.array([[2.54, -1.0, 0.03], [0, 0, 0], [0.0004, -0.127, 0.0636]], np.float32)
    integers, scales = quantised_weight(weight, 0)
    assert scales == pytest.approx([0.02, 1.0, 0.001])
    assert integers.tolist() == [[127, -50, 2], [0, 0, 0], [0, -127, 64]]  # 0.03 / 0.02 = 1.5 rounds to even
    turned, again = quantised_weight(weight.T, 1)
    assert (turned == integers.T).all()
    assert again.tolist() == scales.tolist()


def test_ranges_are_means_of_maxima():
    # conv1 and conv2 are left: the first reads the image. Their inputs are the two ReLUs. conv2's result leaves.
    model = network()
    assert [node.name for node in quantisable(model)] == ["conv1"]
    model.graph.output.append(helper.make_tensor_value_info("r0", onnx.TensorProto.FLOAT, [None] * 4))
    dark = np.zeros_like(IMAGE)
    tops = [float(run(model, image)["r0"].max()) for image in (IMAGE, dark)]
    assert tops[0] > tops[1] == 1.0  # the largest bias
    ranges = calibrate(model, np.concatenate([IMAGE, dark]))
    assert ranges == pytest.approx({"r0": (tops[0] + tops[1]) / 2})
    assert calibrate(model, []) == {}


def test_int8_computes_the_same_within_its_steps():
    model = network()
    ranges = calibrate(model, IMAGE)
    stepped = in_int8(model, ranges)
    kinds = [node.op_type for node in stepped.graph.node]
    assert kinds.count("QuantizeLinear") == 1
    assert kinds.count("DequantizeLinear") == 2  # activation and weight
    assert {entry.name for entry in stepped.graph.initializer if entry.name == "w1"} == set()  # stored as int8 only
    wanted, got = run(model)["map"], run(stepped)["map"]
    assert 0 < np.abs(got - wanted).max() < 0.02 * np.abs(wanted).max()
    assert [node.op_type for node in in_int8(model, {}).graph.node] == [node.op_type for node in model.graph.node]


def test_int8_between_half_layers_adds_no_casts():
    model = network()
    both = engine_graph(model, "int8", calibrate(model, IMAGE))
    casts = [node.name for node in both.graph.node if node.op_type == "Cast"]
    assert len(casts) == 3
    assert casts[1:] == ["normal_to_half", "map_to_single"]
    kinds = types(both)
    assert kinds["r0_int8"] == "INT8"
    assert kinds["r0_stepped_half"] == kinds["w1_stepped_half"] == "FLOAT16"
    wanted, got = run(model)["map"], run(both)["map"]
    assert np.abs(got - wanted).max() < 0.03 * np.abs(wanted).max()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_image_is_cast_before_it_is_turned(precision):
    found = engine_graph(network(), precision)
    first, second = found.graph.node[:2]
    assert (first.op_type, first.input[0]) == ("Cast", "images")
    assert (second.op_type, second.input[0], second.output[0]) == ("Transpose", first.output[0], "pixels")
    tolerance = 0 if precision == "fp32" else 0.01
    assert np.abs(run(found)["map"] - run(network())["map"]).max() <= tolerance


def test_a_transpose_that_others_read_stays():
    model = network()
    model.graph.node.append(helper.make_node("Cast", ["turned"], ["more"], to=1))
    assert [node.op_type for node in with_cast_first(model).graph.node] == [node.op_type for node in model.graph.node]


def test_a_length_that_depends_on_the_image_becomes_all_rows():
    # Rows 0 and 2 of six are bright. Their number, 2, is how many masks are made; `bright` is read by others, too.
    image = np.zeros((1, 6, 9, 3), np.uint8)
    image[0, [0, 2]] = 200
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=1),
        helper.make_node("ReduceMean", ["pixels", "inner"], ["masks_of_all"], keepdims=0),  # (1, 6)
        helper.make_node("Greater", ["masks_of_all", "hundred"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["ones"], to=7),
        helper.make_node("ReduceSum", ["ones"], ["mask_rows"], keepdims=0),
        helper.make_node("Reshape", ["mask_rows", "one"], ["end"]),
        helper.make_node("Slice", ["masks_of_all", "zero", "end", "one"], ["some"]),
        helper.make_node("Sub", ["six", "end"], ["missing"]),
        helper.make_node("Concat", ["zero", "zero", "zero", "missing"], ["pads"], axis=0),
        helper.make_node("Pad", ["some", "pads"], ["masks"]),
        helper.make_node("Cast", ["bright"], ["boxes"], to=1),
    ]
    weights = {
        "inner": np.array([2, 3]), "hundred": np.array(100.0, np.float32), "one": np.array([1]), "zero": np.array([0]),
        "six": np.array([6]),
    }  # fmt: skip
    model = model_of(nodes, weights, {"masks": 2, "boxes": 2})
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 6
    before = model.SerializeToString()
    static = with_all_masks(model)
    assert model.SerializeToString() == before
    assert {node.output[0] for node in model.graph.node} - {node.output[0] for node in static.graph.node} == {
        "ones", "mask_rows",
    }  # fmt: skip
    assert run(model, image)["masks"].tolist() == [[200, 0, 0, 0, 0, 0]]
    assert run(static, image)["masks"].tolist() == [[200, 0, 200, 0, 0, 0]]
    assert run(static, image)["boxes"].tolist() == [[1, 0, 1, 0, 0, 0]]
    assert with_all_masks(static) == static  # nothing to replace, as in files from before there was a length

"""PyTorch: the shipped model rebuilt from its bundle computes what its ONNX file does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from wsperception.backends import EngineOptions, open_backend, torch_, torch_graph  # noqa: E402
from wsperception.backends.reference_frames import reference_images  # noqa: E402
from wsperception.bundle import ModelBundle, read_bundle, write_bundle  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.from_bundle import deployed_net  # noqa: E402

MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny"


@pytest.fixture(scope="module")
def tiny() -> ModelBundle:
    return read_bundle(MODEL)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield 1
    torch.set_num_threads(before)


def changed(bundle: ModelBundle, folder: Path, recipe: dict, onnx_path: Path | None = None) -> ModelBundle:
    training = dataclasses.replace(bundle.training, recipe=recipe)
    return write_bundle(folder, onnx_path or bundle.onnx_path, dataclasses.replace(bundle, training=training))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there: the CPU is not what is loaded")
def test_the_shipped_model_on_the_cpu(tiny, threads):
    backend = open_backend(tiny, "torch", threads, largest_batch=2)  # held against ONNX Runtime when it is loaded
    facts = backend.describe()
    assert (facts.backend, facts.precision, facts.device) == ("torch", "fp32", "CPU, 1 threads")
    assert facts.gpu_memory_bytes is None
    assert backend.run(np.zeros((0, *tiny.input_size, 3), np.uint8)) == []
    images = reference_images(tiny)[:3]
    together = backend.run(images)  # in pieces of two and one
    for image, expected in zip(images[1:], together[1:], strict=True):
        alone = backend.run(image[np.newaxis])[0]
        assert np.allclose(alone.scores, expected.scores, atol=1e-4)
        assert (expected.scores > 0).any()
    backend.close()


def test_auto_does_not_take_it_without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    assert torch_.obstacle() in ("no NVIDIA driver (libcuda.so.1)", "PyTorch finds no CUDA GPU that it can use")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there: fp16 is possible")
def test_half_precision_needs_a_gpu(tiny):
    with pytest.raises(
        InputError, match=r"^precision: expected auto, fp32 for backend 'torch' without a CUDA GPU, got fp16$"
    ):
        torch_.load(tiny, EngineOptions(1, "fp16"))


def test_a_bundle_without_a_recipe_names_the_backend_that_works(tiny, tmp_path):
    bundle = changed(tiny, tmp_path / "bundle", {})
    with pytest.raises(
        InputError, match=r"bundle.json: training: recipe: has no net and detect, .*; use backend 'onnx'$"
    ):
        torch_.load(bundle, EngineOptions(1))


def test_a_recipe_that_is_not_the_files_is_refused(tiny, tmp_path):
    method = tiny.training.recipe["method"]
    bundle = changed(tiny, tmp_path / "a", {"method": {**method, "net": {**method["net"], "mask_layers": 5}}})
    with pytest.raises(InputError, match=r"model.onnx: not the network of its recipe: expected a Conv for .*convs.8'"):
        torch_.load(bundle, EngineOptions(1))
    bundle = changed(tiny, tmp_path / "b", {"method": {**method, "net": {**method["net"], "mask_layers": "four"}}})
    with pytest.raises(InputError, match=r"bundle.json: training: recipe: net: mask_layers: expected int, got 'four'"):
        torch_.load(bundle, EngineOptions(1))


def test_weights_that_compute_something_else_are_refused_with_the_figures(tiny, threads, tmp_path):
    # Every array fits, but the anchors are more than twice as large as those that the weights were trained for.
    method = tiny.training.recipe["method"]
    recipe = {"method": {**method, "net": {**method["net"], "anchor_scale": 9.0}}}
    bundle = changed(tiny, tmp_path / "bundle", recipe)
    with pytest.raises(InputError, match=r"refused, its results differ from the FP32 reference's: .*bar"):
        torch_.load(bundle, EngineOptions(threads))


def test_half_precision_is_of_the_layers_alone_and_in_a_copy(tiny):
    network = deployed_net(tiny)
    ready = torch_graph.prepared(network, torch.device("cpu"), "bf16")
    assert ready.net.mask.logits.weight.dtype == ready.net.track.hidden.bias.dtype == torch.bfloat16
    assert ready.net.mean.dtype == network.net.mask.logits.weight.dtype == torch.float32
    assert ready.net.rpn.conv[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    images = torch.from_numpy(reference_images(tiny)[:1])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        boxes, scores, class_ids, masks, _, embeddings = ready(images)
    assert boxes.dtype == torch.float32  # geometry is not rounded
    assert class_ids.dtype == torch.int32
    with torch.inference_mode():
        _, expected, _, _, _, _ = network(images)
    assert abs(float(scores.max()) - float(expected.max())) < 0.1
    assert masks.isfinite().all()
    assert embeddings.isfinite().all()


def test_constants_are_made_once_for_equal_values():
    with torch_graph._constants():
        first, again, other = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]), torch.tensor([1, 2])
    assert again is first
    assert other.dtype == torch.int64
    assert torch.tensor([1.0, 2.0]) is not first

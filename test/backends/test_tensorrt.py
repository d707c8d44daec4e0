"""The engine on a GPU: what it computes, in which batches, and what is left behind. Skipped where there is no GPU.

Without one: what is said instead.
"""

import ctypes.util
import threading
from dataclasses import replace

import numpy as np
import pytest

from wsperception.backends import EngineOptions, cuda_driver, engine_supply, open_backend, tensorrt_
from wsperception.backends.cuda_driver import CudaError, no_gpu, open_device
from wsperception.backends.quality_gate import EngineRefusedError
from wsperception.backends.reference_frames import measured_agreement, reference_images
from wsperception.bundle import OUTPUTS, read_bundle
from wsperception.errors import InputError
from wsperception.pipeline import Pipeline
from wsperception.types import Frame

pytest.importorskip("onnx", reason="onnx is not installed: no graph can be made")
pytestmark = pytest.mark.timeout(1500)  # the first build takes minutes
OBSTACLE = tensorrt_.obstacle()
needs_gpu = pytest.mark.skipif(bool(OBSTACLE), reason=f"nothing can run an engine: {OBSTACLE}")
needs_no_gpu = pytest.mark.skipif(not no_gpu(), reason="this machine has a GPU")


@pytest.fixture
def engines(monkeypatch, tmp_path):
    monkeypatch.setenv("WSPERCEPTION_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """models/tiny for two cameras, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WSPERCEPTION_ENGINES", str(tmp_path_factory.mktemp("engines")))
        bundle = read_bundle("tiny")
        backend = tensorrt_.load(bundle, EngineOptions(precision="fp16", largest_batch=2))
        yield bundle, backend
        backend.close()


# ---- with a GPU


@needs_gpu
def test_it_finds_what_onnx_runtime_finds(tiny):
    bundle, backend = tiny
    found = measured_agreement(backend, bundle)
    assert found.detections >= 10
    assert found.missing <= 0.02
    assert backend.describe().precision == "fp16"
    assert backend.describe().gpu_memory_bytes > 0


@needs_gpu
def test_a_batch_is_its_images_one_by_one(tiny):
    bundle, backend = tiny
    images = reference_images(bundle)[:3]
    assert backend.largest_batch == 2  # so that three images are run in two pieces
    together = [{name: np.array(getattr(raw, name)) for name in OUTPUTS} for raw in backend.run(images)]
    for image, expected in zip(images, together, strict=True):
        (raw,) = backend.run(image[None])
        strong = raw.scores > 0.5
        assert strong.sum() == (expected["scores"] > 0.5).sum()
        assert np.abs(raw.boxes[strong] - expected["boxes"][strong]).max() < 1.0
    assert backend.run(images[:0]) == []


@needs_gpu
def test_it_runs_on_another_thread_than_it_was_loaded_on(tiny):
    bundle, backend = tiny
    image = reference_images(bundle)[:1]
    (here,) = [np.array(raw.scores) for raw in backend.run(image)]
    there = []
    thread = threading.Thread(target=lambda: there.extend(np.array(raw.scores) for raw in backend.run(image)))
    thread.start()
    thread.join()
    assert np.abs(there[0] - here).max() < 1e-3


@needs_gpu
def test_the_whole_path_and_no_growth(tiny):
    bundle, backend = tiny
    pipeline = Pipeline(backend, bundle)
    image = np.zeros((375, 1242, 3), np.uint8)
    pipeline(Frame(image, 0, "front", 0))
    device = open_device()
    try:
        free = device.memory()[0]
        for index in range(1, 300):
            pipeline(Frame(image, index * 10**8, "front", index))
        assert free - device.memory()[0] < 8 << 20
    finally:
        device.close()


@needs_gpu
def test_a_fixed_batch_is_run_image_by_image(engines, constant_bundle):
    backend = tensorrt_.load(constant_bundle, EngineOptions(largest_batch=3))
    images = np.zeros((3, *constant_bundle.input_size, 3), np.uint8)
    assert [raw.scores.tolist() for raw in backend.run(images)] == [pytest.approx([0.98, 0.95, 0.0], abs=1e-3)] * 3
    assert backend.largest_batch == 1
    backend.close()
    again = open_backend(constant_bundle, "tensorrt", precision="fp32")
    assert again.describe().engine.is_relative_to(engines)
    again.close()


@needs_gpu
def test_no_room_for_a_batch_halves_it_and_none_for_one_is_refused(engines, constant_bundle, monkeypatch, caplog):
    real, room = tensorrt_.TensorRTBackend.__init__, [2]

    def crowded(self, engine, library, device, bundle, largest):
        if largest > room[0]:
            raise CudaError("cuMemAlloc_v2", cuda_driver.OUT_OF_MEMORY, "out of memory")
        real(self, engine, library, device, bundle, largest)

    monkeypatch.setattr(tensorrt_.TensorRTBackend, "__init__", crowded)
    tensorrt_.load(constant_bundle, EngineOptions(largest_batch=8)).close()
    assert "out of GPU memory for batches of 4" in caplog.text
    room[0] = 0
    with pytest.raises(InputError, match=r"out of GPU memory \(.* MiB free on .*\) even for one image"):
        tensorrt_.load(constant_bundle, EngineOptions(largest_batch=2))


@needs_gpu
def test_what_is_allocated_is_given_back():
    device = open_device()
    try:
        assert device.compute_capability >= (5, 0)
        stream, address = device.stream(), device.allocate(1 << 20)
        there, back = device.pinned((1 << 18,), "int32"), device.pinned((1 << 18,), "int32")
        there[:] = np.arange(1 << 18)
        device.to_gpu(address, there, stream)
        device.begin_capture(stream)
        device.to_host(back, address, stream)
        graph = device.end_capture(stream)
        device.launch(graph, stream)
        device.wait(stream)
        assert (back == there).all()
        device.free_graph(graph)
        device.free(address)
        device.free_pinned(there)
        device.free_pinned(back)
        device.free_stream(stream)
        with pytest.raises(CudaError, match="out of memory") as caught:
            device.allocate(1 << 60)
        assert caught.value.code == cuda_driver.OUT_OF_MEMORY
    finally:
        device.close()


# ---- without one


@needs_no_gpu
def test_without_a_gpu_it_says_what_is_missing_and_what_would_work(constant_bundle):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT is not installed either, which is said first")
    assert "no NVIDIA driver" in tensorrt_.obstacle()
    text = r"^backend 'tensorrt': no NVIDIA .*(install|nvidia-smi).*; backend 'onnx' works without a GPU$"
    with pytest.raises(InputError, match=text):
        open_backend(constant_bundle, "tensorrt")


def test_bfloat16_is_not_offered(constant_bundle):
    with pytest.raises(InputError, match="expected fp16, fp32, int8 for backend 'tensorrt', got bf16"):
        tensorrt_.load(constant_bundle, EngineOptions(precision="bf16"))


def test_a_driver_without_a_needed_function_is_too_old(monkeypatch):
    # libc stands in for a libcuda of long ago: a library that can be loaded and lacks what we call.
    monkeypatch.setattr(cuda_driver, "LIBRARY", ctypes.util.find_library("c") or "libc.so.6")
    assert no_gpu().startswith("the NVIDIA driver is too old: ")
    with pytest.raises(InputError, match=r"too old.* has no cuInit; install one for CUDA 12 or later; backend 'onnx'"):
        open_device()


def test_every_function_is_declared_as_cuda_declares_it():
    # cuda.h comes with PyTorch's CUDA libraries; the number of parameters is what a wrong call would get wrong first.
    import re
    import site
    from pathlib import Path

    places = [path for root in site.getsitepackages() for path in Path(root).glob("nvidia/cu*/include/cuda.h")]
    if not places:
        pytest.skip("no cuda.h beside PyTorch to compare with")
    header = places[0].read_text(errors="replace")
    names = dict(re.findall(r"#define (cu\w+)\s+(?:__CUDA_API_PTSZ\()?(cu\w+?)\)?\s*$", header, re.MULTILINE))
    for name, kinds in cuda_driver._SIGNATURES.items():
        plain = next((short for short, long in names.items() if long == name), name)
        declared = re.search(rf"CUresult CUDAAPI {plain}\(([^)]*)\)", header)
        assert declared is not None, name
        assert len(declared[1].split(",")) == len(kinds), name


def test_a_refusal_is_remembered(engines, constant_bundle, monkeypatch):
    # Figures below the bar are kept beside the engine: the next start says so at once, without loading it.
    from wsperception.backends.engine_build import Library
    from wsperception.backends.quality_gate import Agreement

    api = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: nothing can build an engine")
    library = Library("tensorrt_rtx", api.__version__, api)

    class Gpu:
        name, compute_capability = "NVIDIA RTX 4090", (8, 9)

        def close(self):
            pass

    monkeypatch.setattr(tensorrt_, "installed_library", lambda: library)
    monkeypatch.setattr(tensorrt_, "open_device", Gpu)
    order = engine_supply.EngineOrder(constant_bundle, library, "fp16", 1, "NVIDIA RTX 4090", "8.9")
    bad = Agreement(5, 0.5, 0.0, 0.0, 1.0, 1.0)
    engine_supply.engine_for(order).judged(bad)
    with pytest.raises(
        EngineRefusedError, match=r"engine of constant-model in fp16: refused.*missing 0.5 \(bar 0.02\)"
    ):
        tensorrt_.load(constant_bundle, EngineOptions(precision="fp16"))
    # auto goes on to fp32, and says both.
    engine_supply.engine_for(replace(order, precision="fp32")).judged(bad)
    with pytest.raises(EngineRefusedError, match=r"in fp32: refused"):
        tensorrt_.load(constant_bundle, EngineOptions())

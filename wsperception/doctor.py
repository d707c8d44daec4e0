"""`wsperception doctor`: what is installed, what fits together, what is missing, and what to do about each."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from wsperception import __version__
from wsperception.backends import BACKENDS, engine_cache, open_backend
from wsperception.backends.cuda_driver import open_device
from wsperception.backends.engine_build import installed_library
from wsperception.backends.engine_supply import EngineOrder, engine_key
from wsperception.backends.tensorrt_ import check_supported
from wsperception.bundle import ModelBundle, model_folders, read_bundle
from wsperception.errors import InputError
from wsperception.findings import ERROR, NOTE, OK, WARN, Finding, report

QUERY_TIMEOUT_S = 20.0

# (import name, distribution, what it is for, whether nothing works without it)
PACKAGES = (
    ("numpy", "numpy", "everything", True),
    ("scipy", "scipy", "everything", True),
    ("cv2", "opencv-python", "everything", True),
    ("lap", "lap", "tracking", True),
    ("yaml", "PyYAML", "settings", True),
    ("onnxruntime", "onnxruntime", "backend onnx", False),
    ("openvino", "openvino", "backend openvino", False),
    ("tensorrt", "tensorrt", "backend tensorrt on NVIDIA GPUs", False),
    ("tensorrt_rtx", "tensorrt-rtx-cu13", "backend tensorrt on RTX GPUs", False),
    ("torch", "torch", "training and backend torch", False),
    ("rosbags", "rosbags", "reading bags", False),
    ("trackeval", "trackeval", "eval", False),
    ("pycocotools", "pycocotools", "eval", False),
    ("av", "av", "overlay videos that play in a browser", False),
)


def doctor_command(model: str = "tiny", image_topic: str | None = None, seconds: float = 3.0) -> tuple[str, int]:
    """The report on this machine as text, and the exit status: 0, or 1 where something does not work.

    model        bundle to load and run once
    image_topic  camera topic to look at; None: lists the image topics there are
    seconds      how long to listen to it
    """
    findings = [
        Finding(OK, "wsperception", f"{__version__} in {Path(__file__).parent}"),
        Finding(OK, "Python", f"{platform.python_version()} ({sys.executable}) on {platform.platform()}"),
        *check_packages(),
        *check_gpu(),
        *check_model(model),
        *check_cv_bridge(),
        *check_ros(image_topic, seconds),
    ]
    return report(findings), int(any(finding.level == ERROR for finding in findings))


def check_packages() -> list[Finding]:
    """Version of every Python package that some part needs."""
    findings = []
    for module, distribution, purpose, needed in PACKAGES:
        if importlib.util.find_spec(module) is None:
            level = ERROR if needed else NOTE
            findings.append(Finding(level, module, f"not installed; for {purpose}", f"pip install {distribution}"))
        else:
            findings.append(Finding(OK, module, f"{_version(distribution, module)}, for {purpose}"))
    return findings


def check_gpu() -> list[Finding]:
    """NVIDIA GPUs that the driver shows, and whether an engine for them is installed."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return [Finding(NOTE, "GPU", "none: nvidia-smi is not there; the network runs on the CPU")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [Finding(WARN, "GPU", "nvidia-smi does not answer", "look at the driver: dmesg | grep -i nvrm")]
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[:200]
        return [Finding(WARN, "GPU", f"nvidia-smi fails: {said}", "install or repair the NVIDIA driver")]
    found = [Finding(OK, "GPU", line.strip()) for line in done.stdout.splitlines() if line.strip()]
    if not any(importlib.util.find_spec(name) for name in ("tensorrt", "tensorrt_rtx")):
        without = "slower, in PyTorch" if importlib.util.find_spec("torch") else "on the CPU"
        found.append(Finding(WARN, "engine", f"a GPU, but no TensorRT: the network runs {without}", "install TensorRT"))
    return found


def check_model(model: str) -> list[Finding]:
    """Whether the bundle is whole, and which engines can run it here."""
    folders = [str(folder) for folder in model_folders() if folder.is_dir()]
    where = f"models are looked for in {', '.join(folders) or 'no folder that exists'}"
    try:
        bundle = read_bundle(model)
    except InputError as error:
        return [Finding(ERROR, "model", str(error), f"{where}; or set WSPERCEPTION_MODELS")]
    size = f"{bundle.input_size[1]} x {bundle.input_size[0]}"
    findings = [Finding(OK, "model", f"{bundle.name}: {bundle.folder}, input {size}, SHA-256 {bundle.sha256[:12]}")]
    runnable = 0
    for name, module in BACKENDS.items():
        obstacle = str(importlib.import_module(module).obstacle())
        if obstacle:
            findings.append(Finding(NOTE, f"backend {name}", obstacle))
            continue
        try:
            if name == "tensorrt":
                engine = check_engine(bundle)
                findings.append(engine)
                if engine.level != OK:  # to load it would build it, for minutes
                    continue
            backend = open_backend(bundle, name)
        except InputError as error:
            findings.append(Finding(WARN, f"backend {name}", str(error)))
        else:
            findings.append(Finding(OK, f"backend {name}", f"loads the model: {backend.describe()}"))
            backend.close()
            runnable += 1
    if not runnable:
        findings.append(Finding(ERROR, "backend", "none can load the model", "pip install onnxruntime"))
    return findings


def check_engine(bundle: ModelBundle) -> Finding:
    """Whether the engine that one camera needs is kept for this GPU and this TensorRT. Builds none.

    Raises InputError where TensorRT or the GPU cannot be used.
    """
    library, device = installed_library(), open_device()
    try:
        check_supported(library, device.name, device.compute_capability)
        capability = ".".join(map(str, device.compute_capability))
        order = EngineOrder(bundle, library, "fp16", 1, device.name, capability)
    finally:
        device.close()
    folder, key = engine_cache.cache_folder(), engine_key(order, {})
    if engine_cache.find(folder, bundle.name, key) is not None:
        path = engine_cache.engine_path(folder, bundle.name, key)
        return Finding(OK, "engine", f"built for {device.name} by {library}: {path}")
    apart = engine_cache.what_differs(folder, bundle.name, key)
    advice = f"wsperception engine --model {bundle.name} --build-only; or the first start builds it, for minutes"
    return Finding(NOTE, "engine", f"none for {device.name} and {library} in {folder}: {apart}", advice)


def check_cv_bridge() -> list[Finding]:
    """Whether cv_bridge works with this NumPy. Asked of another process: a wrong pair may crash, not raise."""
    if importlib.util.find_spec("cv_bridge") is None:
        return [Finding(NOTE, "cv_bridge", "not installed; only encodings beyond the built-in ones need it")]
    script = (
        "import numpy, cv_bridge; b = cv_bridge.CvBridge();"
        "b.imgmsg_to_cv2(b.cv2_to_imgmsg(numpy.zeros((2, 2, 3), 'uint8'), 'bgr8'), 'rgb8')"
    )
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=QUERY_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [Finding(WARN, "cv_bridge", "hangs at import")]
    if done.returncode == 0:
        return [Finding(OK, "cv_bridge", f"works with NumPy {_version('numpy', 'numpy')}")]
    said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}"
    advice = "pip install 'numpy<2', or build vision_opencv from source; the built-in encodings work without it"
    return [Finding(WARN, "cv_bridge", f"does not work with NumPy {_version('numpy', 'numpy')}: {said}", advice)]


def check_ros(image_topic: str | None, seconds: float) -> list[Finding]:
    """Which ROS, which middleware with which limits, and the camera's topic."""
    from wsperception.ros.interfaces import ros_missing

    problem = ros_missing()
    if problem:
        subject, _, advice = problem.partition("; ")
        return [Finding(NOTE, "ROS 2", f"{subject}: tracking and evaluation work, the node does not", advice)]
    from wsperception.ros.topic_check import check_middleware, check_topics

    installed = os.environ.get("ROS_DISTRO")
    kind = f"{installed} (sourced)" if installed else "from Python wheels"
    return [Finding(OK, "ROS 2", kind), *check_middleware(), *check_topics(image_topic, seconds)]


def _version(distribution: str, module: str) -> str:
    for name in (distribution, module):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "version unknown"

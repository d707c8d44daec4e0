"""Installs wsperception as a Python package and as an ament_python package, by pip and by colcon alike."""

import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = "wsperception"
ROOT = Path(__file__).resolve().parent
SHARE = f"share/{NAME}"
SHARED = ("launch", "config", "models", "rviz", "foxglove")


def version() -> str:
    """The one version: `__version__`, read without an import because the dependencies may be missing still."""
    text = (ROOT / NAME / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert found, 'wsperception/__init__.py: expected a line __version__ = "..."'
    return found[1]


def tree(target: str, folder: str) -> list[tuple[str, list[str]]]:
    """data_files entries that put every file below `folder` below `target`, in the same sub-folders."""
    files: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            place = Path(target, path.parent.relative_to(ROOT / folder)).as_posix()
            files.setdefault(place, []).append(path.relative_to(ROOT).as_posix())
    return list(files.items())


setup(
    name=NAME,
    version=version(),
    description="Masks and track ids from a robot's camera, by networks trained on cheap labels",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The wsperception maintainers",
    author_email="maintainers@wsperception.example",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.html", "**/*.css", "**/*.js", "**/*.svg", "**/*.msg", "**/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        *(entry for folder in SHARED for entry in tree(f"{SHARE}/{folder}", folder)),
        *tree(f"lib/{NAME}", "resource/executables"),
    ],
    entry_points={"console_scripts": [f"{NAME} = {NAME}.cli:main"]},
    zip_safe=True,
    install_requires=["numpy>=1.24", "scipy", "opencv-python", "lap", "onnxruntime", "PyYAML", "tqdm"],
    extras_require={
        # ROS 2 where it is not installed; a robot takes it from apt instead.
        "ros": [
            "ros-kilted-rclpy",
            "ros-rmw-fastrtps-cpp",
            "ros-kilted-sensor-msgs",
            "ros-diagnostic-msgs",
            "ros-std-srvs",
            "ros-lifecycle-msgs",
            "ros-rcl-interfaces",
            "ros-kilted-rosidl-generator-py",
        ],
        # For TensorRT engines; TensorRT itself comes from NVIDIA, under NVIDIA's licence, by the user's own choice.
        "tensorrt": ["onnx"],
        "train": ["torch", "torchvision", "onnx", "onnxscript", "tensorboard", "scikit-image"],
        # Another engine for CPUs, and many recordings on a cluster.
        "openvino": ["openvino"],
        "ray": ["ray"],
        "eval": ["trackeval", "pycocotools", "rosbags", "matplotlib"],
        # H.264 for overlay videos. Apart from the rest, because its wheels carry x264 and x265, which are GPL.
        "video": ["av"],
        "dev": [
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "onnx",
            "psutil",
            # A peer whose panoptic quality must equal ours.
            "torchmetrics",
            # Builds engines without a GPU, so that an operator TensorRT refuses fails a test. Proprietary, free of
            # charge: for development only, nothing of it is passed on.
            'tensorrt-rtx-cu13; platform_system == "Linux" and platform_machine == "x86_64"',
            "ruff",
            "mypy",
            "types-PyYAML",
            "types-tqdm",
            "catkin-pkg",
            "colcon-core",
            "colcon-package-information",
            "colcon-ros",
        ],
    },
)

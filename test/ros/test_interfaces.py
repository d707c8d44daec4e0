"""vision_msgs from our own definitions: the published interface, and one clear line where it cannot be built."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from wsperception.errors import InputError
from wsperception.ros import interfaces

# REP 2011 hashes of vision_msgs 4.1.1, computed from the definitions that its authors published.
PUBLISHED = {
    "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "RIHS01_41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "RIHS01_eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "RIHS01_b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}
needs_wheels = pytest.mark.skipif(
    importlib.util.find_spec("rosidl_generator_py") is None or importlib.util.find_spec("rclpy") is None,
    reason="the ROS 2 wheels are not installed: no test of this folder that needs rclpy is collected",
)


def test_one_definition_per_published_type():
    assert sorted(path.stem for path in interfaces.DEFINITIONS.glob("*.msg")) == sorted(PUBLISHED)


@needs_wheels
def test_type_hashes_are_those_of_the_published_interface():
    share = Path(sys.prefix) / "share" / interfaces.PACKAGE / "msg"
    hashes = {
        name: json.loads((share / f"{name}.json").read_text())["type_hashes"][0]["hash_string"] for name in PUBLISHED
    }
    assert hashes == PUBLISHED


@needs_wheels
def test_the_package_is_in_the_ament_index():
    index = Path(sys.prefix) / "share/ament_index/resource_index"
    assert (index / "packages/vision_msgs").exists()
    assert "msg/Detection2DArray.msg" in (index / "rosidl_interfaces/vision_msgs").read_text().splitlines()


@needs_wheels
def test_building_again_does_nothing(caplog):
    assert interfaces.build(Path(sys.prefix)) is False
    assert interfaces.main(["--build"]) == 0


@needs_wheels
@pytest.mark.parametrize("lost", ["gcc", "g++"])
def test_without_a_compiler(monkeypatch, lost):
    monkeypatch.setattr(interfaces.shutil, "which", lambda name: None if name == lost else f"/usr/bin/{name}")
    with pytest.raises(InputError, match=rf"compiler {lost.replace('+', '.')} .*apt install"):
        interfaces._check_tools(Path(sys.prefix))


@needs_wheels
def test_without_python_headers(monkeypatch, tmp_path):
    monkeypatch.setattr(interfaces.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(InputError, match=r"Python.h to build it; .*python3-dev"):
        interfaces._check_tools(Path(sys.prefix))


def test_without_the_generators(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(InputError, match="apt install ros-jazzy-vision-msgs"):
        interfaces._check_tools(tmp_path)


def test_what_is_missing_is_said(monkeypatch):
    found = importlib.util.find_spec

    def without(*names):
        return lambda name: None if name in names else (found(name) or object())

    monkeypatch.setattr(interfaces.importlib.util, "find_spec", without("rclpy", "std_srvs"))
    assert interfaces.ros_missing().startswith("rclpy, std_srvs: not installed; sudo apt install ros-")
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(interfaces.importlib.util, "find_spec", without("vision_msgs"))
    assert "apt install ros-jazzy-vision-msgs, or python -m wsperception.ros.interfaces" in interfaces.ros_missing()
    with pytest.raises(InputError, match="vision_msgs: not installed"):
        interfaces.require_vision_msgs()
    monkeypatch.setattr(interfaces.importlib.util, "find_spec", without())
    assert interfaces.ros_missing() == ""


def test_a_failing_compiler_is_one_line():
    with pytest.raises(InputError, match="sh failed with 'x: error: no such thing'"):
        interfaces._run(["sh", "-c", "echo 'x: error: no such thing' >&2; exit 1"])

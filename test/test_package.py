"""What an installation consists of: package.xml, setup.py and constraints.txt agree, and nothing is left behind."""

import os
import re
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import wsperception

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ("launch", "config", "models", "rviz", "foxglove")
"""Folders that an installation carries as share/wsperception/<folder>."""

COLCON = ("colcon_core", "colcon_ros", "colcon_package_information")
needs_colcon = pytest.mark.skipif(not all(map(find_spec, COLCON)), reason="colcon is not installed (extra: dev)")


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what setup.py reads, so that a build leaves nothing in the tree."""
    copy = tmp_path_factory.mktemp("workspace") / "src" / "wsperception"
    copy.mkdir(parents=True)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in ("resource", "wsperception", *INSTALLED):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path) -> zipfile.ZipFile:
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed (extra: dev)")
    place = sources.parent / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", str(place), str(sources)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    (path,) = place.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(f"wsperception-{wsperception.__version__}.dist-info/METADATA").decode())


def data_files(wheel: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Place below the installation's prefix -> entry of the wheel."""
    prefix = f"wsperception-{wsperception.__version__}.data/data/"
    return {i.filename.removeprefix(prefix): i for i in wheel.infolist() if i.filename.startswith(prefix)}


def test_versions_agree(wheel):
    assert re.fullmatch(r"\d+\.\d+\.\d+", wsperception.__version__)
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == wsperception.__version__
    assert metadata(wheel)["Version"] == wsperception.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == wsperception.__version__


def test_package_xml_is_valid_for_ros():
    packages = pytest.importorskip("catkin_pkg.package", reason="catkin-pkg is not installed (extra: dev)")
    warnings: list[str] = []
    package = packages.parse_package(str(ROOT), warnings=warnings)  # raises on an invalid file
    assert not warnings
    assert (package.package_format, package.get_build_type(), package.licenses) == (3, "ament_python", ["Apache-2.0"])
    assert (ROOT / package.licenses[0].file).is_file()


def test_package_xml_names_what_the_ros_layer_imports():
    declared = {element.text for element in ElementTree.parse(ROOT / "package.xml").iter("exec_depend")}
    text = "\n".join(path.read_text() for path in files_below(ROOT / "wsperception" / "ros") if path.suffix == ".py")
    roots = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    ros = {name for name in roots if name == "rclpy" or name.endswith(("_msgs", "_srvs", "_interfaces", "_bridge"))}
    assert ros <= declared


def test_wheel_carries_the_ament_files(wheel):
    placed = data_files(wheel)
    expected = {
        "share/ament_index/resource_index/packages/wsperception",
        "share/wsperception/package.xml",
    }
    for folder in INSTALLED:
        expected |= {f"share/wsperception/{path.relative_to(ROOT).as_posix()}" for path in files_below(ROOT / folder)}
    expected |= {f"lib/wsperception/{path.name}" for path in files_below(ROOT / "resource" / "executables")}
    assert set(placed) == expected
    assert "lib/wsperception/wsperception" in placed
    for name, info in placed.items():
        executable = bool(info.external_attr >> 16 & stat.S_IXUSR)
        assert executable == name.startswith("lib/"), name


def test_wheel_carries_every_module(wheel):
    carried = {name for name in wheel.namelist() if name.startswith("wsperception/")}
    written = {
        path.relative_to(ROOT).as_posix()
        for path in files_below(ROOT / "wsperception")
        if path.suffix in (".py", ".html", ".css", ".js", ".svg", ".msg", ".yaml", ".typed")
    }
    assert carried == written
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.startswith("wsperception-")} == {"wsperception"}
    scripts = wheel.read(f"wsperception-{wsperception.__version__}.dist-info/entry_points.txt").decode()
    assert "wsperception = wsperception.cli:main" in scripts


def test_every_requirement_has_one_tested_version(wheel):
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    required = [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist", [])]
    assert {"numpy", "torch", "trackeval", "pytest"} <= {requirement.name for requirement in required}
    for python in ("3.10", "3.11", "3.12", "3.13"):
        here = {"python_version": python, "python_full_version": f"{python}.0"}
        tested: dict[str, list[str]] = {}
        for pin in pins:
            if pin.marker is None or pin.marker.evaluate(here):
                tested.setdefault(canonical(pin.name), []).append(str(pin.specifier).removeprefix("=="))
        assert {name: versions for name, versions in tested.items() if len(versions) > 1} == {}, python
        for requirement in required:
            (version,) = tested[canonical(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement} on Python {python}"


def test_every_stub_starts_a_module_that_exists():
    for stub in files_below(ROOT / "resource" / "executables"):
        (module,) = re.findall(r"^exec .* -m ([\w.]+) ", stub.read_text(), re.MULTILINE)
        place = ROOT.joinpath(*module.split("."))
        file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        assert "sys.exit(main())" in file.read_text(), f"{stub.name}: {module} does nothing when run"


@pytest.mark.parametrize("interpreter_beside", [True, False], ids=["pip", "colcon"])
def test_a_stub_finds_its_interpreter(tmp_path, interpreter_beside):
    stub = tmp_path / "lib" / "wsperception" / "wsperception"
    stub.parent.mkdir(parents=True)
    shutil.copy(ROOT / "resource" / "executables" / "wsperception", stub)
    for folder, answer in (("bin", "beside"), ("elsewhere", "on PATH")):
        if folder == "elsewhere" or interpreter_beside:
            python = tmp_path / folder / "python3"
            python.parent.mkdir()
            python.write_text(f'#!/bin/sh\necho "{answer}: $*"\n')
            python.chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "elsewhere"), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [str(stub), "track", "a b"], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=20
    )
    assert done.stdout == f"{'beside' if interpreter_beside else 'on PATH'}: -m wsperception track a b\n", done.stderr


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@needs_colcon
def test_colcon_takes_it_for_an_ament_python_package_and_builds_it(sources):
    workspace = sources.parent.parent
    environment = {**os.environ, "COLCON_HOME": str(workspace / "colcon"), "PATH": colcon_path()}
    listed = subprocess.run(
        ["colcon", "list"], cwd=workspace, env=environment, capture_output=True, text=True, timeout=280
    )
    assert listed.stdout.split() == ["wsperception", "src/wsperception", "(ros.ament_python)"], listed.stderr
    built = subprocess.run(
        ["colcon", "build"], cwd=workspace, env=environment, capture_output=True, text=True, timeout=280
    )
    assert built.returncode == 0, built.stdout + built.stderr
    prefix = workspace / "install" / "wsperception"
    assert (prefix / "share/ament_index/resource_index/packages/wsperception").is_file()
    assert (prefix / "share/wsperception/package.xml").is_file()
    assert os.access(prefix / "lib/wsperception/wsperception", os.X_OK)
    for folder in INSTALLED:
        for path in files_below(ROOT / folder):
            assert (prefix / "share/wsperception" / path.relative_to(ROOT)).is_file()


def colcon_path() -> str:
    """PATH with this interpreter's own commands first: make does not activate the environment."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

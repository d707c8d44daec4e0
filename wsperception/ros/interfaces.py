"""vision_msgs where it is not installed: message support generated from this package's own .msg files.

    python -m wsperception.ros.interfaces --build

The ROS 2 wheels carry the rosidl generators but not vision_msgs. The definitions in `msg/` have the field names, types
and order of the published vision_msgs 4, hence the same type hashes: nodes built against the original understand ours.
Where vision_msgs is importable (from apt, a workspace, or an earlier build), nothing is done.
"""

import argparse
import concurrent.futures
import contextlib
import hashlib
import importlib
import importlib.util
import io
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wsperception.errors import InputError

PACKAGE = "vision_msgs"
VERSION = "4.1.1"
DEFINITIONS = Path(__file__).parent / "msg"
DEPENDENCIES = ("std_msgs", "geometry_msgs", "builtin_interfaces")
ROS_PACKAGES = ("rclpy", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs")
BUILD_COMMAND = "python -m wsperception.ros.interfaces --build"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Library:
    """One shared library of the message package: `lib<package>__<kind>.so`.

    sources   glob patterns below the generated tree
    needs     kinds of this package it links against
    runtime   ROS libraries it links against
    """

    kind: str
    sources: tuple[str, ...]
    needs: tuple[str, ...]
    runtime: tuple[str, ...]


# In link order. Every library also links against the same kind of each dependency.
_LIBRARIES = (
    _Library("rosidl_generator_c", ("c/**/*.c",), (), ("rosidl_runtime_c", "rcutils")),
    _Library(
        "rosidl_typesupport_fastrtps_c",
        ("fastrtps_c/**/*.cpp",),
        ("rosidl_generator_c",),
        ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_fastrtps_cpp", "fastcdr", "rmw"),
    ),
    _Library(
        "rosidl_typesupport_introspection_c",
        ("introspection_c/**/*.c",),
        ("rosidl_generator_c",),
        ("rosidl_typesupport_introspection_c",),
    ),
    _Library("rosidl_typesupport_c", ("typesupport_c/**/*.cpp",), ("rosidl_generator_c",), ("rosidl_typesupport_c",)),
    _Library(
        "rosidl_generator_py",
        (f"py/{PACKAGE}/msg/*.c",),
        ("rosidl_generator_c", "rosidl_typesupport_c"),
        (),
    ),
)
# rclpy imports this extension only; it finds the others through the C type support.
_EXTENSION_SOURCE = f"py/{PACKAGE}/_{PACKAGE}_s.ep.rosidl_typesupport_c.c"


def ros_missing() -> str:
    """What the ROS layer lacks here and how to get it, in one line; "" where nothing is missing."""
    distribution = os.environ.get("ROS_DISTRO", "")
    lacking = [name for name in ROS_PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        apt = f"sudo apt install ros-{distribution or '<distro>'}-ros-base and source it"
        return f"{', '.join(lacking)}: not installed; {apt}, or pip install the wheels of constraints.txt"
    if importlib.util.find_spec(PACKAGE) is None:
        apt = f"sudo apt install ros-{distribution}-vision-msgs, or " if distribution else ""
        return f"{PACKAGE}: not installed; {apt}{BUILD_COMMAND}"
    return ""


def require_vision_msgs() -> None:
    """Raises InputError, saying how to get it, where vision_msgs cannot be imported."""
    if problem := ros_missing():
        raise InputError(problem)


def build(prefix: Path) -> bool:
    """Generates, compiles and installs vision_msgs under `prefix` (a virtual environment). True where it did.

    False: vision_msgs is there already, from elsewhere or of the same definitions. About 15 s on two cores.
    Raises InputError in one line: no generators, no compiler, no Python headers, a folder that cannot be written.
    """
    marker = prefix / "share" / PACKAGE / "wsperception.sha256"
    if importlib.util.find_spec(PACKAGE) is not None:
        if not marker.exists() or marker.read_text() == _definitions_hash():
            return False
        logger.info("%s: definitions have changed; building again", PACKAGE)
    _check_tools(prefix)
    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE}-") as folder:
        tree = Path(folder)
        _generate(tree, prefix)
        stage = tree / "stage"
        _compile(tree, prefix, stage)
        _describe(tree, stage, prefix)
        _install(stage, prefix)
    importlib.invalidate_caches()
    return True


def _definitions_hash() -> str:
    """Changes with the definitions and with the Python that the extension was compiled for."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(DEFINITIONS.glob("*.msg")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _check_tools(prefix: Path) -> None:
    if importlib.util.find_spec("rosidl_generator_py") is None or not (prefix / "share/rosidl_generator_c").is_dir():
        raise InputError(
            f"{PACKAGE}: expected the rosidl generators of the ROS 2 wheels in {prefix}; with ROS from apt: "
            f"sudo apt install ros-{os.environ.get('ROS_DISTRO', '<distro>')}-vision-msgs"
        )
    for compiler, package in (("gcc", "gcc"), ("g++", "g++")):
        if shutil.which(compiler) is None:
            raise InputError(f"{PACKAGE}: expected the compiler {compiler} to build it; sudo apt install {package}")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        raise InputError(f"{PACKAGE}: expected {header} to build it; sudo apt install python3-dev")
    if not os.access(_site_packages(prefix), os.W_OK):
        raise InputError(f"{PACKAGE}: expected {_site_packages(prefix)} to be writable; use a virtual environment")


def _site_packages(prefix: Path) -> Path:
    return Path(sysconfig.get_path("platlib", vars={"base": str(prefix), "platbase": str(prefix)}))


def _generate(tree: Path, prefix: Path) -> None:
    """.msg -> .idl -> type hashes -> C, C++ and Python sources, one folder per generator below `tree`."""
    # The generators find their templates through the ament index of the environment.
    os.environ.setdefault("AMENT_PREFIX_PATH", str(prefix))
    from rosidl_adapter.msg import convert_msg_to_idl
    from rosidl_generator_c.cli import GenerateC
    from rosidl_generator_py.cli import GeneratePython
    from rosidl_generator_type_description.cli import HashTypeDescription
    from rosidl_typesupport_c.cli import GenerateCTypesupport
    from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
    from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport

    described = tree / "idl" / PACKAGE
    names = sorted(path.stem for path in DEFINITIONS.glob("*.msg"))
    # The adapter prints every file it reads and writes: no news to a user.
    with contextlib.redirect_stdout(io.StringIO()):
        for name in names:
            convert_msg_to_idl(DEFINITIONS.parent, PACKAGE, Path("msg") / f"{name}.msg", described / "msg")
    files = [f"{described}:msg/{name}.idl" for name in names]
    include = [str(prefix / "share" / dependency) for dependency in DEPENDENCIES]
    hashes = HashTypeDescription("hash").generate_type_hashes(PACKAGE, files, include, described)

    def folder(name: str) -> Path:
        path = tree / name / PACKAGE
        (path / "msg").mkdir(parents=True)
        return path

    GenerateC("c").generate(PACKAGE, files, include, folder("c"), type_description_files=hashes)
    GenerateCTypesupport("typesupport_c").generate(PACKAGE, files, include, folder("typesupport_c"))
    GenerateFastRTPSCTypesupport("fastrtps_c").generate(PACKAGE, files, include, folder("fastrtps_c"))
    GenerateIntrospectionCTypesupport("introspection_c").generate(PACKAGE, files, include, folder("introspection_c"))
    only = GeneratePython("py", typesupport_implementations=["rosidl_typesupport_c"])
    only.generate(PACKAGE, files, include, folder("py"))


def _compile(tree: Path, prefix: Path, stage: Path) -> None:
    """Objects in parallel, then the libraries in link order, then the Python extension; all below `stage`."""
    import numpy as np

    include = [tree / name for name in ("c", "fastrtps_c", "introspection_c", "typesupport_c")]
    include += [prefix / "include", *sorted(path for path in (prefix / "include").iterdir() if path.is_dir())]
    include += [Path(sysconfig.get_paths()["include"]), Path(np.get_include())]
    flags = ["-fPIC", "-O1", *(f"-I{path}" for path in include)]
    sources = {library.kind: _matches(tree, library.sources) for library in _LIBRARIES}
    sources["extension"] = [tree / _EXTENSION_SOURCE]
    every = [source for group in sources.values() for source in group]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        commands = [[_compiler(source), *flags, "-c", str(source), "-o", f"{source}.o"] for source in every]
        list(pool.map(_run, commands))
    library_folder = stage / "lib"
    library_folder.mkdir(parents=True)
    for library in _LIBRARIES:
        links = [f"{PACKAGE}__{kind}" for kind in library.needs]
        links += [f"{dependency}__{library.kind}" for dependency in DEPENDENCIES] + list(library.runtime)
        target = library_folder / f"lib{PACKAGE}__{library.kind}.so"
        _link(target, sources[library.kind], links, library_folder, prefix, "$ORIGIN")
    package = stage / "python" / PACKAGE
    package.mkdir(parents=True)
    links = [f"{PACKAGE}__{library.kind}" for library in _LIBRARIES] + ["rosidl_typesupport_c"]
    target = package / f"{PACKAGE}_s__rosidl_typesupport_c.so"
    _link(target, sources["extension"], links, library_folder, prefix, str(prefix / "lib"))


def _matches(tree: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(path for pattern in patterns for path in tree.glob(pattern))


def _compiler(source: Path) -> str:
    return "g++" if source.suffix == ".cpp" else "gcc"


def _link(target: Path, sources: list[Path], links: list[str], stage: Path, prefix: Path, origin: str) -> None:
    objects = [f"{source}.o" for source in sources]
    folders = [f"-L{stage}", f"-L{prefix / 'lib'}", f"-Wl,-rpath,{origin}", f"-Wl,-rpath-link,{prefix / 'lib'}"]
    # --allow-shlib-undefined: the wheels' own libraries resolve some symbols only when rclpy is loaded.
    libraries = [f"-l{name}" for name in links]
    _run(["g++", "-shared", "-o", str(target), *objects, *folders, "-Wl,--allow-shlib-undefined", *libraries])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()] or [done.stderr.strip()[-300:]]
        raise InputError(f"{PACKAGE}: {command[0]} failed with '{errors[0]}'; a matching compiler and wheels expected")


def _describe(tree: Path, stage: Path, prefix: Path) -> None:
    """Python modules, definitions and ament index entries: what makes the package one that ROS tools list."""
    package = stage / "python" / PACKAGE
    generated = tree / "py" / PACKAGE
    for path in sorted(generated.rglob("*.py")):
        target = package / path.relative_to(generated)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (package / "__init__.py").touch()
    share = stage / "share" / PACKAGE
    shutil.copytree(tree / "idl" / PACKAGE / "msg", share / "msg")
    for path in DEFINITIONS.glob("*.msg"):
        shutil.copy(path, share / "msg")
    (share / "package.xml").write_text(_package_xml())
    (share / "wsperception.sha256").write_text(_definitions_hash())
    index = stage / "share/ament_index/resource_index"
    names = sorted(f"msg/{path.name}" for path in (share / "msg").iterdir() if path.suffix != ".json")
    for kind, content in (("packages", ""), ("rosidl_interfaces", "\n".join(names))):
        (index / kind).mkdir(parents=True)
        (index / kind / PACKAGE).write_text(content)


def _package_xml() -> str:
    depends = "".join(f"  <depend>{name}</depend>\n" for name in DEPENDENCIES)
    return (
        f'<?xml version="1.0"?>\n<package format="3">\n  <name>{PACKAGE}</name>\n  <version>{VERSION}</version>\n'
        "  <description>Generated by wsperception from its own definitions of the interface.</description>\n"
        f'  <maintainer email="user@example.com">wsperception</maintainer>\n  <license>Apache-2.0</license>\n{depends}'
        "</package>\n"
    )


def _install(stage: Path, prefix: Path) -> None:
    """Libraries first, the Python package last: whoever can import it finds everything."""
    shutil.copytree(stage / "lib", prefix / "lib", dirs_exist_ok=True)
    shutil.copytree(stage / "share", prefix / "share", dirs_exist_ok=True)
    target = _site_packages(prefix) / PACKAGE
    arriving = target.with_name(f".{PACKAGE}.new")
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.copytree(stage / "python" / PACKAGE, arriving)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(arriving, target)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Builds vision_msgs for the ROS 2 wheels of this environment.")
    parser.add_argument("--build", action="store_true", help="build where missing; otherwise only say what is there")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.build:
            built = build(Path(sys.prefix))
            logger.info("%s: %s", PACKAGE, f"built into {sys.prefix}" if built else "already there")
        else:
            require_vision_msgs()
            logger.info("%s: already there", PACKAGE)
    except InputError as error:
        logger.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The arrows between the parts of the package, as a walk over every import statement of the repository.

A part is a folder of `wsperception`, a file of its top level, or a folder beside it. The tables below are the
architecture: a new arrow is a change of a table, to be argued for in the commit that makes it.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "wsperception"

TYPES = {"errors", "types", "settings"}
"""Files that everybody may import; every other file of the top level is core, but pipeline.py and COMMANDS."""
COMMANDS = {
    "__main__", "bench", "bench_report", "demo", "doctor", "engine", "fleet", "overlay_video", "replay", "trace",
    "track",
}  # fmt: skip
"""What the commands do; cli, which prints, belongs to them."""

STEPS = {"types", "core", "tracking", "backends", "pipeline"}
"""What a frame passes through."""
ARROWS = {
    "types": {"types"},
    "core": {"types", "core"},
    "data": {"types", "core", "data"},
    "evaluation": {"types", "core", "data", "evaluation"},
    "backends": {"types", "core", "backends"},
    "tracking": {"types", "core", "tracking"},
    "pipeline": STEPS,
    "labelling": {"types", "core", "data", "labelling"},
    "cli": STEPS | {"data", "evaluation", "labelling", "cli"},
    "ros": STEPS | {"data", "evaluation", "ros"},
    "nets": {"types", "core", "nets"},
    "learn": {"types", "core", "data", "nets", "learn"},
    "training": STEPS | {"data", "evaluation", "nets", "learn", "training"},
    "benchmarks": STEPS | {"data", "evaluation", "nets", "learn", "ros", "cli", "training", "benchmarks"},
}
"""Part -> the parts it may import, wherever in the file the statement stands."""

GROUPS: dict[str, set[str]] = {
    "crf": set(),
    "proposals": set(),
    "points": set(),
    "pseudo": {"proposals"},
    "tags": {"proposals"},
    "weak_masks": {"crf", "pseudo"},
    "panoptic": {"crf", "pseudo", "tags"},
    "methods": {"proposals", "points", "pseudo", "tags", "weak_masks", "panoptic"},
}
"""Folder of `learn` -> the other folders of `learn` that it may import; all may import the files beside them, which
import none of them."""

LAZY_ARROWS = {
    "backends": {"nets", "data"},  # data: the synthetic street on which an engine is judged
    "cli": {"learn", "ros"},
}
"""Arrows allowed inside a function only: what they lead to may be missing on the machine."""

ENGINES = {"torch", "torchvision", "onnxruntime", "tensorrt", "tensorrt_rtx", "rclpy"}
"""Outside packages of which a robot, a laptop or a trainer may lack some."""

NEVER = {
    **dict.fromkeys(("types", "core", "data", "evaluation", "tracking", "pipeline", "labelling"), ENGINES),
    "ros": ENGINES - {"rclpy"},
    "nets": {"rclpy"},
    "learn": {"rclpy"},
    "training": {"rclpy"},
}
"""Part -> outside packages that it imports nowhere."""

NOT_ON_LOADING = {"backends": ENGINES, "cli": ENGINES}
"""Part -> outside packages that it imports inside functions only."""


@dataclass(frozen=True)
class Import:
    """One imported module: where the statement stands, and whether it runs when the file is loaded."""

    path: Path
    line: int
    module: str
    on_loading: bool

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


class ImportWalk(ast.NodeVisitor):
    """Collects the imports of a file. What stands under `if TYPE_CHECKING` never runs, so it counts as inside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.depth = 0
        self.found: list[Import] = []

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [Import(self.path, node.lineno, alias.name, self.depth == 0) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, f"{self.path.relative_to(ROOT)}:{node.lineno}: expected an absolute import"
        module = node.module or ""
        # `from wsperception import rle` names a file in the alias, `from wsperception.rle import decode` does not.
        names = [f"{module}.{alias.name}" for alias in node.names] if module == PACKAGE else [module]
        self.found += [Import(self.path, node.lineno, name, self.depth == 0) for name in names]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_inside(node)

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
        if name == "TYPE_CHECKING":
            self._visit_inside(node)
        else:
            self.generic_visit(node)

    def _visit_inside(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1


def imports_of(path: Path) -> list[Import]:
    walk = ImportWalk(path)
    walk.visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return walk.found


def part_of_module(module: str) -> str | None:
    """The part that a dotted name belongs to; None for an outside package."""
    names = module.split(".")
    if names[0] in ("training", "benchmarks"):
        return names[0]
    if names[0] != PACKAGE:
        return None
    if len(names) == 1 or names[1] in ("__init__", "__version__"):
        return "types"  # wsperception itself holds nothing but its version
    if names[1] in TYPES:
        return "types"
    if names[1] in COMMANDS:
        return "cli"
    return names[1] if names[1] in ARROWS else "core"


def group_of_module(module: str) -> str | None:
    """The folder of `learn` that a dotted name belongs to; None for everything else."""
    names = module.split(".")
    return names[2] if names[:2] == [PACKAGE, "learn"] and len(names) > 2 and names[2] in GROUPS else None


def part_of_file(path: Path) -> str:
    part = part_of_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert part is not None
    return part


FILES = sorted(path for folder in (PACKAGE, "training", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
IMPORTS = [found for path in FILES for found in imports_of(path)]


def test_the_walk_sees_what_it_should(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "wsperception" / "example.py"
    path.parent.mkdir()
    path.write_text(
        "import torch.nn as nn\n"
        "from wsperception import rle, types\n"
        "if TYPE_CHECKING:\n    import rclpy\n"
        "class A:\n    import numpy\n    def f(self):\n        from wsperception.nets.heads import B\n"
    )
    seen = [(found.line, found.module, found.on_loading) for found in imports_of(path)]
    assert seen == [
        (1, "torch.nn", True),
        (2, "wsperception.rle", True),
        (2, "wsperception.types", True),
        (4, "rclpy", False),
        (6, "numpy", True),
        (8, "wsperception.nets.heads", False),
    ]
    path.write_text("from . import rle\n")
    with pytest.raises(AssertionError, match=r"example.py:1: expected an absolute import"):
        imports_of(path)


def test_every_name_has_its_part():
    assert part_of_module("wsperception.types") == "types"
    assert part_of_module("wsperception.__init__") == "types"
    assert part_of_module("wsperception.rle") == "core"
    assert part_of_module("wsperception.tracking.tracker") == "tracking"
    assert part_of_module("wsperception.pipeline") == "pipeline"
    assert part_of_module("wsperception.track") == "cli"
    assert part_of_module("wsperception.evaluation.mots") == "evaluation"
    assert part_of_module("training.train") == "training"
    assert part_of_module("torch.nn") is None
    assert group_of_module("wsperception.learn.points.lcfcn") == "points"
    assert group_of_module("wsperception.learn.mil") is None
    assert group_of_module("training.train") is None


def test_every_folder_of_the_package_has_its_row():
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders <= set(ARROWS), "a new folder needs a row in ARROWS"
    assert len(FILES) > 20  # the walk found the tree


def test_imports_follow_the_arrows():
    wrong = []
    for found in IMPORTS:
        source, target = part_of_file(found.path), part_of_module(found.module)
        allowed = ARROWS[source] | (set() if found.on_loading else LAZY_ARROWS.get(source, set()))
        if target is not None and target not in allowed:
            wrong.append(f"{found} ({source} -> {target})")
    assert not wrong, "\n".join(wrong)


def test_folders_of_learning_follow_their_arrows():
    learn = ROOT / PACKAGE / "learn"
    assert {path.parent.name for path in FILES if path.parent.parent == learn} == set(GROUPS)
    wrong = []
    for found in IMPORTS:
        target = group_of_module(found.module)
        if target is None or not found.path.is_relative_to(learn):
            continue
        source = found.path.relative_to(learn).parts[0]
        if target not in {source} | GROUPS.get(source, set()):
            wrong.append(f"{found} ({source} -> {target})")
    assert not wrong, "\n".join(wrong)


def test_engines_stay_behind_their_doors():
    wrong = []
    for found in IMPORTS:
        part, package = part_of_file(found.path), found.module.split(".")[0]
        never, later = NEVER.get(part, set()), NOT_ON_LOADING.get(part, set())
        if package in never or (found.on_loading and package in later):
            wrong.append(f"{found} ({part})")
    assert not wrong, "\n".join(wrong)


def test_nothing_of_the_package_imports_training_or_benchmarks():
    wrong = [
        str(found)
        for found in IMPORTS
        if part_of_module(found.module) in ("training", "benchmarks") and found.path.is_relative_to(ROOT / PACKAGE)
    ]
    assert not wrong, "\n".join(wrong)


BLOCKED_IMPORTS = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
for module in {modules!r}:
    importlib.import_module(module)
"""


def modules_of(*parts: str) -> list[str]:
    names = []
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if part_of_file(path) in parts and path.name != "__main__.py":
            names.append(name)
    return names


@pytest.mark.parametrize(
    ("parts", "blocked"),
    [
        # A laptop that evaluates: no engine, no ROS, no PyTorch.
        (
            ("types", "core", "tracking", "data", "evaluation", "backends", "pipeline", "cli"),
            {*ENGINES, "onnx", "tensorboard"},
        ),
        # A robot: what setup.py requires, and none of its extras.
        (
            ("types", "core", "tracking", "backends", "pipeline", "cli"),
            {"torch", "torchvision", "onnx", "tensorboard", "trackeval", "pycocotools", "rosbags", "matplotlib", "av"},
        ),
    ],
    ids=["laptop", "robot"],
)
def test_core_loads_where_other_parts_are_not_installed(parts, blocked):
    modules = modules_of(*parts)
    assert "wsperception.types" in modules
    script = BLOCKED_IMPORTS.format(blocked=sorted(blocked), modules=modules)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr

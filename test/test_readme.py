"""The README tells the truth: its commands run or parse, its links lead somewhere, the places it names exist.

A block ```bash after the comment `<!-- runs in the tests -->` is executed; those blocks share one folder and follow one
another. Every line of every other block is checked by its kind; a line of an unknown kind fails, so that whoever adds
one says here how it is checked.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from wsperception import cli

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
EXECUTED = "<!-- runs in the tests -->"


@dataclass(frozen=True)
class Block:
    """One ```bash block: the document, the line of its first command, its text."""

    document: str
    line: int
    text: str
    executed: bool

    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        executed = text[: match.start()].rstrip().endswith(EXECUTED)
        found.append(Block(document, text[: match.start()].count("\n") + 2, match[1], executed))
    return found


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
COMMANDS = [(f"{block.document}:{block.line}", command) for block in BLOCKS for command in block.commands()]


def extras() -> set[str]:
    """The keys of extras_require in setup.py."""
    (call,) = [
        node.value
        for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    (value,) = [keyword.value for keyword in call.keywords if keyword.arg == "extras_require"]
    assert isinstance(value, ast.Dict)
    return {key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def check_make(words: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


def check_wsperception(words: list[str]) -> None:
    cli._parser().parse_args(words[1:])  # raises InputError with the reason


def check_python(words: list[str]) -> None:
    script = ROOT / words[1]
    assert script.is_file(), f"{words[1]}: no such script"
    pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    done = subprocess.run(
        [sys.executable, str(script), "--help"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"--[\w-]+", done.stdout))
    assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= known


def check_pip(words: list[str]) -> None:
    assert words[1] == "install"  # the extras are checked wherever they are named


def check_ros2(words: list[str]) -> None:
    assert words[1:3] == ["launch", "wsperception"]
    assert (ROOT / "launch" / words[3]).is_file(), f"launch/{words[3]}: no such file"


def check_source(words: list[str]) -> None:
    assert words[1] in (".venv/bin/activate", "install/setup.bash")


def check_colcon(words: list[str]) -> None:
    assert words[1] == "build"  # test_package.py does


CHECKS = {
    "make": check_make,
    "wsperception": check_wsperception,
    "python": check_python,
    "pip": check_pip,
    "ros2": check_ros2,
    "source": check_source,
    "colcon": check_colcon,
}


def test_a_block_is_read_as_written(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "A.md").write_text(f"# A\n\n{EXECUTED}\n\n```bash\n# why\nmake \\\n  test\n```\n\n```bash\nls\n```\n")
    first, second = blocks_of("A.md")
    assert (first.line, first.executed, second.line, second.executed) == (6, True, 12, False)
    assert [command.split() for command in first.commands()] == [["make", "test"]]
    assert second.commands() == ["ls"]


@pytest.mark.parametrize(("where", "command"), COMMANDS, ids=[f"{where} {text[:40]}" for where, text in COMMANDS])
def test_every_command_is_one_that_exists(where, command):
    words = shlex.split(command, comments=True)
    assert words[0] in CHECKS, f"{where}: say in CHECKS how '{words[0]}' is checked"
    CHECKS[words[0]](words)


@pytest.mark.timeout(300)
def test_the_marked_blocks_run_one_after_the_other(tmp_path):
    marked = [block for block in BLOCKS if block.executed]
    assert marked, f"README.md: expected a block marked {EXECUTED}"
    script = ["set -euo pipefail", f'wsperception() {{ {shlex.quote(sys.executable)} -m wsperception "$@"; }}']
    script += [block.text for block in marked]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_extras_and_places_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing
    named = {extra for group in re.findall(r"\.\[([\w,]+)\]", text) for extra in group.split(",")}
    assert named <= extras()
    tops = "|".join(
        ("wsperception", "training", "config", "launch", "models", "benchmarks", "test", "docs", "resource")
    )
    places = re.findall(rf"`((?:{tops})/[\w./-]*)`", text)
    assert [place for place in places if not (ROOT / place).exists()] == []

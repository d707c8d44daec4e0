"""Bundles: what is written is read again, and everything else is refused in one line."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from wsperception import bundle as bundle_module
from wsperception.bundle import OUTPUTS, ModelBundle, Thresholds, TrainingRecord, read_bundle, write_bundle
from wsperception.errors import InputError
from wsperception.types import LabelSpace

DESCRIPTION = ModelBundle(
    name="tiny",
    input_size=(96, 320),
    label_space=LabelSpace(("car", "road"), (True, False)),
    mask_side=28,
    mask_context=1.5,
    embedding_length=8,
    max_detections=100,
    method="wsmots",
    supervision="boxes",
    training=TrainingRecord("python training/train.py", "abc123", "2026-11-21", {"rate": 0.02, "steps": [1, 2]}),
    thresholds=Thresholds(score=0.8, mask=0.4, similarity=0.1, visible=0.3, certainty=0.2),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid bundle, whose ONNX file is any bytes: reading does not open it."""
    onnx = tmp_path / "exported.onnx"
    onnx.write_bytes(b"network")
    write_bundle(tmp_path / "models" / "tiny", onnx, DESCRIPTION)
    return tmp_path / "models" / "tiny"


def edit(folder: Path, changes: dict[str, object]) -> None:
    """Changes keys of bundle.json; a value of ... removes the key."""
    path = folder / "bundle.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


def test_what_is_written_is_read(folder):
    bundle = read_bundle(folder)
    # printf network | sha256sum
    assert bundle.sha256 == "3009be769fb8f956e8413ee9f3e0836e34968bc40457d0a10c549d2edcf00cc1"
    assert bundle == dataclasses.replace(DESCRIPTION, folder=folder, sha256=bundle.sha256)
    assert bundle.onnx_path.read_bytes() == b"network"
    assert read_bundle(str(folder)) == bundle
    assert sorted(os.listdir(folder)) == ["bundle.json", "model.onnx"]
    assert os.listdir(folder.parent) == ["tiny"]


def test_a_panoptic_bundle(folder):
    assert not read_bundle(folder).is_panoptic
    assert read_bundle(folder).ordered_outputs == OUTPUTS
    edit(folder, {"outputs": ["semantic", *reversed(OUTPUTS)]})
    assert read_bundle(folder).is_panoptic
    assert read_bundle(folder).ordered_outputs == (*OUTPUTS, "semantic")


def test_writing_again_keeps_the_other_files(folder, tmp_path):
    (folder / "README.md").write_text("card")
    onnx = tmp_path / "better.onnx"
    onnx.write_bytes(b"better network")
    written = write_bundle(folder, onnx, dataclasses.replace(DESCRIPTION, name="better"))
    assert written.name == read_bundle(folder).name == "better"
    assert written.onnx_path.read_bytes() == b"better network"
    assert (folder / "README.md").read_text() == "card"
    assert os.listdir(folder.parent) == ["tiny"]


def test_an_interrupted_first_writing_leaves_no_bundle(folder, tmp_path, monkeypatch):
    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module.os, "replace", full_disk)
    with pytest.raises(InputError, match=r"next: cannot write the bundle: .*No space left on device"):
        write_bundle(tmp_path / "models" / "next", tmp_path / "exported.onnx", DESCRIPTION)
    assert os.listdir(tmp_path / "models") == ["tiny"]


def test_an_interrupted_second_writing_leaves_one_that_is_refused(folder, tmp_path, monkeypatch):
    real = os.replace

    def interrupted(source, target):
        if Path(target).name == "bundle.json":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(bundle_module.os, "replace", interrupted)
    (tmp_path / "other.onnx").write_bytes(b"other")
    with pytest.raises(KeyboardInterrupt):
        write_bundle(folder, tmp_path / "other.onnx", DESCRIPTION)
    with pytest.raises(InputError, match=r"model.onnx: expected SHA-256 [0-9a-f]{16}... of .*bundle.json, got"):
        read_bundle(folder)
    assert os.listdir(folder.parent) == ["tiny"]


def test_a_place_that_cannot_hold_a_bundle(tmp_path):
    onnx = tmp_path / "m.onnx"
    onnx.write_bytes(b"network")
    for folder in (onnx / "bundle", onnx):
        with pytest.raises(InputError, match=f"^{folder}: cannot write the bundle: "):
            write_bundle(folder, onnx, DESCRIPTION)
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_missing_onnx_to_write(tmp_path):
    with pytest.raises(InputError, match=r"cannot write the bundle: .*none.onnx"):
        write_bundle(tmp_path / "a", tmp_path / "none.onnx", DESCRIPTION)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"colour": 1}, "unknown key 'colour'; known are embedding_length, "),
        ({"sha256": ...}, "missing key 'sha256'"),
        ({"schema_version": ...}, "missing key 'schema_version'"),
        ({"outputs": ...}, "missing key 'outputs'"),
        ({"folder": "/tmp"}, "unknown key 'folder'"),
        ({"schema_version": 2}, "schema_version: expected 1, got 2"),
        ({"outputs": list(OUTPUTS[:5])}, "outputs: expected boxes, scores, .*, got boxes"),
        ({"outputs": [1, 2]}, "outputs: expected str, got 1"),
        ({"outputs": [*OUTPUTS, "depth"]}, "outputs: expected .* and perhaps semantic, got boxes, .*, depth"),
        ({"outputs": [*OUTPUTS, "semantic", "semantic"]}, "outputs: expected boxes, .*, semantic, semantic"),
        (
            {"outputs": [*OUTPUTS, "semantic"], "label_space": {"names": ["car", "van"], "is_thing": [True, True]}},
            r"label_space: expected things before stuff for the output 'semantic', got car \(thing\), van \(thing\)",
        ),
        (
            {
                "outputs": [*OUTPUTS, "semantic"],
                "label_space": {"names": ["road", "car"], "is_thing": [False, True]},
            },
            r"label_space: expected things before stuff .*, got road \(stuff\), car \(thing\)",
        ),
        (
            {
                "outputs": [*OUTPUTS, "semantic"],
                "label_space": {"names": ["car", "road"], "is_thing": [True, False]},
                "input_size": [96, 322],
            },
            r"input_size: expected multiples of 4 for the output 'semantic', got \[96, 322\]",
        ),
        ({"input_size": [96]}, "input_size: expected 2 values"),
        ({"input_size": [0, 320]}, r"input_size: expected height and width >= 1, got \[0, 320\]"),
        ({"input_size": "96x320"}, "input_size: expected 2 values, got '96x320'"),
        ({"mask_side": 0}, "mask_side: expected at least 1, got 0"),
        ({"embedding_length": 8.0}, "embedding_length: expected int, got 8.0"),
        ({"mask_context": 0.5}, "mask_context: expected 1 to 4, got 0.5"),
        ({"mask_context": float("nan")}, "mask_context: expected .* got nan"),
        (
            {"thresholds": {"score": 0.9, "mask": 0.5, "visible": 0.4, "certainty": 0.0}},
            "thresholds: missing key 'similarity'",
        ),
        (
            {"thresholds": {"score": 2.0, "mask": 0.5, "similarity": 0.0, "visible": 0.4, "certainty": 0.0}},
            "score: expected 0 to 1, got 2.0",
        ),
        ({"thresholds": 0.9}, "thresholds: expected keys and values, got 0.9"),
        ({"label_space": {"names": ["car"]}}, "label_space: missing key 'is_thing'"),
        (
            {"label_space": {"names": "car", "is_thing": [True]}},
            "label_space: names: expected a list of str, got 'car'",
        ),
        ({"label_space": {"names": [["a"]], "is_thing": [True]}}, "label_space: names: expected a list of str"),
        ({"label_space": {"names": ["car"], "is_thing": [1]}}, "label_space: is_thing: expected a list of bool"),
        ({"label_space": {"names": ["car"], "is_thing": None}}, "label_space: is_thing: expected a list of bool"),
        ({"label_space": {"names": [], "is_thing": []}}, "one is_thing flag per name, got 0 and 0"),
        ({"training": {"command": "a"}}, "training: missing key 'commit'"),
        ({"onnx_file": "../model.onnx"}, "onnx_file: expected a file name without a folder, got '../model.onnx'"),
        ({"onnx_file": "/etc/passwd"}, "onnx_file: expected a file name without a folder"),
        ({"onnx_file": ".."}, "expected the bundle's ONNX file"),
        ({"onnx_file": "other.onnx"}, "other.onnx: No such file or directory; expected the bundle's ONNX file"),
        ({"sha256": "0" * 64}, r"model.onnx: expected SHA-256 0000000000000000... of"),
        ({"name": 3}, "name: expected str, got 3"),
    ],
)
def test_foreign_keys_and_values_are_refused(folder, changes, text):
    edit(folder, changes)
    with pytest.raises(InputError, match=text) as caught:
        read_bundle(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe", b"null"])
def test_a_file_that_is_not_a_bundle(folder, content):
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(InputError, match=r"bundle.json: (not readable as JSON|expected keys and values)") as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)


def test_a_changed_network_is_refused(folder):
    (folder / "model.onnx").write_bytes(b"netw0rk")
    with pytest.raises(InputError, match=r"model.onnx: expected SHA-256"):
        read_bundle(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"model.onnx: No such file or directory; expected the bundle's ONNX file"):
        read_bundle(folder)


def test_names_are_looked_up(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"tiny-x: no such model; expected a folder with bundle.json or one of: "):
        read_bundle("tiny-x")
    monkeypatch.setenv("WSPERCEPTION_MODELS", str(folder.parent))
    assert read_bundle("tiny").folder == folder
    with pytest.raises(InputError, match=r"big: no such model; expected .* one of: .*tiny"):
        read_bundle("big")
    with pytest.raises(InputError, match="no such model"):
        read_bundle("models/big")
    monkeypatch.delenv("WSPERCEPTION_MODELS")
    installed = tmp_path / "ros" / "share" / "wsperception" / "models"
    installed.parent.mkdir(parents=True)
    os.rename(folder.parent, installed)
    os.rename(installed / "tiny", installed / "mine")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}{os.pathsep}{tmp_path / 'ros'}")
    assert read_bundle("mine").folder == installed / "mine"


def test_a_folder_without_a_bundle_and_a_file(tmp_path):
    with pytest.raises(InputError, match=r"bundle.json: no such file; expected a model bundle"):
        read_bundle(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"model.onnx: expected the folder of a model bundle, got a file"):
        read_bundle(tmp_path / "model.onnx")

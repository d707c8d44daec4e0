"""Engines on disk: found for exactly their key, never trusted when broken, built by one process at a time."""

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from wsperception.backends import engine_cache
from wsperception.backends.engine_cache import EngineKey, find, locked, record_of, store, what_differs
from wsperception.errors import InputError

KEY = EngineKey("ab" * 32, "tensorrt", "10.16.0", "NVIDIA RTX 4090", "8.9", "fp16", (384, 1248), 2)
OTHERS = {
    "onnx_sha256": "cd" * 32, "library": "tensorrt_rtx", "version": "10.17.0", "gpu": "NVIDIA A2",
    "compute_capability": "8.6", "precision": "int8", "input_size": (384, 1216), "largest_batch": 3,
    "calibration": "ef" * 32, "graph_edition": 3,
}  # fmt: skip
CONTENT = bytes(range(256)) * 7


def kept(folder: Path, key: EngineKey = KEY, content: bytes = CONTENT) -> Path:
    store(folder, record_of("car", key, content, 3.14159), content)
    return engine_cache.engine_path(folder, "car", key)


def test_what_is_stored_is_found(tmp_path):
    path = kept(tmp_path / "new" / "folder")
    content, record = find(path.parent, "car", KEY)
    assert content == CONTENT
    assert (record.key, record.build_s, record.gate, record.engine_bytes) == (KEY, 3.14, None, 1792)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert sidecar["key"]["gpu"] == "NVIDIA RTX 4090"
    assert sidecar["key"]["input_size"] == [384, 1248]
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted([path.name, path.stem + ".json"])


@pytest.mark.parametrize("name", OTHERS)
def test_one_other_value_is_another_engine_and_is_said(tmp_path, name):
    kept(tmp_path)
    other = replace(KEY, **{name: OTHERS[name]})
    assert find(tmp_path, "car", other) is None
    said = what_differs(tmp_path, "car", other)
    assert said.startswith(f"{name} ")
    assert "," not in said or name == "input_size"
    kept(tmp_path, other, b"other")  # both are kept: two GPUs may share a home folder
    assert find(tmp_path, "car", KEY)[0] == CONTENT
    assert find(tmp_path, "car", other)[0] == b"other"


def test_every_value_of_the_key_is_tried_above():
    assert set(OTHERS) == set(EngineKey.__dataclass_fields__)


def test_what_differs_names_the_nearest(tmp_path):
    assert what_differs(tmp_path, "car", KEY) == "there is none yet"
    assert what_differs(tmp_path / "absent", "car", KEY) == "there is none yet"
    kept(tmp_path, replace(KEY, version="9", gpu="old", precision="fp32"))
    kept(tmp_path, replace(KEY, version="10.15.1", onnx_sha256="12" * 32))
    assert (
        what_differs(tmp_path, "car", KEY)
        == "onnx_sha256 121212121212... -> abababababab..., version 10.15.1 -> 10.16.0"
    )
    assert what_differs(tmp_path, "bus", KEY) == "there is none yet"


@pytest.mark.parametrize(
    "content", [CONTENT[:-1], CONTENT[:100], b"", CONTENT[:5] + b"!" + CONTENT[6:]], ids=["one", "most", "all", "bit"]
)
def test_a_truncated_or_changed_engine_is_not_taken(tmp_path, caplog, content):
    path = kept(tmp_path)
    path.write_bytes(content)
    assert find(tmp_path, "car", KEY) is None
    assert f"{path}: corrupt or truncated" in caplog.text


def test_a_missing_engine_and_a_missing_sidecar(tmp_path, caplog):
    path = kept(tmp_path)
    path.unlink()
    assert find(tmp_path, "car", KEY) is None
    assert "cannot be read" in caplog.text
    kept(tmp_path).with_suffix(".json").unlink()
    assert find(tmp_path, "car", KEY) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"model": "car"}', '{"schema_version": 1, "color": 3}', '{"key": {"gpu": 5}}', "\udcff"]
)
def test_a_broken_sidecar_is_said_and_not_taken(tmp_path, caplog, text):
    sidecar = kept(tmp_path).with_suffix(".json")
    sidecar.write_bytes(text.encode(errors="surrogateescape"))
    assert find(tmp_path, "car", KEY) is None
    assert f"{sidecar}: not a sidecar of an engine" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("build_s", "long"), ("engine_bytes", 1.5), ("gate", 3), ("key", None)])
def test_a_sidecar_with_a_wrong_type_is_not_taken(tmp_path, name, value):
    sidecar = kept(tmp_path).with_suffix(".json")
    values = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**values, name: value}))
    assert find(tmp_path, "car", KEY) is None


def test_a_sidecar_of_another_engine_is_not_taken(tmp_path):
    path = kept(tmp_path)
    sidecar = path.with_suffix(".json")
    values = json.loads(sidecar.read_text())
    values["key"]["gpu"] = "NVIDIA A2"  # somebody renamed files
    sidecar.write_text(json.dumps(values))
    assert find(tmp_path, "car", KEY) is None


def test_an_interrupted_store_leaves_nothing_that_is_taken(tmp_path, monkeypatch):
    path = kept(tmp_path)

    def full(folder, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine_cache, "write_record", full)
    with pytest.raises(OSError, match="No space left"):
        store(tmp_path, record_of("car", KEY, b"newer", 1.0), b"newer")
    assert path.read_bytes() == b"newer"
    assert find(tmp_path, "car", KEY) is None  # the old sidecar has another hash


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(source, target):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Read-only"):
        engine_cache.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_model_names_make_no_folders(tmp_path):
    path = engine_cache.engine_path(tmp_path, "../my model/Ü", KEY)
    assert path.parent == tmp_path
    assert path.name.startswith("..-my-model--fp16-")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("WSPERCEPTION_ENGINES", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_cache.cache_folder() == tmp_path / ".cache" / "wsperception" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert engine_cache.cache_folder() == Path("/var/cache/me/wsperception/engines")
    monkeypatch.setenv("WSPERCEPTION_ENGINES", "/data/engines")
    assert engine_cache.cache_folder() == Path("/data/engines")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/engines: cannot be written \(Not a directory\).*WSPERCEPTION_ENGINES"):
        engine_cache.require_writable(tmp_path / "file" / "engines")
    engine_cache.require_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from wsperception.backends.engine_cache import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_process_waits_and_a_dead_one_lets_go(tmp_path):
    path = tmp_path / "car.engine"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        with (tmp_path / "car.lock").open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        killer = threading.Timer(0.5, holder.kill)  # a power cut: the lock's file stays
        killer.start()
        with locked(path):
            assert holder.wait(60) == -signal.SIGKILL  # we waited until it was dead
            assert (tmp_path / "car.lock").exists()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with locked(path):
        pass


def test_waiting_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, inside = tmp_path / "car.engine", []
    with (tmp_path / "car.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def wait() -> None:
            with locked(path):
                inside.append(True)

        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + 60
        while "another process is building it" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not inside
    thread.join(60)
    assert inside
    assert f"{path}: another process is building it; waiting" in caplog.text


def test_calibrations_are_kept_per_network(tmp_path, caplog):
    folder = tmp_path / "new"
    assert engine_cache.read_ranges(folder, "ab" * 32) == {}
    path = engine_cache.write_ranges(folder, "ab" * 32, {"conv": 2.5, "relu": 0.125}, "/bags/a", 3)
    assert engine_cache.read_ranges(folder, "ab" * 32) == {"conv": 2.5, "relu": 0.125}
    assert engine_cache.read_ranges(folder, "cd" * 32) == {}
    assert json.loads(path.read_text())["source"] == "/bags/a"
    assert engine_cache.ranges_digest({"a": 1.0, "b": 2.0}) == engine_cache.ranges_digest({"b": 2.0, "a": 1.0})
    assert engine_cache.ranges_digest({"a": 1.0}) != engine_cache.ranges_digest({"a": 1.5})
    kept(folder)  # an engine beside it: the two kinds of JSON are not mixed up
    assert what_differs(folder, "car", KEY) == "there is none yet"
    assert not caplog.text
    for text in ("{", "[]", '{"ranges": [1]}', '{"ranges": {"conv": "wide"}}'):
        path.write_text(text)
        assert engine_cache.read_ranges(folder, "ab" * 32) == {}
    assert caplog.text.count(str(path)) == 4

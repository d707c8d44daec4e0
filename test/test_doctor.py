"""The doctor's findings: each thing that can be wrong gets a level and a way out."""

import subprocess
import types

import pytest

from wsperception import doctor
from wsperception.backends import engine_cache
from wsperception.backends.engine_build import Library
from wsperception.backends.engine_supply import EngineOrder, engine_key
from wsperception.bundle import read_bundle
from wsperception.findings import ERROR, NOTE, OK, WARN, Finding, report


def only(findings: list[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


def answers(returncode=0, stdout="", stderr=""):
    """A subprocess that says this."""
    return lambda *_, **__: subprocess.CompletedProcess([], returncode, stdout, stderr)


def hangs(*_, **__):
    raise subprocess.TimeoutExpired("nvidia-smi", 1)


def test_report_by_hand():
    text = report([Finding(OK, "Python", "3.11"), Finding(WARN, "GPU", "hot", "open a window")])
    assert text.splitlines() == [
        "ok    Python  3.11",
        "warn  GPU     hot",
        "              -> open a window",
        "1 ok, 0 note, 1 warn, 0 error",
    ]
    assert report([]) == "0 ok, 0 note, 0 warn, 0 error"


def test_packages(monkeypatch):
    findings = doctor.check_packages()
    assert only(findings, "numpy").level == OK
    found = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name in ("lap", "trackeval") else found(name)
    )
    findings = doctor.check_packages()
    assert (only(findings, "lap").level, only(findings, "lap").advice) == (ERROR, "pip install lap")
    assert only(findings, "trackeval").level == NOTE


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert [finding.level for finding in doctor.check_gpu()] == [NOTE]


def test_a_gpu_without_an_engine_for_it(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor.subprocess, "run", answers(stdout="NVIDIA Orin, 8.7, 7620 MiB, 540.2\n"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: None)
    gpu, engine = doctor.check_gpu()
    assert (gpu.level, gpu.text) == (OK, "NVIDIA Orin, 8.7, 7620 MiB, 540.2")
    assert engine.level == WARN and engine.advice == "install TensorRT"
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: types.SimpleNamespace())
    assert len(doctor.check_gpu()) == 1


@pytest.mark.parametrize(
    ("run", "text"),
    [(answers(9, "NVIDIA-SMI has failed"), "fails: NVIDIA-SMI has failed"), (hangs, "does not answer")],
)
def test_a_driver_in_trouble(monkeypatch, run, text):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor.subprocess, "run", run)
    (finding,) = doctor.check_gpu()
    assert finding.level == WARN and text in finding.text and finding.advice


def test_a_model_that_is_not_there():
    (finding,) = doctor.check_model("no-such-model")
    assert finding.level == ERROR and "no-such-model: no such model" in finding.text
    assert "WSPERCEPTION_MODELS" in finding.advice


def test_every_backend_is_named_and_one_of_them_runs():
    findings = doctor.check_model("tiny")
    assert only(findings, "backend onnx").text.startswith("loads the model: onnx ONNX Runtime ")
    assert {finding.subject for finding in findings} >= {f"backend {name}" for name in doctor.BACKENDS}
    assert all(finding.level in (OK, NOTE) for finding in findings)


def test_an_engine_of_another_gpu_is_no_engine(monkeypatch, tmp_path):
    """The GPU is made up: what it is called and can do is all that the check asks it."""
    orin = types.SimpleNamespace(name="NVIDIA Orin", compute_capability=(8, 7), close=lambda: None)
    tensorrt = Library("tensorrt", "10.3.0", types.SimpleNamespace())
    monkeypatch.setattr(doctor, "installed_library", lambda: tensorrt)
    monkeypatch.setattr(doctor, "open_device", lambda: orin)
    monkeypatch.setenv("WSPERCEPTION_ENGINES", str(tmp_path))
    bundle = read_bundle("tiny")
    finding = doctor.check_engine(bundle)
    assert finding.level == NOTE and "none for NVIDIA Orin" in finding.text and "there is none yet" in finding.text
    assert finding.advice.startswith("wsperception engine --model tiny --build-only")

    def build(gpu):
        key = engine_key(EngineOrder(bundle, tensorrt, "fp16", 1, gpu, "8.7"), {})
        engine_cache.store(tmp_path, engine_cache.record_of("tiny", key, b"engine", 1.0), b"engine")

    build("NVIDIA Xavier")
    assert "gpu NVIDIA Xavier -> NVIDIA Orin" in doctor.check_engine(bundle).text
    build("NVIDIA Orin")
    finding = doctor.check_engine(bundle)
    assert finding.level == OK and f"built for NVIDIA Orin by TensorRT 10.3.0: {tmp_path}" in finding.text


def test_cv_bridge(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: None)
    assert doctor.check_cv_bridge()[0].level == NOTE
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: types.SimpleNamespace())
    monkeypatch.setattr(doctor.subprocess, "run", answers())
    assert doctor.check_cv_bridge()[0].level == OK
    # As measured on machines: NumPy 1's interface under NumPy 2 either raises, or takes the process down.
    for run in (answers(1, stderr="Traceback\nAttributeError: _ARRAY_API not found"), answers(-11), hangs):
        monkeypatch.setattr(doctor.subprocess, "run", run)
        (finding,) = doctor.check_cv_bridge()
        assert finding.level == WARN
    monkeypatch.setattr(doctor.subprocess, "run", answers(1, stderr="Traceback\nAttributeError: _ARRAY_API not found"))
    (finding,) = doctor.check_cv_bridge()
    assert "does not work with NumPy" in finding.text and "_ARRAY_API" in finding.text
    assert "numpy<2" in finding.advice


def test_without_ros(monkeypatch):
    from wsperception.ros import interfaces

    monkeypatch.setattr(interfaces, "ros_missing", lambda: "rclpy: not installed; get it")
    (finding,) = doctor.check_ros(None, 0.1)
    assert (finding.level, finding.advice) == (NOTE, "get it")
    assert finding.text == "rclpy: not installed: tracking and evaluation work, the node does not"


def test_the_exit_status_says_whether_something_does_not_work(monkeypatch):
    monkeypatch.setattr(doctor, "check_ros", lambda *_: [])
    text, status = doctor.doctor_command("no-such-model")
    assert status == 1 and text.endswith("error") and "no-such-model" in text
    monkeypatch.setattr(doctor, "check_model", lambda _: [Finding(OK, "model", "fine")])
    assert doctor.doctor_command()[1] == 0

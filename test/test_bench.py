"""`wsperception bench`: what is counted, the table, the file and the comparison with an earlier one."""

import json
import logging

import pytest

from wsperception import cli
from wsperception.backends import EngineFacts
from wsperception.bench import BenchRequest, run_bench
from wsperception.bench_report import BenchReport, CaseTimes, bench_table, read_baseline
from wsperception.errors import InputError
from wsperception.pipeline import STAGES

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

MACHINE = {"date": "2026-11-21T10:00:00+00:00", "commit": "0123456789ab", "cpu": "a CPU, 2 cores", "gpu": ""}


def report(total_ms: list[float], backend: str = "onnx") -> BenchReport:
    times = {"network": [value / 2 for value in total_ms], "total": total_ms}
    facts = EngineFacts(backend, "fp32", "CPU, 2 threads", "1")
    return BenchReport(MACHINE, "m", "ab", (96, 320), [CaseTimes(facts, 2, (48, 80), times, 3.26, 5_250_000)], 0)


def test_every_case_is_measured_as_often_as_asked(constant_bundle, tmp_path):
    request = BenchRequest(
        str(constant_bundle.folder),
        backends=("onnx",),
        batches=(1, 3),
        image_sizes=((48, 160), (96, 320)),
        rounds=2,
        warm_up=1,
        threads=1,
    )
    seen = []
    found = run_bench(request, lambda done, length: seen.append((done, length))).as_mapping()
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [(case["batch"], case["image_size"], case["runs"]) for case in found["cases"]] == [
        (1, [48, 160], 2),
        (1, [96, 320], 2),
        (3, [48, 160], 2),
        (3, [96, 320], 2),
    ]
    for case in found["cases"]:
        assert tuple(case["stages_ms"]) == (*STAGES, "total")
        assert case["objects"] == 2.0  # the constant network's, in every image
        assert case["stages_ms"]["network"]["p50"] < case["stages_ms"]["total"]["p50"]
        assert case["gpu_memory_mb"] is None
    assert found["model_sha256"] == constant_bundle.sha256
    assert found["versions"]["numpy"]


def test_figures_by_hand():
    # 10 and 30 ms: p50 20, p95 10 + 0.95 * 20 = 29, p99 29.8; 2 runs of 2 images in 40 ms are 100 frames/s.
    case = report([10.0, 30.0]).as_mapping()["cases"][0]
    assert case["stages_ms"]["total"] == {"p50": 20.0, "p95": 29.0, "p99": 29.8}
    assert case["stages_ms"]["network"]["p50"] == 10.0
    assert (case["frames_per_s"], case["objects"], case["memory_mb"]) == (100.0, 3.3, 5.2)


def test_table_and_change():
    now = report([10.0, 30.0]).as_mapping()
    lines = bench_table(now).splitlines()
    assert lines[0].split() == [
        *("backend", "precision", "batch", "image", "network", "p50", "p95", "p99", "frames/s", "MB", "GPU", "MB")
    ]
    assert lines[2].split() == ["onnx", "fp32", "2", "48x80", "10.0", "20.0", "29.0", "29.8", "100.0", "5", "-"]
    assert lines[3] == ("milliseconds per batch; stages: p50; m, input 96x320, a CPU, 2 cores, commit 0123456789")
    # 20 ms after 25: a fifth less
    assert bench_table(now, report([25.0]).as_mapping()).splitlines()[2].split()[-1] == "-20%"
    assert bench_table(now, report([25.0], "torch").as_mapping()).splitlines()[2].split()[-1] == "new"


def test_a_file_is_a_baseline(tmp_path):
    report([10.0]).write(tmp_path / "folder" / "bench.json")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["bench.json"]
    assert read_baseline(tmp_path / "folder" / "bench.json") == report([10.0]).as_mapping()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "no such file; expected one that `wsperception bench --out` wrote"),
        ("{", "expected a file of `wsperception bench --out`: "),
        ("[]", "expected a file of `wsperception bench --out`: "),
        ('{"cases": [{"backend": "onnx"}]}', "missing key 'image_size'; expected a file of"),
        ('{"cases": []}', "missing key 'date'; expected a file of"),
    ],
)
def test_what_is_no_baseline_is_named(tmp_path, content, text):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"old.json: {text}"):
        read_baseline(path)


def test_a_combination_that_does_not_exist_is_left_out_and_named(constant_bundle, caplog):
    request = BenchRequest(
        str(constant_bundle.folder),
        ("onnx",),
        ("int8", "fp32"),
        image_sizes=((48, 160),),
        rounds=1,
        warm_up=0,
        threads=1,
    )
    with caplog.at_level(logging.WARNING):
        assert len(run_bench(request).cases) == 1
    assert caplog.messages == ["left out: onnx, int8: precision: expected fp32 for backend 'onnx', got int8"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rounds": 0}, "rounds: expected at least 1, got 0"),
        ({"batches": (2, 0)}, "batch: expected at least 1, got 0"),
        ({"warm_up": -1}, "warm-up: expected at least 0, got -1"),
        ({"image_sizes": ((0, 5),)}, "image size: expected at least 1x1, got 0x5"),
    ],
)
def test_what_cannot_be_measured(changes, text):
    with pytest.raises(InputError, match=f"^{text}$"):
        BenchRequest(**changes)


def test_the_command_writes_figures_and_a_trace(constant_bundle, tmp_path, capsys):
    arguments = ["bench", "--model", str(constant_bundle.folder), "--backend", "onnx", "--image-size", "48x160"]
    arguments += ["--rounds", "1", "--warm-up", "0", "--threads", "1", "--out", str(tmp_path / "bench.json")]
    assert cli.main([*arguments, "--trace", str(tmp_path / "trace.json")]) == 0
    assert "onnx" in capsys.readouterr().out
    events = [event for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"] if event["ph"] == "X"]
    whole = next(event for event in events if event["name"].endswith("__call__"))
    inside = [event for event in events if event["tid"] == whole["tid"] and event is not whole]
    assert {"preprocess.letterbox", "decode.decode", "fusion.fuse"} <= {event["name"] for event in inside}
    for event in inside:  # calls lie within the one that made them
        assert whole["ts"] <= event["ts"] <= event["ts"] + event["dur"] <= whole["ts"] + whole["dur"] + 0.01
    operators = [event for event in events if event["tid"] != whole["tid"]]
    assert {"ReduceSum", "Mul", "Add"} & {event["name"] for event in operators}
    assert cli.main([*arguments, "--baseline", str(tmp_path / "bench.json")]) == 0
    assert "change" in capsys.readouterr().out

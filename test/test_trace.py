"""The recorder of calls, and the file that trace viewers open."""

import json
import time

from wsperception.geometry import clip_boxes
from wsperception.trace import OPERATORS, PYTHON, CallRecorder, complete_event, write_trace


def outer() -> None:
    time.sleep(0.002)


def test_calls_are_recorded_while_the_context_is_open_and_short_foreign_ones_are_not():
    import numpy as np

    boxes = np.array([[1, 2, 3, 4]], np.float32)
    with CallRecorder() as recorder:
        clip_boxes(boxes, (4, 4))
        outer()
    outer()
    names = [event["name"] for event in recorder.events]
    assert names.count("geometry.clip_boxes") == 1
    assert names.count("test_trace.outer") == 1
    assert "builtins.len" not in names
    slept = next(event for event in recorder.events if event["name"] == "time.sleep")
    around = next(event for event in recorder.events if event["name"] == "test_trace.outer")
    assert 2000 <= slept["dur"] <= around["dur"]
    assert around["ts"] <= slept["ts"]


def test_the_file_counts_from_the_first_event_and_names_its_rows(tmp_path):
    events = [complete_event("b", 1007.5, 2.0, OPERATORS, node="n"), complete_event("a", 1000.0, 10.0, PYTHON)]
    write_trace(tmp_path / "folder" / "trace.json", events)
    content = json.loads((tmp_path / "folder" / "trace.json").read_text())
    rows = [event for event in content["traceEvents"] if event["ph"] == "M"]
    assert [(row["tid"], row["args"]["name"]) for row in rows] == [(1, "Python"), (2, "network, a run of its own")]
    bars = [event for event in content["traceEvents"] if event["ph"] == "X"]
    assert [(bar["name"], bar["ts"], bar["dur"], bar["tid"]) for bar in bars] == [
        ("a", 0.0, 10.0, 1),
        ("b", 7.5, 2.0, 2),
    ]
    assert bars[1]["args"] == {"node": "n"}
    assert content["displayTimeUnit"] == "ms"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["trace.json"]

"""One frame's profile in the Trace Event Format, which Perfetto and chrome://tracing open.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (complete events, "ph": "X")
"""

import json
import os
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from wsperception.backends import Backend
from wsperception.bundle import ModelBundle
from wsperception.pipeline import Pipeline
from wsperception.preprocess import letterbox
from wsperception.types import Frame

PYTHON, OPERATORS = 1, 2
"""Rows of the picture: calls of Python code, and the operators inside of the network."""
SHORTEST_CALL_US = 20.0
"""Calls of library functions below this are left out; those of this package never."""
_PACKAGE = str(Path(__file__).parent) + os.sep


class CallRecorder:
    """A context in which the calls of this thread are recorded as events, in `events`.

    Every call costs about a microsecond more, so read the shape from a trace and times from `wsperception bench`.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._open: list[tuple[str, float, bool]] = []

    def __enter__(self) -> "CallRecorder":
        sys.setprofile(self._on_event)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, argument: Any) -> None:
        now_us = time.perf_counter_ns() / 1e3
        if event == "call":
            code = frame.f_code
            name = f"{Path(code.co_filename).stem}.{getattr(code, 'co_qualname', code.co_name)}"
            self._open.append((name, now_us, code.co_filename.startswith(_PACKAGE)))
        elif event == "c_call":
            name = f"{getattr(argument, '__module__', None) or 'builtins'}.{argument.__name__}"
            self._open.append((name, now_us, False))
        elif self._open:  # the return from __enter__ has no call
            name, start_us, ours = self._open.pop()
            if ours or now_us - start_us >= SHORTEST_CALL_US:
                self.events.append(complete_event(name, start_us, now_us - start_us, PYTHON))


def complete_event(name: str, start_us: float, duration_us: float, row: int, **facts: Any) -> dict[str, Any]:
    """One bar of the picture."""
    return {
        "name": name,
        "ph": "X",
        "ts": round(start_us, 3),
        "dur": round(duration_us, 3),
        "pid": os.getpid(),
        "tid": row,
        "args": facts,
    }


def trace_frame(pipeline: Pipeline, backend: Backend, bundle: ModelBundle, frame: Frame) -> list[dict[str, Any]]:
    """Events of one frame, after two that warm up; with the network's operators where the backend is ONNX Runtime.

    The operators come from a run of their own, with a profiler in it, and are placed where the network began.
    """
    for _ in range(2):
        pipeline(frame)
    with CallRecorder() as recorder:
        pipeline(frame)
    events = recorder.events
    if backend.name == "onnx":
        from wsperception.backends.onnx_ import operator_times

        network = next(event for event in events if event["name"] in ("onnx_.OnnxBackend.run", "onnx_.run"))
        image = letterbox(frame.image, bundle.input_size)[0]
        for name, kind, start_us, duration_us in operator_times(bundle, image[np.newaxis]):
            events.append(complete_event(kind, network["ts"] + start_us, duration_us, OPERATORS, node=name))
    return events


def write_trace(path: Path, events: list[dict[str, Any]]) -> None:
    """Writes `path` in one piece; times are counted from the first event."""
    first = min(event["ts"] for event in events)
    shifted = [{**event, "ts": round(event["ts"] - first, 3)} for event in sorted(events, key=lambda each: each["ts"])]
    names = [
        {"name": "thread_name", "ph": "M", "pid": os.getpid(), "tid": row, "args": {"name": name}}
        for row, name in ((PYTHON, "Python"), (OPERATORS, "network, a run of its own"))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps({"displayTimeUnit": "ms", "traceEvents": names + shifted}), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

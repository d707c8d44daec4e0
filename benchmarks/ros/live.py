"""Whether the live path keeps up: a bag at 10 Hz through player, node and recorder, with a real model.

Run from the repository root, on an idle machine: `python -m benchmarks.ros.live BAG [MODEL]`
Prints rows of the README's table; benchmarks/ros/run.py runs it too.
"""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.ros.node import row
from wsperception.bundle import read_bundle
from wsperception.ros.demo import live_demo


def main() -> None:
    bag, model = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "tiny"
    height, width = read_bundle(model).input_size
    with tempfile.TemporaryDirectory() as folder:
        report = live_demo(bag, model, Path(folder))
        node = json.loads((Path(folder) / f"{report.sequence}.json").read_text())["node"]
    came_out = f"{report.received} of {report.published} frames came out"
    row(f"live at 10 Hz: player, node with {model} at {width}x{height}, recorder", came_out, "all")
    for stage in ("network", "total"):
        p50, p95, p99 = node[f"{stage} p50 p95 p99 [ms]"].split()
        row(f"... {stage}", f"p50 {p50}, p95 {p95}, p99 {p99} ms", "< 100 ms")
    p50, p95, p99 = (f"{report.latency_ms[name]:.0f}" for name in ("p50", "p95", "p99"))
    row("... image sent to result recorded", f"p50 {p50}, p95 {p95}, p99 {p99} ms", "")


if __name__ == "__main__":
    main()

"""Whether the live path keeps up: a bag at 10 Hz through player, node and recorder, with a real model.

Run from the repository root, on an idle machine: `python -m benchmarks.ros.live BAG [MODEL]`
"""

import json
import sys
import tempfile
from pathlib import Path

from wsperception.ros.demo import live_demo

STAGES = ("letterbox", "network", "decode", "fuse", "track", "convert", "publish", "overhead", "total")


def main() -> None:
    bag, model = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "tiny"
    with tempfile.TemporaryDirectory() as folder:
        report = live_demo(bag, model, Path(folder))
        node = json.loads((Path(folder) / f"{report.sequence}.json").read_text())["node"]
    print(f"{report.received} of {report.published} frames came out; latency ms {dict(report.latency_ms)}")
    for stage in STAGES:
        print(f"{stage:<10} p50 p95 p99 ms: {node[f'{stage} p50 p95 p99 [ms]']}")


if __name__ == "__main__":
    main()

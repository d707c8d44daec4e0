"""The numbers of a run: log.jsonl with one line per step, and the same for TensorBoard."""

import json
import os
from collections import deque
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Appends to `folder`/log.jsonl and `folder`/tensorboard; what a killed run wrote from step `start` on is cut."""

    def __init__(self, folder: Path, start: int) -> None:
        path = folder / "log.jsonl"
        _cut(path, start)
        self._file = path.open("a", buffering=1)  # line by line, for whoever watches
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start if start else None)

    def write(self, iteration: int, values: dict[str, Any]) -> None:
        """One step; numbers only go to TensorBoard."""
        self._file.write(json.dumps({"iteration": iteration} | values) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name.replace(".", "/"), value, iteration)

    def flush(self) -> None:
        """Brings everything to disk; called before each checkpoint, so that no step before it is missing."""
        self._file.flush()
        self._board.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._file.close()
        self._board.close()


class CollapseAlarm:
    """Watches which share of their boxes masks cover, over the last `steps` steps.

    What rewards masks for agreeing with their neighbourhood is served best by masks that fill their boxes, or by none.
    """

    low, high = 0.05, 0.97

    def __init__(self, steps: int = 50) -> None:
        self._shares: deque[float] = deque(maxlen=steps)
        self._raised = False

    def message(self, iteration: int, share: float | None) -> str:
        """A line when the mean leaves [low, high]; empty while it stays inside, or outside. None: no mask this step."""
        if share is not None:
            self._shares.append(share)
        if len(self._shares) < (self._shares.maxlen or 0):
            return ""
        mean = sum(self._shares) / len(self._shares)
        outside = not self.low <= mean <= self.high
        raised, self._raised = self._raised, outside
        if raised or not outside:
            return ""
        kind = "they vanish" if mean < self.low else "they fill them"
        return f"step {iteration}: masks cover {100 * mean:.0f} % of their boxes, {kind}; see loss.mask_* in log.jsonl"


def read_log(path: Path) -> list[dict[str, Any]]:
    """The steps of a log; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def _cut(path: Path, start: int) -> None:
    kept = [entry for entry in read_log(path) if entry["iteration"] < start]
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
    os.replace(temporary, path)

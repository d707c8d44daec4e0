"""Community Learning from image tags, row by row: what class maps, segmentation and box regression add to a detector.

    python -m benchmarks.tags.run --out out/tags

Goes on where it stopped: a (row, seed) that has its result is not repeated. Writes table.md below --out, and
a picture of each row and seed.
"""

import sys
import time
from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks.tags import community
from benchmarks.tags.community import LAYOUT, ROWS, SCHEDULE
from benchmarks.tags.learning import kept_weights
from benchmarks.tags.pictures import draw
from benchmarks.tags.results import arguments, finish, measure_missing
from benchmarks.tags.scenes import draw_scenes
from wsperception.errors import InputError
from wsperception.settings import to_mapping

SCENES = {"train": 240, "val": 120}
SHOWN = 8
"""Scenes in the picture of a row."""
LOCALISED = 60
"""Training scenes of which CorLoc is taken."""


def main(command: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 --out holds results of other settings."""
    options = arguments(__doc__, list(ROWS), SCHEDULE, SCENES).parse_args(command)
    torch.set_num_threads(options.threads)
    schedule = replace(SCHEDULE, warm_up=options.warm_up, steps=options.steps)
    settings = asdict(schedule) | {name: getattr(options, name) for name in ("train", "val", "scenes")}
    settings |= {"method": {row: to_mapping(community.settings_of(row)) for row in ROWS}}
    settings |= {"inference": to_mapping(community.INFERENCE)}
    train: list[community.Sample] = []
    val: list[community.Sample] = []

    def measure(row: str, seed: int) -> dict[str, Any]:
        if not train:  # nothing is made where nothing is missing
            train.extend(community.samples(draw_scenes(options.train, options.scenes), options.out / "proposals"))
            val.extend(community.samples(draw_scenes(options.val, options.scenes + 1), options.out / "proposals"))
        warm = kept_weights(options.out / "warm.pt", lambda: community.warm_backbone(train, schedule))
        started = time.process_time()
        method, history = community.train_row(row, warm, train, schedule, seed)
        scores = community.score_row(method, train[:LOCALISED], val).mapping()
        scores |= {"cpu_seconds": time.process_time() - started}
        draw(method, val[:SHOWN], options.out / f"pictures/{row}@{seed}.jpg")
        return {"scores": scores, "history": history[:: max(1, len(history) // 20)]}

    try:
        measure_missing(options, settings, measure)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    finish(options.out, LAYOUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())

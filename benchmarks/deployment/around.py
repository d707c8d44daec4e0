"""Milliseconds of everything around the network at 1242 x 375 with 20 objects: letterbox to messages.

    python -m benchmarks.deployment.around [--rounds 300]

The network is a list of arrays, all else is the path that the node runs. Times are the calling thread's processor time,
which is its wall time on an idle machine. Without ROS the messages are left out, and it says so.
"""

import argparse
import dataclasses
import importlib.util
import statistics
import time
import types
from collections.abc import Callable, Sequence

import cv2
import numpy as np

import wsperception.pipeline
from benchmarks.core.masks import INPUT, ROWS, SIDE, SIZE, outputs
from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord
from wsperception.decode import RawOutputs
from wsperception.fusion import FusionSettings
from wsperception.pipeline import Pipeline, Result, default_settings
from wsperception.preprocess import fit
from wsperception.types import Frame, LabelSpace

AIM_MS, IMAGES = 8.0, 10
SCENES = {"street, boxes 25 to 150 px high": (25.0, 150.0), "crowd, boxes 150 to 350 px high": (150.0, 350.0)}
BUNDLE = ModelBundle(
    name="given",
    input_size=INPUT,
    label_space=LabelSpace(("car", "pedestrian"), (True, True)),
    mask_side=SIDE,
    mask_context=1.5,
    embedding_length=8,
    max_detections=ROWS,
    method="none",
    supervision="none",
    training=TrainingRecord("", "", "", {}),
    thresholds=Thresholds(),
)


class Given:
    """A network that has its answer already."""

    def __init__(self, raw: RawOutputs) -> None:
        self._raw = raw

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        return [self._raw] * len(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)  # so that its time counts whole
    setattr(wsperception.pipeline, "time", types.SimpleNamespace(perf_counter=time.thread_time))  # noqa: B010
    # None of the objects is dropped for being hidden by others: 20 go all the way.
    settings = dataclasses.replace(default_settings(BUNDLE), fusion=FusionSettings(min_area=1, min_visible=0.0))
    fill = message_filler()
    if fill is None:
        print("messages: left out, ROS is not installed")
    images = [np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8) for seed in range(IMAGES)]
    for name, heights in SCENES.items():
        pipeline = Pipeline(Given(outputs(fit(SIZE, INPUT), heights, seed=1)), BUNDLE, settings)
        stages: dict[str, list[float]] = {}
        objects = 0
        for number in range(rounds + 20):
            frame = Frame(images[number % IMAGES], number * 10**8, "camera", number)
            times, result = measured(pipeline, frame, fill)
            objects = len(result.instances)
            if number >= 20:
                for stage, value in times.items():
                    stages.setdefault(stage, []).append(value)
        print(f"{name}: {objects} objects")
        for stage, values in stages.items():
            aim = f" (aim {AIM_MS:.0f} ms)" if stage == "all" else ""
            print(f"  {stage}: p50 {statistics.median(values):.2f} ms, p95 {np.percentile(values, 95):.2f} ms{aim}")


def measured(
    pipeline: Pipeline, frame: Frame, fill: Callable[[Result], Sequence[object]] | None
) -> tuple[dict[str, float], Result]:
    """Milliseconds of the pipeline and its stages, of the messages, and of both."""
    start = time.thread_time()
    result = pipeline(frame)
    between = time.thread_time()
    if fill is not None:
        fill(result)
    end = time.thread_time()
    shares = {stage: value for stage, value in result.timings_ms.items() if stage != "network"}
    whole = {"pipeline": (between - start) * 1e3, "messages": (end - between) * 1e3, "all": (end - start) * 1e3}
    return {**shares, **whole}, result


def message_filler() -> Callable[[Result], Sequence[object]] | None:
    """What the node does with a result before it publishes; None without ROS."""
    if importlib.util.find_spec("rclpy") is None:
        return None
    from std_msgs.msg import Header

    from wsperception.ros import messages

    header = Header(frame_id="camera")

    def fill(result: Result) -> Sequence[object]:
        return (
            messages.to_detections(result.segments, header),
            messages.to_instance_ids(result.segments, header),
        )

    return fill


if __name__ == "__main__":
    main()

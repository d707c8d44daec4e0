"""Milliseconds of everything around the network at 1242 x 375 with 20 objects: letterbox to messages.

    python -m benchmarks.deployment.around [--rounds 300]

The network is a list of arrays, all else is the path that the node runs; of a panoptic model, every pixel shows one of
six stuff classes or an object, and the semantic image is filled too. Times are the calling thread's processor time,
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
from wsperception.bundle import OUTPUTS, SEMANTIC, SEMANTIC_STRIDE, ModelBundle, Thresholds, TrainingRecord
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

PANOPTIC = dataclasses.replace(
    BUNDLE,
    label_space=LabelSpace(
        ("car", "pedestrian", "road", "pavement", "building", "vegetation", "sky", "object"),
        (True, True, *[False] * 6),
    ),
    outputs=(*OUTPUTS, SEMANTIC),
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
    if importlib.util.find_spec("rclpy") is None:
        print("messages: left out, ROS is not installed")
    for name, heights in SCENES.items():
        raw = outputs(fit(SIZE, INPUT), heights, seed=1)
        report(name, Pipeline(Given(raw), BUNDLE, settings), message_filler(BUNDLE), rounds)
        raw = dataclasses.replace(raw, semantic=semantic_map(raw))
        report(f"{name}, panoptic", Pipeline(Given(raw), PANOPTIC, settings), message_filler(PANOPTIC), rounds)


def report(name: str, pipeline: Pipeline, fill: Callable[[Result], Sequence[object]] | None, rounds: int) -> None:
    """Runs frames of noise through the path and prints its stages."""
    images = [np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8) for seed in range(IMAGES)]
    stages: dict[str, list[float]] = {}
    for number in range(rounds + 20):
        frame = Frame(images[number % IMAGES], number * 10**8, "camera", number)
        times, result = measured(pipeline, frame, fill)
        if number >= 20:
            for stage, value in times.items():
                stages.setdefault(stage, []).append(value)
    print(f"{name}: {len(result.instances)} objects, {len(result.segments)} segments")
    for stage, values in stages.items():
        aim = f" (aim {AIM_MS:.0f} ms)" if stage == "all" else ""
        print(f"  {stage}: p50 {statistics.median(values):.2f} ms, p95 {np.percentile(values, 95):.2f} ms{aim}")


def semantic_map(raw: RawOutputs) -> np.ndarray:
    """Probabilities of a street (7, h/4, w/4) uint8: bands and blocks of six kinds of stuff, and the objects."""
    height, width = INPUT[0] // SEMANTIC_STRIDE, INPUT[1] // SEMANTIC_STRIDE
    classes = np.full((height, width), 5)  # sky
    classes[height // 2 :] = 1  # road
    classes[height // 2 :, : width // 4] = 2
    blocks = np.random.default_rng(2).integers(3, 7, (4, 13)).repeat(height // 8, axis=0).repeat(width // 13, axis=1)
    classes[: blocks.shape[0], : blocks.shape[1]] = blocks
    for x0, y0, x1, y1 in (raw.boxes[raw.scores > 0] / SEMANTIC_STRIDE).round().astype(int).clip(0):
        classes[y0:y1, x0:x1] = 0
    planes = [cv2.GaussianBlur((classes == channel).astype(np.float32), (0, 0), 1.0) for channel in range(7)]
    return (np.stack(planes) * 255).round().astype(np.uint8)


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


def message_filler(bundle: ModelBundle) -> Callable[[Result], Sequence[object]] | None:
    """What the node does with a result before it publishes; None without ROS."""
    if importlib.util.find_spec("rclpy") is None:
        return None
    from std_msgs.msg import Header

    from wsperception.ros import messages

    header = Header(frame_id="camera")

    def fill(result: Result) -> Sequence[object]:
        filled = [
            messages.to_detections(result.segments, header),
            messages.to_instance_ids(result.segments, header),
        ]
        if bundle.is_panoptic:
            filled.append(messages.to_semantic(result.segments, header))
        return filled

    return fill


if __name__ == "__main__":
    main()

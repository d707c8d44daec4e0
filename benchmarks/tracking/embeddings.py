"""What the tracking head adds: with its embeddings, without, and with mask pooling off.

    python -m benchmarks.tracking.embeddings --run runs/tiny-2 --model tiny --drive out/drives/val

The network runs once per frame and once more with its masks replaced by ones before the embeddings are pooled (the
head was trained with masks: nothing is retrained). Everything behind it is the real pipeline. Needs torch.
"""

import argparse
import dataclasses
import json
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsperception.backends import EngineFacts
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.mots import find_sequences, from_segment_maps, read_mots
from wsperception.data.sources import open_source
from wsperception.decode import RawOutputs
from wsperception.evaluation.mots import evaluate_sequences
from wsperception.evaluation.mots_frames import SequencePair
from wsperception.learn.methods import METHODS
from wsperception.nets.deployed import DeployedNet
from wsperception.pipeline import Pipeline, PipelineSettings, default_settings
from wsperception.preprocess import letterbox
from wsperception.settings import from_mapping
from wsperception.types import Frame

POOLINGS = ("mask pooling", "no mask pooling")
EMBEDDINGS = (*POOLINGS, "no embeddings")


class Recorded:
    """A backend that repeats what the network gave, frame by frame."""

    name = "recorded"

    def __init__(self, outputs: Sequence[RawOutputs]) -> None:
        self._outputs = list(outputs)

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        return [self._outputs.pop(0) for _ in range(len(batch))]

    def describe(self) -> EngineFacts:
        return EngineFacts(self.name, "fp32", "none", "1")

    def close(self) -> None:
        self._outputs.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny-2"), help="training run with weights.pt")
    parser.add_argument("--model", default="tiny", help="the bundle that was exported from it")
    parser.add_argument("--drive", type=Path, default=Path("out/drives/val"))
    parser.add_argument("--sequences", nargs="*", help="only these")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = read_bundle(arguments.model)
    nets = {name: deployed(arguments.run, len(bundle.label_space), name == POOLINGS[1]) for name in POOLINGS}
    truths = find_sequences(arguments.drive / "training" / "instances_txt")
    names = arguments.sequences or sorted(truths)
    frames = {name: list(open_source(arguments.drive / "training" / "image_02" / name)) for name in names}
    recorded = {
        pooling: {name: [outputs(net, bundle, frame) for frame in frames[name]] for name in names}
        for pooling, net in nets.items()
    }
    print("| association | embeddings | class | HOTA | AssA | IDF1 | IDS | Frag |\n|---|---|---|---|---|---|---|---|")
    for association in ("paper", "full"):
        for embeddings in EMBEDDINGS:
            source = recorded[embeddings if embeddings in recorded else POOLINGS[0]]
            settings = settings_of(bundle, association, embeddings == EMBEDDINGS[2])
            pairs = []
            for name in names:
                given = source[name] if embeddings != EMBEDDINGS[2] else [alike(raw) for raw in source[name]]
                pipeline = Pipeline(Recorded(given), bundle, settings)
                maps = [pipeline(frame).segments for frame in frames[name]]
                prediction = from_segment_maps(name, maps, bundle.label_space)
                pairs.append(SequencePair(name, read_mots(truths[name]), prediction, range(len(maps))))
            for class_name, row in evaluate_sequences(pairs).combined.items():
                figures = " | ".join(f"{100 * value:.1f}" for value in (row.HOTA, row.AssA, row.IDF1))
                print(
                    f"| {association} | {embeddings} | {class_name} | {figures} | {row.IDS} | {row.Frag} |", flush=True
                )


def settings_of(bundle: ModelBundle, association: str, blind: bool) -> PipelineSettings:
    """The bundle's settings with another association; `blind`: appearance plays no part."""
    settings = default_settings(bundle)
    tracker = dataclasses.replace(settings.tracker, association=association)
    if blind:
        tracker = dataclasses.replace(
            tracker, full=dataclasses.replace(tracker.full, appearance_weight=0.0, refind_s=0.0)
        )
    return dataclasses.replace(settings, tracker=tracker)


def alike(raw: RawOutputs) -> RawOutputs:
    """The same, all embeddings equal: their cosine is 1, and Eq. 3 is left with the boxes."""
    embeddings = np.zeros_like(raw.embeddings)
    embeddings[:, 0] = 1.0
    return dataclasses.replace(raw, embeddings=embeddings)


def deployed(run: Path, classes: int, boxes_pooled: bool) -> DeployedNet:
    """The network of a run as it is exported; `boxes_pooled`: embeddings are the mean over the whole grid."""
    recipe = json.loads((run / "recipe.json").read_text())["recipe"]
    method = from_mapping(METHODS[recipe["name"]].Settings, recipe["method"], str(run / "recipe.json"))
    net = METHODS[recipe["name"]].build(method, classes).net.eval()
    net.load_state_dict(torch.load(run / "weights.pt", map_location="cpu", weights_only=True))
    exported = DeployedNet(net, method.detect).eval()
    if boxes_pooled:
        pooled = type(exported.net.track).forward

        def forward(self: Any, features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = pooled(self, features, torch.ones_like(masks))
            return result

        exported.net.track.forward = types.MethodType(forward, exported.net.track)  # type: ignore[method-assign]
    return exported


def outputs(net: DeployedNet, bundle: ModelBundle, frame: Frame) -> RawOutputs:
    """What the network gives for one frame."""
    image, _ = letterbox(frame.image, bundle.input_size)
    with torch.no_grad():
        boxes, scores, class_ids, masks, extents, embeddings = net(torch.from_numpy(image.copy())[None])
    arrays = [value[0].numpy() for value in (boxes, scores, class_ids, masks, extents, embeddings)]
    return RawOutputs(*arrays)


if __name__ == "__main__":
    main()

"""JTSM from image tags, row by row: how segments are pooled, how many heads refine, and what the branches add.

    python -m benchmarks.tags.jtsm --out out/tags-jtsm

Scenes of benchmarks.tags.scenes: four kinds of things before two of four kinds of stuff. Every row trains the same
small network on the same images with the same seeds, from a backbone that learnt the tags of whole images, which all
rows and seeds share: it stands in for weights of ImageNet. Goes on where it stopped: a (row, seed) that has its result
is not repeated. Writes table.md and a picture of each row and seed below --out. PQ in per cent, of images never trained
on.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.tags.jtsm_rows import LAYOUT, MEASURES, ROWS
from benchmarks.tags.learning import WARM_SEED, Schedule, fit, kept_weights, settle, warm_up
from benchmarks.tags.pictures import draw_segments
from benchmarks.tags.results import arguments, finish, measure_missing
from benchmarks.tags.scenes import CLASSES, STUFF, THINGS, Scene, draw_scenes
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.evaluation.panoptic import PanopticCounts, panoptic_counts, panoptic_quality
from wsperception.learn.methods import jtsm
from wsperception.learn.proposals.cache import kept_proposals
from wsperception.learn.proposals.segments import Proposals, ProposalSettings
from wsperception.learn.tags.jtsm_inference import InferenceSettings, panoptic_segments
from wsperception.learn.tags.segmented_image import SegmentedImage, segmented_image
from wsperception.settings import from_mapping, to_mapping
from wsperception.types import VOID, LabelSpace, SegmentMap

LABELS = LabelSpace(CLASSES, (*[True] * len(THINGS), *[False] * len(STUFF)))
PROPOSALS = ProposalSettings(superpixels=120, paired=60)
LIMIT = 200
"""Proposals of an image."""
MIN_SIDE = 32.0
"""Pixels that the box of a proposal has on its shorter side: the best of smaller ones is a patch that tells a class."""
MASK_ROIS = 4
"""Boxes of each pseudo box on which its mask is learnt. The released code has 10, of 4,000: of 200 the tenth is far."""
SCALE = 128
SCHEDULE = Schedule(warm_up=600, steps=400, side=SCALE, rate=2e-3, warm_rate=8e-4)
SCENES = {"train": 240, "val": 80}
SHOWN = 8
"""Scenes in the picture of a row."""
SHARED: Mapping[str, Any] = {
    "backbone": "tiny", "norm": "group", "stride": 8, "channels": 64, "hidden": 512, "branch_channels": 48,
}  # fmt: skip


def settings_of(row: str) -> jtsm.Settings:
    return from_mapping(
        jtsm.Settings,
        {
            "net": {**SHARED, **ROWS[row].changes},
            "stuff_classes": len(STUFF),
            "scales": (SCALE,),
            "proposal_limit": LIMIT,
            "mask_rois": MASK_ROIS,
            "reestimate": {"evidence": ROWS[row].evidence, "side": 64},
        },
        f"row {row}",
    )


def prepared(scenes: list[Scene], cache: Path) -> list[SegmentedImage]:
    """The scenes as the method sees them; their proposals are kept in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    made = []
    for number, scene in enumerate(scenes):
        tags = np.zeros(len(CLASSES), bool)
        tags[np.unique(scene.semantic)] = True
        proposals = _large(kept_proposals(scene.image, PROPOSALS, cache))
        made.append(segmented_image(scene.image, tags, proposals, LIMIT, f"{number}"))
    return made


def _large(proposals: Proposals) -> Proposals:
    """Those with boxes of MIN_SIDE or more."""
    rows = np.flatnonzero((proposals.boxes[:, 2:] - proposals.boxes[:, :2] >= MIN_SIDE).all(axis=1))
    return replace(
        proposals,
        membership=proposals.membership[:, rows],
        objectness=proposals.objectness[rows],
        boxes=proposals.boxes[rows],
        areas=proposals.areas[rows],
    )


def truth_of(scene: Scene, name: str) -> PanopticLabels:
    stuff = [kind for kind in np.unique(scene.semantic) if kind >= len(THINGS)]
    parts = [*scene.masks, *(scene.semantic == kind for kind in stuff)]
    classes = np.array([VOID, *scene.class_ids, *stuff], np.int32)
    ids = np.zeros(scene.image.shape[:2], np.uint16)
    for row, part in enumerate(parts, start=1):
        ids[part] = row
    return PanopticLabels(name, ids, classes, np.zeros(len(classes), bool), (classes != VOID).astype(np.float32))


def warm_backbone(images: list[SegmentedImage], schedule: Schedule) -> dict[str, Tensor]:
    """Weights of the backbone after learning the tags of whole images."""
    torch.manual_seed(WARM_SEED)
    net = jtsm.build(settings_of("whole"), len(CLASSES)).net
    return warm_up(net.backbone, net.features, images, schedule)


def scores_of(found: list[SegmentMap], scenes: list[Scene]) -> dict[str, float]:
    counts = PanopticCounts.zero(len(CLASSES))
    for number, (segments, scene) in enumerate(zip(found, scenes, strict=True)):
        name = str(number)
        counts += panoptic_counts(truth_of(scene, name), PanopticLabels.of_segments(name, segments), len(CLASSES))
    quality = panoptic_quality(counts, LABELS)
    values = (quality.all.PQ, quality.things.PQ, quality.stuff.PQ, quality.all.SQ, quality.all.RQ)
    return {name: 100.0 * value for name, value in zip(MEASURES, values, strict=True)}


def main(command: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 --out holds results of other settings."""
    parser = arguments(__doc__, list(ROWS), SCHEDULE, SCENES)
    parser.add_argument("--min-score", type=float, default=0.5, help="score from which on a segment is shown")
    options = parser.parse_args(command)
    torch.set_num_threads(options.threads)
    schedule = replace(SCHEDULE, warm_up=options.warm_up, steps=options.steps)
    inference = InferenceSettings(scales=(SCALE,), min_score=options.min_score, stuff_area=358)
    decides = asdict(schedule) | {name: getattr(options, name) for name in ("train", "val", "scenes")}
    decides |= {"method": {row: to_mapping(settings_of(row)) for row in ROWS}, "inference": to_mapping(inference)}
    decides |= {"proposals": to_mapping(PROPOSALS), "min_side": MIN_SIDE}
    train: list[SegmentedImage] = []
    val: list[SegmentedImage] = []
    scored = draw_scenes(options.val, options.scenes + 1)

    def measure(row: str, seed: int) -> dict[str, Any]:
        if not train:  # nothing is made where nothing is missing
            train.extend(prepared(draw_scenes(options.train, options.scenes), options.out / "proposals"))
            val.extend(prepared(scored, options.out / "proposals"))
        warm = kept_weights(options.out / "warm.pt", lambda: warm_backbone(train, schedule))
        torch.manual_seed(seed)
        model = jtsm.build(settings_of(row), len(CLASSES))
        model.net.backbone.load_state_dict(warm)
        settle(model.net.backbone.body)
        started = time.process_time()
        history = fit(model, train, schedule, seed)
        found = [panoptic_segments(model.net, image, inference) for image in val]
        scores = scores_of(found, scored) | {"cpu_seconds": time.process_time() - started}
        draw_segments(scored[:SHOWN], found[:SHOWN], options.out / f"pictures/{row}@{seed}.jpg")
        return {"scores": scores, "history": history[:: max(1, len(history) // 20)]}

    try:
        measure_missing(options, decides, measure)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    finish(options.out, LAYOUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())

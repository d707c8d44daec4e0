"""JTSM from image tags, row by row: how segments are pooled, how many heads refine, and what the branches add.

    python -m benchmarks.tags.jtsm --out out/tags-jtsm

Scenes of benchmarks.tags.scenes: four kinds of things before two of four kinds of stuff, brought to 96x96. Every row
trains the same small network on the same images with the same seeds, from a backbone that learnt the tags of whole
images, which all rows of a seed share: it stands in for weights of ImageNet. Goes on where it stopped: a (row, seed)
that has its result is not repeated. Writes table.md below --out. PQ in per cent, of images never trained on.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.tags.jtsm_rows import MEASURES, ROWS, read_results, table
from benchmarks.tags.scenes import CLASSES, STUFF, THINGS, Scene, draw_scenes
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.evaluation.panoptic import PanopticCounts, panoptic_counts, panoptic_quality
from wsperception.learn.jtsm_inference import InferenceSettings, panoptic_segments
from wsperception.learn.methods import jtsm
from wsperception.learn.proposal_cache import kept_proposals
from wsperception.learn.proposals import ProposalSettings
from wsperception.learn.segmented_image import SegmentedImage, segmented_image
from wsperception.settings import from_mapping
from wsperception.types import VOID, LabelSpace

LABELS = LabelSpace(CLASSES, (*[True] * len(THINGS), *[False] * len(STUFF)))
PROPOSALS = ProposalSettings(superpixels=70, paired=50)
LIMIT = 150
"""Proposals of an image."""
SCALE = 96
"""Side to which images are brought; segments are scored at 128."""
SHARED: Mapping[str, Any] = {
    "backbone": "tiny", "norm": "group", "stride": 8, "channels": 64, "hidden": 128, "branch_channels": 48,
}  # fmt: skip


def settings_of(row: str) -> jtsm.Settings:
    return from_mapping(
        jtsm.Settings,
        {
            "net": {**SHARED, **ROWS[row].changes},
            "stuff_classes": len(STUFF),
            "scales": (SCALE,),
            "proposal_limit": LIMIT,
            "reestimate": {"evidence": ROWS[row].evidence},
        },
        f"row {row}",
    )


def prepared(scene: Scene, cache: Path, source: str) -> SegmentedImage:
    tags = np.zeros(len(CLASSES), bool)
    tags[np.unique(scene.semantic)] = True
    return segmented_image(scene.image, tags, kept_proposals(scene.image, PROPOSALS, cache), LIMIT, source)


def truth_of(scene: Scene, name: str) -> PanopticLabels:
    stuff = [kind for kind in np.unique(scene.semantic) if kind >= len(THINGS)]
    parts = [*scene.masks, *(scene.semantic == kind for kind in stuff)]
    classes = np.array([VOID, *scene.class_ids, *stuff], np.int32)
    ids = np.zeros(scene.image.shape[:2], np.uint16)
    for row, part in enumerate(parts, start=1):
        ids[part] = row
    return PanopticLabels(name, ids, classes, np.zeros(len(classes), bool), (classes != VOID).astype(np.float32))


def warm_backbone(images: list[SegmentedImage], steps: int, rate: float, seed: int) -> dict[str, Tensor]:
    """Weights of the backbone after learning the tags of whole images."""
    torch.manual_seed(seed)
    net = jtsm.build(settings_of("whole"), len(CLASSES)).net
    head = nn.Linear(net.backbone.channels, len(CLASSES))
    small = [cv2.resize(image.image, (SCALE, SCALE), interpolation=cv2.INTER_AREA) for image in images]
    pictures = torch.from_numpy(np.stack(small))
    tags = torch.from_numpy(np.stack([image.tags for image in images])).float()
    optimiser = torch.optim.AdamW([*net.backbone.parameters(), *head.parameters()], rate)
    for step in range(steps):
        rows = torch.randint(len(images), (8,))
        shown = pictures[rows].flip(2) if step % 2 else pictures[rows]
        logits = head(net.features(shown).mean(dim=(2, 3)))
        loss = functional.binary_cross_entropy_with_logits(logits, tags[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 49:
            print(f"tags of whole images, step {step + 1}: {loss.item():.3f}", flush=True)
    return net.backbone.state_dict()


def train(model: jtsm.Jtsm, images: list[SegmentedImage], steps: int, batch: int, rate: float, seed: int) -> None:
    order = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    generators = [torch.Generator().manual_seed(1000 * seed + place) for place in range(batch)]
    start = time.monotonic()
    for step in range(steps):
        chosen = [images[row] for row in order.choice(len(images), batch, replace=False)]
        terms, _ = model.losses(chosen, generators)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            listed = ", ".join(f"{name} {value.item():.2f}" for name, value in terms.items())
            print(f"step {step + 1} of {steps}, {time.monotonic() - start:.0f} s: {listed}", flush=True)


def scores_of(
    model: jtsm.Jtsm, images: list[SegmentedImage], scenes: list[Scene], min_score: float
) -> dict[str, float]:
    settings = InferenceSettings(scales=(SCALE,), min_score=min_score, stuff_area=358)
    counts = PanopticCounts.zero(len(CLASSES))
    for image, scene in zip(images, scenes, strict=True):
        found = PanopticLabels.of_segments(image.source, panoptic_segments(model.net, image, settings))
        counts += panoptic_counts(truth_of(scene, image.source), found, len(CLASSES))
    quality = panoptic_quality(counts, LABELS)
    values = (quality.all.PQ, quality.things.PQ, quality.stuff.PQ, quality.all.SQ, quality.all.RQ)
    return {name: 100.0 * value for name, value in zip(MEASURES, values, strict=True)}


def run_row(row: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Trains and scores one row; the images of a seed are the same for all rows."""
    cache = options.out / "proposals"
    cache.mkdir(parents=True, exist_ok=True)
    scenes = draw_scenes(options.train, 2 * seed), draw_scenes(options.val, 2 * seed + 1)
    images = [[prepared(scene, cache, f"{number}") for number, scene in enumerate(part)] for part in scenes]
    warm = options.out / f"warm-{seed}.pt"
    if not warm.exists():
        torch.save(warm_backbone(images[0], options.warm_up, 2 * options.rate, seed), warm.with_suffix(".partial"))
        os.replace(warm.with_suffix(".partial"), warm)
    torch.manual_seed(seed)
    model = jtsm.build(settings_of(row), len(CLASSES))
    model.net.backbone.load_state_dict(torch.load(warm, weights_only=True))
    started = time.process_time()
    train(model, images[0], options.steps, options.batch, options.rate, seed)
    scores = scores_of(model, images[1], scenes[1], options.min_score)
    return scores | {"cpu_seconds": time.process_time() - started}


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 --out holds results of other settings."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    results = options.out / "results"
    results.mkdir(parents=True, exist_ok=True)
    shared = {
        name: getattr(options, name) for name in ("train", "val", "steps", "warm_up", "batch", "rate", "min_score")
    }
    kept = options.out / "settings.json"
    if kept.exists() and json.loads(kept.read_text()) != shared:
        print(f"{options.out}: holds results of other settings; expected a new folder", file=sys.stderr)
        return 2
    _write(kept, json.dumps(shared))
    for seed in options.seeds:
        for row in options.rows:
            path = results / f"{row}@{seed}.json"
            if not path.exists():
                print(f"{row}, seed {seed}", flush=True)
                _write(path, json.dumps(run_row(row, seed, options)))
                print(path.read_text(), flush=True)
    text = table(read_results(results))
    _write(options.out / "table.md", text)
    print(text)
    return 0


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".partial")
    temporary.write_text(text)
    os.replace(temporary, path)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help="%(choices)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=120, help="training images of a seed")
    parser.add_argument("--val", type=int, default=40, help="images of a seed that are scored")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--warm-up", type=int, default=150, help="steps of the backbone on tags of whole images")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--min-score", type=float, default=0.5, help="score from which on a segment is shown")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

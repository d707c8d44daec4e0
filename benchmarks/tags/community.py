"""Training and scoring of one row of Community Learning on the scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.tags.scenes import THINGS, Scene
from wsperception.evaluation.detection import ImageBoxes, box_scores, correct_localisation
from wsperception.evaluation.instance import ImageInstances, coverage_scores, voc_scores
from wsperception.learn.community_inference import (
    FoundInstances,
    InferenceSettings,
    find_instances,
    replaced_by_proposals,
)
from wsperception.learn.methods import community
from wsperception.learn.proposal_cache import kept_proposals
from wsperception.learn.proposals import Proposals, ProposalSettings
from wsperception.learn.schedule import learning_rate
from wsperception.learn.tagged_image import ProposalChoice, TaggedImage, chosen_boxes, tag_vector
from wsperception.nets.community_net import CommunityNetSettings

NET = CommunityNetSettings(
    backbone="tiny", pooling="align", pool_side=4, regressor_features=64, cam_channels=32, mask_side=10,
    mask_channels=32, mask_layers=4,
)  # fmt: skip
SETTINGS = community.Settings(
    net=NET, segments=ProposalSettings(superpixels=60, paired=60), choice=ProposalChoice(limit=48, min_side=20.0),
    scales=(112, 128), foreground=4, background=4,
)  # fmt: skip
INFERENCE = InferenceSettings(scales=(120,), flip=False)


@dataclass(frozen=True)
class Row:
    """One way to put the method together.

    title    for the table
    changes  of the network over NET
    paper    mAP50 of masks that the paper reports for it on VOC 2012, and in which table; 0 where it reports none
    """

    title: str
    changes: Mapping[str, Any]
    paper: tuple[float, str] = (0.0, "")


_MAPS: Mapping[str, Any] = {"segmentation": False, "regressor": "none"}
_MASKS: Mapping[str, Any] = {"regressor": "none"}
ROWS: Mapping[str, Row] = {
    "D": Row("detector; masks are its boxes", {**_MAPS, "cams": 0}, (18.8, "3")),
    "IMG": Row("+ class maps (IMG)", _MAPS, (32.8, "3, 7")),
    "IS": Row("+ segmentation (IS)", _MASKS, (33.7, "3, 4")),
    "REG": Row("+ class-agnostic regressor (REG)", {}, (35.9, "3")),
    "specific": Row("as REG, a regressor per class", {"regressor": "specific"}),
    "BG": Row("as IS, maps with background only", {**_MASKS, "centred": False, "smoothing": False}, (28.8, "4")),
    "BG+wGAP": Row("as IS without smoothing", {**_MASKS, "smoothing": False}, (30.0, "4")),
    "BG+FS": Row("as IS without centre weights", {**_MASKS, "centred": False}, (31.8, "4")),
    "wGAP+FS": Row("as IS without background", {**_MASKS, "background": False}, (27.4, "4")),
    "cams1": Row("as IMG, one class map", {**_MAPS, "cams": 1}, (29.7, "7")),
    "cams2": Row("as IMG, two class maps", {**_MAPS, "cams": 2}, (30.6, "7")),
    "cams4": Row("as IMG, four class maps", {**_MAPS, "cams": 4}, (31.3, "7")),
}
"""The order is that of the table; each of the first four adds to the one before."""


@dataclass(frozen=True)
class Schedule:
    """How long a row learns: steps on tags of whole images that all rows share, then its own."""

    warm_up: int = 150
    warm_batch: int = 8
    iterations: int = 300
    batch: int = 2
    rate: float = 1e-3
    decay: float = 5e-4


@dataclass(frozen=True)
class Scores:
    """What a row reached, in per cent: masks and boxes on the validation scenes, CorLoc on the training scenes."""

    mask_ap25: float
    mask_ap50: float
    mask_ap75: float
    abo: float
    replaced_ap50: float
    box_ap50: float
    corloc: float

    def mapping(self) -> dict[str, float]:
        """By name."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class Sample:
    """A scene with what a method may see of it: its proposals and tags."""

    scene: Scene
    proposals: Proposals
    tagged: TaggedImage


def samples(scenes: Sequence[Scene], cache: Path) -> list[Sample]:
    """The scenes with their proposals, which are kept in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    made = []
    for number, scene in enumerate(scenes):
        proposals = kept_proposals(scene.image, SETTINGS.segments, cache)
        boxes = proposals.boxes[chosen_boxes(proposals.boxes, SETTINGS.choice)]
        source = f"scene {number}"
        tags = tag_vector(scene.class_ids.tolist(), len(THINGS), source)
        made.append(Sample(scene, proposals, TaggedImage(scene.image, tags, boxes, source)))
    return made


def warm_backbone(train: Sequence[Sample], schedule: Schedule, seed: int) -> dict[str, Tensor]:
    """Weights of a backbone that has learnt the tags of whole images: what all rows of a seed start from."""
    torch.manual_seed(seed)
    backbone = community.build(SETTINGS, len(THINGS)).net.backbone
    head = nn.Linear(backbone.channels[3], len(THINGS))
    images = torch.from_numpy(np.stack([sample.scene.image for sample in train])).permute(0, 3, 1, 2)
    tags = torch.from_numpy(np.stack([sample.tagged.tags for sample in train])).float()
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], schedule.rate)
    for iteration in range(schedule.warm_up):
        _set_rate(optimizer, iteration, schedule.warm_up, schedule.rate)
        rows = torch.randint(len(train), (schedule.warm_batch,))
        flipped = images[rows].flip(3) if iteration % 2 else images[rows]
        levels = backbone((flipped.float() - 115.0) / 57.0)
        logits = head(backbone.last(levels[2]).mean(dim=(2, 3)))
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(logits, tags[rows]).backward()
        optimizer.step()
    return backbone.state_dict()


def train_row(
    row: Row, warm: dict[str, Tensor], train: Sequence[Sample], schedule: Schedule, seed: int
) -> tuple[community.Community, list[dict[str, float]]]:
    """A trained method, and its loss terms and figures step by step."""
    torch.manual_seed(seed)
    method = community.build(replace(SETTINGS, net=replace(NET, **row.changes)), len(THINGS))
    method.net.backbone.load_state_dict(warm)
    images = community.usable_images([sample.tagged for sample in train], len(THINGS))
    optimizer = torch.optim.AdamW(method.parameters(), schedule.rate, weight_decay=schedule.decay)
    random = np.random.default_rng(seed)
    history = []
    for iteration in range(schedule.iterations):
        _set_rate(optimizer, iteration, schedule.iterations, schedule.rate)
        rows = random.choice(len(images), schedule.batch, replace=False)
        seeds = [torch.Generator().manual_seed(int(random.integers(2**62))) for _ in rows]
        terms, figures = method.losses([images[row] for row in rows], seeds)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(method.parameters(), 10.0)
        optimizer.step()
        shares = {name: float(part[0] / part[1]) for name, part in figures.items() if part[1] > 0}
        history.append({name: float(value.detach()) for name, value in terms.items()} | shares)
    return method.eval(), history


def score_row(method: community.Community, train: Sequence[Sample], val: Sequence[Sample]) -> Scores:
    """Detects and scores: masks and boxes of `val`, CorLoc of `train`."""
    masks, replaced, boxes = [], [], []
    for sample in val:
        found = find_instances(method.net, sample.tagged, INFERENCE)
        masks.append(_instances(found, sample.scene))
        replaced.append(_instances(replaced_by_proposals(found, sample.proposals), sample.scene))
        boxes.append(_boxes(found, sample.scene))
    on_train = [_boxes(find_instances(method.net, sample.tagged, INFERENCE), sample.scene) for sample in train]
    count = len(THINGS)
    by_mask = voc_scores(masks, count)
    values = (
        *(by_mask.at(threshold) for threshold in (0.25, 0.5, 0.75)),
        coverage_scores(masks, count).abo,
        voc_scores(replaced, count).at(0.5),
        box_scores(boxes, count).at(0.5),
        correct_localisation(on_train, count).mean,
    )
    return Scores(*(100.0 * value for value in values))


def _set_rate(optimizer: torch.optim.Optimizer, iteration: int, iterations: int, peak: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(iteration, iterations, peak, warm_up=min(20, iterations))


def _instances(found: FoundInstances, scene: Scene) -> ImageInstances:
    ignored = np.zeros(len(scene.masks), bool)
    return ImageInstances(found.masks, found.scores, found.class_ids, scene.masks, scene.class_ids, ignored)


def _boxes(found: FoundInstances, scene: Scene) -> ImageBoxes:
    ignored = np.zeros(len(scene.masks), bool)
    return ImageBoxes(found.boxes, found.scores, found.class_ids, scene.boxes, scene.class_ids, ignored)

"""Training and scoring of one row of Community Learning on the scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.tags.learning import WARM_SEED, Schedule, fit, settle, warm_up
from benchmarks.tags.results import Layout
from benchmarks.tags.scenes import THINGS, Scene
from wsperception.evaluation.detection import ImageBoxes, box_scores, correct_localisation
from wsperception.evaluation.instance import ImageInstances, coverage_scores, voc_scores
from wsperception.learn.methods import community
from wsperception.learn.proposals.cache import kept_proposals
from wsperception.learn.proposals.segments import Proposals, ProposalSettings
from wsperception.learn.tags.community_inference import (
    FoundInstances,
    InferenceSettings,
    find_instances,
    replaced_by_proposals,
)
from wsperception.learn.tags.tagged_image import ProposalChoice, TaggedImage, chosen_boxes, tag_vector
from wsperception.nets.community_net import CommunityNetSettings

SCALE = 192
"""Side to which images are brought: a thing is about six cells of res4 wide then; masks are scored at 128."""
NET = CommunityNetSettings(
    backbone="tiny", pooling="align", pool_side=4, regressor_features=64, regressor_grid=True, cam_channels=32,
    mask_side=12, mask_channels=32, mask_layers=4,
)  # fmt: skip
SETTINGS = community.Settings(
    net=NET, segments=ProposalSettings(superpixels=120, paired=60, trees=3),
    choice=ProposalChoice(limit=48, min_side=40.0), scales=(SCALE,), foreground=4, background=8,
)  # fmt: skip
INFERENCE = InferenceSettings(scales=(SCALE,), flip=False)
SCHEDULE = Schedule(warm_up=600, steps=500, side=SCALE, rate=2e-3)


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

COLUMNS: Mapping[str, str] = {
    "mask_ap25": "AP25", "mask_ap50": "AP50", "mask_ap75": "AP75", "abo": "ABO", "replaced_ap50": "AP50, replaced",
    "box_ap50": "box AP50", "corloc": "CorLoc",
}  # fmt: skip
STEPS = (("D", "IMG"), ("IMG", "IS"), ("IS", "REG"))
"""(row, row that adds something to it)."""
LAYOUT = Layout(
    COLUMNS,
    {name: (row.title, f"{row.paper[0]:.1f} ({row.paper[1]})" if row.paper[0] else "") for name, row in ROWS.items()},
    {(a, b): f"{ROWS[b].paper[0] - ROWS[a].paper[0]:.1f}" for a, b in STEPS},
    "AP50, paper (table)",
)


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


def warm_backbone(train: Sequence[Sample], schedule: Schedule) -> dict[str, Tensor]:
    """Weights of a backbone that has learnt the tags of whole images: what all rows and seeds start from."""
    net = built("REG", WARM_SEED).net

    def features(images: Tensor) -> Tensor:
        normal = (images.permute(0, 3, 1, 2).float() - net.mean) / net.deviation
        return net.backbone.last(net.backbone(normal)[2])

    return warm_up(net.backbone, features, [sample.tagged for sample in train], schedule)


def settings_of(row: str) -> community.Settings:
    return replace(SETTINGS, net=replace(NET, **ROWS[row].changes))


def built(row: str, seed: int) -> community.Community:
    """The method of a row, untrained."""
    torch.manual_seed(seed)
    return community.build(settings_of(row), len(THINGS))


def train_row(
    row: str, warm: dict[str, Tensor], train: Sequence[Sample], schedule: Schedule, seed: int
) -> tuple[community.Community, list[dict[str, float]]]:
    """A trained method, and its loss terms and figures step by step."""
    method = built(row, seed)
    method.net.backbone.load_state_dict(warm)
    settle(method.net.backbone.body)
    history = fit(method, [sample.tagged for sample in train], schedule, seed)
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


def _instances(found: FoundInstances, scene: Scene) -> ImageInstances:
    ignored = np.zeros(len(scene.masks), bool)
    return ImageInstances(found.masks, found.scores, found.class_ids, scene.masks, scene.class_ids, ignored)


def _boxes(found: FoundInstances, scene: Scene) -> ImageBoxes:
    ignored = np.zeros(len(scene.masks), bool)
    return ImageBoxes(found.boxes, found.scores, found.class_ids, scene.boxes, scene.class_ids, ignored)

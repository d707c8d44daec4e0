"""Scores the masks of a run on images with true masks: of WISE beside the baselines of its Table 1, of wsmots, of
Community Learning or of JTSM.

    python training/score.py --run runs/two --data DRIVE --out scores.json

The scores hold at the network's input size. Both conventions of average precision are written, in per cent.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training.checkpoint import load_tensors
from training.export import read_record
from training.recipe import write_json
from training.tag_masks import TAG_KINDS, tag_kinds
from wsperception.data.augmentation import augment, no_augmentation
from wsperception.data.clips import ClipFrame, ClipSettings
from wsperception.data.frame_store import decode_frame
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.segments import Segments
from wsperception.errors import InputError
from wsperception.evaluation.detection import boxes_of_masks, correct_localisation
from wsperception.evaluation.instance import ImageInstances, coco_scores, coverage_scores, voc_scores
from wsperception.fusion import FusionSettings, fuse
from wsperception.learn.methods import METHODS, wise
from wsperception.learn.points.wise_masks import KINDS, PRM, FoundMasks, Maps, find_masks, read_maps
from wsperception.nets.community_net import CommunityNet
from wsperception.nets.detect import detect
from wsperception.nets.jtsm_net import JtsmNet
from wsperception.nets.perception_net import PerceptionNet
from wsperception.nets.settings import DetectSettings
from wsperception.nets.wise_net import WiseNet
from wsperception.settings import from_mapping
from wsperception.types import Instances

DETECTIONS = "detections"
"""The masks of a PerceptionNet."""

COVERED = 0.5
"""Share of a predicted mask inside ignore regions above which it counts neither for nor against, as in MOTS."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong."""
    options = _parse(arguments)
    try:
        scores = score_run(options.run, tuple(options.data), options.split, options.kinds, options.min_area)
        write_json(options.out, scores)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'':12}{'AP25':>8}{'AP50':>8}{'AP75':>8}{'MUCov':>8}{'MWCov':>8}   VOC's convention")
    for kind, values in scores["kinds"].items():
        columns = [values[f"VOC {name}"] for name in ("AP25", "AP50", "AP75")] + [values["MUCov"], values["MWCov"]]
        print(f"{kind:12}" + "".join(f"{math.nan if value is None else value:8.1f}" for value in columns))
    return 0


def score_run(run: Path, roots: tuple[Path, ...], split: str, kinds: list[str], min_area: int) -> dict[str, Any]:
    """Kind of masks -> measure -> per cent, None where it is not defined; and the numbers of images and objects.

    kinds     none: all that the run's method has
    min_area  objects of fewer pixels at network size count neither for nor against
    """
    masks, data = masks_of_run(run)
    unknown = [kind for kind in kinds if kind not in masks]
    if unknown:
        raise InputError(f"--kinds {unknown[0]}: unknown for this run; expected some of {', '.join(masks)}")
    frames = read_labelled_frames(roots, split, data.labels, "full")
    found: dict[str, list[ImageInstances]] = {kind: [] for kind in kinds or masks}
    for frame in tqdm(frames, "images", disable=not sys.stderr.isatty()):
        sample = whole_sample(frame, data)
        for kind, images in found.items():
            images.append(_instances(masks[kind](sample), sample, min_area))
    count = len(data.labels)
    objects = sum(int((~image.ignored).sum()) for image in next(iter(found.values())))
    scores = {kind: _scores(images, count) for kind, images in found.items()}
    return {"images": len(frames), "objects": objects, "kinds": scores}


def whole_sample(frame: LabelledFrame, data: ClipSettings) -> ClipFrame:
    """The whole image of a frame at network size, with the true mask of every object of which a pixel is left."""
    everything = replace(data, crop=(0, 0), min_side=0.0, min_area=1, min_visible=0.0)
    return augment(frame, decode_frame(frame, data.stored_size, True), no_augmentation(), everything, 0)


def masks_of_run(run: Path) -> tuple[dict[str, Callable[[ClipFrame], FoundMasks]], ClipSettings]:
    """Kind of masks -> how they are found in an image; and the data settings of the run."""
    net, settings, data = load_run(run)
    if isinstance(net, WiseNet):
        found = _WiseMasks(net, settings)
        kinds = (PRM,) if settings.places == wise.TAGS else KINDS
        return {kind: partial(found, kind) for kind in kinds}, data
    if isinstance(net, PerceptionNet):
        return {DETECTIONS: partial(_detected, net, settings.detect)}, data
    if isinstance(net, CommunityNet | JtsmNet):
        return tag_kinds(net, settings), data
    raise InputError(f"{run}: expected a run of wise, community, jtsm or wsmots")


def load_run(run: Path) -> tuple[nn.Module, Any, ClipSettings]:
    """The trained network of a run, its method's settings and those of its data; InputError where it is broken."""
    path = run / "recipe.json"
    recipe = read_record(path)["recipe"]
    method = METHODS[recipe["name"]]
    data = from_mapping(ClipSettings, recipe["data"], str(path))
    settings = from_mapping(method.Settings, recipe["method"], str(path))
    net: nn.Module = method.build(settings, len(data.labels), recipe["training"]["supervision"]).net.eval()
    try:
        net.load_state_dict(load_tensors(run / "weights.pt"))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{run / 'weights.pt'}: do not fit the network: {reason}") from None
    return net, settings, data


class _WiseMasks:
    """The masks of a WiseNet; what all kinds share is computed once for an image."""

    def __init__(self, net: WiseNet, settings: wise.Settings) -> None:
        self._net, self._settings = net, settings
        self._last: tuple[str, Maps, Segments] | None = None

    def __call__(self, kind: str, sample: ClipFrame) -> FoundMasks:
        assert sample.masks is not None
        if self._last is None or self._last[0] != sample.source:
            segments = wise.wise_segments(sample.image, self._settings)
            self._last = (sample.source, read_maps(self._net, sample.image), segments)
        return find_masks(kind, *self._last[1:], sample.masks, sample.class_ids)


def _detected(net: PerceptionNet, settings: DetectSettings, sample: ClipFrame) -> FoundMasks:
    """The objects that a PerceptionNet detects, without overlap, as they would be published."""
    (found,) = detect(net, torch.from_numpy(sample.image)[None], settings)
    size = (sample.image.shape[0], sample.image.shape[1])
    boxes, extents, masks, scores, class_ids, embeddings = (
        value.float().numpy()
        for value in (found.boxes, found.mask_boxes, found.masks, found.scores, found.class_ids, found.embeddings)
    )
    instances = Instances(boxes, extents, masks, scores, class_ids.astype(np.int32), embeddings, size)
    fused = fuse(instances, FusionSettings(min_area=1)).segments
    parts: np.ndarray = fused.ids[None] == np.arange(1, len(fused) + 1)[:, None, None]
    return FoundMasks(parts, fused.class_ids[1:].astype(np.int64), fused.scores[1:])


def _instances(found: FoundMasks, sample: ClipFrame, min_area: int) -> ImageInstances:
    assert sample.masks is not None and sample.ignore_mask is not None
    areas = found.masks.sum(axis=(1, 2))
    inside = (found.masks & sample.ignore_mask).sum(axis=(1, 2))
    counts = inside <= COVERED * areas
    return ImageInstances(
        found.masks[counts],
        found.scores[counts],
        found.class_ids[counts],
        sample.masks,
        sample.class_ids,
        sample.masks.sum(axis=(1, 2)) < min_area,
    )


def _scores(images: list[ImageInstances], class_count: int) -> dict[str, float | None]:
    voc, coco = voc_scores(images, class_count), coco_scores(images, class_count)
    quarter = coco_scores(images, class_count, (0.25,))
    coverage = coverage_scores(images, class_count)
    values = dict(_named("VOC", voc.means)) | {
        "COCO AP": coco.volume,
        "COCO AP25": quarter.at(0.25),
        "COCO AP50": coco.at(0.5),
        "COCO AP75": coco.at(0.75),
        "MUCov": coverage.mucov,
        "MWCov": coverage.mwcov,
        "ABO": coverage.abo,
        "CorLoc": correct_localisation(map(boxes_of_masks, images), class_count).mean,
    }
    return {name: None if math.isnan(value) else round(100.0 * value, 3) for name, value in values.items()}


def _named(convention: str, means: np.ndarray) -> Iterator[tuple[str, float]]:
    for name, value in zip(("AP25", "AP50", "AP75"), means.tolist(), strict=True):
        yield f"{convention} {name}", value


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="KITTI MOTS folders or synthetic drives")
    parser.add_argument("--out", type=Path, required=True, help="file of the scores")
    parser.add_argument("--split", default="all", help="sequences: all, train, val, fulltrain, or names and commas")
    parser.add_argument(
        "--kinds", nargs="+", choices=(*KINDS, PRM, *TAG_KINDS, DETECTIONS), default=[], metavar="KIND",
        help="%(choices)s",
    )  # fmt: skip
    parser.add_argument("--min-area", type=int, default=0, help="smaller objects are ignored; pixels at network size")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

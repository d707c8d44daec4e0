"""The labels of a round, for all images of a folder: from boxes and tags, or from the network of the round before.

One file per image is kept while they are made, so that an interrupted round goes on; then they become a folder in
COCO's panoptic format, the form in which `training/train.py` reads full labels too.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training.checkpoint import load_tensors
from training.score import load_run
from wsperception.data.coco_panoptic_writer import PanopticWriter
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.data.sources.image_file import read_image
from wsperception.errors import InputError
from wsperception.learn.kept_work import in_processes
from wsperception.learn.methods.panoptic import PanopticNet, Settings
from wsperception.learn.panoptic.cache import read_labels, write_labels
from wsperception.learn.panoptic.candidates import TAGS
from wsperception.learn.panoptic.labels import BoxLabels, PseudoPanoptic, first_labels, next_labels
from wsperception.learn.panoptic.tag_cues import tag_cues
from wsperception.nets.semantic_net import TagNet
from wsperception.preprocess import letterbox
from wsperception.types import VOID, LabelSpace


@dataclass(frozen=True, eq=False)
class WeakImage:
    """What is known of one image.

    frame   the image file, its boxes and classes
    crops   (K, 4) int64 with tags (K, C) bool
    agreed  file of what its boxes alone say
    """

    frame: LabelledFrame
    crops: np.ndarray
    tags: np.ndarray
    agreed: Path


@dataclass(frozen=True)
class Labeller:
    """Who labels in a round: the classifier of tags (round 0), or the network of a finished run.

    source   weights of the classifier; or the folder of the run
    number   of the round to be labelled
    folder   of the kept files
    """

    source: Path
    number: int
    settings: Settings
    labels: LabelSpace
    folder: Path


def label_images(images: Sequence[WeakImage], labeller: Labeller, workers: int) -> list[Path]:
    """One file per image for `read_labels`, in `workers` processes; what is there stays."""
    labeller.folder.mkdir(parents=True, exist_ok=True)
    work = partial(_labelled, labeller=labeller)
    numbered = list(enumerate(images))
    return list(tqdm(in_processes(work, numbered, workers), f"labels of round {labeller.number}", len(images)))


def write_folder(
    frames: Sequence[LabelledFrame], files: Sequence[Path], labels: LabelSpace, tags: Path, out: Path
) -> None:
    """The labels of frames in COCO's panoptic format, one JSON per sequence, and the tags; whole or not at all."""
    partial_folder = out.with_name(out.name + ".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    pairs = zip(frames, files, strict=True)
    for sequence, part in groupby(pairs, lambda pair: pair[0].path.parent.name):
        with PanopticWriter(partial_folder, sequence, labels) as writer:
            for frame, file in part:
                if frame.path.stem != f"{frame.number:06d}":
                    raise InputError(f"{frame.path}: expected a name of six digits, as {frame.number:06d}")
                writer.add_labels(frame.number, as_panoptic(read_labels(file), str(frame.path), labels))
    (partial_folder / TAGS).parent.mkdir(parents=True)
    shutil.copy(tags, partial_folder / TAGS)
    partial_folder.rename(out)


def as_panoptic(found: PseudoPanoptic, name: str, labels: LabelSpace) -> PanopticLabels:
    """Pseudo-labels as segments: an instance is one, a class of stuff too; what is SHARED is a crowd of its class."""
    things = np.append(np.asarray(labels.is_thing, bool), np.zeros(256 - len(labels), bool))[found.labels]
    known = found.labels < len(labels)
    keys = np.where(things, found.instances.astype(np.int64) + 1, 0) * 256 + found.labels
    segments, rows = np.unique(keys[known], return_inverse=True)
    ids = np.zeros(found.labels.shape, np.uint16)
    ids[known] = rows.ravel() + 1
    class_ids = np.append(VOID, segments % 256).astype(np.int32)
    # Of a thing instances + 1 is 0 where it is SHARED, and 1 where no box has it: neither is an object.
    is_thing = np.append(False, np.asarray(labels.is_thing, bool)[segments % 256])
    crowd = is_thing & (np.append(0, segments // 256) < 2)
    return PanopticLabels(name, ids, class_ids, crowd, (class_ids != VOID).astype(np.float32))


def image_probabilities(net: PanopticNet, image: np.ndarray, input_size: tuple[int, int]) -> Tensor:
    """(C, H, W) of an image (H, W, 3) uint8 RGB that the network sees at its input size, as in training."""
    height, width = image.shape[:2]
    buffer, placing = letterbox(image, input_size)
    rows, columns = placing.content_size
    found = net.probabilities(buffer)[:, :rows, :columns]
    return functional.interpolate(found[None], (height, width), mode="bilinear", align_corners=False)[0]


def _labelled(numbered: tuple[int, WeakImage], labeller: Labeller) -> Path:
    number, given = numbered
    path = labeller.folder / f"{number:06d}.npz"
    if path.exists():
        return path
    frame, settings = given.frame, labeller.settings
    image, agreed = read_image(frame.path), read_labels(given.agreed)
    is_thing = labeller.labels.is_thing
    if labeller.number == 0:
        cues = tag_cues(_classifier(labeller), image, given.crops, given.tags, settings.cues)
        found = first_labels(agreed, cues, is_thing)
    else:
        agreed_map = agreed.labels if labeller.number <= settings.cleaning.agreed_rounds else None
        boxes = BoxLabels(frame.boxes, frame.class_ids, given.crops, given.tags, agreed_map)
        net, input_size = _network(labeller.source)
        probabilities = image_probabilities(net, image, input_size)
        found = next_labels(probabilities, image, boxes, is_thing, settings.cleaning)
    write_labels(path, found)
    return path


@lru_cache(maxsize=1)
def _classifier(labeller: Labeller) -> TagNet:
    torch.set_num_threads(1)  # the processes share the cores among them
    net = TagNet(labeller.settings.net, len(labeller.labels)).eval()
    net.load_state_dict(load_tensors(labeller.source))
    return net


@lru_cache(maxsize=1)
def _network(run: Path) -> tuple[PanopticNet, tuple[int, int]]:
    torch.set_num_threads(1)
    net, _, data = load_run(run)
    if not isinstance(net, PanopticNet):
        raise InputError(f"{run}: expected a run of panoptic")
    return net, data.input_size

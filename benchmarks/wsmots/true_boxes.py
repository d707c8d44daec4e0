"""Masks predicted inside the true boxes: how good they are when detection and association are left out."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.errors import InputError
from wsperception.fusion import FusionSettings, fuse
from wsperception.learn.methods import METHODS
from wsperception.nets.heads import mask_boxes
from wsperception.nets.perception_net import PerceptionNet
from wsperception.preprocess import letterbox
from wsperception.rle import write_mots_lines
from wsperception.settings import from_mapping
from wsperception.types import Instances, LabelSpace

FUSION = FusionSettings(min_area=1, min_visible=0.0)


def write_true_box_masks(run: Path, drive: Path, out: Path, device: str) -> None:
    """Writes what the network of a training run sees in the true boxes of a drive: a MOTS text per sequence.

    Ids are the true ones. Where masks overlap, the object whose box ends lower in the image is in front.
    """
    record = json.loads((run / "recipe.json").read_text())
    labels = from_mapping(LabelSpace, record["labels"], str(run))
    net = _network(run, record, len(labels), device)
    size = tuple(record["recipe"]["data"]["input_size"])
    lines: dict[str, list[str]] = defaultdict(list)
    for frame in read_labelled_frames((drive,), "all", labels, "full"):
        name = frame.path.parent.name
        lines[name] += _lines(net, frame, size, labels)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in lines.items():
        (out / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))


def _network(run: Path, record: dict, class_count: int, device: str) -> PerceptionNet:
    recipe = record["recipe"]
    method = METHODS[recipe["name"]]
    settings = from_mapping(method.Settings, recipe["method"], str(run))
    net: PerceptionNet = method.build(settings, class_count).net
    net.load_state_dict(torch.load(run / "weights.pt", map_location="cpu", weights_only=True))
    return net.to(device).eval()


@torch.no_grad()
def _lines(net: PerceptionNet, frame: LabelledFrame, size: tuple[int, int], labels: LabelSpace) -> list[str]:
    image = cv2.imread(str(frame.path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise InputError(f"{frame.path}: expected an image that OpenCV reads")
    if len(frame.boxes) == 0:
        return []
    picture, placing = letterbox(image, size)
    device = net.mean.device
    boxes = torch.from_numpy(placing.to_input(frame.boxes)).to(device)
    extents = mask_boxes(boxes, net.settings.mask_context)
    pyramid = net.pyramid(torch.from_numpy(picture)[None].to(device))
    rows = torch.arange(len(boxes), device=device)
    features = net.pool(pyramid, extents, torch.zeros_like(rows), net.settings.mask_sampling)
    masks = net.mask(features)[rows, torch.from_numpy(frame.class_ids).to(device)].float().sigmoid()
    instances = Instances(
        frame.boxes,
        placing.to_image(extents.cpu().numpy()),
        masks.cpu().numpy(),
        np.clip(frame.boxes[:, 3] / image.shape[0], 0.0, 1.0).astype(np.float32),
        frame.class_ids.astype(np.int32),
        np.ones((len(boxes), 1), np.float32),
        (image.shape[0], image.shape[1]),
    )
    fused = fuse(instances, FUSION)
    track_ids = np.append(0, frame.track_keys[fused.instance_rows] + 1).astype(np.int32)
    return write_mots_lines(frame.number, replace(fused.segments, track_ids=track_ids), labels)

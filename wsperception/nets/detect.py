"""Eager detection with dynamic shapes: the reference that the static export is compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from wsperception.nets import anchors
from wsperception.nets.heads import mask_boxes
from wsperception.nets.perception_net import BOX_WEIGHTS, RPN_WEIGHTS, PerceptionNet, Proposals
from wsperception.nets.settings import DetectSettings


@dataclass(frozen=True)
class Detections:
    """Objects of one image in input pixels, best first; see `types.Instances` for the fields' meaning."""

    boxes: Tensor  # (N, 4)
    scores: Tensor  # (N,)
    class_ids: Tensor  # (N,) int64
    masks: Tensor  # (N, M, M)
    mask_boxes: Tensor  # (N, 4)
    embeddings: Tensor  # (N, D)


@torch.no_grad()
def detect(net: PerceptionNet, images: Tensor, settings: DetectSettings) -> list[Detections]:
    """Detections of (B, h, w, 3) images, one per image."""
    size = (images.shape[1], images.shape[2])
    pyramid = net.pyramid(images)
    raw = net.propose(pyramid)
    return [_detect_one(net, pyramid, raw, frame, size, settings) for frame in range(len(images))]


def proposal_boxes(raw: Proposals, frame: int, size: tuple[int, int], pre_nms: int, keep: int, nms: float) -> Tensor:
    """The best proposals (P, 4) of one frame, P <= keep, after suppression within each level."""
    boxes, scores, levels, start = [], [], [], 0
    for level, count in enumerate(raw.level_sizes):
        logits = raw.objectness[frame, start : start + count]
        best = logits.topk(min(pre_nms, count)).indices
        deltas, references = raw.deltas[frame, start + best], raw.anchors[start + best]
        boxes.append(anchors.clip(anchors.decode(deltas, references, RPN_WEIGHTS), size))
        scores.append(logits[best])
        levels.append(torch.full_like(best, level))
        start += count
    all_boxes, all_scores = torch.cat(boxes), torch.cat(scores)
    solid = ((all_boxes[:, 2:] - all_boxes[:, :2]) >= 1.0).all(dim=1)
    all_boxes, all_scores, all_levels = all_boxes[solid], all_scores[solid], torch.cat(levels)[solid]
    return all_boxes[batched_nms(all_boxes, all_scores, all_levels, nms)[:keep]]


def _detect_one(
    net: PerceptionNet,
    pyramid: list[Tensor],
    raw: Proposals,
    frame: int,
    size: tuple[int, int],
    settings: DetectSettings,
) -> Detections:
    proposals = proposal_boxes(raw, frame, size, settings.pre_nms, settings.proposals, settings.proposal_nms)
    frame_of = torch.full((len(proposals),), frame, device=proposals.device)
    logits, deltas = net.box(net.pool(pyramid, proposals, frame_of))
    scores = logits.float().softmax(dim=1)[:, 1:]  # (P, C)
    boxes = anchors.clip(anchors.decode(deltas[:, 1:], proposals[:, None], BOX_WEIGHTS), size)  # (P, C, 4)
    rows, classes = torch.nonzero(scores > settings.min_score, as_tuple=True)
    kept = batched_nms(boxes[rows, classes], scores[rows, classes], classes, settings.box_nms)[: settings.detections]
    rows, classes = rows[kept], classes[kept]
    return _with_masks(net, pyramid, frame, boxes[rows, classes], scores[rows, classes], classes)


def _with_masks(
    net: PerceptionNet, pyramid: list[Tensor], frame: int, boxes: Tensor, scores: Tensor, classes: Tensor
) -> Detections:
    extents = mask_boxes(boxes, net.settings.mask_context)
    frame_of = torch.full((len(boxes),), frame, device=boxes.device)
    features = net.pool(pyramid, extents, frame_of, net.settings.mask_sampling)
    index = torch.arange(len(boxes), device=boxes.device)
    masks = net.mask(features)[index, classes].float().sigmoid()
    embeddings = net.track(features, masks)[index, classes]
    return Detections(boxes, scores, classes, masks, extents, embeddings)

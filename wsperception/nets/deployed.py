"""The network as it is exported: uint8 images in, fixed-size arrays out, every shape known beforehand."""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsperception.nets import anchors
from wsperception.nets.heads import ROI_SIDE, mask_boxes
from wsperception.nets.perception_net import BOX_WEIGHTS, RPN_WEIGHTS, PerceptionNet, Proposals
from wsperception.nets.settings import DetectSettings
from wsperception.nets.static_ops import atlas_roi_align, level_atlas, rows_at, suppression
from wsperception.nets.tiny import StandardisedConv

REFUSED = -1.0e4  # objectness of a suppressed proposal: below any logit, and finite in half precision


class DeployedNet(nn.Module):
    """Static twin of `detect.detect`, batched; outputs as `bundle.OUTPUTS` names them, rows padded with score 0.

    Exported, it computes masks and embeddings for rows with an object only (`found_rows`); those of padding are 0.

    images (B, h, w, 3) uint8 RGB -> boxes (B, D, 4), scores (B, D), class_ids (B, D) int32, masks (B, D, M, M),
    mask_boxes (B, D, 4), embeddings (B, D, E); with a semantic branch also semantic (B, 1 + S, h/4, w/4) uint8, the
    probabilities of "a thing" and of the stuff classes times 255.
    """

    def __init__(self, net: PerceptionNet, settings: DetectSettings) -> None:
        super().__init__()
        self.net, self.settings = with_plain_convolutions(net).eval(), settings

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        size = (images.shape[1], images.shape[2])
        pyramid = self.net.pyramid(images)
        atlas = level_atlas(pyramid)
        level_sizes = [(level.shape[2], level.shape[3]) for level in pyramid[:4]]
        proposals, alive = self._proposals(self.net.propose(pyramid), size)
        boxes, scores, class_ids = self._detections(atlas, level_sizes, proposals, alive, size)
        extents = mask_boxes(boxes, self.net.settings.mask_context)
        rows = found_rows(scores)
        masks, embeddings = self._masks(atlas, level_sizes, extents[:, :rows], class_ids[:, :rows])
        missing = scores.shape[1] - rows
        outputs = (
            boxes,
            scores,
            class_ids.to(torch.int32),
            functional.pad(masks, (0, 0, 0, 0, 0, missing)),  # (B, D, M, M)
            extents,
            functional.pad(embeddings, (0, 0, 0, missing)),  # (B, D, E)
        )
        if self.net.semantic is None:
            return outputs
        return (*outputs, in_bytes(self.net.semantic(pyramid)))

    def _proposals(self, raw: Proposals, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The best proposals (B, P, 4) of all levels and 1 for each that is real, 0 for padding (B, P)."""
        settings, boxes, scores, start = self.settings, [], [], 0
        for count in raw.level_sizes:
            logits = raw.objectness[:, start : start + count]
            best, rows = logits.topk(min(settings.pre_nms, count), dim=1)
            deltas = rows_at(raw.deltas[:, start : start + count], rows)
            references = raw.anchors[start : start + count][rows]
            found = anchors.clip(anchors.decode(deltas, references, RPN_WEIGHTS), size)
            solid = ((found[..., 2:] - found[..., :2]) >= 1.0).all(dim=2).to(torch.float32)
            kept = suppression(found, solid, settings.proposal_nms)
            boxes.append(found)
            scores.append(torch.where(kept > 0.5, best, torch.full_like(best, REFUSED)))
            start += count
        joined = torch.cat(scores, dim=1)
        best, rows = joined.topk(min(settings.proposals, joined.shape[1]), dim=1)
        return rows_at(torch.cat(boxes, dim=1), rows), (best > REFUSED / 2).to(torch.float32)

    def _detections(
        self,
        atlas: Tensor,
        level_sizes: list[tuple[int, int]],
        proposals: Tensor,
        alive: Tensor,
        size: tuple[int, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        settings = self.settings
        batch, count = alive.shape
        logits, deltas = self.net.box(self._pool(atlas, level_sizes, proposals, 1))
        scores = logits.float().softmax(dim=1)[:, 1:].reshape(batch, count, -1)  # (B, P, C)
        deltas = deltas[:, 1:].reshape(batch, count, -1, 4)
        boxes = anchors.clip(anchors.decode(deltas, proposals[:, :, None], BOX_WEIGHTS), size)  # (B, P, C, 4)
        all_boxes, all_scores, all_classes = [], [], []
        for class_id in range(self.net.class_count):
            possible = scores[..., class_id] * alive
            possible = possible * (possible > settings.min_score).to(torch.float32)
            best, rows = possible.topk(count, dim=1)
            sorted_boxes = rows_at(boxes[:, :, class_id], rows)
            kept = suppression(sorted_boxes, (best > 0).to(torch.float32), settings.box_nms)
            all_boxes.append(sorted_boxes)
            all_scores.append(best * kept)
            all_classes.append(torch.full_like(rows, class_id))
        joined = torch.cat(all_scores, dim=1)
        best, rows = joined.topk(min(settings.detections, joined.shape[1]), dim=1)
        class_ids = torch.gather(torch.cat(all_classes, dim=1), 1, rows)
        return rows_at(torch.cat(all_boxes, dim=1), rows), best, class_ids

    def _masks(
        self, atlas: Tensor, level_sizes: list[tuple[int, int]], extents: Tensor, class_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masks (B, K, M, M) and embeddings (B, K, E) of K rows an image: extents (B, K, 4), class_ids (B, K)."""
        features = self._pool(atlas, level_sizes, extents, self.net.settings.mask_sampling)  # (B * K, F, 14, 14)
        chosen = class_ids.reshape(-1, 1)  # (B * K, 1)
        logits = self.net.mask(features)
        masks = torch.gather(logits, 1, chosen[:, :, None, None].expand(-1, 1, *logits.shape[2:]))[:, 0].sigmoid()
        embeddings = self.net.track(features, masks)
        embeddings = torch.gather(embeddings, 1, chosen[:, :, None].expand(-1, 1, embeddings.shape[2]))[:, 0]
        batch, count = class_ids.shape
        return masks.reshape(batch, count, *masks.shape[1:]), embeddings.reshape(batch, count, -1)

    def _pool(self, atlas: Tensor, level_sizes: list[tuple[int, int]], boxes: Tensor, sampling: int) -> Tensor:
        settings = self.net.settings
        strides = self.net.backbone.strides
        return atlas_roi_align(
            atlas, level_sizes, strides, boxes, ROI_SIDE, sampling, settings.canonical_size, settings.roi_half_pixel
        )


def found_rows(scores: Tensor) -> int:
    """How many rows an image, from the first, have masks computed.

    scores  (B, D) best first, padded with 0

    In an exported file up to the last row that is no padding in any image, and at least 1, because an engine may refuse
    an empty tensor. In PyTorch itself all D: a captured CUDA graph has one length, and on a CPU the memory that PyTorch
    holds went on growing with lengths that change (925 to 1039 MB over 1563 images, against 931 MB with one length).
    """
    most = scores.shape[1]
    if not torch.compiler.is_exporting():
        return most
    rows = cast(int, (scores > 0).sum(dim=1).amax(dim=0).clamp(min=1).item())
    torch._check(rows >= 1)  # for the exporter, to whom the number is unknown
    torch._check(rows <= most)
    return rows


def in_bytes(logits: Tensor) -> Tensor:
    """Logits (B, 1 + S, h, w) as probabilities times 255, uint8: a quarter of the memory to bring from a GPU.

    The best class alone would be less still; enlarging before the best is taken gives maps 2 to 4 points of mean IoU.
    """
    return (logits.float().softmax(dim=1) * 255.0 + 0.5).to(torch.uint8)


def with_plain_convolutions(net: PerceptionNet) -> PerceptionNet:
    """A copy in which standardised convolutions are plain ones with their weights computed once."""
    plain = copy.deepcopy(net)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, StandardisedConv):
                assert isinstance(child.padding, tuple)
                conv = nn.Conv2d(
                    child.in_channels,
                    child.out_channels,
                    (child.kernel_size[0], child.kernel_size[1]),
                    (child.stride[0], child.stride[1]),
                    (child.padding[0], child.padding[1]),
                )
                assert conv.bias is not None
                assert child.bias is not None
                with torch.no_grad():
                    conv.weight.copy_(child.standard_weight())
                    conv.bias.copy_(child.bias)
                setattr(parent, name, conv)
    return plain

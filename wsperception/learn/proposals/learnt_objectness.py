"""Objectness learnt from points: what segments look like that hold one labelled pixel, and hold it in their middle.

The paper takes SharpMask's objectness, which was learnt from masks. Where every object has its point, points alone say
much: a segment without a point is no object, one with two is none either, and one whose middle is far from its point
has leaked or is a part.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from wsperception.data.segments import Segments
from wsperception.learn.proposals.objectness import Moments, segment_moments, segment_outlines
from wsperception.learn.proposals.region_graph import RegionGraph, region_graph

BINS, CONTRAST = 12, 15.0
"""Of the contours, as in ProposalSettings."""
FEATURES, HIDDEN = 18, 24
SCALE = 5.0
"""Of what the last layer says: at the rate of a network's other weights it would learn too slowly."""
NEAR = 0.3
"""Distance of a middle from the point, over the root of the area, at which a segment counts 0.6 of one without any.
Chosen on windows of synthetic drives."""
IGNORED = 0.1
"""Share of a segment inside ignore boxes above which it says nothing."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What the judge sees of P segments of one image.

    features  (P, FEATURES) float32   each with mean 0 and deviation 1 over the segments of the image
    middles   (P, 2) float64          row, column
    areas     (P,) float64            pixels that are left in the image
    """

    features: np.ndarray
    middles: np.ndarray
    areas: np.ndarray


class PointObjectness(nn.Module):
    """Judges segments by their looks. Before it has learnt anything all are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURES, HIDDEN)
        self.last = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.last.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(P,) logarithms of the objectness, up to a constant, of (P, FEATURES)."""
        logits: Tensor = SCALE * self.last(self.hidden(features).relu())[:, 0]
        return logits


def point_loss(logits: Tensor, looks: Looks, segments: Segments, pixels: np.ndarray, ignored: np.ndarray) -> Tensor:
    """Mean over the points of -log of how likely the draw of a segment is one of an object in whose middle it lies.

    logits   (P,)           a segment is drawn with the odds of exp(logit)
    pixels   (N, 2) int64   row, column of the points of all objects
    ignored  (h, w) bool    where there may be objects without a point

    A segment that holds one point and no other counts exp(-(d / NEAR)^2 / 2), with the distance d of its middle from
    the point over the root of its area; all others count nothing. Zero where no segment counts.
    """
    held = segments.holding(pixels)  # (N, P)
    hidden = segment_moments(np.where(ignored, segments.rows(), len(segments.membership)), segments.members()).areas
    usable = (looks.areas > 0) & (hidden <= IGNORED * looks.areas)
    alone = held & (held.sum(axis=0) == 1) & usable
    known = alone.any(axis=1)
    if not known.any():
        return logits.sum() * 0.0
    apart = np.square(looks.middles - pixels[known, None]).sum(axis=2) / np.maximum(looks.areas, 1.0)
    nearness = np.where(alone[known], -apart / (2.0 * NEAR**2), -np.inf)
    drawn = logits.masked_fill(torch.from_numpy(~usable).to(logits.device), -torch.inf).log_softmax(dim=0)
    return -(drawn + torch.from_numpy(nearness).to(drawn)).logsumexp(dim=1).mean()


def judged(segments: Segments, logits: np.ndarray) -> Segments:
    """The segments with their objectness times what was learnt, the likeliest first; logits (P,) float32."""
    if len(segments) == 0:
        return segments
    objectness = segments.objectness * np.exp(logits - logits.max())
    order = np.argsort(-objectness, kind="stable")
    membership = np.ascontiguousarray(segments.membership[:, order])
    return replace(segments, membership=membership, objectness=objectness[order])


def segment_looks(image: np.ndarray, segments: Segments) -> Looks:
    """Of segments of an image (h, w, 3) uint8 RGB: outline, form, place and colours."""
    present, superpixels = np.unique(segments.rows(), return_inverse=True)
    superpixels = superpixels.reshape(image.shape[:2])
    members = segments.members()[present]
    graph = region_graph(image, superpixels, BINS, CONTRAST)
    moments = segment_moments(superpixels, members)
    outlines = segment_outlines(superpixels, members, graph)
    down, right, _ = np.sqrt(np.maximum(moments.spreads, 1 / 12))
    aspect = np.log(down / right)
    pixels = np.maximum(moments.areas, 1.0)
    columns = [
        outlines.strength, outlines.closed, outlines.inner, outlines.open, moments.ellipse_shares,
        4.0 * np.pi * moments.areas / outlines.lengths**2, np.log(pixels), aspect, aspect**2,
        moments.middles[0], moments.middles[0] + 2.0 * down, _unlike_ring(members, graph),
        *_colours(image, superpixels, members, moments),
    ]  # fmt: skip
    features = np.stack(columns, axis=1)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6) if len(features) else features
    return Looks(features.astype(np.float32), moments.middles.T, moments.areas)


def _unlike_ring(members: np.ndarray, graph: RegionGraph) -> np.ndarray:
    """(P,) 1 - the intersection of a segment's colour histogram with that of the superpixels around it."""
    touching = np.zeros((len(members), len(members)), np.float32)
    touching[graph.pairs[:, 0], graph.pairs[:, 1]] = 1.0
    inside = members.astype(np.float32)
    ring = ((touching + touching.T) @ inside > 0) & ~members
    counts = (graph.histograms * graph.areas[:, None]).T.astype(np.float32)  # (B, S)
    inner, outer = (counts @ part / np.maximum(graph.areas @ part, 1) for part in (inside, ring.astype(np.float32)))
    unlike: np.ndarray = 1.0 - np.minimum(inner, outer).sum(axis=0)
    return unlike


def _colours(image: np.ndarray, superpixels: np.ndarray, members: np.ndarray, moments: Moments) -> list[np.ndarray]:
    """Means and deviations (P,) of L, a and b."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB).reshape(-1, 3).T
    pixels, inside = np.maximum(moments.areas, 1.0), members.astype(np.float32)
    columns = []
    for values in lab.astype(np.float64):
        sums = [np.bincount(superpixels.ravel(), each, minlength=len(members)) @ inside for each in (values, values**2)]
        mean = sums[0] / pixels
        columns += [mean, np.sqrt(np.maximum(sums[1] / pixels - mean**2, 0.0))]
    return columns

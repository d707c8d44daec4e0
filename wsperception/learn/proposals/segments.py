"""Segment proposals without a class and without training: the nodes of merge trees over superpixels.

Neighbouring regions are merged one pair at a time, the most alike first; every region that ever existed is a proposal,
and so are pairs of the likeliest. What is alike may be judged in several ways, each with a tree of its own, as in
selective search (Uijlings et al., IJCV 2013).
This takes the place of MCG in LAT and JTSM and of SharpMask in WISE, which have no maintained build or were trained on
masks. As in JTSM's code a proposal is a set of superpixels, which is what makes a thousand of them affordable.
"""

import heapq
from dataclasses import dataclass, replace

import numpy as np
from skimage.segmentation import slic

from wsperception.learn.proposals.objectness import outline_objectness
from wsperception.learn.proposals.region_graph import RegionGraph, region_graph
from wsperception.settings import check, setting

WAYS = ((1.0, 1.0, 1.0), (0.0, 2.0, 1.0), (2.0, 0.0, 1.0))
"""Factors of colour, boundary and size in the first tree, the second (no colours) and the third (no contours)."""

OUTLINE = "outline"

VERSION = 2
"""Goes up with every change of what this file gives for the same image and settings."""


@dataclass(frozen=True)
class ProposalSettings:
    """How superpixels are made and merged."""

    superpixels: int = setting(600, "superpixels of an image, about", low=2, high=10000)
    compactness: float = setting(10.0, "weight of nearness against colour in a superpixel", low=0.01, high=1000.0)
    bins: int = setting(12, "bins of the colour histogram per channel of Lab", low=2, high=64)
    colour: float = setting(0.4, "weight of unlike colours in the cost of a merge", low=0.0)
    boundary: float = setting(0.4, "weight of the contour between two regions", low=0.0)
    size: float = setting(0.2, "weight of the smaller region's size: small ones go first", low=0.0)
    contrast: float = setting(15.0, "difference in Lab that makes a contour a strong one", low=0.1, high=200.0)
    paired: int = setting(400, "likeliest segments of which every two that touch are a proposal too", low=0, high=2000)
    trees: int = setting(1, "merge trees: all weights, then without colours, then without contours", low=1, high=3)
    objectness: str = setting(
        "persistence", "what makes a segment likely: that it lasts in the merge tree, or an outline that stands out",
        choices=("persistence", OUTLINE),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class Proposals:
    """Segments of one image as sets of superpixels, the likeliest object first.

    superpixels  (H, W) int32     superpixel of every pixel, below S
    membership   (S, P) bool      which superpixels make up proposal p
    objectness   (P,) float32     in [0, 1]: how far the contour of a segment stands out against the contours inside
                                  it, or what `outline_objectness` says
    boxes        (P, 4) float32   tight boxes, x0 y0 x1 y1 exclusive
    areas        (P,) int64       pixels
    """

    superpixels: np.ndarray
    membership: np.ndarray
    objectness: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray

    def __len__(self) -> int:
        return len(self.objectness)

    def mask(self, proposal: int) -> np.ndarray:
        """(H, W) bool."""
        chosen: np.ndarray = self.membership[:, proposal][self.superpixels]
        return chosen

    def at_most(self, share: float) -> "Proposals":
        """Those that cover at most `share` of the image."""
        kept = self.areas <= share * self.superpixels.size
        membership = np.ascontiguousarray(self.membership[:, kept])
        return Proposals(self.superpixels, membership, self.objectness[kept], self.boxes[kept], self.areas[kept])


def segment_proposals(image: np.ndarray, settings: ProposalSettings) -> Proposals:
    """Proposals of an image (H, W, 3) uint8 RGB: every superpixel, every union that the merging made of them, and
    every two of the likeliest `settings.paired` of these that touch: a person is a shirt and trousers.

    The whole image is no proposal, so that an image of one superpixel has none. The same image gives the same ones.
    """
    superpixels = slic(
        image, settings.superpixels, settings.compactness, start_label=0, channel_axis=-1, enforce_connectivity=True
    )
    superpixels = np.unique(superpixels, return_inverse=True)[1].reshape(image.shape[:2]).astype(np.int32)
    graph = region_graph(image, superpixels, settings.bins, settings.contrast)
    trees = [_tree_proposals(graph, _weighted(settings, way)) for way in WAYS[: settings.trees]]
    membership = np.concatenate([each[0] for each in trees], axis=1)
    objectness = np.concatenate([each[1] for each in trees])
    membership, objectness = _distinct(membership, objectness, np.argsort(-objectness, kind="stable"))
    if settings.objectness == OUTLINE:
        objectness = outline_objectness(superpixels, membership, graph)
        order = np.argsort(-objectness, kind="stable")
        membership, objectness = np.ascontiguousarray(membership[:, order]), objectness[order]
    return Proposals(
        superpixels,
        membership,
        objectness.astype(np.float32),
        _union_boxes(superpixels, membership),
        graph.areas @ membership,
    )


def _weighted(settings: ProposalSettings, factors: tuple[float, float, float]) -> ProposalSettings:
    colour, boundary, size = factors
    return replace(
        settings, colour=colour * settings.colour, boundary=boundary * settings.boundary, size=size * settings.size
    )


def _tree_proposals(graph: RegionGraph, settings: ProposalSettings) -> tuple[np.ndarray, np.ndarray]:
    """Membership (S, P) bool and objectness (P,) of the nodes of one tree and of pairs of the likeliest of them."""
    children, costs = merge_tree(graph, settings)
    membership = tree_membership(len(graph.areas), children)[:, :-1]  # (S, P): all but the root
    objectness = _persistence(len(graph.areas), children, costs)
    first = np.argsort(-objectness, kind="stable")[: settings.paired]
    pairs = first[touching_pairs(membership[:, first], graph.pairs)]
    membership = np.concatenate([membership, membership[:, pairs].any(axis=2)], axis=1)
    objectness = np.append(objectness, objectness[pairs].min(axis=1) / 2)
    # Two that touch may be the children of one that is there already.
    return _distinct(membership, objectness, np.arange(len(objectness)))


def _distinct(membership: np.ndarray, objectness: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The proposals by falling objectness, of equal ones the first in `order` only; none that is the whole image."""
    membership, objectness = membership[:, order], objectness[order]
    _, different = np.unique(np.packbits(membership, axis=0), axis=1, return_index=True)
    different = different[~membership[:, different].all(axis=0)]
    falling = different[np.lexsort((different, -objectness[different]))]
    return np.ascontiguousarray(membership[:, falling]), objectness[falling]


def merge_tree(graph: RegionGraph, settings: ProposalSettings) -> tuple[np.ndarray, np.ndarray]:
    """Merges the cheapest pair of touching regions until one is left.

    The cost of a pair is the weighted mean of: 1 - the intersection of the colour histograms, the mean strength of the
    common contour, and the square root of the smaller region's share of the image.

    Returns the children (S - 1, 2) int64 of the nodes S, S + 1, ... in the order of the merges, and the costs (S - 1,)
    of the merges, never less than those of the merges below. Regions that touch nobody stay apart, so that a graph in
    several parts gives fewer merges.
    """
    merging = _Merging(graph, settings)
    heap = merging.first_entries()
    heapq.heapify(heap)
    children: list[tuple[int, int]] = []
    costs: list[float] = []
    while heap:
        cost, a, b = heapq.heappop(heap)
        if a not in merging.neighbours or b not in merging.neighbours:
            continue  # one of the two was merged since
        below = max((costs[node - merging.leaves] for node in (a, b) if node >= merging.leaves), default=0.0)
        children.append((a, b))
        costs.append(max(cost, below))
        for entry in merging.merge(a, b):
            heapq.heappush(heap, entry)
    return np.array(children, np.int64).reshape(-1, 2), np.array(costs)


def tree_membership(leaves: int, children: np.ndarray) -> np.ndarray:
    """(S, S + M) bool: which of S leaves each of the leaves and of the M nodes above them holds."""
    rows = np.zeros((leaves + len(children), leaves), bool)
    rows[np.arange(leaves), np.arange(leaves)] = True
    for node, (a, b) in enumerate(children.tolist(), start=leaves):
        rows[node] = rows[a] | rows[b]
    return rows.T


def touching_pairs(membership: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(Q, 2) int64 columns a < b of `membership` (S, P) that share no superpixel, but of which two touch.

    edges  (E, 2) int64: superpixels that touch
    """
    parts = membership.astype(np.float32)  # products of floats are many times as fast as those of booleans
    touching = parts[edges[:, 0]].T @ parts[edges[:, 1]]  # (P, P)
    return np.argwhere(np.triu((touching + touching.T > 0) & (parts.T @ parts == 0)))


class _Merging:
    """The living regions: what each consists of and whom it touches."""

    def __init__(self, graph: RegionGraph, settings: ProposalSettings) -> None:
        weights = np.array([settings.colour, settings.boundary, settings.size])
        self.weights = weights / max(weights.sum(), 1e-12)
        self.leaves = count = len(graph.areas)
        self.next = count
        self.total = graph.areas.sum()
        self.areas = np.append(graph.areas, np.zeros(max(count - 1, 0))).astype(np.float64)
        self.histograms = np.concatenate([graph.histograms, np.zeros((max(count - 1, 0), graph.histograms.shape[1]))])
        self.neighbours: dict[int, dict[int, tuple[float, float]]] = {node: {} for node in range(count)}
        self._pairs, self._strengths = graph.pairs, graph.strengths
        for (a, b), length, strength in zip(graph.pairs.tolist(), graph.lengths, graph.strengths, strict=True):
            self.neighbours[a][b] = self.neighbours[b][a] = (float(length), float(length * strength))

    def first_entries(self) -> list[tuple[float, int, int]]:
        """(cost, region, region) of all pairs."""
        a, b = self._pairs.T
        costs = self._costs(a, b, self._strengths)
        return list(zip(costs.tolist(), a.tolist(), b.tolist(), strict=True))

    def merge(self, a: int, b: int) -> list[tuple[float, int, int]]:
        """Puts a new region in the place of two; the pairs that it forms."""
        node, self.next = self.next, self.next + 1
        area = self.areas[a] + self.areas[b]
        self.histograms[node] = (self.areas[a] * self.histograms[a] + self.areas[b] * self.histograms[b]) / area
        self.areas[node] = area
        around = self.neighbours.pop(a)
        for other, (length, strength) in self.neighbours.pop(b).items():
            before = around.get(other, (0.0, 0.0))
            around[other] = (before[0] + length, before[1] + strength)
        del around[a], around[b]
        for other, contour in around.items():
            touching = self.neighbours[other]
            touching.pop(a, None)
            touching.pop(b, None)
            touching[node] = contour
        self.neighbours[node] = around
        others = np.fromiter(around, np.int64, len(around))
        contours = np.array(list(around.values())).reshape(-1, 2)
        costs = self._costs(np.full(len(others), node), others, contours[:, 1] / contours[:, 0])
        return [(cost, other, node) for cost, other in zip(costs.tolist(), others.tolist(), strict=True)]

    def _costs(self, a: np.ndarray, b: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        colour = 1.0 - np.minimum(self.histograms[a], self.histograms[b]).sum(axis=1)
        size = np.sqrt(np.minimum(self.areas[a], self.areas[b]) / self.total)
        costs: np.ndarray = self.weights[0] * colour + self.weights[1] * strengths + self.weights[2] * size
        return costs


def _persistence(leaves: int, children: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """(P,) for every node but the root: the cost at which it is merged away, less the cost at which it was made."""
    made = np.append(np.zeros(leaves), costs)
    gone = np.zeros(len(made))
    gone[children.ravel()] = np.repeat(costs, 2)
    persistence: np.ndarray = (gone - made)[:-1]
    return persistence


def _union_boxes(superpixels: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """(P, 4) float32 tight boxes of unions of superpixels."""
    count = len(membership)
    rows = np.repeat(np.arange(superpixels.shape[0]), superpixels.shape[1])
    columns = np.tile(np.arange(superpixels.shape[1]), superpixels.shape[0])
    flat = superpixels.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(count))
    low = [np.minimum.reduceat(values[order], starts) for values in (columns, rows)]
    high = [np.maximum.reduceat(values[order], starts) + 1 for values in (columns, rows)]
    boxes = np.zeros((membership.shape[1], 4), np.float32)
    for column, (values, smallest) in enumerate(((low[0], True), (low[1], True), (high[0], False), (high[1], False))):
        empty = superpixels.size if smallest else -1
        chosen = np.where(membership, values[:, None], empty)  # (S, P)
        boxes[:, column] = chosen.min(axis=0) if smallest else chosen.max(axis=0)
    return boxes

"""How much like an object a segment looks, by its outline: another judge than how long it lasts in the merge tree.

Persistence finds regions of one colour, and a person is none; what stands out against all that is around it may be of
many colours inside. Among thousands of unions of superpixels, most of which leak into what lies behind, shape says more
still: objects are of one piece.
"""

from dataclasses import dataclass

import numpy as np

from wsperception.learn.proposals.region_graph import RegionGraph

STRONG = 0.4
"""Strength from which on a contour stands out."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Where the pixels of P segments lie; zero for a segment without a pixel.

    areas     (P,) float64
    middles   (2, P) float64   row, column
    spreads   (3, P) float64   variances of rows and of columns, and their covariance; a pixel is a square of side 1
    """

    areas: np.ndarray
    middles: np.ndarray
    spreads: np.ndarray

    @property
    def ellipse_shares(self) -> np.ndarray:
        """(P,) area over that of the ellipse with the same second moments, at most 1.

        1 for an ellipse of any axes, 3 / pi for a rectangle, less the more a segment branches or the more holes it has.
        """
        down, right, both = self.spreads
        shares: np.ndarray = self.areas / (4.0 * np.pi * np.sqrt(np.maximum(down * right - both**2, 1 / 144)))
        return shares.clip(max=1.0)


def segment_moments(superpixels: np.ndarray, membership: np.ndarray) -> Moments:
    """Of segments (S, P) over superpixels (H, W) int."""
    count, members = len(membership), membership.astype(np.float32)
    places = np.indices(superpixels.shape).reshape(2, -1).astype(np.float64)

    def summed(values: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.bincount(superpixels.ravel(), values, minlength=count) @ members
        return sums

    areas = summed(np.ones(superpixels.size))
    pixels = np.maximum(areas, 1.0)
    middles = np.array([summed(axis) / pixels for axis in places])
    products = np.array([summed(one * other) / pixels for one, other in (places[[0, 0]], places[[1, 1]], places)])
    own = np.array([[1 / 12], [1 / 12], [0.0]])
    spreads = products - middles[[0, 1, 0]] * middles[[0, 1, 1]] + own
    return Moments(areas, middles, spreads)


@dataclass(frozen=True, eq=False)
class Outlines:
    """How P segments stand out.

    lengths   (P,) float64   of the outline, with what lies on the image's border
    open      (P,) float64   share of the outline that is the image's border
    closed    (P,) float64   share that is stronger than STRONG
    strength  (P,) float64   mean strength, 0 on the image's border
    inner     (P,) float64   mean strength of the contours inside
    """

    lengths: np.ndarray
    open: np.ndarray
    closed: np.ndarray
    strength: np.ndarray
    inner: np.ndarray


def segment_outlines(superpixels: np.ndarray, membership: np.ndarray, graph: RegionGraph) -> Outlines:
    """Of segments (S, P) over superpixels (H, W) int with these contours."""
    members, (first, second) = membership.astype(np.float32), graph.pairs.T
    cut = np.abs(members[first] - members[second])  # (E, P): 1 where a segment holds one side of a contour
    within = members[first] * members[second]
    border = np.concatenate([superpixels[0], superpixels[-1], superpixels[:, 0], superpixels[:, -1]])
    ends = np.bincount(border, minlength=len(members)) @ members
    lengths = np.maximum(graph.lengths @ cut + ends, 1.0)
    return Outlines(
        lengths,
        ends / lengths,
        graph.lengths * (graph.strengths > STRONG) @ cut / lengths,
        graph.lengths * graph.strengths @ cut / lengths,
        graph.lengths * graph.strengths @ within / np.maximum(graph.lengths @ within, 1.0),
    )


def outline_objectness(superpixels: np.ndarray, membership: np.ndarray, graph: RegionGraph) -> np.ndarray:
    """(P,) float64 in [0, 1.1] of segments of one image.

    superpixels  (H, W) int     superpixel of every pixel, below S
    membership   (S, P) bool    which superpixels make up a segment
    graph        the contours between the superpixels

    The eighth power of outline and form: of the share of the outline that stands out, `Outlines.closed`, and of the
    3/2th power of the share of an ellipse that the segment fills. Times the 3/2th power of the contours inside: of two
    that look alike the one that has parts is the likelier object. The powers, which also say how seldom an unlikely
    segment is drawn, were chosen on windows of synthetic drives.
    """
    outlines = segment_outlines(superpixels, membership, graph)
    form = segment_moments(superpixels, membership).ellipse_shares
    objectness: np.ndarray = (outlines.closed * form**1.5) ** 8 * (outlines.inner + 0.05) ** 1.5
    return objectness

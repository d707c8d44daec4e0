"""How much like an object a segment looks, by its outline: another judge than how long it lasts in the merge tree.

Persistence finds regions of one colour, and a person is none; what stands out against all that is around it may be of
many colours inside. Among thousands of unions of superpixels, most of which leak into what lies behind, shape says more
still: objects are of one piece.
"""

import numpy as np

from wsperception.learn.proposals.region_graph import RegionGraph


def outline_objectness(superpixels: np.ndarray, membership: np.ndarray, graph: RegionGraph) -> np.ndarray:
    """(P,) float64 in [0, 1] of segments of one image.

    superpixels  (H, W) int     superpixel of every pixel, below S
    membership   (S, P) bool    which superpixels make up a segment
    graph        the contours between the superpixels

    The eighth power of outline and form: of the mean strength of the outline, which is 0 where the image ends, and of
    the square of the share of an ellipse that the segment fills, `ellipse_shares`. Times its share of the image: of
    two that look alike the larger one is the likelier object. The powers, which also say how seldom an unlikely segment
    is drawn, were chosen on windows of synthetic drives.
    """
    members, (first, second) = membership.astype(np.float32), graph.pairs.T
    count = len(members)
    cut = np.abs(members[first] - members[second])  # (E, P): 1 where a segment holds one side of a contour
    border = np.concatenate([superpixels[0], superpixels[-1], superpixels[:, 0], superpixels[:, -1]])
    ends = np.bincount(border, minlength=count) @ members
    strength = (graph.lengths * graph.strengths) @ cut / np.maximum(graph.lengths @ cut + ends, 1.0)
    share = graph.areas @ members / superpixels.size
    objectness: np.ndarray = (strength * ellipse_shares(superpixels, members) ** 2) ** 8 * share
    return objectness


def ellipse_shares(superpixels: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """(P,) area of segments over that of the ellipse with the same second moments, at most 1.

    1 for an ellipse of any axes, 3 / pi for a rectangle, less the more a segment branches or the more holes it has.
    """
    count = len(membership)
    places = np.indices(superpixels.shape).reshape(2, -1).astype(np.float64)

    def summed(values: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.bincount(superpixels.ravel(), values, minlength=count) @ membership
        return sums

    areas = summed(np.ones(superpixels.size))
    middles = np.array([summed(axis) / areas for axis in places])  # (2, P)
    products = np.array([summed(one * other) / areas for one, other in (places[[0, 0]], places[[1, 1]], places)])
    # A pixel is a square of side 1, whose own variance is 1/12.
    down, right = products[:2] - middles**2 + 1 / 12
    both = products[2] - middles[0] * middles[1]
    shares: np.ndarray = areas / (4.0 * np.pi * np.sqrt(np.maximum(down * right - both**2, 1 / 144)))
    return shares.clip(max=1.0)

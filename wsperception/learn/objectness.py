"""How much like an object a segment looks, by its outline: another judge than that of `wsperception.learn.proposals`.

Segments come with the persistence of their region in the merge tree. That finds regions of one colour, and a person is
none; what stands out against all that is around it may be of many colours inside.
"""

from dataclasses import replace

import numpy as np

from wsperception.data.segments import OUTSIDE, Segments
from wsperception.learn.proposals import contours


def outlined(image: np.ndarray, segments: Segments, contrast: float) -> Segments:
    """The segments of an image (h, w, 3) uint8 RGB, in their order, with objectness by outline.

    contrast  difference in Lab that makes a contour a strong one, as in ProposalSettings

    Objectness is the square of the mean strength of the outline, times the root of the share of the image that the
    segment covers: of two that stand out alike the larger one is the likelier object. Where the image ends the
    strength is 0. A segment without a pixel has none.
    """
    rows, members = segments.rows(), segments.members().astype(np.float32)
    count = len(members)
    pairs, lengths, strengths = contours(image, rows.astype(np.int32), count, contrast)
    strengths = np.where((pairs == count - 1).any(axis=1), 0.0, strengths)  # the last row is what no image covers
    cut = np.abs(members[pairs[:, 0]] - members[pairs[:, 1]])  # (E, P): 1 where a segment holds one side of a contour
    border = np.concatenate([rows[0], rows[-1], rows[:, 0], rows[:, -1]])
    ends = np.bincount(border, minlength=count) @ members
    mean = (lengths * strengths) @ cut / np.maximum(lengths @ cut + ends, 1.0)
    inside = np.bincount(rows.ravel(), minlength=count)
    share = inside @ members / max(int((segments.superpixels != OUTSIDE).sum()), 1)
    return replace(segments, objectness=(mean**2 * np.sqrt(share)).astype(np.float32))

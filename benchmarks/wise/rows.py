"""The rows of WISE's Table 1, and what the paper reports for them."""

from collections.abc import Mapping
from dataclasses import dataclass

MEASURES = ("VOC AP25", "VOC AP50", "VOC AP75", "COCO AP50", "MUCov", "MWCov")


@dataclass(frozen=True)
class Row:
    """One way from points to masks.

    title  for the table
    paper  AP25, AP50, AP75 on PASCAL VOC 2012
    """

    title: str
    paper: tuple[float, float, float] | None = None


ROWS: Mapping[str, Row] = {
    "blobs": Row("L-Net + blobs", (8.4, 1.2, 0.1)),
    "best": Row("L-Net + best proposal", (42.9, 33.4, 19.1)),
    "unrefined": Row("L-Net + E-Net, not replaced by proposals"),
    "prm": Row("PRM + E-Net, from tags", (43.0, 32.0, 19.0)),
    "wise": Row("WISE (L-Net + E-Net)", (53.5, 43.0, 25.9)),
    "oracle": Row("L-Net + oracle proposal", (57.3, 45.1, 37.2)),
    "true-points": Row("true points + E-Net", (63.1, 47.0, 26.3)),
    "true-mask": Row("L-Net + true mask", (61.2, 61.2, 61.2)),
}
"""Kind of masks, as training/score.py names it -> row; the order is that of the table."""

ORDER = ("blobs", "best", "wise", "true-points", "true-mask")
"""By rising AP50 in the paper."""
RATIO = 1.2
"""What WISE's AP50 is to reach over that of the best proposal; the paper's is 43.0 / 33.4 = 1.29."""

"""The rows of the comparison: what supervises the masks, and what the paper reports for it."""

from collections.abc import Mapping
from dataclasses import dataclass

MEASURES = ("sMOTSA", "MOTSA", "MOTSP")
CLASSES = ("car", "pedestrian")

NO_MASK_TERMS = ("method.weak.loc_weight=0", "method.weak.crf_weight=0")
DETACHED = "method.track_to_masks=false"


@dataclass(frozen=True)
class Row:
    """One way to train the masks.

    title    for the table
    changes  settings over the shared recipe, as `--set` takes them
    """

    title: str
    changes: tuple[str, ...] = ()


DETECTOR = Row("boxes and ids only", (DETACHED, *NO_MASK_TERMS))
"""What all rows of a seed share and do not change: backbone, proposals, classes and boxes. Its mask branch is that of
the initialisation, its tracking branch the one that rows go on with."""

X = (
    "method.weak.pseudo_weight=1",
    "method.weak.projection_weight=1",
    DETACHED,
    *NO_MASK_TERMS,
)
"""What goes beyond the paper, as one combination."""

BOXINST = (
    "method.weak.cam=relu",
    "method.weak.crf_weight=0",
    "method.weak.projection_weight=1",
    "method.weak.pairwise_weight=1",
)
"""What X was at first: Grad-CAM with ReLU and the terms of BoxInst (arXiv:2012.02310)."""

ROWS: Mapping[str, Row] = {
    "F": Row("full masks", ("training.supervision=full", DETACHED)),
    "B": Row("filled boxes (floor)", ("method.weak.fill_weight=1", DETACHED, *NO_MASK_TERMS)),
    "W1": Row("L_loc + L_CRF + L_T (the paper)"),
    "W2": Row("L_loc + L_T", ("method.weak.crf_weight=0",)),
    "W3": Row("L_loc + L_CRF, L_T not to masks", (DETACHED,)),
    "W1r": Row("as W1, Grad-CAM with ReLU", ("method.weak.cam=relu",)),
    "G": Row("pseudo masks: GrabCut and segments", ("method.weak.pseudo_weight=1", DETACHED, *NO_MASK_TERMS)),
    "X": Row("pseudo masks + projection", X),
}
"""The order is that of the table. L_T reaches the masks of F no more than those of B, G and X: beside labels for every
cell it costs."""

EXTRAS: Mapping[str, Row] = {
    "W1-box": Row("W1 on the grid of the box", ("method.net.mask_context=1.0",)),
    "X-box": Row("X on the grid of the box", (*X, "method.net.mask_context=1.0")),
    "X+loc": Row("X and L_loc (ReLU)", (*X, "method.weak.loc_weight=1", "method.weak.cam=relu")),
    "X+pair": Row("X and BoxInst's colour term", (*X, "method.weak.pairwise_weight=1")),
    "X+m": Row(
        "X and the patch and agreement terms over tracks",
        (*X, "method.weak.temporal_weight=0.5", "method.weak.agreement_weight=0.5"),
    ),
    "X+t": Row("X and a mean teacher", (*X, "method.weak.teacher_weight=0.5", "training.average=0.99")),
    "BI": Row("L_loc (ReLU) + projection + colour", BOXINST),
    "BI-loc": Row("projection + colour", (*BOXINST, "method.weak.loc_weight=0")),
}
"""What might go into X or did, and the paper's method on a grid that ends with the box: asked for by name."""

SWEEP: Mapping[str, Row] = {
    f"crf{weight:g}": Row(f"as W1, weight of L_CRF {weight:g}", (f"method.weak.crf_weight={weight:g}",))
    for weight in (0.1, 1.0, 5.0)
}
"""For choosing the weight of L_CRF, on a seed of its own and never on those of the table."""

PAPER_DROPS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "W1": {"sMOTSA": (21.0, 42.2), "MOTSA": (9.5, 23.7), "MOTSP": (12.0, 12.7)},
}
"""Relative drops in per cent, cars and pedestrians, of WSMOTS Table 2 on KITTI MOTS."""

PAPER_STEPS: Mapping[tuple[str, str], Mapping[str, tuple[float, float]]] = {
    ("W1", "W2"): {"sMOTSA": (5.0, 2.9), "MOTSA": (0.7, 1.3), "MOTSP": (5.4, 1.3)},
    ("W1", "W3"): {"sMOTSA": (-5.7, 2.1), "MOTSA": (-5.4, 0.8), "MOTSP": (-1.7, 2.3)},
}
"""(row, row without a loss) -> points by which the first is better, of WSMOTS Table 3: what L_CRF and L_T add."""

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


WARM_START = Row("boxes only", ("method.track_weight=0", *NO_MASK_TERMS))
"""The detector that every row starts from, so that rows differ in what supervises the masks only."""

X = (
    "method.net.mask_context=1.4",
    "method.weak.cam=relu",
    "method.weak.crf_weight=0",
    "method.weak.projection_weight=1",
    "method.weak.pairwise_weight=1",
)
"""What goes beyond the paper, as one combination."""

ROWS: Mapping[str, Row] = {
    "F": Row("full masks", ("training.supervision=full",)),
    "B": Row("filled boxes (floor)", ("method.weak.fill_weight=1", DETACHED, *NO_MASK_TERMS)),
    "W1": Row("L_loc + L_CRF + L_T (the paper)"),
    "W2": Row("L_loc + L_T", ("method.weak.crf_weight=0",)),
    "W3": Row("L_loc + L_CRF, L_T not to masks", (DETACHED,)),
    "W1r": Row("as W1, Grad-CAM with ReLU", ("method.weak.cam=relu",)),
    "G": Row("pseudo masks: GrabCut and segments", ("method.weak.pseudo_weight=1", DETACHED, *NO_MASK_TERMS)),
    "X": Row("L_loc (ReLU) + projection + pairwise, grid 1.4 x box", X),
}
"""The order is that of the table."""

EXTRAS: Mapping[str, Row] = {
    "X-loc": Row("X without L_loc", (*X, "method.weak.loc_weight=0")),
    "X-ctx": Row("X on the grid of the box", (*X, "method.net.mask_context=1.0")),
    "X+crf": Row("X and L_CRF", (*X, "method.weak.crf_weight=0.3")),
    "X+g": Row("X and pseudo masks", (*X, "method.weak.pseudo_weight=1")),
    "X+m": Row(
        "X and the patch and agreement terms over tracks",
        (*X, "method.weak.temporal_weight=0.5", "method.weak.agreement_weight=0.5"),
    ),
    "X+t": Row("X and a mean teacher", (*X, "method.weak.teacher_weight=0.5", "training.average=0.99")),
}
"""What goes into X, and what might: asked for by name."""

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

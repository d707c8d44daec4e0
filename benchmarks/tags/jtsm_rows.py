"""The rows of JTSM's ablations, what the paper reports for them, and how the table shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.tags.results import Layout


@dataclass(frozen=True)
class Row:
    """One way to train.

    title     what is unlike the whole method
    changes   of the network's settings
    evidence  of GrabCut
    paper     PQ, that of things and of stuff on VOC 2012 in Tables 1 to 3, where the row is there
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = "segment"
    paper: tuple[float, ...] = ()


NO_BRANCH: Mapping[str, Any] = {"instance_branch": False, "semantic_branch": False}
ROWS: Mapping[str, Row] = {
    "whole": Row("MoIPool, shape-invariant; n_r 4; both branches; re-estimation", paper=(39.0, 37.1, 77.7)),
    "roi-pool": Row("RoIPool", {"pooling": "roi_pool"}, paper=(36.5, 34.6, 75.6)),
    "roi-align": Row("RoIAlign", {"pooling": "roi_align"}, paper=(36.2, 34.4, 74.3)),
    "interpolating": Row("MoIPool, shape-interpolating", {"pooling": "interpolating"}, paper=(37.2, 35.3, 76.0)),
    "rank": Row("MoIPool as in the released code", {"pooling": "rank"}),
    "n0": Row("n_r 0", {"refinements": 0}, paper=(30.3, 28.3, 71.4)),
    "n2": Row("n_r 2", {"refinements": 2}, paper=(36.5, 36.1, 75.3)),
    "no-branch": Row("neither branch", NO_BRANCH, "none", (30.7, 29.0, 66.9)),
    "roi-no-branch": Row("RoIPool, neither branch", {**NO_BRANCH, "pooling": "roi_pool"}, "none"),
    "IS": Row("instance branch alone, no re-estimation", {"semantic_branch": False}, "none", (34.9, 33.9, 69.4)),
    "SS": Row("semantic branch alone, no re-estimation", {"instance_branch": False}, "none", (33.9, 28.8, 76.6)),
    "IS+SS": Row("no re-estimation", {}, "none", (36.5, 34.6, 76.7)),
    "IS+re": Row("without the semantic branch", {"semantic_branch": False}),
    "SS+re": Row("without the instance branch", {"instance_branch": False}),
    "box": Row("re-estimation from the box alone, as in the released code", {}, "box"),
}
STEPS = (
    ("roi-pool", "whole"), ("roi-align", "whole"), ("interpolating", "whole"), ("roi-no-branch", "no-branch"),
    ("n0", "n2"), ("n2", "whole"), ("no-branch", "IS"), ("no-branch", "SS"), ("IS", "IS+SS"), ("SS", "IS+SS"),
    ("IS+SS", "whole"), ("IS+re", "whole"), ("SS+re", "whole"), ("IS", "IS+re"), ("SS", "SS+re"),
)  # fmt: skip
"""(row, row that should be better)."""
MEASURES = ("PQ", "PQ things", "PQ stuff", "SQ", "RQ")


def _gain(before: str, after: str) -> str:
    if not (ROWS[before].paper and ROWS[after].paper):
        return ""
    return ", ".join(f"{b - a:+.1f}" for a, b in zip(ROWS[before].paper, ROWS[after].paper, strict=True))


LAYOUT = Layout(
    {name: name for name in MEASURES},
    {name: (row.title, ", ".join(map(str, row.paper))) for name, row in ROWS.items()},
    {step: _gain(*step) for step in STEPS},
    "paper, VOC 2012: PQ, things, stuff",
)

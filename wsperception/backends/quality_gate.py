"""Whether a faster engine still finds what the ONNX file finds: the bar that reduced precision must clear.

The reference is ONNX Runtime in FP32 on the CPU, which the export has proved equal to eager PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsperception.bundle import OUTPUTS
from wsperception.decode import RawOutputs
from wsperception.errors import InputError
from wsperception.geometry import box_iou

PAIR_IOU = 0.5
"""Boxes of a class that overlap by less are not the same detection."""
SCORE_SLACK = 0.05
"""A detection that lies within this of the lowest compared score needs no partner: rounding may push it across."""
TYPICAL = 0.95
"""Share of the pairs that a figure speaks for. The rest may be ties in suppression, which any rounding decides anew."""


class EngineRefusedError(InputError):
    """An engine whose results differ too much from the reference's."""


@dataclass(frozen=True)
class Agreement:
    """How far an engine's detections lie from the reference's.

    detections  the reference's, in all frames
    missing     share of them, and of the engine's, without a partner on the other side
    box_px      pixels of the network's input by which a box edge moves
    score       change of score
    mask_iou    IoU of the masks, each cut at 0.5 on its own grid
    embedding   cosine of the embeddings; 1 where both are zero, 0 where one is
    cells       share of the semantic map's cells whose class the reference, too, gives the best probability, or one
                within `SCORE_SLACK` of it; None without a semantic branch

    box_px to embedding are those that `TYPICAL` of the pairs keep; 0, 0, 1, 1 without a pair.
    """

    detections: int
    missing: float
    box_px: float
    score: float
    mask_iou: float
    embedding: float
    cells: float | None = None

    def __str__(self) -> str:
        text = (
            f"{self.detections} detections, {self.missing:.1%} without partner, box {self.box_px:.2f} px, "
            f"score {self.score:.4f}, mask IoU {self.mask_iou:.3f}, embedding cosine {self.embedding:.4f}"
        )
        return text if self.cells is None else f"{text}, {self.cells:.2%} of cells with the right class"


@dataclass(frozen=True)
class Bar:
    """The worst figures with which an engine is accepted; meanings as in `Agreement`."""

    missing: float
    box_px: float
    score: float
    mask_iou: float
    embedding: float
    cells: float


BARS = {
    "fp32": Bar(missing=0.01, box_px=0.2, score=0.005, mask_iou=0.98, embedding=0.999, cells=0.998),
    "fp16": Bar(missing=0.02, box_px=1.0, score=0.02, mask_iou=0.95, embedding=0.99, cells=0.99),
    "bf16": Bar(missing=0.05, box_px=2.0, score=0.05, mask_iou=0.90, embedding=0.97, cells=0.97),
    "int8": Bar(missing=0.10, box_px=3.0, score=0.10, mask_iou=0.85, embedding=0.95, cells=0.95),
}
"""What each precision must keep. Set by what moves a result: a pixel of box, a fiftieth of score and a twentieth of a
mask lie below what the tracker and MOTS's matching at IoU 0.5 see; INT8 is the user's own trade and may cost more."""


def agreement(reference: Sequence[RawOutputs], engine: Sequence[RawOutputs], min_score: float) -> Agreement:
    """Compares an engine's outputs with the reference's, frame by frame.

    min_score  detections of either side from this score on are compared

    Two detections are partners when they are of one class and each is the other's best overlap, of at least
    `PAIR_IOU`; rows may come in another order. A row with a value that is not finite is no detection.
    """
    counted = lonely = total = 0
    cells = _same_class(reference, engine)
    gaps: list[np.ndarray] = []  # (P, 4) each: box, score, mask IoU, cosine
    for wanted, found in zip(reference, engine, strict=True):
        wanted, found = _usable(wanted), _usable(found)
        rows, partners = _pairs(wanted, found)
        alone = [_without_partner(wanted.scores, rows, min_score), _without_partner(found.scores, partners, min_score)]
        lonely += sum(alone)
        kept = np.maximum(wanted.scores[rows], found.scores[partners]) >= min_score
        rows, partners = rows[kept], partners[kept]
        total += 2 * len(rows) + sum(alone)
        counted += len(rows) + alone[0]
        gaps.append(_gaps(wanted, found, rows, partners))
    pairs = np.concatenate(gaps) if gaps else np.empty((0, 4))
    if len(pairs) == 0:
        return Agreement(counted, lonely / total if total else 0.0, 0.0, 0.0, 1.0, 1.0, cells)
    high = np.quantile(pairs[:, :2], TYPICAL, axis=0)
    low = np.quantile(pairs[:, 2:], 1.0 - TYPICAL, axis=0)
    return Agreement(counted, lonely / total, float(high[0]), float(high[1]), float(low[0]), float(low[1]), cells)


def failures(found: Agreement, bar: Bar) -> list[str]:
    """What falls short of the bar, each with its figure; empty where the engine is good enough."""
    texts = []
    for name, low_is_good in (
        ("missing", True), ("box_px", True), ("score", True), ("mask_iou", False), ("embedding", False),
        ("cells", False),
    ):  # fmt: skip
        value, limit = getattr(found, name), getattr(bar, name)
        if value is not None and (value > limit if low_is_good else value < limit):
            texts.append(f"{name} {value:.4g} (bar {limit:g})")
    return texts


def require(found: Agreement, precision: str, what: str) -> None:
    """Raises EngineRefusedError with the figures where the engine `what` falls below the bar of its precision."""
    short = failures(found, BARS[precision])
    if short:
        raise EngineRefusedError(
            f"{what}: refused, its results differ from the FP32 reference's: {', '.join(short)}; in all: {found}; "
            "use a higher precision"
        )


def lowest_compared(outputs: Sequence[RawOutputs], threshold: float) -> float:
    """The score from which the reference's `outputs` are compared, given the model's own threshold.

    Half the threshold, so that what is about to be seen counts too; lower where a network finds nothing so sure in
    the frames, such that its ten best rows are compared. 1 where it finds nothing at all.
    """
    scores = np.sort(np.concatenate([_usable(raw).scores for raw in outputs] or [np.empty(0, np.float32)]))[::-1]
    scores = scores[scores > 0]
    if len(scores) == 0:
        return 1.0
    return float(min(threshold / 2, scores[min(9, len(scores) - 1)]))


def _usable(raw: RawOutputs) -> RawOutputs:
    """Rows with a score above 0 whose values are all finite, without the semantic map."""
    keep = np.nan_to_num(raw.scores, nan=0.0) > 0
    for name in OUTPUTS:
        values = getattr(raw, name)
        keep = keep & np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    return RawOutputs(*(getattr(raw, name)[keep] for name in OUTPUTS))


def _same_class(reference: Sequence[RawOutputs], engine: Sequence[RawOutputs]) -> float | None:
    """Share of the cells of all frames whose class in the engine's map may count as right; None without maps."""
    shares = []
    for wanted, found in zip(reference, engine, strict=True):
        if wanted.semantic is not None and found.semantic is not None:
            chosen = found.semantic.argmax(axis=0)
            given = np.take_along_axis(wanted.semantic, chosen[None], axis=0)[0]
            shares.append(float((given + 255.0 * SCORE_SLACK >= wanted.semantic.max(axis=0)).mean()))
    return float(np.mean(shares)) if shares else None


def _pairs(wanted: RawOutputs, found: RawOutputs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of partners on either side, (P,) each."""
    overlap = box_iou(wanted.boxes, found.boxes)
    overlap[wanted.class_ids[:, None] != found.class_ids[None]] = 0.0
    if overlap.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    best = overlap.argmax(axis=1)
    rows = np.arange(len(best))
    mutual = (overlap.argmax(axis=0)[best] == rows) & (overlap[rows, best] >= PAIR_IOU)
    return rows[mutual], best[mutual]


def _without_partner(scores: np.ndarray, paired: np.ndarray, min_score: float) -> int:
    alone = np.ones(len(scores), bool)
    alone[paired] = False
    return int((scores[alone] >= min_score + SCORE_SLACK).sum())


def _gaps(wanted: RawOutputs, found: RawOutputs, rows: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """(P, 4): largest edge shift, score change, mask IoU and cosine of each pair."""
    masks, others = wanted.masks[rows] >= 0.5, found.masks[partners] >= 0.5
    union = (masks | others).sum(axis=(1, 2))
    shared = (masks & others).sum(axis=(1, 2))
    ours, theirs = wanted.embeddings[rows], found.embeddings[partners]
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    # A direction that neither side has is not one that they disagree on.
    alike = np.where((ours == 0).all(axis=1) & (theirs == 0).all(axis=1), 1.0, 0.0)
    return np.stack(
        [
            np.abs(wanted.boxes[rows] - found.boxes[partners]).max(axis=1, initial=0.0),
            np.abs(wanted.scores[rows] - found.scores[partners]),
            np.where(union > 0, shared / np.maximum(union, 1), 1.0),
            np.divide((ours * theirs).sum(axis=1), lengths, out=alike, where=lengths > 0),
        ],
        axis=1,
    )

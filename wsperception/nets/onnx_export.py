"""PerceptionNet to ONNX, and the proof that the file computes what the network does."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou

from wsperception.bundle import MASK_ROWS, OUTPUTS, SEMANTIC
from wsperception.errors import InputError
from wsperception.nets.deployed import DeployedNet
from wsperception.nets.detect import Detections, detect
from wsperception.nets.perception_net import PerceptionNet
from wsperception.nets.settings import DetectSettings

OPSET = 20
LARGEST_BATCH = 64


@dataclass(frozen=True)
class Parity:
    """The largest differences between eager PyTorch and ONNX Runtime over matched detections.

    detections  number compared; missing  those of either side without a partner (same class, IoU >= 0.95)
    box         pixels of the network's input; score, mask and embedding as they are
    semantic    the largest difference of a cell's probabilities; None without a semantic branch
    """

    detections: int
    missing: int
    box: float
    score: float
    mask: float
    embedding: float
    semantic: float | None = None

    def within(
        self,
        box: float = 0.1,
        score: float = 1e-3,
        mask: float = 2e-2,
        embedding: float = 1e-2,
        semantic: float = 1e-2,
    ) -> bool:
        """Whether every detection has its partner and no difference exceeds its bound."""
        pairs = (
            (self.box, box),
            (self.score, score),
            (self.mask, mask),
            (self.embedding, embedding),
            (self.semantic or 0.0, semantic),
        )
        return self.missing == 0 and all(found <= bound for found, bound in pairs)


def export_onnx(net: PerceptionNet, settings: DetectSettings, input_size: tuple[int, int], path: Path) -> None:
    """Writes the static network for images (B, h, w, 3) uint8, B from 1 to `LARGEST_BATCH`, in one file.

    Masks and embeddings are computed for as many rows an image as the tensor MASK_ROWS says, and padded with zeros.

    Raises InputError where h or w is not divisible by 32.
    """
    if any(side % 32 for side in input_size):
        raise InputError(f"input_size: expected multiples of 32, got {input_size[0]}x{input_size[1]}")
    import onnx

    deployed = DeployedNet(net.float().cpu(), settings).eval()
    example = torch.zeros(2, *input_size, 3, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=_output_names(net),
            dynamic_shapes={"images": {0: batch}},
            opset_version=OPSET,
        )
    assert program is not None
    model = program.model_proto
    _name_mask_rows(program, model)
    # Stack traces of every node are a tenth of the file and name the folders of the machine it was made on.
    model.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.functions[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.initializer, *model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def parity(net: PerceptionNet, settings: DetectSettings, path: Path, images: np.ndarray) -> Parity:
    """Compares eager detection with ONNX Runtime on images (B, h, w, 3) uint8, matching rows by class and IoU.

    Rows are matched because near-tied scores may come in either order. Detections within 1e-3 of the lowest score that
    fits the output need no partner: a tie may push one over the edge.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = _output_names(net)
    outputs = dict(zip(names, session.run(names, {"images": images}), strict=True))
    semantic = _semantic_gap(net, images, outputs.pop(SEMANTIC)) if net.semantic is not None else None
    expected = detect(net.float().cpu().eval(), torch.from_numpy(images), settings)
    reports = [
        _compare(one, {name: rows[index] for name, rows in outputs.items()}) for index, one in enumerate(expected)
    ]

    def largest(name: str) -> float:
        return max(float(getattr(report, name)) for report in reports)

    return Parity(
        sum(report.detections for report in reports),
        sum(report.missing for report in reports),
        largest("box"),
        largest("score"),
        largest("mask"),
        largest("embedding"),
        semantic,
    )


def _name_mask_rows(program: Any, model: Any) -> None:
    """Calls the count of `deployed.found_rows` MASK_ROWS in the file. The exporter numbers what it computes."""
    (read,) = (
        node
        for node in program.exported_program.graph.nodes
        if node.target is torch.ops.aten._local_scalar_dense.default  # the one number that the network takes as such
    )
    count = read.args[0].name
    assert any(count in node.output for node in model.graph.node)
    for node in model.graph.node:
        node.input[:] = [MASK_ROWS if name == count else name for name in node.input]
        node.output[:] = [MASK_ROWS if name == count else name for name in node.output]
    for value in model.graph.value_info:
        value.name = MASK_ROWS if value.name == count else value.name


def _output_names(net: PerceptionNet) -> list[str]:
    return list(OUTPUTS) if net.semantic is None else [*OUTPUTS, SEMANTIC]


@torch.no_grad()
def _semantic_gap(net: PerceptionNet, images: np.ndarray, got: np.ndarray) -> float:
    """Largest difference of probabilities between eager PyTorch and the file's bytes."""
    assert net.semantic is not None
    expected = net.semantic(net.pyramid(torch.from_numpy(images))).softmax(dim=1)
    return float((expected - torch.from_numpy(got) / 255.0).abs().max())


def _compare(expected: Detections, outputs: dict[str, np.ndarray]) -> Parity:
    real = outputs["scores"] > 0
    got = {name: torch.from_numpy(rows[real]) for name, rows in outputs.items()}
    edge = float(
        min(expected.scores.min() if len(expected.scores) else 1.0, got["scores"].min() if real.any() else 1.0)
    )
    if len(expected.scores) == 0 or not real.any():
        lonely = int((expected.scores > edge + 1e-3).sum()) + int((got["scores"] > edge + 1e-3).sum())
        return Parity(0, lonely, 0.0, 0.0, 0.0, 0.0)
    overlap = box_iou(expected.boxes, got["boxes"])
    overlap[expected.class_ids[:, None] != got["class_ids"][None].long()] = 0.0
    best, partner = overlap.max(dim=1)
    paired = best >= 0.95
    lonely = int(((~paired) & (expected.scores > edge + 1e-3)).sum())
    lonely += int(((overlap.max(dim=0).values < 0.95) & (got["scores"] > edge + 1e-3)).sum())
    partner = partner[paired]

    def gap(field: torch.Tensor, name: str) -> float:
        return float((field[paired] - got[name][partner]).abs().max()) if len(partner) else 0.0

    return Parity(
        int(paired.sum()),
        lonely,
        gap(expected.boxes, "boxes"),
        gap(expected.scores, "scores"),
        gap(expected.masks, "masks"),
        gap(expected.embeddings, "embeddings"),
    )


@contextlib.contextmanager
def _quietly():  # type: ignore[no-untyped-def]
    """Without the exporter's progress lines and its warnings about its own future."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)

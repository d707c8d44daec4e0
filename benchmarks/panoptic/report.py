"""The table and the pictures of the comparison of labels."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.wsmots.report import spread
from wsperception.data.coco_panoptic import open_coco_panoptic
from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.evaluation.panoptic_pictures import class_colour

PARTS = ("all", "things", "stuff")
ROWS: Mapping[str, str] = {
    "full-0": "full labels, round 0",
    "full-1": "full labels, as many steps as two rounds",
    "full-2": "full labels, as many steps as three rounds",
    "full-3": "full labels, as many steps as four rounds",
    "weak-0": "boxes and tags, round 0",
    "weak-1": "boxes and tags, round 1",
    "weak-2": "boxes and tags, round 2",
    "weak-3": "boxes and tags, round 3",
    "semi-3": "full labels of one half, boxes and tags of the other, round 3",
}
LAST = 3
"""Round."""
PAPER: Mapping[str, tuple[float, float, float]] = {"full": (47.3, 39.6, 52.9), "weak": (40.5, 35.8, 43.9)}
"""PQ of all, things and stuff on Cityscapes val: Table 5 of the paper, ImageNet initialisation, its last round."""
REFERENCE = {f"{row}-{number}": f"full-{number}" for row in ("full", "weak") for number in range(LAST)}
"""Row -> the row of full labels with as many steps; of all others it is the last."""
PICTURED = (f"full-{LAST}", "weak-0", f"weak-{LAST}", f"semi-{LAST}")
SHOWN = 3
"""Images of the picture."""


def table(folder: Path) -> str:
    """Markdown of the scores below `folder` (ROW-ROUND-SEED/scores.json), mean and deviation over seeds, per cent."""
    found = {name: _qualities(folder, name) for name in ROWS}
    lines = [
        "| | PQ | things | stuff | SQ | RQ | of full labels: PQ | things | stuff | the paper's |",
        "|---|" + "---|" * 9,
    ]
    for name, title in ROWS.items():
        seeds = found[name]
        if not seeds:
            continue
        full = found[REFERENCE.get(name, f"full-{LAST}")]
        values = [spread(one[part, "PQ"] for one in seeds) for part in PARTS]
        values += [spread(one["all", measure] for one in seeds) for measure in ("SQ", "RQ")]
        values += [_ratio(seeds, full, part) for part in PARTS]
        lines.append(f"| {title} | {' | '.join(values)} | {_paper(name)} |")
    return "\n".join(lines) + "\n"


def class_table(folder: Path) -> str:
    """Markdown of the PQ of every class, means over seeds."""
    found = {name: [json.loads(path.read_text())["classes"] for path in _files(folder, name)] for name in ROWS}
    names = [list(seeds[0]) for seeds in found.values() if seeds]
    lines = [f"| PQ | {' | '.join(names[0])} |", "|---|" + "---|" * len(names[0])] if names else []
    for name, seeds in found.items():
        if seeds:
            means = (statistics.fmean(one[class_name]["PQ"] or 0.0 for one in seeds) for class_name in names[0])
            lines.append(f"| {ROWS[name]} | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return "\n".join(lines) + "\n"


def write_picture(path: Path, drive: Path, scores: Path, seed: int, count: int) -> None:
    """Images below each other, and beside each its true segments and those of the rows; colours are classes'."""
    truth = open_coco_panoptic(drive / "training/panoptic", drive / "training/image_02")
    names = [name for name in PICTURED if (scores / f"{name}-{seed}/panoptic").is_dir()]
    sets = [open_coco_panoptic(scores / f"{name}-{seed}/panoptic") for name in names]
    chosen = [truth.names[row] for row in np.linspace(0, len(truth) - 1, count + 2).astype(int)[1:-1]]
    rows = [np.hstack([*_truth(truth, name), *(_painted(one.read(name)) for one in sets)]) for name in chosen]
    heads = [_head(text, rows[0].shape[1] // (2 + len(names))) for text in ("image", "truth", *names)]
    picture = np.vstack([np.hstack(heads), *rows])
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def _qualities(folder: Path, name: str) -> list[dict[tuple[str, str], float]]:
    seeds = []
    for path in _files(folder, name):
        combined = json.loads(path.read_text())["combined"]
        seeds.append({(part, measure): combined[part][measure] for part in PARTS for measure in ("PQ", "SQ", "RQ")})
    return seeds


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}-*/scores.json"))


def _ratio(seeds: list[dict[tuple[str, str], float]], full: list[dict[tuple[str, str], float]], part: str) -> str:
    """Means over seeds, one by the other."""
    if not full or seeds is full:
        return "-"
    ours, theirs = (statistics.fmean(one[part, "PQ"] for one in each) for each in (seeds, full))
    return f"{100 * ours / theirs:.1f} %" if theirs > 0 else "-"


def _paper(name: str) -> str:
    if name == f"weak-{LAST}":
        pairs = zip(PAPER["weak"], PAPER["full"], strict=True)
        return " / ".join(f"{100 * weak / full:.1f} %" for weak, full in pairs)
    return "-"


def _truth(truth: PanopticSet, name: str) -> tuple[np.ndarray, np.ndarray]:
    labels = truth.read(name)
    image = cv2.imread(str(labels.image), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1], _painted(labels)


def _painted(labels: PanopticLabels) -> np.ndarray:
    """(H, W, 3) uint8 RGB: classes as colours, black where void, white lines between segments."""
    colours = np.array([(0, 0, 0), *(class_colour(one) for one in labels.class_ids[1:].tolist())], np.uint8)
    picture: np.ndarray = colours[labels.ids]
    edges = np.zeros(labels.ids.shape, bool)
    edges[:, :-1] |= labels.ids[:, :-1] != labels.ids[:, 1:]
    edges[:-1] |= labels.ids[:-1] != labels.ids[1:]
    picture[edges] = 255
    return picture


def _head(text: str, width: int) -> np.ndarray:
    head = np.full((28, width, 3), 255, np.uint8)
    cv2.putText(head, text, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return head

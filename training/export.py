"""Turns a training run into a model bundle, and refuses one whose ONNX file does not compute what PyTorch does.

python training/export.py --run runs/one --out models/one --images DRIVE/training/image_02/0000
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from training.checkpoint import load_tensors
from wsperception.bundle import OUTPUTS, SEMANTIC, ModelBundle, Thresholds, TrainingRecord, write_bundle
from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.learn.methods import METHODS
from wsperception.nets.onnx_export import Parity, export_onnx, parity
from wsperception.nets.perception_net import PerceptionNet
from wsperception.nets.settings import DetectSettings
from wsperception.nets.weights import COCO_DETECT, COCO_IDS, COCO_NET, coco_perception_net
from wsperception.preprocess import letterbox
from wsperception.settings import from_mapping, to_mapping
from wsperception.types import LabelSpace

COMPARED_FRAMES = 4
DOWNLOAD = "download"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong or the export was refused."""
    options = _parse(arguments)
    try:
        if options.coco is None:
            bundle, report = export_run(options.run, options.out, options.images, _thresholds(options))
        else:
            weights = None if options.coco == DOWNLOAD else Path(options.coco)
            size = (options.input_size[0], options.input_size[1])
            bundle, report = export_coco(weights, size, options.out, options.images, _thresholds(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    megabytes = bundle.onnx_path.stat().st_size / 1e6
    print(f"{bundle.folder}: {megabytes:.1f} MB; {_figures(report)}")
    return 0


def export_run(run: Path, out: Path, images: Path | None, thresholds: Thresholds) -> tuple[ModelBundle, Parity]:
    """Writes the bundle of a finished run and returns it with the comparison it passed.

    images  a source of frames to compare on; None: frames of a synthetic drive

    Raises InputError for an unreadable run, and, with the figures, where ONNX Runtime and PyTorch differ.
    """
    record = read_record(run / "recipe.json")
    recipe = record["recipe"]
    labels = from_mapping(LabelSpace, record["labels"], str(run / "recipe.json"))
    method = from_mapping(METHODS[recipe["name"]].Settings, recipe["method"], str(run / "recipe.json"))
    input_size = tuple(recipe["data"]["input_size"])
    net = METHODS[recipe["name"]].build(method, len(labels)).net.eval()
    if not isinstance(net, PerceptionNet):
        raise InputError(f"{run}: the network of {recipe['name']} is not deployed; expected a run of wsmots")
    _load(net, run / "weights.pt")
    bundle = ModelBundle(
        name=out.name,
        input_size=input_size,
        label_space=labels,
        mask_side=net.mask_side,
        mask_context=method.net.mask_context,
        embedding_length=method.net.embedding_length,
        max_detections=method.detect.detections,
        method=recipe["name"],
        supervision=recipe["training"]["supervision"],
        training=TrainingRecord(" ".join(record["command"]), str(record["commit"]), record["date"], recipe),
        thresholds=thresholds,
        outputs=OUTPUTS if net.semantic is None else (*OUTPUTS, SEMANTIC),
    )
    return write_checked(bundle, net, method.detect, out, images)


def export_coco(
    weights: Path | None, input_size: tuple[int, int], out: Path, images: Path | None, thresholds: Thresholds
) -> tuple[ModelBundle, Parity]:
    """Writes the bundle of torchvision's COCO Mask R-CNN for cars and people; `weights` None downloads them.

    Nothing was trained for tracking: the embeddings are the mask-pooled features.
    """
    labels = LabelSpace(tuple(COCO_IDS), (True,) * len(COCO_IDS))
    net = coco_perception_net(weights, labels.names)
    bundle = ModelBundle(
        name=out.name,
        input_size=input_size,
        label_space=labels,
        mask_side=net.mask_side,
        mask_context=COCO_NET.mask_context,
        embedding_length=COCO_NET.embedding_length,
        max_detections=COCO_DETECT.detections,
        method="torchvision maskrcnn_resnet50_fpn",
        supervision="full (COCO masks)",
        training=TrainingRecord(
            "training/export.py --coco", "", "", {"net": to_mapping(COCO_NET), "detect": to_mapping(COCO_DETECT)}
        ),
        thresholds=thresholds,
    )
    return write_checked(bundle, net, COCO_DETECT, out, images)


def write_checked(
    bundle: ModelBundle, net: PerceptionNet, detect: DetectSettings, out: Path, images: Path | None
) -> tuple[ModelBundle, Parity]:
    """Exports `net`, compares it with PyTorch on frames, and writes the bundle only if they agree."""
    batch = example_images(images, bundle.input_size)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_onnx(net, detect, bundle.input_size, path)
        report = parity(net, detect, path, batch)
        if not report.within():
            raise InputError(f"{out}: not written, the ONNX file differs from PyTorch: {_figures(report)}")
        return write_bundle(out, path, bundle), report


def example_images(images: Path | None, input_size: tuple[int, int]) -> np.ndarray:
    """Up to four letterboxed frames (B, h, w, 3) uint8 of a source, or of a synthetic drive."""
    frames = open_source(images) if images is not None else Drive(DriveSettings(frames=COMPARED_FRAMES)).frames()
    batch = []
    for frame in frames:
        batch.append(letterbox(frame.image, input_size)[0].copy())
        if len(batch) == COMPARED_FRAMES:
            break
    return np.stack(batch)


def read_record(path: Path) -> dict[str, Any]:
    """What `training/train.py` recorded of a run."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the folder of a run of training/train.py") from None
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(values, dict) or not {"recipe", "labels", "command", "commit", "date"} <= values.keys():
        raise InputError(f"{path}: expected the record of a training run")
    if values["recipe"].get("name") not in METHODS:
        raise InputError(f"{path}: unknown method {values['recipe'].get('name')!r}; known are {', '.join(METHODS)}")
    return values


def _load(net: PerceptionNet, path: Path) -> None:
    try:
        net.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        raise InputError(f"{path}: do not fit the network: {' '.join(str(error).split())[:200]}") from None


def _figures(report: Parity) -> str:
    text = (
        f"PyTorch and ONNX Runtime: {report.detections} detections matched, {report.missing} not, largest differences "
        f"box {report.box:.2g} px, score {report.score:.2g}, mask {report.mask:.2g}, embedding {report.embedding:.2g}"
    )
    return text if report.semantic is None else f"{text}, semantic probability {report.semantic:.2g}"


def _thresholds(options: argparse.Namespace) -> Thresholds:
    return Thresholds(options.score, options.mask, options.similarity, options.visible, options.certainty)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a training run")
    source.add_argument(
        "--coco", nargs="?", const=DOWNLOAD, metavar="FILE", help="torchvision's COCO weights; without FILE: download"
    )
    parser.add_argument(
        "--input-size", type=int, nargs=2, default=(384, 1248), metavar=("H", "W"), help="with --coco (384 1248)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; its name becomes the model's")
    parser.add_argument("--images", type=Path, help="frames to compare on; default: a synthetic drive")
    parser.add_argument("--score", type=float, default=0.9, help="detection threshold (Table 1: 0.9)")
    parser.add_argument("--mask", type=float, default=0.5, help="foreground probability of a mask's pixels")
    parser.add_argument("--similarity", type=float, default=0.0, help="similarity above which a track continues")
    parser.add_argument(
        "--visible", type=float, default=0.4, help="part of a mask that better objects must leave (Panoptic FPN: 0.5)"
    )
    parser.add_argument("--certainty", type=float, default=0.0, help="mean probability that a mask's pixels must have")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

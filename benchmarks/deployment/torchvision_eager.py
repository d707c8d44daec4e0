"""Our pipeline beside torchvision's Mask R-CNN in eager PyTorch: same weights, same image, taking turns.

    python -m benchmarks.deployment.torchvision_eager [--weights FILE] [--objects few] [--detections 20] [--rounds 15]

torchvision's time holds all that its users need for masks in the image: resizing, the network, masks pasted to full
size. Ours holds letterbox, network, decode, fusion and the tracker, per backend that is installed. Without --weights (a
state dict of maskrcnn_resnet50_fpn, as `training/export.py --coco` takes it) random weights serve, whose scores are
spread so that torchvision finds as many objects as it may, of any class, or few, of our classes only. It computes a
mask per object found; our static graph computes --detections of them, whatever is there. The bundle is made once (about
a minute) in --folder and used again.
"""

import argparse
import dataclasses
import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn

from wsperception.backends import BACKENDS, Backend, open_backend
from wsperception.backends.threads import default_threads
from wsperception.bench_report import machine
from wsperception.bundle import ModelBundle, Thresholds, TrainingRecord, read_bundle, write_bundle
from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.errors import InputError
from wsperception.nets.onnx_export import export_onnx
from wsperception.nets.weights import COCO_DETECT, COCO_IDS, COCO_NET, coco_perception_net
from wsperception.pipeline import Pipeline, default_settings
from wsperception.settings import to_mapping
from wsperception.types import Frame, LabelSpace

INPUT_SIZE, IMAGE_SIZE = (384, 1248), (375, 1242)
AIM = 1.3
MIN_SCORE = 0.5
"""Both sides paste or paint what reaches it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="torchvision's state dict (default: random weights)")
    parser.add_argument("--objects", choices=("many", "few"), default="many", help="what random weights find")
    parser.add_argument("--detections", type=int, default=COCO_DETECT.detections, help="most objects, on both sides")
    parser.add_argument("--image", type=Path, help="image of any size (default: one of a synthetic drive)")
    parser.add_argument("--folder", type=Path, default=Path("out/benchmarks"), help="where the bundle is kept")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=default_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    weights = arguments.weights or random_weights(arguments.folder, arguments.objects == "few")
    image = street(arguments.image)
    bundle = bundle_of(weights, arguments.detections, arguments.folder)
    calls: dict[str, Callable[[], int]] = {"torchvision eager": eager(weights, arguments.detections, image)}
    for name in BACKENDS:
        try:
            backend = open_backend(bundle, name, arguments.threads)
        except InputError as error:
            print(f"left out: {error}")
            continue
        calls[str(backend.describe())] = ours(backend, bundle, image)
    times = taking_turns(calls, arguments.rounds)
    where = machine()
    print(f"{where['date']}, {where['cpu']}, load {where['load']}, commit {where['commit'][:10]}, {len(times)} runners")
    print(
        f"image {image.shape[0]}x{image.shape[1]}, input {INPUT_SIZE[0]}x{INPUT_SIZE[1]}, {arguments.rounds} rounds\n"
    )
    print(f"| | p50 ms | fastest ms | objects | times as fast (aim {AIM}) |\n|---|---|---|---|---|")
    base = statistics.median(times["torchvision eager"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.0f} | {min(values):.0f} | {calls[name]()} | {base / median:.2f} |")


def random_weights(folder: Path, few: bool) -> Path:
    """A state dict whose scores are spread over [0, 1], made once; with `few` it knows our classes only."""
    path = folder / f"random_weights{'_few' * few}.pt"
    if not path.exists():
        torch.manual_seed(0)
        model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        scores = model.roi_heads.box_predictor.cls_score
        with torch.no_grad():
            scores.weight.mul_(60)
            model.roi_heads.box_predictor.bbox_pred.weight.mul_(10)
            model.rpn.head.cls_logits.weight.mul_(20)
            if few:
                scores.bias[[row for row in range(1, scores.out_features) if row not in COCO_IDS.values()]] -= 1e4
        torch.save(model.state_dict(), path)
    return path


def street(path: Path | None) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB."""
    if path is None:
        drive = Drive(DriveSettings(frames=1, height=IMAGE_SIZE[0], width=IMAGE_SIZE[1]))
        return next(iter(drive.frames())).image
    image = cv2.imread(str(path))
    assert image is not None, f"{path}: not an image"
    return np.ascontiguousarray(image[:, :, ::-1])


def bundle_of(weights: Path, detections: int, folder: Path) -> ModelBundle:
    """The bundle of these weights, exported once."""
    target = folder / f"r50-{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}-{detections}"
    if target.is_dir():
        return read_bundle(target)
    labels = LabelSpace(tuple(COCO_IDS), (True,) * len(COCO_IDS))
    net = coco_perception_net(weights, labels.names)
    path = folder / "r50.onnx"
    detect = dataclasses.replace(COCO_DETECT, detections=detections)
    export_onnx(net, detect, INPUT_SIZE, path)
    bundle = ModelBundle(
        name=target.name,
        input_size=INPUT_SIZE,
        label_space=labels,
        mask_side=net.mask_side,
        mask_context=COCO_NET.mask_context,
        embedding_length=COCO_NET.embedding_length,
        max_detections=detections,
        method="torchvision maskrcnn_resnet50_fpn",
        supervision="none",
        training=TrainingRecord("", "", "", {"net": to_mapping(COCO_NET), "detect": to_mapping(detect)}),
        thresholds=Thresholds(score=MIN_SCORE),
    )
    written = write_bundle(target, path, bundle)
    path.unlink()
    return written


def eager(weights: Path, detections: int, image: np.ndarray) -> Callable[[], int]:
    """torchvision's way from the image to full-size masks; gives the number of objects."""
    model: MaskRCNN = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        min_size=INPUT_SIZE[0],
        max_size=INPUT_SIZE[1],
        box_detections_per_img=detections,
    )
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()

    def call() -> int:
        with torch.inference_mode():
            found: dict[str, Any] = model([torch.from_numpy(image).permute(2, 0, 1).float().div(255)])[0]
        return int((found["scores"] >= MIN_SCORE).sum())

    return call


def ours(backend: Backend, bundle: ModelBundle, image: np.ndarray) -> Callable[[], int]:
    """The whole pipeline; gives the number of objects."""
    settings = default_settings(bundle)
    pipeline = Pipeline(backend, bundle, dataclasses.replace(settings, keep_untracked=True))
    indices = iter(range(10**9))

    def call() -> int:
        index = next(indices)
        return len(pipeline(Frame(image, index * 10**8, "camera", index)).instances)

    return call


def taking_turns(calls: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Wall milliseconds of every call after two that do not count; the order turns round by round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name in calls if number % 2 == 0 else reversed(calls):
            start = time.perf_counter()
            calls[name]()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: values[2:] for name, values in times.items()}


if __name__ == "__main__":
    main()

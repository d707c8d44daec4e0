"""Our pipeline beside torchvision's Mask R-CNN in eager PyTorch: same weights, same image, taking turns.

    python -m benchmarks.deployment.torchvision_eager [--weights FILE] [--objects few] [--detections 20] [--rounds 15]

torchvision's time holds all that its users need for masks in the image: resizing, the network, masks pasted to full
size. Ours holds letterbox, network, decode, fusion and the tracker, per backend that is installed. Without --weights (a
state dict of maskrcnn_resnet50_fpn, as `training/export.py --coco` takes it) random weights serve, which find objects
of our classes only: as many as there is room for, or few. Both sides compute a mask per object found, and the last
column says how many that were. The bundle is made once (about a minute) in --folder and used again.
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
from wsperception.decode import RawOutputs
from wsperception.errors import InputError
from wsperception.nets.onnx_export import export_onnx
from wsperception.nets.weights import COCO_DETECT, COCO_IDS, COCO_NET, coco_perception_net
from wsperception.pipeline import Pipeline, default_settings
from wsperception.settings import to_mapping
from wsperception.types import Frame, LabelSpace

INPUT_SIZE = (384, 1248)
AIM = 1.3
AS_OURS = f"torchvision eager, {COCO_DETECT.proposals} proposals"
"""The base of all ratios: as many proposals as our bundles have. torchvision's own default is 1000."""
MIN_SCORE = 0.5
"""What ours paints; torchvision pastes the mask of everything that it found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="torchvision's state dict (default: random weights)")
    parser.add_argument("--objects", choices=("many", "few"), default="many", help="what random weights find")
    parser.add_argument("--detections", type=int, default=COCO_DETECT.detections, help="most objects, on both sides")
    parser.add_argument("--image", type=Path, help="image of any size (default: a synthetic one that needs no scaling)")
    parser.add_argument("--folder", type=Path, default=Path("out/benchmarks"), help="where the bundle is kept")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=default_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    weights = arguments.weights or random_weights(arguments.folder, arguments.objects == "few")
    image = street(arguments.image)
    bundle = bundle_of(weights, arguments.detections, arguments.folder)
    calls: dict[str, Callable[[], int]] = {
        AS_OURS: eager(weights, arguments.detections, COCO_DETECT.proposals, image),
        "torchvision eager, 1000 proposals": eager(weights, arguments.detections, 1000, image),
    }
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
    print(f"| | p50 ms | fastest ms | masks | times as fast (aim {AIM}) |\n|---|---|---|---|---|")
    base = statistics.median(times[AS_OURS])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.0f} | {min(values):.0f} | {calls[name]()} | {base / median:.2f} |")


def random_weights(folder: Path, few: bool) -> Path:
    """A state dict whose scores are spread over [0, 1] and that knows our classes only, made once."""
    path = folder / f"random_weights_{'few' if few else 'many'}.pt"
    if not path.exists():
        torch.manual_seed(0)
        model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        predictor, proposals = model.roi_heads.box_predictor, model.rpn.head
        other = [row for row in range(1, predictor.cls_score.out_features) if row not in COCO_IDS.values()]
        with torch.no_grad():
            for name, norm in model.backbone.named_modules():
                if name.endswith("bn3"):
                    norm.weight.mul_(
                        0.2
                    )  # else every block doubles the features, and any rounding decides what is found
            predictor.cls_score.weight[other] = 0.0
            predictor.cls_score.bias[other] = -1e9
            proposals.cls_logits.weight.mul_(20)
            predictor.bbox_pred.weight.mul_(0.01)  # boxes near their anchors stay apart
            proposals.bbox_pred.weight.mul_(0.01)
            if few:
                predictor.cls_score.weight.mul_(300)
                predictor.cls_score.bias[0] += 12
        torch.save(model.state_dict(), path)
    return path


def street(path: Path | None) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB."""
    if path is None:
        drive = Drive(DriveSettings(frames=1, height=INPUT_SIZE[0], width=INPUT_SIZE[1]))
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


def eager(weights: Path, detections: int, proposals: int, image: np.ndarray) -> Callable[[], int]:
    """torchvision's way from the image to full-size masks; gives their number."""
    model: MaskRCNN = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        min_size=INPUT_SIZE[0],
        max_size=INPUT_SIZE[1],
        box_detections_per_img=detections,
        rpn_post_nms_top_n_test=proposals,
    )
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()

    def call() -> int:
        with torch.inference_mode():
            found: dict[str, Any] = model([torch.from_numpy(image).permute(2, 0, 1).float().div(255)])[0]
        return len(found["masks"])

    return call


def ours(backend: Backend, bundle: ModelBundle, image: np.ndarray) -> Callable[[], int]:
    """The whole pipeline; gives the number of masks that the network computed."""
    settings = default_settings(bundle)
    network = _Counted(backend)
    pipeline = Pipeline(network, bundle, dataclasses.replace(settings, keep_untracked=True))
    indices = iter(range(10**9))

    def call() -> int:
        index = next(indices)
        pipeline(Frame(image, index * 10**8, "camera", index))
        return network.masks

    return call


class _Counted:
    """A backend that remembers how many rows of its last output are no padding."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.masks = 0

    def run(self, batch: np.ndarray) -> list[RawOutputs]:
        outputs = self._backend.run(batch)
        self.masks = sum(int((raw.scores > 0).sum()) for raw in outputs)
        return outputs


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

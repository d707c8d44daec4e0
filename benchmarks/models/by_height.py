"""Where a model loses objects: found as a box, found as a mask, left after fusion; by height in the image.

    python benchmarks/models/by_height.py --model tiny --drive out/models/drive-9500 --every 12

Every N-th frame of every sequence of a folder in the layout of KITTI MOTS, without tracking. "box": a detection of the
class overlaps the object's box by half; "mask": one overlaps its pixels by half; "fused": so does a segment.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from wsperception import rle
from wsperception.backends import Network, open_backend
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.mots import CLASS_NUMBERS, MotsObject, read_mots
from wsperception.decode import decode
from wsperception.fusion import FusionSettings, fuse
from wsperception.geometry import box_iou
from wsperception.pipeline import PipelineSettings, default_settings
from wsperception.preprocess import letterbox
from wsperception.types import Instances

HEIGHTS = (0, 25, 45, 70, 110, 10**6)
REACHED = 0.5


@dataclass(frozen=True)
class Fate:
    """What became of one object of the ground truth; height in pixels."""

    class_name: str
    height: int
    box: bool
    mask: bool
    fused: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--drive", type=Path, required=True, help="folder with training/image_02 and instances_txt")
    parser.add_argument("--every", type=int, default=12)
    options = parser.parse_args()
    bundle = read_bundle(options.model)
    fates = list(fates_of(bundle, options.drive, options.every))
    for class_name in bundle.label_space.names:
        print(f"\n| height in pixels | {class_name} | box | mask | fused |\n|---|---|---|---|---|")
        for low, high in itertools.pairwise(HEIGHTS):
            chosen = [fate for fate in fates if fate.class_name == class_name and low <= fate.height < high]
            print(f"| {low} to {high if high != HEIGHTS[-1] else ''} | {len(chosen)} | {_shares(chosen)} |")


def fates_of(bundle: ModelBundle, drive: Path, every: int) -> Iterator[Fate]:
    """One for each object of every `every`-th frame."""
    settings = default_settings(bundle)
    backend = open_backend(bundle, "onnx")
    frames = [
        (path, objects)
        for folder in sorted((drive / "training/image_02").iterdir())
        for path, objects in _frames(folder, drive / "training/instances_txt" / f"{folder.name}.txt", every)
    ]
    for path, objects in tqdm(frames, disable=None):
        stored = cv2.imread(str(path))
        assert stored is not None, f"{path}: not an image"
        image = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
        found = detections(backend, bundle, image, settings)
        for number, class_name in enumerate(bundle.label_space.names):
            own = [entry for entry in objects if entry.class_id == CLASS_NUMBERS[class_name]]
            yield from _fates(own, class_name, found.select(np.flatnonzero(found.class_ids == number)), found, settings)


def detections(backend: Network, bundle: ModelBundle, image: np.ndarray, settings: PipelineSettings) -> Instances:
    """What the network finds above the bundle's score."""
    fitted, placing = letterbox(image, bundle.input_size)
    return decode(backend.run(fitted[None])[0], placing, settings.min_score, len(bundle.label_space))


def _fates(
    truth: Sequence[MotsObject], class_name: str, own: Instances, found: Instances, settings: PipelineSettings
) -> Iterator[Fate]:
    masks = [rle.decode(entry.counts, entry.size) for entry in truth]
    boxes = np.array([_tight_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    alone = [_alone(own.select(np.array([row])), settings.fusion) for row in range(len(own))]
    segments = fuse(found, settings.fusion).segments
    class_id = int(own.class_ids[0]) if len(own) else -1
    fused = [segments.ids == row for row in range(1, len(segments.class_ids)) if segments.class_ids[row] == class_id]
    overlaps = box_iou(own.boxes, boxes)
    for row, mask in enumerate(masks):
        yield Fate(
            class_name,
            int(boxes[row, 3] - boxes[row, 1]),
            bool((overlaps[:, row] >= REACHED).any()),
            any(_iou(mask, other) >= REACHED for other in alone),
            any(_iou(mask, other) >= REACHED for other in fused),
        )


def _alone(instance: Instances, settings: FusionSettings) -> np.ndarray:
    """The mask (H, W) bool of a detection that nothing covers."""
    alone: np.ndarray = fuse(instance, settings).segments.ids > 0
    return alone


def _frames(folder: Path, truth: Path, every: int) -> Iterator[tuple[Path, list[MotsObject]]]:
    objects = read_mots(truth).by_frame()
    for number, path in enumerate(sorted(folder.iterdir())):
        if number % every == 0:
            yield path, objects.get(number, [])


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    common = np.count_nonzero(a & b)
    return common / (np.count_nonzero(a) + np.count_nonzero(b) - common)


def _shares(fates: Sequence[Fate]) -> str:
    if not fates:
        return "- | - | -"
    return " | ".join(
        f"{100 * sum(values) / len(fates):.0f} %"
        for values in ([fate.box for fate in fates], [fate.mask for fate in fates], [fate.fused for fate in fates])
    )


if __name__ == "__main__":
    main()

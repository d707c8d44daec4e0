"""How much of its box an object fills: in real data and in the scenes of this benchmark.

    python -m benchmarks.tags.fill --data ../shared/data

Boxes as masks are as good as objects are full, so the scenes must not be fuller than the world. --data has some of
kitti_mots_gt (every tenth frame is read), cityscapes_aachen and cityscapes_frankfurt_gtonly, and labelme_voc. Objects
below 400 pixels are left out.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.tags.scenes import THINGS, draw_scenes
from wsperception import rle
from wsperception.data.cityscapes import LABEL_SPACE, read_instance_ids
from wsperception.data.mots import CLASS_NUMBERS, find_sequences, read_mots
from wsperception.data.voc import read_palette_image
from wsperception.geometry import tight_boxes

LEAST = 400
VOC_MASKS = "labelme_voc/instance_segmentation/data_dataset_voc/SegmentationObject"
VOC_EDGE = 255
"""Number of the contours of VOC's objects."""


def fills(ids: np.ndarray) -> dict[int, float]:
    """Row -> share of its tight box that it fills, of the rows of a label map (H, W) with LEAST pixels or more."""
    counts = np.bincount(ids.ravel())
    boxes = tight_boxes(ids, len(counts))
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return {int(row): float(counts[row] / areas[row]) for row in np.flatnonzero(counts >= LEAST) if row > 0}


def real_objects(data: Path) -> Iterator[tuple[str, float]]:
    """(kind, share) of every object below `data`."""
    numbers = {number: name for name, number in CLASS_NUMBERS.items()}
    if (data / "kitti_mots_gt").is_dir():
        for path in find_sequences(data / "kitti_mots_gt").values():
            for entry in read_mots(path).objects:
                if entry.frame % 10 == 0 and entry.class_id in numbers:
                    mask = rle.decode(entry.counts, entry.size).astype(np.uint16)
                    yield from ((f"KITTI MOTS {numbers[entry.class_id]}", fill) for fill in fills(mask).values())
    for path in sorted(data.glob("cityscapes_*/**/*_instanceIds.png")):
        labels = read_instance_ids(path, path.stem)
        for row, fill in fills(labels.ids).items():
            class_id = int(labels.class_ids[row])
            if LABEL_SPACE.is_thing[class_id] and not labels.is_crowd[row]:
                yield f"Cityscapes {LABEL_SPACE.names[class_id]}", fill
    for path in sorted((data / VOC_MASKS).glob("*.png")):
        ids = read_palette_image(path).astype(np.uint16)
        yield from (("VOC, three images", fill) for fill in fills(np.where(ids == VOC_EDGE, 0, ids)).values())


def drawn_objects(count: int, seed: int) -> Iterator[tuple[str, float]]:
    """(kind, share) of every thing of `count` scenes."""
    for scene in draw_scenes(count, seed):
        for mask, class_id in zip(scene.masks, scene.class_ids.tolist(), strict=True):
            for fill in fills(mask.astype(np.uint16)).values():
                yield from ((kind, fill) for kind in (f"scenes, {THINGS[class_id]}", "scenes, all"))


def main(command: list[str] | None = None) -> int:
    """Prints a table; exit status 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=500, help="seed of the scenes")
    options = parser.parse_args(command)
    found: dict[str, list[float]] = {}
    for objects in (real_objects(options.data), drawn_objects(120, options.scenes)):
        for kind, fill in objects:
            found.setdefault(kind, []).append(fill)
    print("| objects | number | mean | tenth to ninetieth percentile | below half |\n|---|---|---|---|---|")
    for kind, values in found.items():
        low, high = np.percentile(values, (10, 90))
        half = 100.0 * np.mean(np.array(values) < 0.5)
        print(f"| {kind} | {len(values)} | {np.mean(values):.2f} | {low:.2f} to {high:.2f} | {half:.0f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

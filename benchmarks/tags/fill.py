"""How much of its box an object or a region of stuff fills: in real data and in the scenes of this benchmark.

    python -m benchmarks.tags.fill --data ../shared/data

Boxes as masks are as good as objects are full, and what pools boxes sees stuff as well as stuff is full: the scenes
must not be fuller than the world. --data has some of kitti_mots_gt (every tenth frame is read), cityscapes_aachen and
cityscapes_frankfurt_gtonly, and labelme_voc. Objects below 400 pixels are left out, and of stuff what is connected and
has less than a hundredth of the image.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tags.scenes import CLASSES, THINGS, draw_scenes
from wsperception import rle
from wsperception.data.cityscapes import LABEL_SPACE, read_instance_ids
from wsperception.data.mots import CLASS_NUMBERS, find_sequences, read_mots
from wsperception.data.voc import read_palette_image
from wsperception.geometry import tight_boxes

LEAST = 400
LEAST_SHARE = 0.01
"""Of the image; the grounds of the scenes are large."""
VOC_MASKS = "labelme_voc/instance_segmentation/data_dataset_voc/SegmentationObject"
VOC_EDGE = 255
"""Number of the contours of VOC's objects."""


def fills(ids: np.ndarray) -> dict[int, float]:
    """Row -> share of its tight box that it fills, of the rows of a label map (H, W) with LEAST pixels or more."""
    counts = np.bincount(ids.ravel())
    boxes = tight_boxes(ids, len(counts))
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return {int(row): float(counts[row] / areas[row]) for row in np.flatnonzero(counts >= LEAST) if row > 0}


def region_fills(semantic: np.ndarray, class_id: int) -> list[float]:
    """Share of its tight box that each connected region of a class fills, of those with LEAST_SHARE of the map (H, W)
    or more.
    """
    _, _, regions, _ = cv2.connectedComponentsWithStats((semantic == class_id).astype(np.uint8), connectivity=4)
    large = regions[1:][regions[1:, cv2.CC_STAT_AREA] >= LEAST_SHARE * semantic.size]  # the first is all the rest
    return [float(area / (width * height)) for _, _, width, height, area in large.tolist()]


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


def real_stuff(data: Path) -> Iterator[tuple[str, float]]:
    """(kind, share) of every region of stuff below `data`."""
    for path in sorted(data.glob("cityscapes_*/**/*_instanceIds.png")):
        labels = read_instance_ids(path, path.stem)
        semantic = labels.class_ids[labels.ids]
        for class_id in np.flatnonzero(~np.array(LABEL_SPACE.is_thing)).tolist():
            for fill in region_fills(semantic, class_id):
                yield from ((f"Cityscapes {kind}", fill) for kind in (LABEL_SPACE.names[class_id], "stuff, all"))


def drawn_objects(count: int, seed: int) -> Iterator[tuple[str, float]]:
    """(kind, share) of every thing of `count` scenes."""
    for scene in draw_scenes(count, seed):
        for mask, class_id in zip(scene.masks, scene.class_ids.tolist(), strict=True):
            for fill in fills(mask.astype(np.uint16)).values():
                yield from ((kind, fill) for kind in (f"scenes, {THINGS[class_id]}", "scenes, things"))


def drawn_stuff(count: int, seed: int) -> Iterator[tuple[str, float]]:
    """(kind, share) of every region of stuff of `count` scenes."""
    for scene in draw_scenes(count, seed):
        for class_id in range(len(THINGS), len(CLASSES)):
            yield from (("scenes, stuff", fill) for fill in region_fills(scene.semantic, class_id))


def main(command: list[str] | None = None) -> int:
    """Prints a table; exit status 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=500, help="seed of the scenes")
    options = parser.parse_args(command)
    found: dict[str, list[float]] = {}
    real, drawn = (real_objects(options.data), real_stuff(options.data)), (120, options.scenes)
    for kind, fill in itertools.chain(*real, drawn_objects(*drawn), drawn_stuff(*drawn)):
        found.setdefault(kind, []).append(fill)
    print("| objects | number | mean | tenth to ninetieth percentile | below half |\n|---|---|---|---|---|")
    for kind, values in found.items():
        low, high = np.percentile(values, (10, 90))
        half = 100.0 * np.mean(np.array(values) < 0.5)
        print(f"| {kind} | {len(values)} | {np.mean(values):.2f} | {low:.2f} to {high:.2f} | {half:.0f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

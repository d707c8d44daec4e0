"""How exact segment proposals are: on windows of photographs and on the scenes of this benchmark.

    python -m benchmarks.tags.exact --data ../shared/data

Where the best segment is nearly the object there is nothing for class maps, branches, box regression or GrabCut to
mend: the scenes must not be easier than the world. --data has some of cityscapes_aachen, labelme_voc and
davis_car_shadow (every eighth frame is read). Of every object a square window about twice as long as it is cut out and
brought to the size of a scene; what has less than LEAST pixels there is left out. One line for each kind, one for each
source of proposals.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tags.community import SETTINGS
from benchmarks.tags.fill import LEAST, VOC_EDGE, VOC_MASKS
from benchmarks.tags.scenes import SIZE, draw_scenes
from wsperception.data.cityscapes import LABEL_SPACE, open_cityscapes
from wsperception.data.sources.image_file import read_image
from wsperception.data.voc import read_palette_image
from wsperception.geometry import box_iou, tight_boxes
from wsperception.learn.proposals.segments import Proposals, ProposalSettings, segment_proposals

Shown = tuple[str, np.ndarray, np.ndarray]
"""A kind, an image (H, W, 3) uint8 RGB and the mask (H, W) bool of one object in it."""
SHARE = 2.2
"""Side of a window over the longer side of its object: about that of the scenes."""
LEAST_SIDE = 40
"""Pixels of an object's height in the photograph: what is smaller would be blown up."""


def best_overlaps(proposals: Proposals, mask: np.ndarray) -> tuple[float, float]:
    """The highest IoU of a proposal with `mask` (H, W) bool, and that of a proposal's box with its tight box."""
    inside = np.bincount(proposals.superpixels.ravel(), mask.ravel(), len(proposals.membership))
    common = inside @ proposals.membership
    overlaps = common / (proposals.areas + mask.sum() - common)
    box = tight_boxes(mask.astype(np.uint16), 2)[1:]
    return float(overlaps.max()), float(box_iou(box, proposals.boxes).max())


def window(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square of SHARE times the object's longer side about it, as far as it is in the image, at SIZE pixels."""
    x0, y0, x1, y1 = tight_boxes(mask.astype(np.uint16), 2)[1].astype(int).tolist()
    side = min(int(SHARE * max(x1 - x0, y1 - y0)), *mask.shape)
    left = int(np.clip((x0 + x1 - side) // 2, 0, mask.shape[1] - side))
    top = int(np.clip((y0 + y1 - side) // 2, 0, mask.shape[0] - side))
    cut = slice(top, top + side), slice(left, left + side)
    shown = cv2.resize(image[cut], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask[cut].astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 0.5
    return shown, inside


def real_objects(data: Path) -> Iterator[Shown]:
    """Every object in the photographs below `data` that is LEAST_SIDE pixels high."""
    for kind, image, mask in _labelled(data):
        if mask.any(axis=1).sum() >= LEAST_SIDE:
            shown, inside = window(image, mask)
            if inside.sum() >= LEAST:
                yield from ((name, shown, inside) for name in (kind, "photographs"))


def _labelled(data: Path) -> Iterator[Shown]:
    if (data / "cityscapes_aachen").is_dir():
        for labels in open_cityscapes(data / "cityscapes_aachen"):
            assert labels.image is not None
            image = read_image(labels.image)
            for row in np.flatnonzero((labels.class_ids >= 0) & ~labels.is_crowd).tolist():
                if LABEL_SPACE.is_thing[labels.class_ids[row]]:
                    yield f"Cityscapes {LABEL_SPACE.names[labels.class_ids[row]]}", image, labels.ids == row
    for path in sorted((data / VOC_MASKS).glob("*.png")):
        ids = read_palette_image(path)
        image = read_image(path.parents[1] / "JPEGImages" / f"{path.stem}.jpg")
        for row in np.setdiff1d(ids, (0, VOC_EDGE)).tolist():
            yield "VOC, three images", image, ids == row
    for path in sorted((data / "davis_car_shadow").rglob("*.png"))[::8]:
        photograph = path.parents[3] / "JPEGImages" / path.parent.relative_to(path.parents[2]) / f"{path.stem}.jpg"
        yield "DAVIS, one car", read_image(photograph), read_palette_image(path) > 0


def shown_things(count: int, seed: int) -> Iterator[Shown]:
    """Every thing of `count` scenes."""
    for scene in draw_scenes(count, seed):
        yield from (("scenes", scene.image, mask) for mask in scene.masks)


def main(command: list[str] | None = None) -> int:
    """Prints a table; exit status 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=500, help="seed of the scenes")
    options = parser.parse_args(command)
    sources = {"of the benchmark": SETTINGS.segments, "600 superpixels, 3 trees": ProposalSettings(trees=3)}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for shown in (real_objects(options.data), shown_things(60, options.scenes)):
        for kind, image, mask in shown:
            for source, settings in sources.items():
                overlaps = best_overlaps(segment_proposals(image, settings), mask)
                found.setdefault((kind, source), []).append(overlaps)
    print(
        "| objects | proposals | number | best segment | best box | best segment above 0.7 |\n|---|---|---|---|---|---|"
    )
    for (kind, source), values in found.items():
        segment, box = np.mean(values, axis=0)
        exact = 100.0 * np.mean(np.array(values)[:, 0] > 0.7)
        print(f"| {kind} | {source} | {len(values)} | {segment:.2f} | {box:.2f} | {exact:.0f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

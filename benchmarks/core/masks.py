"""Milliseconds of decode and fusion of 20 objects at 375x1242, and of run lengths and tight boxes of the result.

Beside them what they replace: full-size masks painted one by one, and pycocotools mask by mask.
Run from the repository root: `python benchmarks/core/masks.py`
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from pycocotools import mask as coco
from scipy import ndimage

from wsperception.decode import RawOutputs, broken_rows, decode
from wsperception.fusion import FusionSettings, fuse
from wsperception.geometry import tight_boxes
from wsperception.preprocess import Letterbox, fit
from wsperception.rle import encode_label_map
from wsperception.types import Instances

SIZE, INPUT, ROWS, OBJECTS, SIDE = (375, 1242), (384, 1248), 100, 20, 28


def outputs(placing: Letterbox, heights: tuple[float, float], seed: int) -> RawOutputs:
    """A network's rows: OBJECTS ellipses with boxes of `heights` image pixels, wider grids, and padding."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(*heights, ROWS)
    width = height * rng.uniform(0.4, 1.8, ROWS)
    centre = rng.uniform(0, [SIZE[1], SIZE[0]], (ROWS, 2))
    half = np.stack([width, height], axis=1) / 2
    boxes = placing.to_input(np.concatenate([centre - half, centre + half], axis=1))
    grids = placing.to_input(np.concatenate([centre - 1.5 * half, centre + 1.5 * half], axis=1))
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 3 - 1.5
    masks = 1 / (1 + np.exp(8 * (x**2 + y**2 - 1) + rng.normal(0, 1, (ROWS, SIDE, SIDE))))
    scores = np.where(np.arange(ROWS) < OBJECTS, rng.uniform(0.9, 1.0, ROWS), 0.0)
    embeddings = rng.normal(size=(ROWS, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return RawOutputs(
        boxes,
        scores.astype(np.float32),
        rng.integers(0, 2, ROWS).astype(np.int32),
        masks.astype(np.float32),
        grids,
        embeddings.astype(np.float32),
    )


def paint_full_size(found: Instances) -> np.ndarray:
    """The usual way: a stack of full-size masks, then disjoint by score."""
    stack = np.zeros((len(found), *SIZE), bool)
    for row, (x0, y0, x1, y1) in enumerate(found.mask_boxes.round().astype(int)):
        resized = cv2.resize(found.masks[row], (max(x1 - x0, 1), max(y1 - y0, 1))) >= 0.5
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, SIZE[1]), min(y1, SIZE[0])
        stack[row, top:bottom, left:right] = resized[top - y0 : bottom - y0, left - x0 : right - x0]
    ids = np.zeros(SIZE, np.uint16)
    for place, row in enumerate(np.argsort(-found.scores)):
        ids[stack[row] & (ids == 0)] = place + 1
    return ids


def decode_as_pipeline(raw: RawOutputs, placing: Letterbox) -> Instances:
    """Both calls of the pipeline's stage."""
    broken_rows(raw, 0.9, 2)
    return decode(raw, placing, 0.9, 2)


def coco_one_by_one(ids: np.ndarray, rows: int) -> None:
    """Run lengths as pycocotools gives them."""
    for row in range(1, rows):
        coco.encode(np.asfortranarray(ids == row, np.uint8))


def medians_ms(calls: dict[str, Callable[[], object]], rounds: int = 200) -> dict[str, float]:
    """Median milliseconds of this thread's processor time per call, which is its wall time on an idle machine.

    The candidates take turns, so that what else runs slows them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.thread_time()
            call()
            times[name].append((time.thread_time() - start) * 1e3)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def main() -> None:
    cv2.setNumThreads(1)  # so that its time counts whole
    placing, settings = fit(SIZE, INPUT), FusionSettings()
    scenes = {"street, boxes 25 to 150 px high": (25.0, 150.0), "crowd, boxes 150 to 350 px high": (150.0, 350.0)}
    for name, heights in scenes.items():
        raw = outputs(placing, heights, seed=1)
        found = decode(raw, placing, 0.9)
        segments = fuse(found, settings).segments
        ids, rows = segments.ids, len(segments.class_ids)

        times = medians_ms(
            {
                "decode": partial(decode_as_pipeline, raw, placing),
                "fuse": partial(fuse, found, settings),
                "full-size masks instead of fuse": partial(paint_full_size, found),
                "run lengths of all rows": partial(encode_label_map, ids, rows),
                "pycocotools, row by row": partial(coco_one_by_one, ids, rows),
                "tight boxes": partial(tight_boxes, ids, rows),
                "scipy.ndimage.find_objects": partial(ndimage.find_objects, ids, rows - 1),
            }
        )
        print(f"{name}: {len(found)} objects, {np.count_nonzero(ids) / ids.size:.0%} of the image painted")
        print(f"  decode and fuse together: {times['decode'] + times['fuse']:.2f} ms (aim 4 ms)")
        for label, value in times.items():
            print(f"  {label}: {value:.2f} ms")


if __name__ == "__main__":
    main()

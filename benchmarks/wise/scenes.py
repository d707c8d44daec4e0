"""The small scenes of benchmarks/tags as a folder: what is learnt in minutes where drives take hours."""

import os
import shutil
from pathlib import Path

import numpy as np

from benchmarks.tags.scenes import THINGS, draw_scenes
from wsperception.data.drive.png import encode_png
from wsperception.rle import encode_label_map, mots_class_numbers
from wsperception.types import LabelSpace

LABELS = LabelSpace(THINGS, (True,) * len(THINGS))


def write_scenes(out: Path, seed: int, count: int) -> int:
    """Writes `count` scenes and the masks of their things, as one sequence in the layout of KITTI MOTS; `count`."""
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    folder = partial / "training/image_02/0000"
    folder.mkdir(parents=True)
    numbers, lines = mots_class_numbers(LABELS), []
    for index, scene in enumerate(draw_scenes(count, seed)):
        (folder / f"{index:06d}.png").write_bytes(encode_png(scene.image[..., ::-1]))
        ids = np.zeros(scene.image.shape[:2], np.uint16)
        for row, mask in enumerate(scene.masks, start=1):
            ids[mask] = row
        height, width = scene.image.shape[:2]
        for row, counts in enumerate(encode_label_map(ids, len(scene.masks) + 1)[1:], start=1):
            number = numbers[int(scene.class_ids[row - 1])]
            lines.append(f"{index} {1000 * number + row} {number} {height} {width} {counts.decode()}\n")
    (partial / "training/instances_txt").mkdir()
    (partial / "training/instances_txt/0000.txt").write_text("".join(lines))
    os.replace(partial, out)
    return count

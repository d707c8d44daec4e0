"""KITTI's object layout, which is also CVAT's export "KITTI 1.0": a text per image, boxes without ids.

ROOT/[SUBSET/]image_2/NAME.png   images
ROOT/[SUBSET/]label_2/NAME.txt   type, truncated, occluded, alpha, x0, y0, x1, y1, ...

An image without a text is annotated, and empty: CVAT writes none for it.
"""

from pathlib import Path

import numpy as np

from wsperception.data.box_labels import IGNORED_NAMES, BoxSequence, SequenceRows, class_of_name
from wsperception.data.cvat_mot import images_in_order
from wsperception.data.kitti import IGNORED_CLASSES
from wsperception.data.text_rows import finite_number, read_lines
from wsperception.errors import InputError
from wsperception.types import LabelSpace


def find_detection_folders(root: Path) -> list[Path]:
    """`root` itself or the folders below it that have a folder label_2; empty where none has."""
    return [folder for folder in (root, *sorted(root.glob("*"))) if (folder / "label_2").is_dir()]


def read_detections(folder: Path, labels: LabelSpace) -> BoxSequence:
    """Images and boxes of one subset, without ids.

    Raises InputError naming file and line for a malformed row, an unknown class or a negative size, and for a text
    without its image.
    """
    place = folder / "image_2"
    images = {path.relative_to(place).with_suffix("").as_posix(): path for path in images_in_order(place)}
    numbers = {name: number for number, name in enumerate(images)}
    rows = SequenceRows()
    for path in sorted((folder / "label_2").rglob("*.txt")):
        name = path.relative_to(folder / "label_2").with_suffix("").as_posix()
        if name not in images:
            raise InputError(f"{path}: expected an image {name} in {place}")
        for line, text in enumerate(read_lines(path), start=1):
            if text.strip():
                _add(rows, numbers[name], text.split(), labels, f"{path}:{line}")
    return BoxSequence(folder.name, dict(enumerate(images.values())), rows.labels(), has_ids=False)


def _add(rows: SequenceRows, frame: int, parts: list[str], labels: LabelSpace, where: str) -> None:
    if not 15 <= len(parts) <= 16:
        raise InputError(f"{where}: expected 15 or 16 columns of KITTI's object labels, got {len(parts)}")
    corners = [
        finite_number(part, what, where) for part, what in zip(parts[4:8], ("x0", "y0", "x1", "y1"), strict=True)
    ]
    box = np.array(corners, np.float32)
    if not rows.has_area(box, where):
        return
    of_frame = rows.frame(frame)
    class_id = class_of_name(parts[0], labels, (*IGNORED_NAMES[:2], *IGNORED_CLASSES), where)
    if class_id is None:
        of_frame.ignore(box)
    else:
        of_frame.add(class_id, len(of_frame.boxes), box, parts[0], where)

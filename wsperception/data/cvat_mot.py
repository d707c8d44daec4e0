"""CVAT's export "MOT 1.1": gt/gt.txt and gt/labels.txt, and the images in img1/ where they were saved with it.

It differs from MOTChallenge: pixels count from 0; class n is line n of labels.txt; the flag is 0 for what was marked
as ignored, in every class; the id is -1 for a box that is no track. The frame is the number in the image's name where
that is a number, and else the image's place in the task, from 1 (datumaro's `mot_seq_gt`, which CVAT uses).
"""

import re
from pathlib import Path

from wsperception.data.box_labels import (
    IGNORED_NAMES,
    BoxSequence,
    SequenceRows,
    add_tracked,
    class_of_name,
    settle_missing_ids,
)
from wsperception.data.kitti import IGNORED_CLASSES, IMAGE_ENDINGS
from wsperception.data.motchallenge import GROUND_TRUTH, read_mot_rows
from wsperception.data.text_rows import read_lines
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS_FILE = Path("gt") / "labels.txt"
"""Its presence tells CVAT's export from MOTChallenge."""


def read_cvat_mot(folder: Path, labels: LabelSpace) -> BoxSequence:
    """Images, boxes and ids of one task.

    Labels are compared without regard to case; those of KITTI that are no class, and `ignore`, become ignore boxes.
    Raises InputError naming file and line, as for MOTChallenge.
    """
    names = [name.strip() for name in read_lines(folder / LABELS_FILE)]
    images, first = _numbered(folder)
    rows = SequenceRows()
    for row in read_mot_rows(folder / GROUND_TRUTH):
        if row.frame < first:
            raise InputError(f"{row.where}: expected a frame >= {first}, got {row.frame}")
        if row.class_id is None or not 1 <= row.class_id <= len(names):
            got = "none" if row.class_id is None else row.class_id
            raise InputError(f"{row.where}: expected a class from 1 to {len(names)}, as in {LABELS_FILE}, got {got}")
        if not rows.has_area(row.box, row.where):
            continue
        name, frame = names[row.class_id - 1], row.frame - first
        class_id = class_of_name(name, labels, (*IGNORED_NAMES[:2], *IGNORED_CLASSES), row.where)
        if class_id is None or not row.considered:
            rows.frame(frame).ignore(row.box)
        else:
            track_id = row.track_id if row.track_id >= 0 else None
            add_tracked(rows, frame, class_id, track_id, row.box, name, row.where)
    has_ids = settle_missing_ids(rows)
    return BoxSequence(folder.name, images, rows.labels(), has_ids)


def images_in_order(folder: Path) -> list[Path]:
    """The images below a folder, as CVAT orders them: by name, in which 10 comes after 9."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected images: export from CVAT with 'Save images'")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS]
    return sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))


def _numbered(folder: Path) -> tuple[dict[int, Path], int]:
    """Frame number from 0 -> image, and the number that gt.txt gives to frame 0."""
    found = images_in_order(folder / "img1")
    if found and all(path.stem.isdecimal() for path in found):
        return {int(path.stem): path for path in sorted(found, key=lambda path: int(path.stem))}, 0
    return dict(enumerate(found)), 1


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]

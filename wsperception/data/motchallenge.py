"""MOTChallenge (MOT15, MOT16, MOT17, MOT20): boxes and ids as text, one sequence per folder.

ROOT/[train/]NAME/gt/gt.txt       frame, id, x, y, width, height, considered, class, visibility
ROOT/[train/]NAME/img1/000001.jpg images
ROOT/[train/]NAME/seqinfo.ini     number of frames, folder and ending of the images; may be missing

Frames and pixels count from 1 there, and from 0 here.
"""

import configparser
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsperception.data.box_labels import BoxSequence, SequenceRows
from wsperception.data.kitti import list_images
from wsperception.data.text_rows import finite_number, read_lines, whole_number
from wsperception.errors import InputError
from wsperception.types import LabelSpace

logger = logging.getLogger(__name__)

CLASSES = {
    1: "pedestrian",
    2: "person on vehicle",
    3: "car",
    4: "bicycle",
    5: "motorbike",
    6: "non motorized vehicle",
    7: "static person",
    8: "distractor",
    9: "occluder",
    10: "occluder on the ground",
    11: "occluder full",
    12: "reflection",
    13: "crowd",
}
"""Class numbers of MOT16, MOT17 and MOT20."""

OCCLUDERS = (9, 10, 11)
"""Poles and walls: they are no objects, and nothing is to be ignored behind them."""

GROUND_TRUTH = Path("gt") / "gt.txt"


@dataclass(frozen=True)
class MotRow:
    """One line of gt.txt, as it stands there but for the kind of box.

    box         (4,) float32   x0 y0 x1 y1, in the pixels of the file
    considered  False: the evaluation leaves it out
    class_id    None where the file does not say
    """

    where: str
    frame: int
    track_id: int
    box: np.ndarray
    considered: bool
    class_id: int | None


def find_mot_folders(root: Path) -> list[Path]:
    """The folders with gt/gt.txt: `root` itself, or those below `root` or below `root`/train; empty where none is.

    Of the copies that MOT17 has of each sequence, one per detector, the first is taken.
    """
    for place in ([root], sorted(root.glob("*")), sorted(root.glob("train/*"))):
        folders = [folder for folder in place if (folder / GROUND_TRUTH).is_file()]
        if folders:
            break
    else:
        return []
    first: dict[str, Path] = {}
    for folder in folders:
        stem, _, detector = folder.name.rpartition("-")
        first.setdefault(stem if detector in ("DPM", "FRCNN", "SDP") else folder.name, folder)
    if len(first) < len(folders):
        logger.info("%s: copies of a sequence left out: %d", root, len(folders) - len(first))
    return list(first.values())


def read_mot_sequence(folder: Path, labels: LabelSpace) -> BoxSequence:
    """Images, boxes and ids of one sequence, for the classes of `labels`.

    A pedestrian whose flag says that it is not considered, and every other class, becomes an ignore box; of other
    classes the flag is always 0 and says nothing. Occluders are dropped and counted. In MOT15 all are pedestrians.
    Raises InputError naming file and line for a malformed row, a negative size, an unknown class or an id twice.
    """
    path = folder / GROUND_TRUTH
    rows = SequenceRows()
    for row in read_mot_rows(path):
        if row.frame < 1 or row.track_id < 1:
            raise InputError(f"{row.where}: expected frame and id >= 1, got {row.frame} and {row.track_id}")
        if row.class_id is not None and row.class_id not in CLASSES:
            known = ", ".join(f"{number} ({name})" for number, name in CLASSES.items())
            raise InputError(f"{row.where}: class {row.class_id} is unknown; expected one of {known}")
        number = row.class_id or 1
        if number in OCCLUDERS:
            rows.dropped["occluder"] += 1
            continue
        if not rows.has_area(row.box, row.where):
            continue
        name, box = CLASSES[number], row.box - 1  # pixel 1 is the first
        if name in labels.names and (row.considered or number != 1):
            rows.frame(row.frame - 1).add(labels.id_of(name), row.track_id, box, name, row.where)
        else:
            rows.frame(row.frame - 1).ignore(box)
    return BoxSequence(folder.name, _images(folder), rows.labels())


def read_mot_rows(path: Path) -> list[MotRow]:
    """The lines of a gt.txt; InputError naming file and line for a malformed one.

    With ten columns the last three are world coordinates, as in MOT15, with nine the eighth is the class.
    """
    found = []
    for line, text in enumerate(read_lines(path), start=1):
        where = f"{path}:{line}"
        if not text.strip():
            continue
        parts = [part.strip() for part in text.split(",")]
        if len(parts) == 1 and len(text.split()) == 6:
            raise InputError(f"{where}: a mask of MOTS, where 'frame, id, x, y, width, height, ...' was expected")
        if len(parts) < 6:
            raise InputError(f"{where}: expected 'frame, id, x, y, width, height, ...', got '{text[:60]}'")
        x, y, width, height = (
            finite_number(part, what, where)
            for part, what in zip(parts[2:6], ("x", "y", "width", "height"), strict=True)
        )
        if width < 0 or height < 0:
            raise InputError(f"{where}: expected a width and height >= 0, got {width:g} and {height:g}")
        class_id = whole_number(parts[7], "class", where) if len(parts) in (8, 9) else -1
        found.append(
            MotRow(
                where,
                whole_number(parts[0], "frame", where),
                whole_number(parts[1], "id", where),
                np.array([x, y, x + width, y + height], np.float32),
                len(parts) < 7 or finite_number(parts[6], "flag", where) != 0,
                class_id if class_id != -1 else None,
            )
        )
    return found


def _images(folder: Path) -> dict[int, Path]:
    """Frame number from 0 -> image."""
    place, length = folder / "img1", None
    if (folder / "seqinfo.ini").is_file():
        info = configparser.ConfigParser()
        try:
            info.read(folder / "seqinfo.ini", encoding="utf-8")
            place = folder / info.get("Sequence", "imDir", fallback="img1")
            length = info.getint("Sequence", "seqLength", fallback=None)
        except (configparser.Error, ValueError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{folder / 'seqinfo.ini'}: expected a section [Sequence]: {reason}") from None
    if not place.is_dir():
        raise InputError(f"{place}: no such folder; expected the images of the sequence")
    images = {number - 1: path for number, path in list_images(place).items()}
    if -1 in images:
        raise InputError(f"{images[-1]}: expected images numbered from 1")
    if length is not None and len(images) != length:
        logger.warning("%s: seqinfo.ini says %d frames, found %d images", folder, length, len(images))
    return images

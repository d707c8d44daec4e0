"""The layouts of KITTI tracking and KITTI MOTS on disk: which sequences there are, and what was annotated in them.

ROOT/[training/]image_02/NAME/000000.png     images (png or jpg), numbered from 0, gaps allowed
ROOT/[training/]label_02/NAME.txt            KITTI tracking: boxes and ids
ROOT/[training/]instances_txt/NAME.txt       KITTI MOTS: masks and ids as run lengths
ROOT/[training/]instances/NAME/000000.png    the same as 16 bit pictures
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from wsperception.data.box_labels import BoxLabels, FrameRows, SequenceRows, TrackingLabels
from wsperception.data.text_rows import read_lines
from wsperception.errors import InputError
from wsperception.types import LabelSpace

MOTS_TRAIN = ("0000", "0001", "0003", "0004", "0005", "0009", "0011", "0012", "0015", "0017", "0019", "0020")
MOTS_VAL = ("0002", "0006", "0007", "0008", "0010", "0013", "0014", "0016", "0018")
"""The official split of the 21 KITTI MOTS sequences (train.seqmap, val.seqmap)."""

SPLITS = {"train": MOTS_TRAIN, "val": MOTS_VAL, "fulltrain": tuple(sorted(MOTS_TRAIN + MOTS_VAL))}

TRACKING_CLASSES = {"Car": "car", "Pedestrian": "pedestrian"}
IGNORED_CLASSES = ("Van", "Truck", "Person_sitting", "Person", "Cyclist", "Tram", "Misc", "DontCare")
"""Classes of label_02 that become ignore boxes. KITTI MOTS puts every one of them inside its ignore regions: over five
sequences, regions of class 10 cover 0.87-0.92 of the boxes of DontCare, Van, Cyclist, Truck and Misc, and 0.05 of those
of Car and Pedestrian. (Person is the older spelling of Person_sitting.)"""

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


class Named(Protocol):
    """What has the name of a sequence."""

    @property
    def name(self) -> str: ...


NamedSequence = TypeVar("NamedSequence", bound=Named)


@dataclass(frozen=True)
class KittiSequence:
    """One numbered sequence of a KITTI folder.

    name        folder name of its images
    images      frame number -> image file, in order of the numbers
    boxes_path  label_02 text, None where not annotated
    masks_path  MOTS text or folder of 16 bit PNG, None where not annotated
    """

    name: str
    images: dict[int, Path]
    boxes_path: Path | None
    masks_path: Path | None


def list_sequences(root: Path) -> list[KittiSequence]:
    """The sequences under `root` in order of their names; InputError where there is none."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected a KITTI tracking or KITTI MOTS folder")
    images_root = _find(root, "image_02")
    folders = sorted(path for path in images_root.iterdir() if path.is_dir()) if images_root else []
    if not folders:
        raise InputError(f"{root}: expected images in image_02/NAME/ or training/image_02/NAME/, found none")
    boxes_root = _find(root, "label_02")
    text_root, picture_root = _find(root, "instances_txt"), _find(root, "instances")
    sequences = []
    for folder in folders:
        candidates = [
            text_root / f"{folder.name}.txt" if text_root else None,
            picture_root / folder.name if picture_root else None,
        ]
        masks_path = next((path for path in candidates if path and path.exists()), None)
        boxes_path = boxes_root / f"{folder.name}.txt" if boxes_root else None
        sequences.append(
            KittiSequence(
                folder.name, list_images(folder), boxes_path if boxes_path and boxes_path.exists() else None, masks_path
            )
        )
    return sequences


def list_images(folder: Path) -> dict[int, Path]:
    """Frame number -> file, in order, for the images of a folder named by number; other files are passed over."""
    numbered: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_ENDINGS:
            continue
        if not path.stem.isdigit():
            raise InputError(f"{path}: expected an image named by its frame number, such as 000000.png")
        if int(path.stem) in numbered:
            raise InputError(f"{path}: frame {int(path.stem)} is there twice, also as {numbered[int(path.stem)].name}")
        numbered[int(path.stem)] = path
    return dict(sorted(numbered.items()))


def select(sequences: Sequence[NamedSequence], split: str) -> list[NamedSequence]:
    """The sequences of `split`: "all", "train", "val", "fulltrain", or names joined by commas.

    Raises InputError where a name is not there. Of an official split, sequences that are not there are left out, but
    for all of them.
    """
    if split == "all":
        return list(sequences)
    wanted = SPLITS.get(split, tuple(split.split(",")))
    known = {sequence.name: sequence for sequence in sequences}
    if split not in SPLITS:
        for name in wanted:
            if name not in known:
                raise InputError(f"sequence '{name}': not there; expected one of {', '.join(known)}")
    chosen = [known[name] for name in wanted if name in known]
    if not chosen:
        raise InputError(f"split '{split}': none of its sequences is there; found {', '.join(known)}")
    return chosen


def read_tracking_labels(path: Path, labels: LabelSpace) -> TrackingLabels:
    """Boxes and ids of a label_02 file, for the classes of `labels`; every other KITTI class becomes an ignore box.

    The file's coordinates are taken as continuous edges x0 y0 x1 y1: over 3,608 unoccluded objects the masks then lie
    0.8 px inside on the left and 0.9 px on the right, whereas x1 + 1 would leave 1.9 px.
    Raises InputError naming file and line for a malformed row, an unknown class, a negative size or an id twice in a
    frame. A box whose width or height is zero is dropped and counted.
    """
    rows = SequenceRows()
    for line, text in enumerate(read_lines(path), start=1):
        parts = text.split()
        if not parts:
            continue
        where = f"{path}:{line}"
        frame, track_id, box = _parse_row(parts, where)
        of_frame = rows.frame(frame)
        if rows.has_area(box, where):
            _add(of_frame, parts[2], track_id, box, labels, where)
    return rows.labels()


def write_tracking_labels(path: Path, frames: dict[int, BoxLabels], labels: LabelSpace) -> None:
    """Writes label_02 text that `read_tracking_labels` reads back; unknown 3-D fields get KITTI's placeholders."""
    names = {ours: theirs for theirs, ours in TRACKING_CLASSES.items()}
    unknown = "-1 -1 -10"
    tail = "-1000 -1000 -1000 -10 -1 -1 -1"
    lines = []
    for frame, annotated in sorted(frames.items()):
        lines += [f"{frame} -1 DontCare {unknown} {_coordinates(box)} {tail}" for box in annotated.ignore_boxes]
        for box, class_id, track_id in zip(annotated.boxes, annotated.class_ids, annotated.track_ids, strict=True):
            name = labels.names[class_id]
            lines.append(f"{frame} {track_id} {names.get(name, name)} {unknown} {_coordinates(box)} {tail}")
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text("".join(line + "\n" for line in lines))
    temporary.replace(path)


def _add(rows: FrameRows, name: str, track_id: int, box: np.ndarray, labels: LabelSpace, where: str) -> None:
    ours = TRACKING_CLASSES.get(name, name)
    if ours in labels.names:
        if track_id < 0:
            raise InputError(f"{where}: expected a track id >= 0, got {track_id}")
        rows.add(labels.id_of(ours), track_id, box, name, where)
        return
    if name not in IGNORED_CLASSES and name not in TRACKING_CLASSES:
        known = ", ".join([*TRACKING_CLASSES, *IGNORED_CLASSES])
        raise InputError(f"{where}: class '{name}' is unknown; expected one of {known}")
    rows.ignore(box)


def _parse_row(parts: list[str], where: str) -> tuple[int, int, np.ndarray]:
    if len(parts) == 6 and all(part.isdigit() for part in parts[:5]):
        raise InputError(f"{where}: a mask of KITTI MOTS, where a box of KITTI tracking was expected")
    if len(parts) < 10:
        raise InputError(f"{where}: expected at least 10 columns of KITTI tracking, got {len(parts)}")
    try:
        frame, track_id = int(parts[0]), int(parts[1])
        coordinates = [float(part) for part in parts[6:10]]
    except ValueError:
        raise InputError(f"{where}: expected numbers for frame, id and box, got '{' '.join(parts)[:60]}'") from None
    if frame < 0 or not all(math.isfinite(value) for value in coordinates):
        raise InputError(f"{where}: expected a frame >= 0 and a finite box, got '{' '.join(parts)[:60]}'")
    return frame, track_id, np.array(coordinates, np.float32)


def _coordinates(box: np.ndarray) -> str:
    return " ".join(f"{float(value):.3f}" for value in box)


def _find(root: Path, name: str) -> Path | None:
    return next((path for path in (root / "training" / name, root / name) if path.is_dir()), None)

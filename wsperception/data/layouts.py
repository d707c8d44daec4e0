"""Which of the known layouts of boxes and ids a folder has, told by what lies in it."""

from pathlib import Path

from wsperception.data.box_labels import BoxSequence
from wsperception.data.cvat import ANNOTATIONS, read_cvat_video
from wsperception.data.cvat_mot import LABELS_FILE, read_cvat_mot
from wsperception.data.kitti_detection import find_detection_folders, read_detections
from wsperception.data.label_file import FILE_NAME, read_label_file
from wsperception.data.label_frames import box_sequence
from wsperception.data.motchallenge import find_mot_folders, read_mot_sequence
from wsperception.errors import InputError
from wsperception.types import LabelSpace

KITTI = "KITTI tracking or KITTI MOTS"
MOT = "MOTChallenge, or CVAT's MOT 1.1"
CVAT_VIDEO = "CVAT for video 1.1"
DETECTION = "KITTI objects, as CVAT's KITTI 1.0"
LABELLED = "frames labelled with wsperception label"
"""Names of the layouts, for messages."""


def layout_of(root: Path) -> str:
    """KITTI, LABELLED, MOT, CVAT_VIDEO or DETECTION. InputError, saying what is known, for anything else."""
    if root.is_file() and root.suffix.lower() == ".zip":
        raise InputError(
            f"{root}: an archive; unpack it, or write a folder of it: training/prepare.py {root} --out NEW"
        )
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected labelled images of a known layout")
    if any((root / part / "image_02").is_dir() for part in ("", "training")):
        return KITTI
    if (root / FILE_NAME).is_file():
        return LABELLED
    if _video_folders(root):
        return CVAT_VIDEO
    if find_mot_folders(root):
        return MOT
    if find_detection_folders(root):
        return DETECTION
    there = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
    raise InputError(
        f"{root}: expected one of image_02/NAME/ (KITTI tracking, KITTI MOTS), NAME/gt/gt.txt (MOTChallenge, CVAT MOT "
        f"1.1), annotations.xml (CVAT for video 1.1), {FILE_NAME} (wsperception label), label_2/ "
        f"(KITTI objects); found {there}"
    )


def read_box_sequences(root: Path, labels: LabelSpace) -> list[BoxSequence]:
    """All sequences of a folder whose layout is not KITTI's, in order of their names.

    Raises InputError for faults of the label files.
    """
    layout = layout_of(root)
    assert layout != KITTI
    if layout == LABELLED:
        return [box_sequence(root, read_label_file(root), labels)]
    if layout == CVAT_VIDEO:
        return [read_cvat_video(folder, labels) for folder in _video_folders(root)]
    if layout == DETECTION:
        return [read_detections(folder, labels) for folder in find_detection_folders(root)]
    return [
        read_cvat_mot(folder, labels) if (folder / LABELS_FILE).is_file() else read_mot_sequence(folder, labels)
        for folder in find_mot_folders(root)
    ]


def _video_folders(root: Path) -> list[Path]:
    return [folder for folder in (root, *sorted(root.glob("*"))) if (folder / ANNOTATIONS).is_file()]

"""A folder of boxes and ids, and nothing else, from any layout: what a weakly supervised run may see."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wsperception.data import kitti
from wsperception.data.box_labels import BoxLabels, BoxSequence
from wsperception.data.labelled_frames import mask_boxes_of_sequence
from wsperception.errors import InputError
from wsperception.types import LabelSpace


def write_weak_folder(sequences: Sequence[kitti.KittiSequence | BoxSequence], folder: Path, labels: LabelSpace) -> None:
    """Writes images and boxes with ids in the layout of KITTI tracking, whole or not at all.

    Where a sequence has masks, the boxes are the tight ones around them, and its label_02 is not read. The images are
    linked, or copied where the file system cannot; no mask comes along.
    Raises InputError where `folder` exists, or a sequence has no labels, or boxes without ids.
    """
    if folder.exists():
        raise InputError(f"{folder}: exists; expected a new folder")
    boxes = {sequence.name: _boxes(sequence, labels) for sequence in sequences}
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
    partial.chmod(0o755)  # mkdtemp lets only its owner in
    try:
        for sequence in sequences:
            images, texts = partial / "training/image_02" / sequence.name, partial / "training/label_02"
            images.mkdir(parents=True)
            texts.mkdir(parents=True, exist_ok=True)
            for number, path in sequence.images.items():
                _link(path, images / f"{number:06d}{path.suffix.lower()}")
            kitti.write_tracking_labels(texts / f"{sequence.name}.txt", boxes[sequence.name], labels)
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _boxes(sequence: kitti.KittiSequence | BoxSequence, labels: LabelSpace) -> dict[int, BoxLabels]:
    if isinstance(sequence, BoxSequence):
        if not sequence.has_ids:
            raise InputError(
                f"sequence {sequence.name}: boxes without ids; label_02 has a place only for such with ids"
            )
        return sequence.labels.frames
    if sequence.masks_path is not None:
        return mask_boxes_of_sequence(sequence.masks_path, labels)
    if sequence.boxes_path is not None:
        return kitti.read_tracking_labels(sequence.boxes_path, labels).frames
    raise InputError(f"sequence {sequence.name}: expected label_02 or masks, found none")


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path.resolve(), target)
    except OSError:  # another file system, or one without links
        shutil.copy2(path, target)

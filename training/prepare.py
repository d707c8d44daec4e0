"""Checks labelled images before a long run, and writes folders of boxes and ids from masks or from other layouts.

    python training/prepare.py DATA
    python training/prepare.py KITTI_MOTS --out WEAK

DATA is a folder of KITTI tracking, KITTI MOTS, MOTChallenge, CVAT ("MOT 1.1", "CVAT for video 1.1", "KITTI 1.0"), or an
archive of one. The first command says what is there, what is dropped and why, and what is wrong. The second also writes
a new folder in the layout of KITTI tracking: images, boxes and ids, and no mask.
"""

import argparse
import struct
import sys
import tempfile
import zipfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
from tqdm import tqdm

from training.recipe import LABELS
from wsperception.data import kitti
from wsperception.data.box_labels import BoxLabels, BoxSequence
from wsperception.data.labelled_frames import mask_boxes_of_sequence
from wsperception.data.layouts import KITTI, layout_of, read_box_sequences
from wsperception.data.mots import read_mots
from wsperception.data.weak_folder import write_weak_folder
from wsperception.errors import InputError
from wsperception.types import LabelSpace


@dataclass
class SequenceReport:
    """What is there of one sequence.

    images    number of images
    size      (H, W) of the first image; (0, 0) without one
    objects   class name, or "ignore" -> number of boxes in all frames
    tracks    number of different objects; None where boxes have no ids
    notes     what is unusual but does no harm, or is dropped
    problems  what training would stop at, or would learn wrongly
    """

    name: str
    images: int
    size: tuple[int, int]
    objects: Counter[str] = field(default_factory=Counter)
    tracks: int | None = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 everything can be trained on, 2 something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="a folder, or a zip archive of one")
    parser.add_argument("--split", default="all", help="all, train, val, fulltrain, or names joined by commas")
    parser.add_argument("--decode", action="store_true", help="decode every image, not only its header (slow)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write images, boxes and ids to this new folder")
    options = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            root = _unpacked(options.data, stack)
            layout = layout_of(root)
            sequences = _sequences(root, layout, options.split)
            reports = [check_sequence(sequence, LABELS, options.decode) for sequence in tqdm(sequences, leave=False)]
            problems = [f"{report.name}: {problem}" for report in reports for problem in report.problems]
            if options.out and not problems:
                write_weak_folder(sequences, options.out, LABELS)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"layout: {layout}")
    print(table(reports, layout == KITTI))
    if options.out and not problems:
        print(f"boxes and ids: {options.out}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


def check_sequence(
    sequence: kitti.KittiSequence | BoxSequence, labels: LabelSpace, decode: bool = False
) -> SequenceReport:
    """Reads everything that belongs to a sequence and reports on it; faults of label files become problems."""
    report = SequenceReport(sequence.name, len(sequence.images), (0, 0))
    _check_images(report, sequence.images, decode)
    try:
        if isinstance(sequence, BoxSequence):
            boxes, masks = _read_boxes(sequence, report), {}
        else:
            boxes, masks = _read_kitti_boxes(sequence, labels, report), _read_masks(sequence, labels, report)
    except InputError as error:
        report.problems.append(str(error))
        return report
    _count(report, masks or boxes, labels)
    _check_places(report, boxes, sequence.images, "box")
    _check_places(report, masks, sequence.images, "mask")
    return report


def image_size(path: Path, decode: bool) -> tuple[int, int] | None:
    """(H, W) of an image; None where it cannot be read. Of a PNG only the header is read unless `decode`."""
    if not decode and path.suffix.lower() == ".png":
        with path.open("rb") as file:
            header = file.read(24)
        if len(header) < 24 or header[:8] != b"\x89PNG\r\n\x1a\n":
            return None
        width, height = struct.unpack(">II", header[16:24])
        return int(height), int(width)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if image is None else (image.shape[0], image.shape[1])


def spans(numbers: list[int]) -> str:
    """Sorted numbers as spans: 3-5, 9; the first five of them."""
    cuts = np.flatnonzero(np.diff(numbers) > 1) + 1
    parts = [f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in np.split(np.array(numbers), cuts)]
    return ", ".join(parts[:5]) + (", ..." if len(parts) > 5 else "")


def table(reports: list[SequenceReport], official: bool) -> str:
    """The reports as text, one line per sequence; if `official`, also how much of KITTI MOTS' split is there."""
    names = [*LABELS.names, "ignore"]
    width = max([10, *(len(report.name) + 2 for report in reports)])
    counts = "".join(f"{name:>12}" for name in names)
    lines = [f"{'sequence':{width}}{'images':>8}{'size':>12}{counts}{'ids':>8}  notes"]
    for report in reports:
        counts = "".join(f"{report.objects[name]:>12}" for name in names)
        size = f"{report.size[1]}x{report.size[0]}"
        tracks = "none" if report.tracks is None else report.tracks
        lines.append(
            f"{report.name:{width}}{report.images:>8}{size:>12}{counts}{tracks:>8}  {'; '.join(report.notes)}".rstrip()
        )
    images = {report.name: report.images for report in reports}
    for split in ("train", "val") if official else ():
        there = [name for name in kitti.SPLITS[split] if name in images]
        total = sum(images[name] for name in there)
        lines.append(f"official {split}: {len(there)} of {len(kitti.SPLITS[split])} sequences, {total} images")
    return "\n".join(lines)


def _unpacked(path: Path, stack: ExitStack) -> Path:
    """The folder itself, or that into which an archive was unpacked for as long as `stack` is open."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        return path
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unpacked-"))) / path.stem
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)  # names that lead out of the folder are bent back into it
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be unpacked: {error}") from None
    return folder


def _sequences(root: Path, layout: str, split: str) -> list[kitti.KittiSequence | BoxSequence]:
    if layout == KITTI:
        return [*kitti.select(kitti.list_sequences(root), split)]
    return [*kitti.select(read_box_sequences(root, LABELS), split)]


def _check_images(report: SequenceReport, images: dict[int, Path], decode: bool) -> None:
    sizes = {number: image_size(path, decode) for number, path in images.items()}
    known = {size for size in sizes.values() if size is not None}
    report.size = next((size for size in sizes.values() if size is not None), (0, 0))
    unreadable = [number for number, size in sizes.items() if size is None]
    if not images:
        report.problems.append("no images")
    if unreadable:
        report.problems.append(f"{len(unreadable)} unreadable images: {spans(unreadable)}")
    if len(known) > 1:
        report.problems.append(f"images of {len(known)} sizes: {', '.join(f'{w}x{h}' for h, w in sorted(known))}")
    missing = sorted(set(range(max(images, default=-1) + 1)) - set(images))
    if missing:
        report.notes.append(f"{len(missing)} frames without image: {spans(missing)}")


def _read_boxes(sequence: BoxSequence, report: SequenceReport) -> dict[int, BoxLabels]:
    report.notes += [f"{count} times dropped: {reason}" for reason, count in sequence.labels.dropped.items()]
    if not sequence.has_ids:
        report.tracks = None
        report.notes.append("boxes without ids: every image is a clip of its own")
    return sequence.labels.frames


def _read_kitti_boxes(
    sequence: kitti.KittiSequence, labels: LabelSpace, report: SequenceReport
) -> dict[int, BoxLabels]:
    if sequence.boxes_path is None:
        if sequence.masks_path is None:
            report.problems.append("neither label_02 nor masks")
        return {}
    found = kitti.read_tracking_labels(sequence.boxes_path, labels)
    report.notes += [f"{count} times dropped: {reason}" for reason, count in found.dropped.items()]
    return found.frames


def _read_masks(sequence: kitti.KittiSequence, labels: LabelSpace, report: SequenceReport) -> dict[int, BoxLabels]:
    if sequence.masks_path is None:
        return {}
    sizes = {entry.size for entry in read_mots(sequence.masks_path).objects}
    wrong = sorted(sizes - {report.size})
    if wrong and report.images:
        height, width = wrong[0]
        report.problems.append(f"masks of {width}x{height}, but images of {report.size[1]}x{report.size[0]}")
    return mask_boxes_of_sequence(sequence.masks_path, labels)


def _count(report: SequenceReport, frames: dict[int, BoxLabels], labels: LabelSpace) -> None:
    tracks = set()
    for found in frames.values():
        tracks |= set(zip(found.class_ids.tolist(), found.track_ids.tolist(), strict=True))
        for class_id in found.class_ids.tolist():
            report.objects[labels.names[class_id]] += 1
        report.objects["ignore"] += len(found.ignore_boxes)
    if report.tracks is not None:
        report.tracks = len(tracks)
    if not tracks and not report.problems:
        report.notes.append("no object in any frame")


def _check_places(report: SequenceReport, frames: dict[int, BoxLabels], images: dict[int, Path], kind: str) -> None:
    without = sorted(set(frames) - set(images))
    if without:
        report.notes.append(f"{len(without)} frames with a {kind} but no image: {spans(without)}")
    height, width = report.size
    outside = 0
    for found in frames.values():
        boxes = found.boxes
        outside += int(((boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2:] <= 0).any(axis=1)).sum())
    if outside and report.images:
        report.notes.append(f"{outside} boxes outside the image, dropped in training")


if __name__ == "__main__":
    sys.exit(main())

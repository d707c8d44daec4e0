"""Checks a KITTI tracking or KITTI MOTS download before a long run, and derives weak labels from masks.

    python training/prepare.py --data KITTI
    python training/prepare.py --data KITTI --weak-labels KITTI/training/label_02

The first says what is there and what is wrong. The second also writes boxes and ids, one text per sequence in the
format of KITTI tracking, from the masks of KITTI MOTS, so that `--supervision weak` opens no file of masks.
"""

import argparse
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
from tqdm import tqdm

from training.recipe import LABELS
from wsperception.data import kitti
from wsperception.data.labelled_frames import boxes_of_masks
from wsperception.data.mots import read_mots
from wsperception.errors import InputError
from wsperception.types import LabelSpace


@dataclass
class SequenceReport:
    """What is there of one sequence.

    images    number of images
    size      (H, W) of the first image; (0, 0) without one
    objects   class name, or "ignore" -> number of boxes in all frames
    notes     what is unusual but does no harm
    problems  what training would stop at, or would learn wrongly
    """

    name: str
    images: int
    size: tuple[int, int]
    objects: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 everything can be trained on, 2 something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with image_02, or with training/image_02")
    parser.add_argument("--split", default="all", help="all, train, val, fulltrain, or names joined by commas")
    parser.add_argument("--decode", action="store_true", help="decode every image, not only its header (slow)")
    parser.add_argument("--weak-labels", type=Path, metavar="FOLDER", help="write boxes and ids of the masks here")
    options = parser.parse_args(arguments)
    try:
        sequences = kitti.select(kitti.list_sequences(options.data), options.split)
        if options.weak_labels:
            write_weak_labels(sequences, options.weak_labels, LABELS)
            sequences = kitti.select(kitti.list_sequences(options.data), options.split)
        reports = [check_sequence(sequence, LABELS, options.decode) for sequence in tqdm(sequences, leave=False)]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(reports))
    problems = [f"{report.name}: {problem}" for report in reports for problem in report.problems]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


def check_sequence(sequence: kitti.KittiSequence, labels: LabelSpace, decode: bool = False) -> SequenceReport:
    """Reads everything that belongs to a sequence and reports on it; faults of label files become problems."""
    sizes = {number: image_size(path, decode) for number, path in sequence.images.items()}
    known = {size for size in sizes.values() if size is not None}
    first = next((size for size in sizes.values() if size is not None), (0, 0))
    report = SequenceReport(sequence.name, len(sequence.images), first)
    unreadable = [number for number, size in sizes.items() if size is None]
    if not sequence.images:
        report.problems.append("no images")
    if unreadable:
        report.problems.append(f"{len(unreadable)} unreadable images: {spans(unreadable)}")
    if len(known) > 1:
        report.problems.append(f"images of {len(known)} sizes: {', '.join(f'{w}x{h}' for h, w in sorted(known))}")
    missing = sorted(set(range(max(sequence.images, default=-1) + 1)) - set(sequence.images))
    if missing:
        report.notes.append(f"{len(missing)} frames without image: {spans(missing)}")
    if sequence.boxes_path is None and sequence.masks_path is None:
        report.problems.append("neither label_02 nor masks")
    try:
        boxes = _read_boxes(sequence, labels, report)
        masks = _read_masks(sequence, labels, report)
    except InputError as error:
        report.problems.append(str(error))
        return report
    _count(report, masks or boxes, labels)
    _check_places(report, boxes, sequence, "box")
    _check_places(report, masks, sequence, "mask")
    return report


def write_weak_labels(sequences: list[kitti.KittiSequence], folder: Path, labels: LabelSpace) -> None:
    """Writes boxes and ids of the masks of every sequence; InputError, before anything is written, where a file exists
    or a sequence has no masks."""
    for sequence in sequences:
        if sequence.masks_path is None:
            raise InputError(f"sequence {sequence.name}: expected masks to derive boxes from, found none")
        if (folder / f"{sequence.name}.txt").exists():
            raise InputError(f"{folder / sequence.name}.txt: exists; expected a new file")
    folder.mkdir(parents=True, exist_ok=True)
    for sequence in sequences:
        kitti.write_tracking_labels(folder / f"{sequence.name}.txt", _boxes_of_masks(sequence, labels), labels)


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


def table(reports: list[SequenceReport]) -> str:
    """The reports as text, one line per sequence, and how much of the official split is there."""
    names = [*LABELS.names, "ignore"]
    lines = [f"{'sequence':10}{'images':>8}{'size':>12}" + "".join(f"{name:>12}" for name in names) + "  notes"]
    for report in reports:
        counts = "".join(f"{report.objects[name]:>12}" for name in names)
        size = f"{report.size[1]}x{report.size[0]}"
        lines.append(f"{report.name:10}{report.images:>8}{size:>12}{counts}  {'; '.join(report.notes)}".rstrip())
    images = {report.name: report.images for report in reports}
    for split in ("train", "val"):
        there = [name for name in kitti.SPLITS[split] if name in images]
        total = sum(images[name] for name in there)
        lines.append(f"official {split}: {len(there)} of {len(kitti.SPLITS[split])} sequences, {total} images")
    return "\n".join(lines)


def _read_boxes(
    sequence: kitti.KittiSequence, labels: LabelSpace, report: SequenceReport
) -> dict[int, kitti.BoxLabels]:
    if sequence.boxes_path is None:
        return {}
    found = kitti.read_tracking_labels(sequence.boxes_path, labels)
    report.notes += [f"{count} times dropped: {reason}" for reason, count in found.dropped.items()]
    return found.frames


def _read_masks(
    sequence: kitti.KittiSequence, labels: LabelSpace, report: SequenceReport
) -> dict[int, kitti.BoxLabels]:
    if sequence.masks_path is None:
        return {}
    sizes = {entry.size for entry in read_mots(sequence.masks_path).objects}
    wrong = sorted(sizes - {report.size})
    if wrong and report.images:
        height, width = wrong[0]
        report.problems.append(f"masks of {width}x{height}, but images of {report.size[1]}x{report.size[0]}")
    return _boxes_of_masks(sequence, labels)


def _boxes_of_masks(sequence: kitti.KittiSequence, labels: LabelSpace) -> dict[int, kitti.BoxLabels]:
    assert sequence.masks_path is not None
    frames = read_mots(sequence.masks_path).by_frame()
    where = f"{sequence.masks_path}: frame"
    return {number: boxes_of_masks(entries, labels, f"{where} {number}") for number, entries in frames.items()}


def _count(report: SequenceReport, frames: dict[int, kitti.BoxLabels], labels: LabelSpace) -> None:
    for found in frames.values():
        for class_id in found.class_ids.tolist():
            report.objects[labels.names[class_id]] += 1
        report.objects["ignore"] += len(found.ignore_boxes)


def _check_places(
    report: SequenceReport, frames: dict[int, kitti.BoxLabels], sequence: kitti.KittiSequence, kind: str
) -> None:
    without = sorted(set(frames) - set(sequence.images))
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

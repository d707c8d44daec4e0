"""A drive as files: the layout of KITTI MOTS, and a rosbag2 per sequence.

OUT/training/image_02/0000/000000.png        frames
OUT/training/instances/0000/000000.png       16 bit, class * 1000 + instance; 10000 ignore region
OUT/training/instances_txt/0000.txt          the same as MOTS text
OUT/training/label_02/0000.txt               full boxes and ids; DontCare for the ignore region
OUT/training/calib/0000.txt                  projection matrices
OUT/training/panoptic/0000.json              where asked for: every pixel, in COCO's panoptic format,
OUT/training/panoptic/0000/000000.png        with the segment numbers that `panoptic` describes
OUT/drive.seqmap                             sequences and their lengths
OUT/bags/0000/                               rosbag2 (mcap) with images and camera_info
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from wsperception.data.drive.bag import BagWriter
from wsperception.data.drive.panoptic import PanopticWriter
from wsperception.data.drive.png import encode_png
from wsperception.data.drive.sequence import IGNORE, IGNORE_ID, Drive, DriveFrame
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.silhouettes import SilhouetteDrive
from wsperception.data.drive.world import Camera
from wsperception.data.mots import find_sequences
from wsperception.errors import InputError
from wsperception.rle import encode_label_map

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all."""

KITTI_NAMES = {1: "Car", 2: "Pedestrian"}
_UNKNOWN = "-1 -1 -1 -1000 -1000 -1000 -10"
"""KITTI's placeholders for size, place and rotation in 3-D."""


@dataclass(frozen=True)
class Extras:
    """What is written beside the KITTI MOTS layout: rosbag2 folders (which need `rosbags`), panoptic labels."""

    bag: bool = True
    panoptic: bool = False


class FrameStream(Protocol):
    """What can be written: a Drive or a SilhouetteDrive."""

    settings: DriveSettings
    camera: Camera

    def frames(self) -> Iterator[DriveFrame]: ...


def write_drive(
    out: Path,
    settings: DriveSettings,
    *,
    sequences: int = 1,
    jobs: int = 1,
    bag: bool = True,
    panoptic: bool = False,
    silhouettes: Path | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Writes sequences 0000, 0001, ... of a drive under `out`, which must not exist; returns their names.

    jobs         processes; a sequence is never divided
    bag          also write a rosbag2 folder per sequence (needs `rosbags`)
    panoptic     also write panoptic labels
    silhouettes  a MOTS text, or a folder of them: their masks and ids, synthetic textures. Length, image size and name
                 are then the text's; of one text, `sequences` variants that differ in texture only

    Raises InputError where `out` exists, cannot be made or the disk is full. Everything is written to a hidden folder
    beside `out` and renamed at the end, so `out` is whole or absent.
    """
    if out.exists():
        raise InputError(f"{out}: already there; expected a folder that does not exist yet")
    if sequences < 1 or jobs < 1:
        raise InputError(f"drive: expected at least 1 sequence and 1 job, got {sequences} and {jobs}")
    drives, extras = _streams(settings, sequences, silhouettes), Extras(bag, panoptic)
    with _finished_folder(out) as folder:
        total = sum(drive.settings.frames for drive in drives.values())
        if jobs == 1 or len(drives) == 1:
            _write_here(folder, drives, extras, progress, total)
        else:
            _write_in_processes(folder, drives, extras, progress, total, jobs)
        lines = [f"{name} empty {0:06d} {drive.settings.frames - 1:06d}\n" for name, drive in drives.items()]
        (folder / "drive.seqmap").write_text("".join(lines))
    return list(drives)


def _streams(settings: DriveSettings, sequences: int, silhouettes: Path | None) -> dict[str, FrameStream]:
    if silhouettes is None:
        return {f"{number:04d}": Drive(settings, number) for number in range(sequences)}
    texts = find_sequences(silhouettes)
    if sequences == 1:
        return {name: SilhouetteDrive(settings, path, i) for i, (name, path) in enumerate(texts.items())}
    return {
        f"{name}-{number}": SilhouetteDrive(settings, path, number)
        for name, path in texts.items()
        for number in range(sequences)
    }


def drive_command(
    out: Path,
    seed: int,
    *,
    sequences: int = 1,
    frames: int = 100,
    size: tuple[int, int] = (375, 1242),
    rate_hz: float = 10.0,
    scene: str = "any",
    bag: bool = True,
    panoptic: bool = False,
    silhouettes: Path | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[str]:
    """What `wsperception drive` does; arguments as its options, `size` (H, W). Returns the names of the sequences."""
    settings = DriveSettings(seed, frames, size[0], size[1], rate_hz, scene)
    return write_drive(
        out,
        settings,
        sequences=sequences,
        jobs=jobs,
        bag=bag,
        panoptic=panoptic,
        silhouettes=silhouettes,
        progress=progress,
    )


@contextmanager
def _finished_folder(out: Path) -> Iterator[Path]:
    """A hidden folder that becomes `out` when all went well and vanishes when not."""
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, out)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{out}: no space left on the disk; nothing was kept") from None
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_here(
    folder: Path, drives: dict[str, FrameStream], extras: Extras, progress: Progress | None, total: int
) -> None:
    done = 0
    for name, drive in drives.items():
        for _ in _write_sequence(folder, name, drive, extras):
            done += 1
            if progress is not None:
                progress(done, total)


def _write_in_processes(
    folder: Path, drives: dict[str, FrameStream], extras: Extras, progress: Progress | None, total: int, jobs: int
) -> None:
    done = 0
    # spawn: a fork would copy the threads' locks of whatever the caller has loaded.
    with ProcessPoolExecutor(min(jobs, len(drives)), mp_context=get_context("spawn")) as pool:
        tasks = {pool.submit(_write_whole, folder, name, drive, extras): name for name, drive in drives.items()}
        try:
            for task in as_completed(tasks):
                done += task.result()
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_whole(folder: Path, name: str, drive: FrameStream, extras: Extras) -> int:
    cv2.setNumThreads(1)
    return sum(1 for _ in _write_sequence(folder, name, drive, extras))


def _write_sequence(folder: Path, name: str, drive: FrameStream, extras: Extras) -> Iterator[int]:
    """Writes a sequence and yields each frame's number when it is on the disk."""
    training = folder / "training"
    images, instances = training / "image_02" / name, training / "instances" / name
    for place in (images, instances, training / "instances_txt", training / "label_02", training / "calib"):
        place.mkdir(parents=True, exist_ok=True)
    (training / "calib" / f"{name}.txt").write_text(_calibration(drive.camera))
    bag_folder = folder / "bags" / name
    bag_folder.parent.mkdir(exist_ok=True)
    with (
        open(training / "instances_txt" / f"{name}.txt", "w") as text,
        open(training / "label_02" / f"{name}.txt", "w") as labels,
        BagWriter(bag_folder, drive.camera) if extras.bag else nullcontext() as bag_writer,
        PanopticWriter(training / "panoptic", name) if extras.panoptic else nullcontext() as panoptic_writer,
    ):
        for frame in drive.frames():
            encoded = encode_png(frame.image[..., ::-1])
            (images / f"{frame.index:06d}.png").write_bytes(encoded)
            (instances / f"{frame.index:06d}.png").write_bytes(encode_png(frame.object_ids))
            text.writelines(mots_lines(frame))
            labels.writelines(label_lines(frame))
            if bag_writer is not None:
                bag_writer.add(frame.stamp_ns, encoded)
            if panoptic_writer is not None:
                panoptic_writer.add(frame)
            yield frame.index


def mots_lines(frame: DriveFrame) -> list[str]:
    """The frame's lines of MOTS text, by object id, the ignore region last."""
    present = np.unique(frame.object_ids)
    present = present[present > 0]
    table = np.zeros(65536, np.uint16)
    table[present] = np.arange(1, len(present) + 1)
    counts = encode_label_map(table[frame.object_ids], len(present) + 1)[1:]
    height, width = frame.object_ids.shape
    lines = []
    for number, run_lengths in zip(present.tolist(), counts, strict=True):
        class_number = IGNORE if number == IGNORE_ID else number // 1000
        lines.append(f"{frame.index} {number} {class_number} {height} {width} {run_lengths.decode()}\n")
    return lines


def label_lines(frame: DriveFrame) -> list[str]:
    """The frame's lines of KITTI tracking text: full boxes, truncation, occlusion; DontCare for the ignore region."""
    lines = []
    for row, number in enumerate(frame.ids.tolist()):
        visible = float(frame.visible[row])
        occlusion = 0 if visible > 0.85 else 1 if visible > 0.4 else 2
        truncation = int(frame.truncated[row] > 0.02) + int(frame.truncated[row] > 0.5)
        box = " ".join(f"{value:.2f}" for value in frame.boxes[row].tolist())
        name = KITTI_NAMES[int(frame.class_ids[row])]
        lines.append(f"{frame.index} {number % 1000} {name} {truncation} {occlusion} -10 {box} {_UNKNOWN}\n")
    for values in frame.ignore_boxes.tolist():
        box = " ".join(f"{value:.2f}" for value in values)
        lines.append(f"{frame.index} -1 DontCare -1 -1 -10 {box} {_UNKNOWN}\n")
    return lines


def _calibration(camera: Camera) -> str:
    matrix = np.concatenate([camera.matrix(), np.zeros((3, 1))], axis=1)
    row = " ".join(f"{value:.12e}" for value in matrix.ravel())
    rectify = " ".join(f"{value:.12e}" for value in np.eye(3).ravel())
    lines = [f"P{number}: {row}\n" for number in range(4)]
    return "".join(lines) + f"R_rect {rectify}\n"

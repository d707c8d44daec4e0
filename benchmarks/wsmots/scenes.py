"""The drives of the comparison: real silhouettes, ids and motion under synthetic textures, or wholly synthetic."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import write_drive
from wsperception.data.mots import MotsObject, read_mots
from wsperception.errors import InputError
from wsperception.rle import IGNORE_CLASS

TRAIN_SEQUENCES = ("0000", "0001", "0003", "0004", "0009", "0012", "0019", "0020")
VAL_SEQUENCES = ("0005", "0011", "0015", "0017")
"""Sequences of the KITTI MOTS training split, divided so that both classes are on both sides."""

SEED = 4100
"""Of the textures; training drives take it, validation drives the next."""


@dataclass(frozen=True)
class Scenes:
    """How much is drawn: clips per sequence, or per group of 8 and 4 synthetic drives, and frames per clip."""

    train_clips: int = 3
    train_frames: int = 10
    val_clips: int = 2
    val_frames: int = 15
    size: tuple[int, int] = (375, 1242)


def write_scenes(out: Path, scenes: Scenes, silhouettes: Path | None, jobs: int) -> tuple[Path, Path]:
    """The training and the validation drive below `out`, which are made where they are missing.

    silhouettes  folder of the MOTS texts of KITTI MOTS; None: synthetic drives
    """
    parts = (
        ("train", TRAIN_SEQUENCES, scenes.train_clips, scenes.train_frames),
        ("val", VAL_SEQUENCES, scenes.val_clips, scenes.val_frames),
    )
    folders = []
    for number, (name, sequences, clips, frames) in enumerate(parts):
        folder = out / name
        folders.append(folder)
        if folder.exists():
            continue
        settings = DriveSettings(seed=SEED + number, frames=frames, height=scenes.size[0], width=scenes.size[1])
        if silhouettes is None:
            write_drive(folder, settings, sequences=clips * len(sequences), jobs=jobs, bag=False)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            for sequence in sequences:
                _write_clips(silhouettes / f"{sequence}.txt", Path(scratch), clips, frames)
            write_drive(folder, settings, silhouettes=Path(scratch), jobs=jobs, bag=False)
    return folders[0], folders[1]


def _write_clips(text: Path, out: Path, clips: int, frames: int) -> None:
    """Texts of `clips` stretches of a sequence, spread over those in which there are objects all along."""
    by_frame = read_mots(text).by_frame()
    last = max(by_frame, default=-1)
    stretches = [range(first, first + frames) for first in range(0, last + 2 - frames, frames)]
    busy = [stretch for stretch in stretches if all(_objects(by_frame.get(number, [])) for number in stretch)]
    if not busy:
        raise InputError(f"{text}: expected {frames} frames in a row with objects, found none")
    for place in range(min(clips, len(busy))):
        stretch = busy[place * len(busy) // min(clips, len(busy))]
        lines = [
            f"{number - stretch.start} {entry.track_id} {entry.class_id} {entry.size[0]} {entry.size[1]} "
            f"{entry.counts.decode('ascii')}\n"
            for number in stretch
            for entry in by_frame.get(number, [])
        ]
        (out / f"{text.stem}-{stretch.start:04d}.txt").write_text("".join(lines))


def _objects(entries: list[MotsObject]) -> int:
    return sum(entry.class_id != IGNORE_CLASS for entry in entries)

"""KITTI sequences: tracking, MOTS (the same images) and raw, by their folder layout and file names.

    tracking, MOTS   ROOT/training/image_02/0000/000000.png
    raw              DRIVE/image_02/data/0000000000.png with DRIVE/image_02/timestamps.txt
    odometry         00/image_2/000000.png with 00/times.txt

The frame number is the file's number, because KITTI's ground truth counts so, also where frames are left out.
"""

import re
from datetime import datetime, timezone
from pathlib import Path

from wsperception.data.sources.folder import image_files, read_files
from wsperception.data.sources.frames import Source
from wsperception.errors import InputError

_FRAME_NAME = re.compile(r"\d{6}|\d{10}")
_CAMERA_NAME = re.compile(r"image_0?[0-3]")


def is_kitti_sequence(folder: Path) -> bool:
    """Whether the folder holds images and all are named like KITTI's: six digits (tracking) or ten (raw)."""
    files = image_files(folder)
    return bool(files) and all(_FRAME_NAME.fullmatch(file.stem) for file in files)


def find_sequence(path: Path, sequence: str | None) -> Path:
    """Folder of images that `path` means: itself, or a sequence below a KITTI root or a raw drive.

    `sequence` names one of several below a root. Raises InputError listing the sequences where the choice is open.
    """
    if sequence is None and image_files(path):
        return path
    found = _sequences_below(path)
    if sequence is not None:
        if sequence not in found:
            raise InputError(f"{path}: no sequence '{sequence}'; found {', '.join(found) or 'none'}")
        return found[sequence]
    if len(found) > 1:
        raise InputError(f"{path}: holds {len(found)} sequences ({', '.join(found)}); name one with --sequence")
    return next(iter(found.values()), path)


def open_kitti(folder: Path, rate_hz: float) -> Source:
    """Source over a KITTI sequence; stamps from timestamps.txt or times.txt where there is one, else number / rate.

    Raises InputError when the stamp file is malformed or too short, or two files carry the same number.
    """
    files = image_files(folder)
    numbers = [int(file.stem) for file in files]
    for number, next_number, file in zip(numbers, numbers[1:], files[1:], strict=False):
        if number == next_number:
            raise InputError(f"{file}: a second image of frame {number}; expected one file per frame")
    stamp_file = _stamp_file(folder)
    if stamp_file is None:
        stamps_ns = [round(number * 1e9 / rate_hz) for number in numbers]
    else:
        stamps_ns = _stamps_of(numbers, read_stamps(stamp_file), stamp_file)
    return Source(
        str(folder), sequence_name(folder), len(files), rate_hz, lambda: read_files(files, numbers, stamps_ns)
    )


def sequence_name(folder: Path) -> str:
    """Name of the sequence whose images lie in `folder`: the nearest folder that is not a camera or `data`."""
    for candidate in (folder.resolve(), *folder.resolve().parents):
        if candidate.name != "data" and not _CAMERA_NAME.fullmatch(candidate.name):
            return candidate.name or "sequence"
    return "sequence"


def read_stamps(path: Path) -> list[int]:
    """Nanoseconds of every line: a date and time as in KITTI raw (taken as UTC), or seconds as in KITTI odometry."""
    stamps = []
    for line_number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            stamps.append(_parse_stamp(line.strip()))
        except (ValueError, OverflowError):
            raise InputError(
                f"{path}:{line_number}: expected a date and time or seconds, got '{line.strip()[:40]}'"
            ) from None
    return stamps


def _parse_stamp(text: str) -> int:
    if ":" not in text:
        stamp_ns = round(float(text) * 1e9)
    else:
        # datetime holds microseconds only; KITTI writes nanoseconds.
        whole, _, fraction = text.partition(".")
        moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        stamp_ns = int(moment.timestamp()) * 10**9 + int(f"{fraction:0<9}"[:9])
    if stamp_ns < 0:
        raise ValueError("negative stamp")
    return stamp_ns


def _stamp_file(folder: Path) -> Path | None:
    places = (folder / "timestamps.txt", folder.parent / "timestamps.txt", folder.parent / "times.txt")
    return next((place for place in places if place.is_file()), None)


def _stamps_of(numbers: list[int], stamps_ns: list[int], path: Path) -> list[int]:
    if numbers[-1] >= len(stamps_ns):
        raise InputError(f"{path}: expected a line for each frame up to {numbers[-1]}, got {len(stamps_ns)} lines")
    return [stamps_ns[number] for number in numbers]


def _sequences_below(root: Path) -> dict[str, Path]:
    """Sequence name -> folder of images, for the first known layout that `root` shows."""
    for layout in ("training/image_02/*", "image_02/*", "image_02", "image_2", "*"):
        folders = sorted(place for place in root.glob(layout) if place.is_dir() and is_kitti_sequence(place))
        if folders:
            return {sequence_name(folder): folder for folder in folders}
    return {}

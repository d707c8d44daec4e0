"""Images of one folder, in natural order."""

import re
from collections.abc import Iterator
from pathlib import Path

from wsperception.data.sources.frames import Reading, Source
from wsperception.data.sources.image_file import IMAGE_SUFFIXES, read_image
from wsperception.errors import InputError


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder in natural order (2.png before 10.png); hidden files do not count. May be empty."""
    files = (entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file())
    return sorted((file for file in files if not file.name.startswith(".")), key=_natural_key)


def open_folder(folder: Path, rate_hz: float) -> Source:
    """Source over the images of a folder: frame number = position in natural order, stamp = position / `rate_hz`.

    Raises InputError when there is no image.
    """
    files = image_files(folder)
    if not files:
        raise InputError(f"{folder}: expected images ({', '.join(IMAGE_SUFFIXES)}), found {_contents(folder)}")
    stamps = [round(position * 1e9 / rate_hz) for position in range(len(files))]
    return Source(
        str(folder), folder.resolve().name, len(files), rate_hz, lambda: read_files(files, range(len(files)), stamps)
    )


def read_files(files: list[Path], numbers: range | list[int], stamps_ns: list[int]) -> Iterator[Reading]:
    """One reading per file, which becomes the frame of that number and stamp."""
    for file, number, stamp_ns in zip(files, numbers, stamps_ns, strict=True):
        try:
            yield Reading(number, stamp_ns, str(file), read_image(file))
        except InputError as error:
            yield Reading(number, stamp_ns, str(file), None, str(error))


def _natural_key(file: Path) -> tuple[list[tuple[int, int | str]], str]:
    # Numbers compare as numbers and sort before text; the name itself settles 01.png against 1.png.
    parts = re.findall(r"\d+|\D+", file.stem)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], file.name


def _contents(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "an empty folder"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""MOTS annotations and results: text lines or 16-bit PNG, one file or a folder, as run lengths in memory.

Text: one object per line, `frame track_id class_id height width rle`, COCO compressed run lengths, plain or gzip.
PNG: one folder per sequence, one 16-bit image per frame, pixel = class_id * 1000 + instance, 0 = nothing.
Both as defined by KITTI MOTS (Voigtlaender et al., CVPR 2019).
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wsperception import rle
from wsperception.data.mots_runs import broken_run_lengths
from wsperception.errors import InputError
from wsperception.types import LabelSpace, SegmentMap

CLASS_NUMBERS = {"car": 1, "pedestrian": 2}
"""Class numbers of KITTI MOTS."""
IGNORE_CLASS = rle.IGNORE_CLASS
"""Class number of a region in which predictions without a partner count neither for nor against."""
IGNORE_TRACK = 10000
"""Track id that KITTI MOTS gives to ignore regions."""

TEXT_ENDINGS = (".txt", ".txt.gz")
LAYOUTS = ("", "instances_txt", "training/instances_txt", "instances", "training/instances")


@dataclass(frozen=True)
class MotsObject:
    """One object in one frame.

    frame     >= 0
    track_id  >= 0, the same number over time for the same object
    class_id  >= 0, see CLASS_NUMBERS and IGNORE_CLASS
    size      (H, W) of the image
    counts    COCO compressed run lengths of the mask, column-major; known to cover H * W pixels
    """

    frame: int
    track_id: int
    class_id: int
    size: tuple[int, int]
    counts: bytes


@dataclass(frozen=True, eq=False)
class MotsSequence:
    """All objects of one sequence, in the order of the source.

    name     sequence name: file name without ending, or folder name
    source   what to name in messages: a path, or "memory"
    objects  of any frame, all of one image size; empty where nothing was found
    length   number of frames known from the source (PNG: one per frame), 0 where it does not say (text)
    """

    name: str
    source: str
    objects: tuple[MotsObject, ...]
    length: int = 0

    def by_frame(self) -> dict[int, list[MotsObject]]:
        """Objects of each frame that has any, in the order of the source."""
        frames: dict[int, list[MotsObject]] = {}
        for entry in self.objects:
            frames.setdefault(entry.frame, []).append(entry)
        return frames

    @property
    def last_frame(self) -> int:
        """Highest frame number that the source shows; -1 if it shows none."""
        return max(max((entry.frame for entry in self.objects), default=-1), self.length - 1)


def find_sequences(path: Path) -> dict[str, Path]:
    """Sequence name -> text file or PNG folder, sorted by name.

    path  a text file, a folder of text files, a folder of PNG frames, a folder of such folders, or a KITTI MOTS root
          (`instances_txt` or `instances`, directly or below `training`)

    Raises InputError where nothing of the kind is found, or where two files claim one name.
    """
    if path.is_file():
        return {_sequence_name(path): path}
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; expected MOTS text files or PNG folders")
    for layout in LAYOUTS:
        found = _sequences_in(path / layout)
        if found:
            return found
    raise InputError(f"{path}: expected MOTS text files (*.txt, *.txt.gz) or folders of PNG frames, found neither")


def read_mots(path: Path) -> MotsSequence:
    """One sequence: a text file (plain or gzip) or a folder of PNG frames. Raises InputError naming the file."""
    return read_mots_png(path) if path.is_dir() else read_mots_text(path)


def read_mots_text(path: Path) -> MotsSequence:
    """The objects of a MOTS text file; an empty file gives none.

    Raises InputError naming file and line for a malformed line, a broken or truncated mask, or a second image size.
    """
    objects: list[MotsObject] = []
    lines: list[int] = []
    for number, line in enumerate(_read_bytes(path).split(b"\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        objects.append(_parse_line(fields, f"{path}:{number}"))
        lines.append(number)
        if objects[-1].size != objects[0].size:
            raise InputError(
                f"{path}:{number}: expected image size {_shape(objects[0].size)} as on line {lines[0]}, "
                f"got {_shape(objects[-1].size)}"
            )
    sizes = np.array([entry.size for entry in objects], np.int64).reshape(-1, 2)
    for row, complaint in broken_run_lengths([entry.counts for entry in objects], sizes.prod(axis=1)):
        raise InputError(f"{path}:{lines[row]}: mask of track {objects[row].track_id}: {complaint}")
    return MotsSequence(_sequence_name(path), str(path), tuple(objects))


def read_mots_png(folder: Path) -> MotsSequence:
    """The objects of a folder of 16-bit PNG frames named by their number; pixel = class_id * 1000 + instance.

    The track id is the pixel value itself, as in KITTI MOTS' text files. Raises InputError naming the image.
    """
    objects: list[MotsObject] = []
    frames = sorted(_numbered_images(folder))
    if not frames:
        raise InputError(f"{folder}: expected PNG frames named by number, found none")
    first_size: tuple[int, int] | None = None
    for number, path in frames:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # (H, W) uint16
        if values is None:
            raise InputError(f"{path}: not a readable image; expected a 16-bit PNG of instance numbers")
        if values.ndim != 2 or values.dtype != np.uint16:
            raise InputError(f"{path}: expected one 16-bit channel, got {values.dtype} of shape {values.shape}")
        size = (int(values.shape[0]), int(values.shape[1]))
        first_size = first_size or size
        if size != first_size:
            raise InputError(
                f"{path}: expected image size {_shape(first_size)} as in {frames[0][1].name}, got {_shape(size)}"
            )
        present, rows = np.unique(values, return_inverse=True)
        encoded = rle.encode_label_map(rows.reshape(size).astype(np.uint16), len(present))
        for value, counts in zip(present.tolist(), encoded, strict=True):
            if value:
                objects.append(MotsObject(number, value, value // 1000, size, counts))
    return MotsSequence(folder.name, str(folder), tuple(objects), frames[-1][0] + 1)


def from_segment_maps(
    name: str, maps: Sequence[SegmentMap], labels: LabelSpace, ignore: Sequence[np.ndarray] = ()
) -> MotsSequence:
    """Tracked things of consecutive frames, without a file.

    maps    frame 0, 1, ...; rows with track id 0 and stuff are left out
    labels  its names give the class numbers: car 1, pedestrian 2, others from 3 on
    ignore  (H, W) bool per frame, True = ignore region; none by default

    Raises InputError for `ignore` of another length.
    """
    if len(ignore) not in (0, len(maps)):
        raise InputError(f"ignore: expected one region per frame ({len(maps)}), got {len(ignore)}")
    numbers = rle.mots_class_numbers(labels)
    objects: list[MotsObject] = []
    for frame, segments in enumerate(maps):
        size = (int(segments.ids.shape[0]), int(segments.ids.shape[1]))
        encoded = rle.encode_label_map(segments.ids, len(segments.class_ids))
        for row in np.flatnonzero(segments.track_ids).tolist():
            number = numbers[int(segments.class_ids[row])]
            objects.append(MotsObject(frame, int(segments.track_ids[row]), number, size, encoded[row]))
        if len(ignore) and ignore[frame].any():
            objects.append(MotsObject(frame, IGNORE_TRACK, IGNORE_CLASS, size, rle.encode(ignore[frame])))
    return MotsSequence(name, "memory", tuple(objects), len(maps))


def read_seqmap(path: Path) -> dict[str, range]:
    """Sequence name -> its frames, from lines `name empty first last` (the last frame counts too).

    Raises InputError naming file and line.
    """
    sequences: dict[str, range] = {}
    for number, line in enumerate(_read_bytes(path).decode("utf-8", "replace").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 4 or not (fields[2].isdecimal() and fields[3].isdecimal()):
            raise InputError(f"{path}:{number}: expected 'name empty first_frame last_frame', got '{line.strip()}'")
        sequences[fields[0]] = range(int(fields[2]), int(fields[3]) + 1)
    if not sequences:
        raise InputError(f"{path}: expected lines 'name empty first_frame last_frame', found none")
    return sequences


def _parse_line(fields: list[bytes], where: str) -> MotsObject:
    if len(fields) != 6:
        raise InputError(f"{where}: expected 6 fields 'frame track_id class_id height width rle', got {len(fields)}")
    if not b"".join(fields[:5]).isdigit():
        names = ("frame", "track_id", "class_id", "height", "width")
        name, field = next(pair for pair in zip(names, fields, strict=False) if not pair[1].isdigit())
        text = field[:20].decode("ascii", "replace")
        raise InputError(f"{where}: {name}: expected a whole number >= 0, got '{text}'")
    frame, track_id, class_id, height, width = map(int, fields[:5])
    if not (height and width):
        raise InputError(f"{where}: expected an image size above zero, got {height} x {width}")
    return MotsObject(frame, track_id, class_id, (height, width), fields[5])


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: broken or truncated gzip file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _sequences_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    entries = sorted(folder.iterdir())
    found: dict[str, Path] = {}
    for entry in entries:
        if entry.is_file() and entry.name.endswith(TEXT_ENDINGS):
            name = _sequence_name(entry)
            if name in found:
                raise InputError(
                    f"{folder}: expected one file for sequence {name}, got {found[name].name} and {entry.name}"
                )
            found[name] = entry
    if found:
        return found
    if _numbered_images(folder):
        return {folder.name: folder}
    return {entry.name: entry for entry in entries if entry.is_dir() and _numbered_images(entry)}


def _numbered_images(folder: Path) -> list[tuple[int, Path]]:
    return [(int(path.stem), path) for path in folder.glob("*.png") if path.stem.isdecimal()]


def _sequence_name(path: Path) -> str:
    for ending in sorted(TEXT_ENDINGS, key=len, reverse=True):
        if path.name.endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} (height x width)"

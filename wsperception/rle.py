"""Masks as COCO's compressed run lengths, and the text lines of KITTI MOTS that carry them.

The format: a mask is read column by column; the lengths of its runs alternate, background first (0 if the first pixel
is foreground); from the fourth on a length is replaced by its difference to the one two before; each number is
written in groups of five bits, lowest first, bit 5 of a character says that more follow, and 48 is added.
"""

import itertools

import numpy as np

from wsperception.errors import InputError
from wsperception.types import LabelSpace, SegmentMap

MAX_GROUPS = 7
"""Characters of the longest number: 35 bits hold the difference of two 32-bit lengths."""

IGNORE_CLASS = 10
"""MOTS class number of regions that count neither for nor against."""


def encode(mask: np.ndarray) -> bytes:
    """Compressed run lengths of `mask` (H, W) bool; the bytes that pycocotools gives."""
    return encode_label_map(mask.astype(bool).view(np.uint8), 2)[1]


def encode_label_map(ids: np.ndarray, rows: int) -> list[bytes]:
    """Compressed run lengths of every row of a label map.

    ids   (H, W) unsigned integer below `rows`: row of each pixel
    rows  R, number of rows

    Returns R strings; entry r is the mask `ids == r`, so entry 0 is the void. No full-size mask is built.
    """
    flat = ids.T.ravel()  # (W * H,) column by column
    if flat.size == 0:
        return [b""] * rows
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    ends = np.append(starts[1:], flat.size)
    labels = flat[starts]
    order = np.argsort(labels, kind="stable")
    starts, ends = starts[order], ends[order]
    bounds = np.searchsorted(labels[order], np.arange(rows + 1))
    counts = [_counts(starts[a:b], ends[a:b], flat.size) for a, b in itertools.pairwise(bounds)]
    return _compress(counts)


def decode(counts: bytes, size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of compressed run lengths; inverse of `encode`.

    Raises InputError where `counts` is broken or does not fill `size` (H, W).
    """
    runs = run_lengths(counts)
    height, width = size
    if runs.sum() != height * width:
        raise InputError(f"run lengths: expected {height}x{width} = {height * width} pixels, got {runs.sum()}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def area(counts: bytes) -> int:
    """Number of foreground pixels; InputError where `counts` is broken."""
    return int(run_lengths(counts)[1::2].sum())


def run_lengths(counts: bytes) -> np.ndarray:
    """The lengths (K,) int64 of the runs, background first. InputError where `counts` is broken."""
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return np.zeros(0, np.int64)
    if codes.min() < 0 or codes.max() > 63:
        raise InputError(f"run lengths: expected characters '0' to 'o', got {bytes(counts)[:20]!r}")
    last = np.flatnonzero(codes < 32)  # where a number ends
    if len(last) == 0 or last[-1] != len(codes) - 1:
        raise InputError(f"run lengths: expected a complete last number, got {bytes(counts)[-20:]!r}")
    first = np.append(0, last[:-1] + 1)
    groups = last - first + 1
    if groups.max() > MAX_GROUPS:
        raise InputError(f"run lengths: expected at most {MAX_GROUPS} characters per number, got {groups.max()}")
    place = np.arange(len(codes)) - np.repeat(first, groups)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * groups), 0)  # sign
    # Undo the differences: lengths 1, 3, 5, ... are one running sum, lengths 2, 4, 6, ... another; length 0 is itself.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0:
        raise InputError(f"run lengths: expected lengths >= 0, got {values.min()}")
    return values


def mots_class_numbers(labels: LabelSpace) -> tuple[int, ...]:
    """MOTS class number of each class of a label space.

    car is 1 and pedestrian 2, as in KITTI MOTS; other classes get the numbers from 3 in their order, without 10, which
    means "ignore".
    """
    fixed = {"car": 1, "pedestrian": 2}
    free = iter(number for number in range(3, 2 * len(labels) + IGNORE_CLASS) if number != IGNORE_CLASS)
    return tuple(fixed[name] if name in fixed else next(free) for name in labels.names)


def write_mots_lines(frame_index: int, segments: SegmentMap, labels: LabelSpace) -> list[str]:
    """Text lines `frame track_id class height width rle` for the tracked things of one frame.

    The track id is the tracker's own number, the one in the messages and in the overlay. KITTI's ground truth uses
    1000 * class + instance; TrackEval and mots_tools read any integer that is unique in the frame, and 1000 * class +
    id would make two tracks one above 999. Segments without a track id or without a pixel have no line.
    """
    height, width = segments.ids.shape
    numbers = mots_class_numbers(labels)
    lines = []
    for row, counts in enumerate(encode_label_map(segments.ids, len(segments.class_ids))):
        track_id = int(segments.track_ids[row])
        if track_id > 0 and area(counts) > 0:
            number = numbers[segments.class_ids[row]]
            lines.append(f"{frame_index} {track_id} {number} {height} {width} {counts.decode('ascii')}")
    return lines


def _counts(starts: np.ndarray, ends: np.ndarray, size: int) -> np.ndarray:
    """Run lengths, background first, of a mask whose foreground runs are [starts, ends), in order."""
    if len(starts) == 0:
        return np.array([size])
    edges = np.empty(2 * len(starts) + 1, np.int64)
    edges[0] = 0
    edges[1::2], edges[2::2] = starts, ends
    lengths = np.diff(edges)
    return lengths if ends[-1] == size else np.append(lengths, size - ends[-1])


def _compress(counts: list[np.ndarray]) -> list[bytes]:
    """The characters of several lists of run lengths; one pass over all of them, since each is short."""
    sizes = np.array([len(lengths) for lengths in counts])
    differences = [np.concatenate([lengths[:3], lengths[3:] - lengths[1:-2]]) for lengths in counts]
    values = np.concatenate(differences)  # (K,)
    # n groups hold a number in [-2^(5n-1), 2^(5n-1)).
    magnitude = np.where(values < 0, ~values, values)
    limits = np.int64(1) << (5 * np.arange(1, MAX_GROUPS) - 1)
    groups = np.searchsorted(limits, magnitude, side="right") + 1  # (K,)
    place = np.arange(MAX_GROUPS)
    codes = ((values[:, None] >> (5 * place)) & 31) + 32 * (place < groups[:, None] - 1) + 48  # (K, MAX_GROUPS)
    characters = codes[place < groups[:, None]].astype(np.uint8).tobytes()
    used = np.add.reduceat(groups, np.append(0, np.cumsum(sizes)[:-1]))
    stops = np.cumsum(used)
    return [characters[stop - length : stop] for stop, length in zip(stops, used, strict=True)]

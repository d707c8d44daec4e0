"""Frames from a KITTI sequence, a folder of images, a video or a rosbag2: one interface, read while iterated."""

from pathlib import Path

from wsperception.data.sources.bag import is_bag, open_bag
from wsperception.data.sources.folder import open_folder
from wsperception.data.sources.frames import DEFAULT_RATE_HZ, SkippedFrame, Source
from wsperception.data.sources.image_file import IMAGE_SUFFIXES, read_image
from wsperception.data.sources.kitti import find_sequence, is_kitti_sequence, open_kitti
from wsperception.data.sources.video import open_video
from wsperception.errors import InputError

__all__ = ["DEFAULT_RATE_HZ", "SkippedFrame", "Source", "open_source", "read_image"]


def open_source(
    path: Path, *, topic: str | None = None, sequence: str | None = None, rate_hz: float | None = None
) -> Source:
    """Source over what `path` holds, found out by looking at it.

    path      KITTI sequence, KITTI root or raw drive, folder of images, video file, rosbag2 folder or storage file
    topic     image topic of a bag; None where it has only one
    sequence  name of a sequence below a KITTI root; None where it has only one
    rate_hz   frames per second, > 0, of images without time stamps; None: KITTI's 10

    Raises InputError naming `path` and what was expected.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected images, a KITTI sequence, a video or a rosbag2")
    if rate_hz is not None and not rate_hz > 0:
        raise InputError(f"rate: expected more than 0 frames per second, got {rate_hz:g}")
    rate_hz = rate_hz or DEFAULT_RATE_HZ
    bag = is_bag(path)
    if topic is not None and not bag:
        raise InputError(f"{path}: a topic belongs to a rosbag2, which this is not; leave --topic out")
    if bag:
        return open_bag(path, topic, rate_hz)
    if path.is_dir():
        folder = find_sequence(path, sequence)
        return open_kitti(folder, rate_hz) if is_kitti_sequence(folder) else open_folder(folder, rate_hz)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path}: a single image; expected the folder that holds the sequence")
    return open_video(path, rate_hz)

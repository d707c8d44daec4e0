"""Images of a rosbag2 recording (mcap or sqlite3, raw or compressed), read without ROS."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wsperception.data.image_encodings import decode_compressed, decode_image
from wsperception.data.sources.frames import Reading, Source
from wsperception.data.sources.image_file import damage
from wsperception.errors import InputError

_RAW = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_STORAGE_SUFFIXES = (".mcap", ".db3")


def is_bag(path: Path) -> bool:
    """Whether `path` is a rosbag2 folder or one of its storage files."""
    if path.is_file():
        return path.suffix in _STORAGE_SUFFIXES
    return (path / "metadata.yaml").is_file() or bool(_storage_files(path))


def open_bag(path: Path, topic: str | None, default_rate_hz: float) -> Source:
    """Source over the image topic of a rosbag2; stamps from the message header, the recording time where it is zero.

    topic            the image topic; None where the bag has only one
    default_rate_hz  for a topic with fewer than two messages

    Frames keep the order of the recording; a message that cannot be decoded is skipped, and so are those behind a
    damaged place of the storage. Raises InputError when the bag cannot be opened, has no image topic, or has several
    and none was named: the text lists them.
    """
    with _Bag(path) as bag:
        chosen = _choose(bag.image_topics(), topic, path)
        length, seconds = bag.message_count(chosen), bag.seconds()
    rate_hz = round((length - 1) / seconds, 3) if length > 1 and seconds > 0 else default_rate_hz
    name = path.resolve().name if path.is_dir() else path.stem
    return Source(str(path), name, length, rate_hz, lambda: _readings(path, chosen, length))


def _readings(path: Path, topic: str, length: int) -> Iterator[Reading]:
    index, stamp_ns = 0, 0
    with _Bag(path) as bag:
        try:
            for recorded_ns, kind, data in bag.messages(topic):
                stamp_ns = max(0, recorded_ns)
                yield _reading(bag, index, f"{path}, message {index} of {topic}", stamp_ns, kind, data)
                index += 1
        except InputError as error:
            for lost in range(index, length):
                yield Reading(lost, stamp_ns, f"{path}, message {lost} of {topic}", None, str(error))


def _reading(bag: "_Bag", index: int, label: str, recorded_ns: int, kind: str, data: bytes) -> Reading:
    try:
        stamp_ns, image = bag.decode(kind, data)
    except InputError as error:
        return Reading(index, recorded_ns, label, None, f"{label}: {error}")
    return Reading(index, stamp_ns if stamp_ns > 0 else recorded_ns, label, image)


def _choose(image_topics: dict[str, str], topic: str | None, path: Path) -> str:
    listed = ", ".join(sorted(image_topics))
    if topic is not None and topic not in image_topics:
        raise InputError(f"{path}: no image topic '{topic}'; the bag has {listed or 'none'}")
    if topic is not None:
        return topic
    if len(image_topics) > 1:
        raise InputError(f"{path}: {len(image_topics)} image topics ({listed}); name one with --topic")
    assert image_topics
    return next(iter(image_topics))


def _storage_files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix in _STORAGE_SUFFIXES)


class _Bag:
    """An open rosbag2: rosbags' reader, with its many errors turned into one line that names the bag."""

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import Reader
            from rosbags.serde import SerdeError
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise InputError(f"{path}: reading a bag needs the package 'rosbags' (pip install rosbags)") from None
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            storage = _storage_files(path)[0]
            raise InputError(
                f"{path}: expected metadata.yaml beside {storage.name}; run 'ros2 bag reindex' or give {storage}"
            )
        self.path = path
        self._reader = Reader(path)
        self._serde_error = SerdeError
        # Both image messages are the same in every ROS 2 release, so the bag's own definitions are not needed, and
        # strange definitions of other topics cannot hinder.
        self._store = get_typestore(Stores.ROS2_HUMBLE)

    def __enter__(self) -> "_Bag":
        try:
            self._reader.open()
        except _damage_errors() as error:
            raise InputError(f"{self.path}: not a readable rosbag2: {_one_line(error)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def image_topics(self) -> dict[str, str]:
        """Topic -> message type of the image topics. InputError listing what the bag holds instead if there is none."""
        links = self._reader.connections
        images = {link.topic: link.msgtype for link in links if link.msgtype in (_RAW, _COMPRESSED)}
        if not images:
            others = sorted({f"{link.topic} ({link.msgtype})" for link in links})
            raise InputError(f"{self.path}: no image topic; the bag has {', '.join(others) or 'no topics'}")
        return images

    def message_count(self, topic: str) -> int:
        return sum(link.msgcount for link in self._reader.connections if link.topic == topic)

    def seconds(self) -> float:
        return float(self._reader.duration) * 1e-9

    def messages(self, topic: str) -> Iterator[tuple[int, str, bytes]]:
        """(recording time in nanoseconds, message type, serialised message) of one topic, one at a time.

        Raises InputError where the storage is damaged: the messages behind that place are lost.
        """
        links = [link for link in self._reader.connections if link.topic == topic]
        try:
            for link, stamp_ns, data in self._reader.messages(connections=links):
                yield stamp_ns, link.msgtype, data
        except _damage_errors() as error:
            raise InputError(f"{self.path}: damaged: {_one_line(error)}") from None

    def decode(self, kind: str, data: bytes) -> tuple[int, np.ndarray]:
        """Header stamp in nanoseconds and (H, W, 3) uint8 RGB of one message; InputError where it is damaged."""
        try:
            message: Any = self._store.deserialize_cdr(data, kind)
        except self._serde_error as error:
            raise InputError(f"not a {kind}: {_one_line(error)}") from None
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if kind == _COMPRESSED:
            problem = damage(message.data.tobytes())
            if problem:
                raise InputError(problem)
            return stamp_ns, decode_compressed(message.data, message.format)
        size = message.height, message.width, message.step
        return stamp_ns, decode_image(message.encoding, *size, message.data, bool(message.is_bigendian))


def _damage_errors() -> tuple[type[Exception], ...]:
    """What rosbags lets through, found by damaging bags of both storages at every place: its parts raise their own."""
    from rosbags.rosbag2 import ReaderError
    from rosbags.rosbag2.reader import zstd  # type: ignore[attr-defined]
    from rosbags.rosbag2.storage_sqlite3 import apsw  # type: ignore[attr-defined]

    return (
        ReaderError,
        apsw.Error,
        zstd.ZstdError,
        struct.error,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        RuntimeError,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

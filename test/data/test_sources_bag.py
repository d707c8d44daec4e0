"""rosbag2 recordings: both storages, every encoding, the choice of the topic, stamps, and damaged bags."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.image_encodings import ENCODINGS
from wsperception.data.sources import open_source
from wsperception.errors import InputError

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="the package 'rosbags' is not installed")
from rosbags.typesys import Stores, get_typestore  # noqa: E402

STORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE, COMPRESSED, TEXT = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
MCAP, SQLITE = rosbag2.StoragePlugin.MCAP, rosbag2.StoragePlugin.SQLITE3
SECOND = 10**9


def header(stamp_ns: int):
    time = STORE.types["builtin_interfaces/msg/Time"](stamp_ns // SECOND, stamp_ns % SECOND)
    return STORE.types["std_msgs/msg/Header"](time, "camera")


def raw(rgb: np.ndarray, stamp_ns: int, padding: int = 0):
    height, width = rgb.shape[:2]
    rows = np.pad(rgb.reshape(height, width * 3), ((0, 0), (0, padding)), constant_values=99)
    return STORE.types[IMAGE](header(stamp_ns), height, width, "rgb8", 0, width * 3 + padding, rows.ravel())


def compressed(rgb: np.ndarray, stamp_ns: int, suffix: str = "png"):
    data = cv2.imencode(f".{suffix}", rgb[:, :, ::-1])[1].ravel()
    return STORE.types[COMPRESSED](header(stamp_ns), suffix, data)


def write_bag(path: Path, messages: list, storage=MCAP, compression=None) -> Path:
    """messages: (topic, message, recording time in nanoseconds), or serialised bytes with their type as the message."""
    writer = rosbag2.Writer(path, version=9, storage_plugin=storage)
    if compression is not None:
        writer.set_compression(compression, rosbag2.CompressionFormat.ZSTD)
    links = {}
    with writer:
        for topic, message, recorded_ns in messages:
            kind, data = message if isinstance(message, tuple) else (message.__msgtype__, None)
            if topic not in links:
                links[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(links[topic], recorded_ns, STORE.serialize_cdr(message, kind) if data is None else data)
    return path


def pictures(count: int, height: int = 8, width: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def drive_bag(path: Path, make: Callable = raw, count: int = 5, **options) -> tuple[Path, list[np.ndarray]]:
    """Frames at 10 Hz from 7 s on, recorded 3 ms later, and a topic that is no image."""
    frames = pictures(count)
    messages: list = []
    for index, rgb in enumerate(frames):
        stamp_ns = 7 * SECOND + index * SECOND // 10
        messages.append(("/camera/image", make(rgb, stamp_ns), stamp_ns + 3_000_000))
        messages.append(("/chatter", STORE.types[TEXT]("hello"), stamp_ns + 4_000_000))
    return write_bag(path, messages, **options), frames


def check_drive(path: Path, frames: list[np.ndarray], name: str) -> None:
    source = open_source(path)
    read = list(source)
    assert (source.name, source.length, source.skipped) == (name, len(frames), [])
    assert [frame.index for frame in read] == list(range(len(frames)))
    assert [frame.stamp_ns for frame in read] == [7 * SECOND + index * SECOND // 10 for index in range(len(frames))]
    for frame, rgb in zip(read, frames, strict=True):
        np.testing.assert_array_equal(frame.image, rgb)


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("make", [raw, compressed])
def test_both_storages_raw_and_compressed_images(tmp_path, storage, make):
    path, frames = drive_bag(tmp_path / "drive", make, storage=storage)
    check_drive(path, frames, "drive")


@pytest.mark.parametrize(
    ("storage", "mode"),
    [(MCAP, "FILE"), (MCAP, "MESSAGE"), (MCAP, "STORAGE"), (SQLITE, "FILE"), (SQLITE, "MESSAGE")],
)
def test_compressed_storage(tmp_path, storage, mode):
    path, frames = drive_bag(tmp_path / "drive", storage=storage, compression=rosbag2.CompressionMode[mode])
    check_drive(path, frames, "drive")


def test_dots_in_the_folders_name_stay_and_a_storage_file_serves_alone(tmp_path):
    path, frames = drive_bag(tmp_path / "rosbag2_2026-11-21.08-15")
    check_drive(path, frames, "rosbag2_2026-11-21.08-15")
    (storage,) = path.glob("*.mcap")
    check_drive(storage, frames, storage.stem)


def test_row_step_is_honoured(tmp_path):
    path, frames = drive_bag(tmp_path / "drive", lambda rgb, stamp_ns: raw(rgb, stamp_ns, padding=7))
    check_drive(path, frames, "drive")


def test_jpeg_messages(tmp_path):
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    path = write_bag(tmp_path / "drive", [("/image", compressed(flat, SECOND, "jpg"), SECOND)])
    (frame,) = open_source(path)
    assert np.abs(frame.image.astype(int) - flat).max() <= 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_arrives(tmp_path, encoding):
    # Zero bytes are black or, in YUV, dark green; what matters here is that each encoding finds its decoder.
    samples = 3 / 2 if encoding in ("nv12", "nv21") else {"1": 1, "2": 2, "3": 3, "4": 4}.get(encoding[-1], 0)
    if encoding.startswith(("yuv", "uyvy", "yuyv")):
        samples = 2
    elif encoding[:3] in ("rgb", "bgr"):
        samples = (4 if "a" in encoding else 3) * (2 if encoding.endswith("16") else 1)
    elif encoding.startswith(("mono", "bayer")):
        samples = 2 if encoding.endswith("16") else 1
    elif encoding.startswith("16U"):
        samples *= 2
    row = int(4 * samples) if encoding not in ("nv12", "nv21") else 4
    size = row * 6 if encoding in ("nv12", "nv21") else row * 4
    message = STORE.types[IMAGE](header(SECOND), 4, 4, encoding, 0, row, np.zeros(size, np.uint8))
    (frame,) = open_source(write_bag(tmp_path / "drive", [("/image", message, SECOND)]))
    assert frame.image.shape == (4, 4, 3)


def test_the_recording_time_stands_in_for_a_header_without_time(tmp_path):
    (rgb,) = pictures(1)
    (frame,) = open_source(write_bag(tmp_path / "drive", [("/image", raw(rgb, 0), 5 * SECOND)]))
    assert frame.stamp_ns == 5 * SECOND


def test_rate_comes_from_the_recording(tmp_path):
    messages = [("/image", raw(rgb, SECOND), index * SECOND // 4) for index, rgb in enumerate(pictures(5))]
    assert open_source(write_bag(tmp_path / "drive", messages)).rate_hz == pytest.approx(4.0)  # 4 steps in 1 s


def test_several_image_topics_are_listed_and_one_can_be_named(tmp_path):
    left, right = pictures(2)
    messages = [("/right/image", raw(right, SECOND), SECOND), ("/left/image", compressed(left, SECOND), SECOND)]
    path = write_bag(tmp_path / "drive", messages)
    with pytest.raises(InputError, match=r"2 image topics \(/left/image, /right/image\); name one with --topic"):
        open_source(path)
    (frame,) = open_source(path, topic="/left/image")
    np.testing.assert_array_equal(frame.image, left)
    with pytest.raises(InputError, match=r"no image topic '/front'; the bag has /left/image, /right/image"):
        open_source(path, topic="/front")


def test_no_image_topic_lists_what_there_is(tmp_path):
    path = write_bag(tmp_path / "drive", [("/chatter", STORE.types[TEXT]("hello"), SECOND)])
    with pytest.raises(InputError, match=r"no image topic; the bag has /chatter \(std_msgs/msg/String\)"):
        open_source(path)


def with_one_bad_message(tmp_path: Path, bad) -> Path:
    a, b = pictures(2)
    messages = [("/image", raw(a, SECOND), 1), ("/image", bad, 2), ("/image", raw(b, 2 * SECOND), 3)]
    return write_bag(tmp_path / "drive", messages)


def test_a_message_that_cannot_be_decoded_is_skipped(tmp_path):
    strange = STORE.types[IMAGE](header(SECOND), 4, 4, "invented8", 0, 4, np.zeros(16, np.uint8))
    source = open_source(with_one_bad_message(tmp_path, strange))
    assert [frame.index for frame in source] == [0, 2]
    assert "message 1 of /image: image encoding 'invented8': unknown" in source.skipped[0].reason


def test_a_truncated_message_is_skipped(tmp_path):
    data = bytes(STORE.serialize_cdr(raw(pictures(1)[0], SECOND), IMAGE))[:100]
    source = open_source(with_one_bad_message(tmp_path, (IMAGE, data)))
    assert [frame.index for frame in source] == [0, 2]
    assert f"message 1 of /image: not a {IMAGE}" in source.skipped[0].reason


def test_a_truncated_picture_in_a_message_is_skipped_quietly(tmp_path, capfd):
    whole = compressed(pictures(1, 64, 64)[0], SECOND)
    cut = STORE.types[COMPRESSED](whole.header, "png", whole.data[:500])
    good = compressed(pictures(1, 64, 64)[0], SECOND)
    source = open_source(write_bag(tmp_path / "drive", [("/image", cut, 1), ("/image", good, 2)]))
    assert [frame.index for frame in source] == [1]
    assert "truncated PNG" in source.skipped[0].reason
    assert capfd.readouterr().err == ""


def test_size_that_changes_names_both_messages(tmp_path):
    messages = [("/image", raw(pictures(1)[0], 1), 1), ("/image", raw(pictures(1, 8, 16)[0], 2), 2)]
    with pytest.raises(InputError, match=r"message 1 of /image: expected 12 x 8 pixels as in .*message 0.*got 16 x 8"):
        list(open_source(write_bag(tmp_path / "drive", messages)))


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_truncated_storage_is_one_line(tmp_path, storage, part):
    path, _ = drive_bag(tmp_path / "drive", count=40, storage=storage)
    (file,) = [entry for entry in path.iterdir() if entry.name != "metadata.yaml"]
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    with pytest.raises(InputError) as caught:
        list(open_source(path))
    assert str(caught.value).startswith(f"{path}: not a readable rosbag2: ")
    assert "\n" not in str(caught.value)


def test_frames_before_a_damaged_place_are_used_and_the_rest_is_counted(tmp_path):
    messages = [("/image", raw(rgb, 1 + i), 1 + i) for i, rgb in enumerate(pictures(20, 60, 80))]
    path = write_bag(tmp_path / "drive", messages, SQLITE)
    (file,) = path.glob("*.db3")
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = np.random.default_rng(0).bytes(5000)
    file.write_bytes(data)
    source = open_source(path)
    frames = list(source)
    assert 5 < len(frames) < 15
    assert len(frames) + len(source.skipped) == 20
    assert "damaged" in source.skipped[-1].reason


@pytest.mark.parametrize(
    "text",
    ["", "a: [", "foo: 1", "rosbag2_bagfile_information: 3", "\x00\x01", "rosbag2_bagfile_information:\n  version: 99"],
)
def test_malformed_metadata_is_one_line(tmp_path, text):
    path, _ = drive_bag(tmp_path / "drive")
    (path / "metadata.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path}: not a readable rosbag2: ")
    assert "\n" not in str(caught.value)


def test_missing_metadata_says_what_to_do(tmp_path):
    path, _ = drive_bag(tmp_path / "drive")
    (path / "metadata.yaml").unlink()
    with pytest.raises(InputError, match=r"expected metadata\.yaml beside drive\.mcap; run 'ros2 bag reindex'"):
        open_source(path)


def test_an_image_topic_without_messages(tmp_path):
    writer = rosbag2.Writer(tmp_path / "drive", version=9, storage_plugin=MCAP)
    with writer:
        writer.add_connection("/image", IMAGE, typestore=STORE)
    with pytest.raises(InputError, match="drive: expected at least one frame, got none"):
        list(open_source(tmp_path / "drive"))


@pytest.mark.parametrize("storage", [MCAP, SQLITE])
def test_memory_does_not_grow_with_the_length(tmp_path, storage):
    frame_bytes = 120 * 160 * 3
    frames = pictures(2, 120, 160) * 100
    path = write_bag(tmp_path / "drive", [("/image", raw(rgb, 1 + i), i) for i, rgb in enumerate(frames)], storage)
    tracemalloc.start()
    for _ in open_source(path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * frame_bytes  # of 200; mcap reads a chunk of the recording at a time

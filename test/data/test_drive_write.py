import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.drive import write
from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.write import drive_command, label_lines, mots_lines, write_drive
from wsperception.errors import InputError
from wsperception.rle import decode

SMALL = DriveSettings(seed=3, frames=3, height=125, width=414, scene="crowd")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("drive") / "out"
    assert write_drive(out, SMALL, sequences=2, bag=False) == ["0000", "0001"]
    return out


def test_layout(written):
    files = sorted(str(path.relative_to(written)) for path in written.rglob("*") if path.is_file())
    expected = ["drive.seqmap"]
    for name in ("0000", "0001"):
        expected += [f"training/{part}/{name}.txt" for part in ("calib", "instances_txt", "label_02")]
        expected += [f"training/{part}/{name}/{i:06d}.png" for part in ("image_02", "instances") for i in range(3)]
    assert files == sorted(expected)
    assert (written / "drive.seqmap").read_text() == "0000 empty 000000 000002\n0001 empty 000000 000002\n"


def test_pictures_are_the_frames(written):
    for name, number in (("0000", 0), ("0001", 1)):
        for frame in Drive(SMALL, number).frames():
            image = cv2.imread(str(written / f"training/image_02/{name}/{frame.index:06d}.png"))
            assert (image[..., ::-1] == frame.image).all()
            path = written / f"training/instances/{name}/{frame.index:06d}.png"
            instances = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert instances.dtype == np.uint16
            assert (instances == frame.object_ids).all()


def test_text_and_pictures_say_the_same(written):
    rebuilt = np.zeros((3, 125, 414), np.uint16)
    for line in (written / "training/instances_txt/0000.txt").read_text().splitlines():
        frame, number, class_number, height, width, counts = line.split(" ")
        assert int(class_number) == (10 if number == "10000" else int(number) // 1000)
        mask = decode(counts.encode(), (int(height), int(width)))
        assert (rebuilt[int(frame)][mask] == 0).all(), "masks overlap"
        rebuilt[int(frame)][mask] = int(number)
    for index in range(3):
        path = written / f"training/instances/0000/{index:06d}.png"
        assert (rebuilt[index] == cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).all()


def test_label_lines_have_the_fields_of_kitti(written):
    for line in (written / "training/label_02/0000.txt").read_text().splitlines():
        fields = line.split(" ")
        assert len(fields) == 17
        assert fields[2] in ("Car", "Pedestrian", "DontCare")
        x0, y0, x1, y1 = (float(value) for value in fields[6:10])
        assert 0 <= x0 < x1 <= 414 and 0 <= y0 < y1 <= 125
        assert (int(fields[1]) == -1) == (fields[2] == "DontCare")


def test_label_line_by_hand():
    frame = next(iter(Drive(SMALL).frames()))
    row = 0
    x0, y0, x1, y1 = frame.boxes[row].tolist()
    line = label_lines(frame)[row].split()
    name = {1: "Car", 2: "Pedestrian"}[int(frame.class_ids[row])]
    assert line[:3] == ["0", str(int(frame.ids[row]) - 1000 * int(frame.class_ids[row])), name]
    assert line[5:10] == ["-10", f"{x0:.2f}", f"{y0:.2f}", f"{x1:.2f}", f"{y1:.2f}"]
    assert line[10:] == ["-1", "-1", "-1", "-1000", "-1000", "-1000", "-10"]


def test_lines_of_a_frame_are_ordered_by_id():
    frame = next(iter(Drive(SMALL).frames()))
    numbers = [int(line.split()[1]) for line in mots_lines(frame)]
    assert numbers == sorted(numbers)
    assert numbers[:-1] == frame.ids.tolist() and numbers[-1] == 10000


def test_several_processes_write_the_same_bytes(written, tmp_path):
    write_drive(tmp_path / "two", SMALL, sequences=2, jobs=2, bag=False)
    for path in written.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(written)).read_bytes()


def test_progress_counts_frames(tmp_path):
    calls: list[tuple[int, int]] = []
    settings = DriveSettings(seed=1, frames=3, height=60, width=200)
    write_drive(tmp_path / "out", settings, bag=False, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_bag_holds_the_frames_and_the_camera(tmp_path):
    rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="needs the package rosbags")
    from rosbags.typesys import Stores, get_typestore

    settings = DriveSettings(seed=1, frames=3, height=60, width=200, rate_hz=4.0)
    drive_command(tmp_path / "out", 1, frames=3, size=(60, 200), rate_hz=4.0)
    frames = list(Drive(settings).frames())
    store = get_typestore(Stores.ROS2_HUMBLE)
    images, infos = [], []
    with rosbag2.Reader(tmp_path / "out/bags/0000") as reader:
        assert {connection.topic for connection in reader.connections} == {
            "/camera/image_raw/compressed",
            "/camera/camera_info",
        }
        for connection, moment, raw in reader.messages():
            message = store.deserialize_cdr(raw, connection.msgtype)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            assert stamp == moment
            (images if connection.topic.endswith("compressed") else infos).append((stamp, message))
    # 4 Hz: 250 ms from frame to frame; an image and its camera_info carry the same stamp.
    assert np.diff([stamp for stamp, _ in images]).tolist() == [250_000_000, 250_000_000]
    assert [stamp for stamp, _ in images] == [stamp for stamp, _ in infos]
    for frame, (_, message) in zip(frames, images, strict=True):
        assert (cv2.imdecode(message.data, cv2.IMREAD_COLOR)[..., ::-1] == frame.image).all()
    info = infos[0][1]
    assert (info.height, info.width) == (60, 200)
    assert info.k.reshape(3, 3) == pytest.approx(Drive(settings).camera.matrix())


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="already there; expected a folder that does not exist yet"):
        write_drive(tmp_path / "out", SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "encode_png", full)
    with pytest.raises(InputError) as error:
        write_drive(tmp_path / "out", SMALL, bag=False)
    assert str(error.value) == f"{tmp_path}/out: no space left on the disk; nothing was kept"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out: cannot be written"):
        write_drive(tmp_path / "file" / "out", SMALL, bag=False)


def test_numbers_of_sequences_and_jobs_are_checked(tmp_path):
    with pytest.raises(InputError, match="at least 1 sequence and 1 job, got 0 and 1"):
        write_drive(tmp_path / "out", SMALL, sequences=0)

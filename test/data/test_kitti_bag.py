"""KITTI sequences as rosbag2: the same pixels, stamps and calibration come out."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.kitti_bag import CAMERA_INFO_TOPIC, START_NS, kitti_to_bag, read_projection
from wsperception.data.sources import open_source
from wsperception.errors import InputError

pytest.importorskip("rosbags", reason="bags need the package rosbags")

DATA = Path(__file__).parents[3] / "shared/data"
PROJECTION = " ".join(str(value) for value in (700.5, 0, 600.25, 45, 0, 701, 170, -0.3, 0, 0, 1, 0.005))


def sequence(folder: Path, numbers=range(3), suffix=".png") -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        image = np.random.default_rng(number).integers(0, 256, (12, 20, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number:06d}{suffix}"), image)
    return folder


def camera_infos(bag: Path) -> list:
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(bag) as reader:
        links = [link for link in reader.connections if link.topic == CAMERA_INFO_TOPIC]
        return [store.deserialize_cdr(data, link.msgtype) for link, _, data in reader.messages(links)]


def test_tracking_layout(tmp_path):
    images = sequence(tmp_path / "training/image_02/0007")
    (tmp_path / "training/calib").mkdir()
    (tmp_path / "training/calib/0007.txt").write_text(f"P1: 1 2 3\nP2: {PROJECTION}\nR_rect 1 0 0\n")
    steps = []
    name = kitti_to_bag(tmp_path, tmp_path / "bags/0007", progress=lambda done, length: steps.append((done, length)))
    assert name == "0007" and steps == [(1, 3), (2, 3), (3, 3)]
    for before, after in zip(open_source(images), open_source(tmp_path / "bags/0007"), strict=True):
        np.testing.assert_array_equal(after.image, before.image)
        assert (after.index, after.stamp_ns) == (before.index, before.stamp_ns + START_NS)
    infos = camera_infos(tmp_path / "bags/0007")
    assert [info.header.stamp.nanosec for info in infos] == [0, 100_000_000, 200_000_000]
    assert (infos[0].height, infos[0].width, infos[0].distortion_model) == (12, 20, "plumb_bob")
    assert infos[0].k.tolist() == [700.5, 0, 600.25, 0, 701, 170, 0, 0, 1]
    assert infos[0].p.tolist() == [700.5, 0, 600.25, 45, 0, 701, 170, -0.3, 0, 0, 1, 0.005]
    assert sorted(path.name for path in (tmp_path / "bags").iterdir()) == ["0007"]


def test_raw_layout_with_its_own_stamps(tmp_path):
    drive = tmp_path / "2011_09_26/drive_0001_sync"
    sequence(drive / "image_03/data")
    lines = [f"2011-09-26 13:02:25.{fraction:09d}" for fraction in (5, 100_000_007, 200_000_009)]
    (drive / "image_03/timestamps.txt").write_text("\n".join(lines))
    (tmp_path / "2011_09_26/calib_cam_to_cam.txt").write_text(f"P_rect_02: 0\nP_rect_03: {PROJECTION}\n")
    kitti_to_bag(drive / "image_03/data", tmp_path / "bag")
    frames = list(open_source(tmp_path / "bag"))
    assert [frame.stamp_ns % 10**9 for frame in frames] == [5, 100_000_007, 200_000_009]
    assert frames[0].stamp_ns // 10**9 == 1_317_042_145  # 2011-09-26 13:02:25 UTC
    assert camera_infos(tmp_path / "bag")[0].k[0] == 700.5


def test_without_calibration_the_camera_is_uncalibrated(tmp_path):
    kitti_to_bag(sequence(tmp_path / "0003", suffix=".jpg"), tmp_path / "bag")
    info = camera_infos(tmp_path / "bag")[0]
    assert info.k.tolist() == [0.0] * 9 and info.distortion_model == "" and len(info.d) == 0
    assert next(iter(open_source(tmp_path / "bag"))).image.shape == (12, 20, 3)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("P2: 1 2 3", ":1: expected 12 numbers after 'P2:'"),
        ("P2: a b", "expected 12 numbers"),
        ("P3: 1", "a line 'P2:"),
    ],
)
def test_a_broken_calibration_names_file_and_line(tmp_path, line, text):
    images = sequence(tmp_path / "image_02/0001")
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib/0001.txt").write_text(line)
    with pytest.raises(InputError) as caught:
        read_projection(images)
    assert text in str(caught.value) and "0001.txt" in str(caught.value)


def test_what_cannot_become_a_bag(tmp_path):
    images = sequence(tmp_path / "0001")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        kitti_to_bag(images, tmp_path / "there")
    with pytest.raises(InputError, match="frame 1 is missing"):
        kitti_to_bag(sequence(tmp_path / "0002", (0, 2, 3)), tmp_path / "bag")
    others = tmp_path / "holiday"
    others.mkdir()
    cv2.imwrite(str(others / "beach.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="expected KITTI images"):
        kitti_to_bag(others, tmp_path / "bag")
    (images / "000001.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"000001\.png"):
        kitti_to_bag(images, tmp_path / "bag")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "0002", "holiday", "there"]


@pytest.mark.skipif(not (DATA / "kitti_raw_sfnd").is_dir(), reason=f"real KITTI frames are not in {DATA}")
def test_real_frames(tmp_path):
    source = DATA / "kitti_raw_sfnd"
    kitti_to_bag(source, tmp_path / "bag")
    pairs = list(zip(open_source(source), open_source(tmp_path / "bag"), strict=True))
    assert len(pairs) == 54
    np.testing.assert_array_equal(pairs[53][0].image, pairs[53][1].image)

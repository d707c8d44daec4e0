"""The track command on real camera data: complete output, formats that read back, an overlay with every frame."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.cli import main
from wsperception.data.mots import read_mots
from wsperception.data.sources import open_source

pytest.importorskip("av", reason="the package 'av' is not installed")

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"


@pytest.fixture
def model(constant_bundle) -> str:
    """The shipped model, or where it is not there one that sees the same two objects everywhere."""
    return "tiny" if (TINY / "bundle.json").is_file() else str(constant_bundle.folder)


def check_result(out: Path, name: str, size: tuple[int, int], frames: int) -> None:
    """Three files, which read back and agree with each other."""
    assert sorted(file.name for file in out.iterdir()) == sorted([f"{name}.txt", "overlay.mp4", "timings.json"])

    report = json.loads((out / "timings.json").read_text())
    assert (report["frames"], report["skipped"], report["sequence"]) == (frames, 0, name)
    assert report["image_size"] == list(size)
    for times in report["stages_ms"].values():
        assert 0 < times["p50"] <= times["p95"] <= times["p99"]

    last_frame = 0
    for line in (out / f"{name}.txt").read_text().splitlines():
        frame, track_id, class_number, height, width, counts = line.split()
        assert last_frame <= int(frame) < frames
        last_frame = int(frame)
        assert int(track_id) >= 1
        assert class_number in ("1", "2")
        assert (int(height), int(width)) == size
        assert rle.decode(counts.encode(), size).any()
    read_mots(out / f"{name}.txt")  # and by the reader of `eval`, which refuses overlaps and repeated ids

    video = list(open_source(out / "overlay.mp4"))
    assert len(video) == frames
    assert video[0].image.shape == (size[0] // 2 * 2, size[1] // 2 * 2, 3)


def resembles(video: Path, frames: Path) -> float:
    """Median difference in grey levels between the overlay's and the source's picture, over all frames."""
    differences = [
        np.median(np.abs(shown.image.astype(int) - seen.image[: shown.image.shape[0], : shown.image.shape[1]]))
        for shown, seen in zip(open_source(video), open_source(frames), strict=True)
    ]
    return float(np.median(differences))


def test_kitti_raw(shared_data, model, tmp_path):
    images = shared_data("kitti_raw_sfnd/image_02")
    assert main(["track", str(images), "--model", model, "--out", str(tmp_path / "out")]) == 0
    check_result(tmp_path / "out", "kitti_raw_sfnd", (375, 1242), 54)
    assert resembles(tmp_path / "out" / "overlay.mp4", images) < 8


def test_davis(shared_data, model, tmp_path):
    images = shared_data("davis_car_shadow") / "JPEGImages" / "480p" / "car-shadow"
    assert main(["track", str(images), "--model", model, "--out", str(tmp_path / "out")]) == 0
    check_result(tmp_path / "out", "car-shadow", (480, 854), 40)
    assert resembles(tmp_path / "out" / "overlay.mp4", images) < 8


def write_bag(path: Path, images: list[Path]) -> None:
    """The images at 10 Hz as a camera driver records them: bgr8, with the camera's stamps."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="the package 'rosbags' is not installed")
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    image, header = store.types["sensor_msgs/msg/Image"], store.types["std_msgs/msg/Header"]
    time = store.types["builtin_interfaces/msg/Time"]
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as bag:
        link = bag.add_connection("/camera/image_raw", image.__msgtype__, typestore=store)
        for index, file in enumerate(images):
            bgr = cv2.imread(str(file))
            stamp = time(1_700_000_000 + index // 10, index % 10 * 100_000_000)
            message = image(header(stamp, "camera"), *bgr.shape[:2], "bgr8", 0, bgr.shape[1] * 3, bgr.ravel())
            recorded_ns = (1_700_000_000 * 10 + index) * 100_000_000 + 5_000_000
            bag.write(link, recorded_ns, store.serialize_cdr(message, image.__msgtype__))


def test_a_bag_gives_what_the_images_give(shared_data, model, tmp_path):
    images = shared_data("kitti_raw_sfnd/image_02")
    write_bag(tmp_path / "drive_bag", sorted(images.glob("*.png")))
    assert main(["track", str(tmp_path / "drive_bag"), "--model", model, "--out", str(tmp_path / "bag")]) == 0
    check_result(tmp_path / "bag", "drive_bag", (375, 1242), 54)
    assert main(["track", str(images), "--model", model, "--out", str(tmp_path / "images"), "--no-video"]) == 0
    from_images, from_bag = tmp_path / "images" / "kitti_raw_sfnd.txt", tmp_path / "bag" / "drive_bag.txt"
    assert from_bag.read_bytes() == from_images.read_bytes()


def test_kitti_tracking_layout_keeps_the_frame_numbers(shared_data, model, tmp_path):
    root = shared_data("kitti_mini")
    arguments = ["track", str(root), "--sequence", "0001", "--model", model, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--no-video"]) == 0
    report = json.loads((tmp_path / "out" / "timings.json").read_text())
    assert (report["frames"], report["sequence"]) == (3, "0001")
    numbers = {int(line.split()[0]) for line in (tmp_path / "out" / "0001.txt").read_text().splitlines()}
    assert numbers <= {10, 15, 20}

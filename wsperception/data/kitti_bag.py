"""A KITTI sequence as a rosbag2 folder (mcap): its image files as they are, camera_info and stamps.

wsperception drive --from-kitti training/image_02/0007 --out bags/0007
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsperception.data.sources.folder import image_files
from wsperception.data.sources.frames import DEFAULT_RATE_HZ
from wsperception.data.sources.kitti import find_sequence, is_kitti_sequence, open_kitti, sequence_name
from wsperception.errors import InputError
from wsperception.types import Frame

IMAGE_TOPIC = "/camera/image_raw/compressed"
CAMERA_INFO_TOPIC = "/camera/camera_info"
FRAME_ID = "camera"
START_NS = 1_000_000_000_000_000_000
"""Added to the stamps of a sequence that has none of its own: a stamp of 0 means a missing clock."""

Progress = Callable[[int, int | None], None]


def kitti_to_bag(
    source: Path,
    out: Path,
    *,
    sequence: str | None = None,
    rate_hz: float = DEFAULT_RATE_HZ,
    progress: Progress | None = None,
) -> str:
    """Writes the bag `out`, which must not exist yet, and returns the sequence's name.

    source    KITTI tracking, MOTS, raw or odometry, as for `wsperception track`
    sequence  name of one below a root with several
    rate_hz   frames per second where KITTI gives no stamps
    progress  called with the number of frames done, and of all

    PNG and JPEG files are copied byte by byte, so nothing is lost. camera_info comes from KITTI's calibration where it
    lies beside the images, and is all zeros (ROS's word for "not calibrated") where it does not. A bag knows no frame
    numbers, so a sequence with a gap in its numbers is refused: its ground truth would no longer fit. Raises
    InputError for that, for a source that is no KITTI sequence, an unreadable image, and an `out` that exists.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; expected a new folder for the bag")
    folder = find_sequence(source, sequence)
    if not is_kitti_sequence(folder):
        raise InputError(f"{folder}: expected KITTI images, named by six or ten digits")
    frames = open_kitti(folder, rate_hz)
    files = {int(file.stem): file for file in image_files(folder)}
    if list(files) != list(range(len(files))):
        first = next(number for number, have in enumerate(files) if number != have)
        raise InputError(f"{folder}: frame {first} is missing; a bag counts its frames without gaps")
    matrix = read_projection(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with _Bag(scratch / "bag") as bag:
            for done, frame in enumerate(frames, start=1):
                bag.add(frame, files[frame.index], matrix)
                if progress is not None:
                    progress(done, frames.length)
        if frames.skipped:
            raise InputError(frames.skipped[0].reason)
        os.replace(scratch / "bag", out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return sequence_name(folder)


def read_projection(folder: Path) -> np.ndarray:
    """(3, 4) float64 projection of the camera whose images lie in `folder`; zeros where KITTI's file is not there.

    tracking and MOTS  ROOT/calib/NAME.txt beside ROOT/image_02, line "P2:"
    raw                calib_cam_to_cam.txt above the drive, line "P_rect_02:"
    odometry           calib.txt beside image_2, line "P2:"

    Raises InputError, naming file and line, where the numbers are not twelve.
    """
    cameras = [part for part in folder.resolve().parts if part.startswith("image_")]
    number = int(cameras[-1].removeprefix("image_")) if cameras and cameras[-1][6:].isdecimal() else 2
    name = sequence_name(folder)
    above = folder.resolve().parents
    places = [(parent / "calib" / f"{name}.txt", f"P{number}") for parent in above[:3]]
    places += [(parent / "calib_cam_to_cam.txt", f"P_rect_{number:02d}") for parent in above[:4]]
    places += [(parent / "calib.txt", f"P{number}") for parent in above[:2]]
    for path, key in places:
        if path.is_file():
            return _parse_projection(path, key)
    return np.zeros((3, 4))


def _parse_projection(path: Path, key: str) -> np.ndarray:
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        name, _, values = line.partition(":")
        if name.strip() != key:
            continue
        try:
            matrix = np.array([float(value) for value in values.split()])
        except ValueError:
            matrix = np.zeros(0)
        if matrix.size != 12 or not np.isfinite(matrix).all():
            raise InputError(f"{path}:{number}: expected 12 numbers after '{key}:', got '{values.strip()[:40]}'")
        return matrix.reshape(3, 4)
    raise InputError(f"{path}: expected a line '{key}: ...', found none")


class _Bag:
    """Writes images and camera_info into one bag; a context manager."""

    def __init__(self, folder: Path) -> None:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise InputError(f"{folder}: writing a bag needs the package rosbags (pip install rosbags)") from None
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)

    def __enter__(self) -> "_Bag":
        self._writer.open()
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self._store)
            for topic, kind in (
                (IMAGE_TOPIC, "sensor_msgs/msg/CompressedImage"),
                (CAMERA_INFO_TOPIC, "sensor_msgs/msg/CameraInfo"),
            )
        }
        self._offset_ns: int | None = None
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, frame: Frame, file: Path, projection: np.ndarray) -> None:
        """One frame: the bytes of its file, and the camera's projection (3, 4)."""
        if self._offset_ns is None:
            self._offset_ns = START_NS if frame.stamp_ns == 0 else 0
        moment = frame.stamp_ns + self._offset_ns
        stamp = self._make("builtin_interfaces/msg/Time", sec=moment // 10**9, nanosec=moment % 10**9)
        header = self._make("std_msgs/msg/Header", stamp=stamp, frame_id=FRAME_ID)
        data, encoding = _encoded(frame, file)
        image = self._make("sensor_msgs/msg/CompressedImage", header=header, format=encoding, data=data)
        info = self._camera_info(header, frame.image.shape[:2], projection)
        for topic, message in ((IMAGE_TOPIC, image), (CAMERA_INFO_TOPIC, info)):
            content = self._store.serialize_cdr(message, message.__msgtype__)
            self._writer.write(self._connections[topic], moment, content)

    def _make(self, name: str, **fields: Any) -> Any:
        return self._store.types[name](**fields)

    def _camera_info(self, header: Any, size: tuple[int, ...], projection: np.ndarray) -> Any:
        height, width = size
        calibrated = bool(projection.any())
        region = self._make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=height,
            width=width,
            distortion_model="plumb_bob" if calibrated else "",
            d=np.zeros(5 if calibrated else 0),  # KITTI's images are rectified
            k=projection[:, :3].ravel(),
            r=(np.eye(3) if calibrated else np.zeros((3, 3))).ravel(),
            p=projection.ravel(),
            binning_x=0,
            binning_y=0,
            roi=region,
        )


def _encoded(frame: Frame, file: Path) -> tuple[np.ndarray, str]:
    """A file's own bytes where a CompressedImage may hold them; otherwise the frame as PNG."""
    suffix = file.suffix.lower()
    if suffix in (".png", ".jpg", ".jpeg"):
        return np.frombuffer(file.read_bytes(), np.uint8), "png" if suffix == ".png" else "jpeg"
    return cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].ravel(), "png"

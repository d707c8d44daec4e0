"""A sequence as a rosbag2 folder (mcap): compressed images and camera_info."""

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from wsperception.data.drive.world import Camera
from wsperception.errors import InputError

IMAGE_TOPIC = "/camera/image_raw/compressed"
CAMERA_INFO_TOPIC = "/camera/camera_info"
FRAME_ID = "camera"
START_NS = 1_000_000_000_000_000_000
"""Bag time of the first frame: recorders take a stamp of 0 for a missing clock."""


class BagWriter:
    """Writes one bag; a context manager.

    Raises InputError where the package `rosbags` is missing.
    """

    def __init__(self, folder: Path, camera: Camera) -> None:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise InputError(f"{folder}: needs the package rosbags; install it, or write no bag") from None
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        self._camera = camera
        self._images: Any = None
        self._infos: Any = None

    def __enter__(self) -> "BagWriter":
        self._writer.open()
        image, info = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
        self._images = self._writer.add_connection(IMAGE_TOPIC, image, typestore=self._store)
        self._infos = self._writer.add_connection(CAMERA_INFO_TOPIC, info, typestore=self._store)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, stamp_ns: int, png: bytes) -> None:
        """One frame, `stamp_ns` after the first, as encoded PNG, and its camera_info."""
        moment = START_NS + stamp_ns
        data = np.frombuffer(png, np.uint8)
        message = self._make("sensor_msgs/msg/CompressedImage", header=self._header(moment), format="png", data=data)
        self._write(self._images, moment, message)
        self._write(self._infos, moment, self._info(moment))

    def _make(self, name: str, **fields: Any) -> Any:
        return self._store.types[name](**fields)

    def _write(self, connection: Any, moment: int, message: Any) -> None:
        self._writer.write(connection, moment, self._store.serialize_cdr(message, message.__msgtype__))

    def _header(self, moment: int) -> Any:
        stamp = self._make("builtin_interfaces/msg/Time", sec=moment // 10**9, nanosec=moment % 10**9)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=FRAME_ID)

    def _info(self, moment: int) -> Any:
        matrix = self._camera.matrix()
        height, width = self._camera.size
        region = self._make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(moment),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.concatenate([matrix, np.zeros((3, 1))], axis=1).ravel(),
            binning_x=0,
            binning_y=0,
            roi=region,
        )

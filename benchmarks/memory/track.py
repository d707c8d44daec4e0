"""Resident memory of `wsperception track` over a long sequence.

    python benchmarks/memory/track.py --model tiny --kind video --frames 5000 --size 375x1242

Makes a synthetic drive of 40 frames, repeats it to and fro until the sequence is long enough, runs the command line on
it as a user would, and reads the resident memory of that process twice a second. Prints one line of the README's
table: the peak, and the growth between a fifth of the run and its end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.video import VideoWriter

_DRIVE_FRAMES = 40
_SECONDS_BETWEEN_READINGS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--kind", choices=("video", "folder", "bag"), default="video")
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--size", default="375x1242", help="height x width")
    parser.add_argument("--no-video", action="store_true", help="leave the overlay video out")
    parser.add_argument("--backend", default="auto", help="engine: auto, onnx, openvino, torch, tensorrt")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the engine; 0: its own choice")
    parser.add_argument("--readings", type=Path, help="text file for the readings: a line each, seconds and megabytes")
    arguments = parser.parse_args()
    height, width = (int(part) for part in arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = [
            frame.image for frame in Drive(DriveSettings(frames=_DRIVE_FRAMES, height=height, width=width)).frames()
        ]
        source = {"video": write_video, "folder": write_folder, "bag": write_bag}[arguments.kind](
            folder, images, arguments.frames
        )
        command = [sys.executable, "-m", "wsperception", "track", str(source), "--model", arguments.model]
        command += ["--out", str(folder / "out"), "--backend", arguments.backend]
        if arguments.no_video:
            command.append("--no-video")
        if arguments.threads:
            command += ["--threads", str(arguments.threads)]
        start = time.perf_counter()
        resident_mb = resident_while_running(command, arguments.readings)
        seconds = time.perf_counter() - start
        written_mb = sum(file.stat().st_size for file in (folder / "out").iterdir()) / 1e6
    settled = resident_mb[len(resident_mb) // 5]
    print(
        f"| {arguments.backend} | {arguments.kind} | {height} x {width} | {arguments.frames} "
        f"| {max(resident_mb):.0f} | {resident_mb[-1] - settled:+.0f} | {arguments.frames / seconds:.1f} "
        f"| {written_mb:.0f} |"
    )


def to_and_fro(frame: int) -> int:
    """Position in the drive of a frame of the long sequence: 0 1 ... 39 39 ... 1 0 0 1 ..."""
    place = frame % (2 * _DRIVE_FRAMES)
    return place if place < _DRIVE_FRAMES else 2 * _DRIVE_FRAMES - 1 - place


def write_video(folder: Path, images: list[np.ndarray], frames: int) -> Path:
    with VideoWriter(folder / "long.mp4", (images[0].shape[0], images[0].shape[1]), 10.0) as writer:
        for frame in range(frames):
            writer.write(images[to_and_fro(frame)])
    return folder / "long.mp4"


def write_folder(folder: Path, images: list[np.ndarray], frames: int) -> Path:
    target = folder / "long"
    target.mkdir()
    for frame in range(frames):
        file = target / f"{frame:06d}.png"
        if frame < _DRIVE_FRAMES:
            cv2.imwrite(str(file), images[frame][:, :, ::-1])
        else:
            os.link(target / f"{to_and_fro(frame):06d}.png", file)
    return target


def write_bag(folder: Path, images: list[np.ndarray], frames: int) -> Path:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    kind = "sensor_msgs/msg/CompressedImage"
    header, time_of = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
    encoded = [cv2.imencode(".jpg", image[:, :, ::-1])[1].ravel() for image in images]
    with Writer(folder / "long", version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        link = bag.add_connection("/camera/image_raw/compressed", kind, typestore=store)
        for frame in range(frames):
            stamp = time_of(1 + frame // 10, frame % 10 * 100_000_000)
            message = store.types[kind](header(stamp, "camera"), "jpeg", encoded[to_and_fro(frame)])
            bag.write(link, (10 + frame) * 100_000_000, store.serialize_cdr(message, kind))
    return folder / "long"


def resident_while_running(command: list[str], log: Path | None = None) -> list[float]:
    """Megabytes of the process, read at even steps of time, and written to `log` as they come."""
    readings: list[float] = []
    with (
        Path(log or os.devnull).open("w", buffering=1) as lines,
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
    ):
        start = time.perf_counter()
        pages = Path(f"/proc/{process.pid}/statm")
        while process.poll() is None:
            readings.append(int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
            lines.write(f"{time.perf_counter() - start:.1f} {readings[-1]:.1f}\n")
            time.sleep(_SECONDS_BETWEEN_READINGS)
    if process.returncode != 0:
        sys.exit(f"the command failed: {' '.join(command)}")
    # The last reading may see a process that has already given its memory back.
    return [reading for reading in readings if reading > 1.0]


if __name__ == "__main__":
    main()

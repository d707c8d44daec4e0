"""The overlay video: its format, its frames, and that nothing half-written is left."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wsperception.errors import InputError
from wsperception.overlay_video import overlay_video
from wsperception.pipeline import Result
from wsperception.types import Frame, Instances, LabelSpace, SegmentMap
from wsperception.video import VideoWriter, import_av

av = pytest.importorskip("av", reason="the package 'av' is not installed")


def write(path: Path, frames: int = 6, size: tuple[int, int] = (48, 64), rate_hz: float = 10.0) -> Path:
    with VideoWriter(path, size, rate_hz) as writer:
        for index in range(frames):
            writer.write(np.full((*size, 3), 30 * index, np.uint8))
    return path


def test_what_a_browser_needs(tmp_path):
    path = write(tmp_path / "overlay.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.name in ("vp9", "libvpx-vp9")
        assert context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_range) == (6, 1)  # BT.601, limited: as converted
        assert stream.average_rate == 10
        levels = [float(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]
    assert levels == pytest.approx([0, 30, 60, 90, 120, 150], abs=4)
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")  # it plays while it loads


@pytest.mark.parametrize(("size", "kept"), [((49, 65), (48, 64)), ((375, 1242), (374, 1242)), ((1, 5), (2, 4))])
def test_odd_sizes_lose_an_edge(tmp_path, size, kept):
    with av.open(str(write(tmp_path / "overlay.mp4", 2, size))) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == kept


@pytest.mark.parametrize("rate_hz", [9.97, 29.97, 0.5, 1e6])
def test_any_rate(tmp_path, rate_hz):
    with av.open(str(write(tmp_path / "overlay.mp4", 5, rate_hz=rate_hz))) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(min(rate_hz, 240.0), rel=1e-3)
        assert sum(1 for _ in container.decode(video=0)) == 5


def test_an_error_leaves_no_file(tmp_path):
    def stop_after_one_frame() -> None:
        with VideoWriter(tmp_path / "overlay.mp4", (48, 64), 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop_after_one_frame()
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    with VideoWriter(tmp_path / "overlay.mp4", (48, 64), 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        assert not (tmp_path / "overlay.mp4").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["overlay.mp4"]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from wsperception.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
random = np.random.default_rng(0)
try:
    with VideoWriter(Path(sys.argv[1]), (128, 128), 10) as writer:
        for _ in range(60):
            writer.write(random.integers(0, 256, (128, 128, 3), dtype=np.uint8))
except OSError as error:
    print("OSError", error.errno)
"""


def test_a_full_disk_is_an_os_error_and_leaves_no_file(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "overlay.mp4")], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("OSError")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"overlay\.mp4: needs the package 'av'"):
        import_av("overlay.mp4")


def result(index: int, size: tuple[int, int] = (48, 64)) -> Result:
    frame = Frame(np.full((*size, 3), 10 * index, np.uint8), index, "street", index)
    return Result(frame, SegmentMap.empty(size), Instances.empty(size, 7, 4), {}, 0)


def test_overlay_video_writes_every_result_in_order(tmp_path):
    labels = LabelSpace(("car",), (True,))
    with overlay_video(tmp_path / "overlay.mp4", (48, 64), 10, labels) as add:
        for index in range(20):  # more than may wait
            add(result(index))
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        levels = [frame.to_ndarray(format="rgb24")[:24].mean() for frame in container.decode(video=0)]
    assert levels == pytest.approx([10 * index for index in range(20)], abs=5)


def test_an_error_while_drawing_reaches_the_caller(tmp_path):
    labels = LabelSpace(("car",), (True,))

    def run() -> None:
        with overlay_video(tmp_path / "overlay.mp4", (48, 64), 10, labels) as add:
            add(result(0))
            add(result(1, size=(20, 20)))
            for index in range(2, 40):
                add(result(index))

    with pytest.raises(AssertionError):  # a caller's mistake: frames of one size were promised
        run()
    assert list(tmp_path.iterdir()) == []

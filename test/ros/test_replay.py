"""Player, node and recorder: what was recorded live is what the pipeline gives offline for the frames that arrived."""

import json

import cv2
import pytest
import rclpy
from toy_model import HEIGHT, WIDTH, picture

from wsperception.backends import open_backend
from wsperception.bundle import read_bundle
from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.pipeline import Pipeline
from wsperception.rle import write_mots_lines
from wsperception.ros.demo import live_demo, read_report
from wsperception.ros.player import Player


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """30 images: a car that drives to the right, a pedestrian that comes later, one frame without anything."""
    folder = tmp_path_factory.mktemp("sequences") / "0007"
    folder.mkdir()
    for number in range(30):
        red = None if number == 12 else (5 + number, 5, 25 + number, 20)
        green = (50, 22, 56, 44) if number > 10 else None
        image = picture(red, green, (HEIGHT, WIDTH))
        cv2.imwrite(str(folder / f"{number:06d}.png"), image[..., ::-1])
    return folder


def offline(sequence, bundle_folder, numbers):
    """MOTS lines of the frames in `numbers`, by the pipeline alone."""
    bundle = read_bundle(bundle_folder)
    pipeline = Pipeline(open_backend(bundle, threads=1), bundle)
    return [
        line
        for frame in open_source(sequence)
        if frame.index in numbers
        for line in write_mots_lines(frame.index, pipeline(frame).segments, bundle.label_space)
    ]


def test_live_equals_offline_on_the_frames_that_arrived(sequence, toy_bundle, tmp_path):
    report = live_demo(sequence, toy_bundle, tmp_path / "live", rate=2.0)
    assert report.published == 30 and report.sequence == "0007"
    assert report.received + len(report.missing) == 30
    assert report.received >= 2  # how many, says the machine's load
    arrived = set(range(30)) - set(report.missing)
    lines = (tmp_path / "live/0007.txt").read_text().splitlines()
    assert lines == offline(sequence, toy_bundle, arrived)
    assert set(report.latency_ms) == {"p50", "p95", "p99"} and report.latency_ms["p50"] > 0
    assert read_report(tmp_path / "live", "0007") == report
    node = json.loads((tmp_path / "live/0007.json").read_text())["node"]
    assert int(node["images received"]) >= report.received
    assert sorted(path.name for path in (tmp_path / "live").iterdir()) == [
        "0007.json",
        "0007.published.csv",
        "0007.txt",
        "perception_node.log",
        "player.log",
        "recorder.log",
    ]


def test_a_source_that_is_not_there(toy_bundle, sequence, tmp_path):
    with pytest.raises(InputError, match=r"nothing: no such file or folder"):
        live_demo(tmp_path / "nothing", toy_bundle, tmp_path / "live")
    with pytest.raises(InputError, match=r"no such model"):
        live_demo(sequence, tmp_path / "nothing", tmp_path / "live")
    assert not (tmp_path / "live").exists()


def test_a_player_nobody_listens_to_gives_up(start_node, sequence):
    player = start_node({"source": sequence, "wait_s": 0.5}, module="wsperception.ros.player")
    assert player.wait() == 1
    assert "waited 0.5 s for a subscriber of /image" in player.log


def test_a_recorder_that_hears_nothing_says_so(start_node, tmp_path):
    recorder = start_node({"out": tmp_path / "out", "first_s": 0.5}, module="wsperception.ros.recorder")
    assert recorder.wait() == 1
    assert "0 of 0 frames" in recorder.log
    assert (tmp_path / "out/recording.txt").read_text() == ""


def test_a_recorder_without_the_player_s_log_writes_nothing(start_node, tmp_path):
    """Without the log nobody knows which frame a result belongs to."""
    out, log = tmp_path / "out", tmp_path / "never.csv"
    parameters = {"out": out, "first_s": 0.5, "published": log}
    recorder = start_node(parameters, module="wsperception.ros.recorder")
    assert recorder.wait() == 1
    assert f"nothing written: the player left no {log}" in recorder.log and "Traceback" not in recorder.log
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "text"), [("player", "parameter source: expected"), ("recorder", "parameter out: expected")]
)
def test_a_missing_parameter_is_one_line_and_exit_2(start_node, module, text):
    process = start_node({}, module=f"wsperception.ros.{module}")
    assert process.wait() == 2
    assert text in process.log and "Traceback" not in process.log


@pytest.mark.parametrize(("module", "name", "below"), [("recorder", "out", "live"), ("player", "log", "live/sent.csv")])
def test_a_folder_that_cannot_be_made_is_one_line_and_exit_2(start_node, sequence, tmp_path, module, name, below):
    (tmp_path / "file").touch()
    source = {"source": sequence} if module == "player" else {}
    process = start_node({name: tmp_path / "file" / below, **source}, module=f"wsperception.ros.{module}")
    assert process.wait() == 2
    assert f"parameter {name}: expected a folder to write to, got {tmp_path / 'file/live'}: Not a" in process.log
    assert "Traceback" not in process.log


def test_the_player_s_log_appears_in_one_piece(sequence, tmp_path):
    """The recorder ends when the log is there, and reads it."""
    log = tmp_path / "sent.csv"
    rclpy.init(args=["--ros-args", "-p", f"source:={sequence}", "-p", f"log:={log}"])
    node = Player()
    try:
        with pytest.raises(ZeroDivisionError):
            node._write_log((number, number // (3 - number), 0) for number in range(5))
        assert not log.exists()
        node._write_log([(0, 5, 7)])
        assert log.read_text().splitlines() == ["index,stamp_ns,sent_monotonic_ns", "0,5,7"]
    finally:
        node.destroy_node()
        rclpy.shutdown()

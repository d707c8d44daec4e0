"""The command line as a user meets it: exit codes, one line per mistake, what is printed."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import wsperception.track
from wsperception import __version__
from wsperception.bundle import read_bundle
from wsperception.cli import demo, main
from wsperception.data.sources import open_source

pytest.importorskip("av", reason="the package 'av' is not installed")


@pytest.fixture
def street(tmp_path) -> Path:
    folder = tmp_path / "street"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number:06d}.png"), np.full((96, 320, 3), 40 * number, np.uint8))
    return folder


@pytest.fixture
def track(street, constant_bundle, tmp_path) -> list[str]:
    """The arguments of a good call."""
    return ["track", str(street), "--model", str(constant_bundle.folder), "--out", str(tmp_path / "out")]


def one_line(capsys) -> str:
    """The only line on stderr; nothing may be on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("wsperception: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_track_prints_its_files(track, tmp_path, capsys):
    assert main(track) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # no progress bar, as stderr is no terminal
    out = tmp_path / "out"
    first, *files = captured.out.splitlines()
    assert first.startswith("street: 4 frames, 0 skipped, ")
    assert [line.strip() for line in files] == [f"{out}/street.txt", f"{out}/overlay.mp4", f"{out}/timings.json"]


def test_skipped_frames_are_reported_and_the_run_succeeds(track, street, capsys):
    for number in range(4, 14):
        (street / f"{number:06d}.png").write_bytes(b"")
    assert main([*track, "--no-video"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("street: 4 frames, 10 skipped, ")
    lines = captured.err.splitlines()
    assert len(lines) == 6
    assert lines[0] == f"wsperception: skipped: {street}/000004.png: empty file; expected an image"
    assert lines[5] == "wsperception: skipped: 5 more"


def test_options_reach_the_run(track, tmp_path, capsys):
    settings = tmp_path / "settings.yaml"
    settings.write_text("tracker: {min_score: 0.97}\n")
    assert main([*track, "--no-video", "--settings", str(settings), "--rate", "20", "--threads", "1"]) == 0
    assert {line.split()[2] for line in (tmp_path / "out" / "street.txt").read_text().splitlines()} == {"1"}
    assert main([*track, "--no-video"]) == 2
    assert main([*track, "--no-video", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SOURCE": "{tmp}/nowhere"}, "nowhere: no such file or folder"),
        ({"SOURCE": "{tmp}/constant-model"}, "expected images"),
        ({"--model": "nothing-of-that-name"}, "nothing-of-that-name: no such model"),
        ({"--backend": "abacus"}, "backend 'abacus': unknown; expected auto, onnx"),
        ({"--topic": "/camera"}, "leave --topic out"),
        ({"--rate": "0"}, "rate: expected more than 0"),
        ({"--rate": "fast"}, "argument --rate: invalid float value: 'fast'; see wsperception track --help"),
        ({"--sequence": "0007"}, "no sequence '0007'"),
        ({"--settings": "{tmp}/none.yaml"}, "none.yaml: no such file"),
    ],
)
def test_one_line_and_exit_2(track, tmp_path, capsys, change, expected):
    for option, value in change.items():
        value = value.format(tmp=tmp_path)
        if option == "SOURCE":
            track[1] = value
        elif option in track:
            track[track.index(option) + 1] = value
        else:
            track += [option, value]
    assert main(track) == 2
    assert expected in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_bundle_with_a_wrong_hash(track, tmp_path, constant_bundle, capsys):
    with constant_bundle.onnx_path.open("ab") as file:
        file.write(b"x")
    assert main(track) == 2
    assert "model.onnx: expected SHA-256" in one_line(capsys)


def test_an_existing_folder(track, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    assert main(track) == 2
    assert "out: the folder exists and is not empty" in one_line(capsys)


def test_a_folder_that_may_not_be_written(track, tmp_path, capsys, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(tmp_path / "out"))

    monkeypatch.setattr("wsperception.track.tempfile.mkdtemp", refuse)
    assert main(track) == 2
    assert one_line(capsys) == f"wsperception: {tmp_path}/out: Permission denied\n"


FULL_DISK = """
import resource, signal, sys
from wsperception.cli import main
from wsperception.data.sources import open_source
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("video", [[], ["--no-video"]])
def test_a_full_disk_is_one_line_and_leaves_nothing(track, tmp_path, video):
    ran = subprocess.run([sys.executable, "-c", FULL_DISK, *track, *video], capture_output=True, text=True, check=False)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.startswith("wsperception: ")
    assert "File too large" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith("out")]


def test_ctrl_c(track, tmp_path, capsys, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(wsperception.track, "run_track", interrupt)
    assert main(track) == 130
    assert one_line(capsys) == "wsperception: interrupted\n"


def test_a_missing_package_is_named(track, capsys, monkeypatch):
    def fail(*arguments):
        raise ModuleNotFoundError("No module named 'trackeval'", name="trackeval")

    monkeypatch.setattr(wsperception.track, "run_track", fail)
    assert main(track) == 2
    assert "needs the Python package 'trackeval'" in one_line(capsys)


def test_a_mistake_of_ours_is_not_hidden(track, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(wsperception.track, "run_track", fail)
    with pytest.raises(ZeroDivisionError):
        main(track)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["track"], ["eval", "--gt", "x"], ["track", "x", "--fast"]])
def test_wrong_arguments_are_one_line(arguments, capsys):
    assert main(arguments) == 2
    assert "--help" in one_line(capsys)


@pytest.mark.parametrize("arguments", [["--help"], ["track", "--help"], ["eval", "--help"], ["drive", "--help"]])
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "usage: wsperception" in capsys.readouterr().out


def test_version_and_module_entry():
    ran = subprocess.run(
        [sys.executable, "-m", "wsperception", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"wsperception {__version__}\n"


def test_commands_start_without_the_engines():
    # A robot without torch and trackeval must be able to ask for help.
    code = "import sys, wsperception.cli; print(sorted({'torch', 'onnxruntime', 'trackeval', 'av'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_eval_scores_a_result_against_itself(track, tmp_path, capsys):
    pytest.importorskip("trackeval", reason="the package 'trackeval' is not installed")
    assert main(track) == 0
    capsys.readouterr()
    text = str(tmp_path / "out" / "street.txt")
    assert main(["eval", "--gt", text, "--pred", text, "--out", str(tmp_path / "scores")]) == 0
    table = capsys.readouterr().out
    assert "sMOTSA" in table
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["combined"]["car"]["sMOTSA"] == 100.0
    assert main(["eval", "--gt", text, "--pred", text, "--out", str(tmp_path / "scores")]) == 2


def test_a_drive_with_panoptic_labels_scores_full_against_itself(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the report needs matplotlib")
    out = tmp_path / "drive"
    size = ["--frames", "2", "--size", "96x320"]
    assert main(["drive", "--out", str(out), "--seed", "5", "--scene", "crowd", "--panoptic", "--no-bag", *size]) == 0
    labels, images = out / "training" / "panoptic", out / "training" / "image_02"
    both = ["--gt", str(labels / "0000.json"), "--pred", str(labels)]
    options = ["--format", "coco-panoptic", "--images", str(images), "--out", str(tmp_path / "scores")]
    assert main(["eval", *both, *options]) == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert [scores["combined"][group]["PQ"] for group in ("all", "things", "stuff")] == [100, 100, 100]
    assert scores["images"] == 2
    assert "pedestrian" in scores["classes"]
    capsys.readouterr()
    assert main(["eval", *both, *options]) == 2
    assert "scores.json: exists already" in one_line(capsys)


def test_drive_writes_a_drive(tmp_path, capsys):
    out = tmp_path / "drive"
    arguments = ["drive", "--out", str(out), "--seed", "3", "--frames", "2", "--size", "64x96", "--no-bag"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{out}: sequences 0000\n"
    assert len(list((out / "training" / "image_02" / "0000").iterdir())) == 2
    assert main(arguments) == 2
    assert "drive" in one_line(capsys)
    assert main(["drive", "--out", str(out), "--size", "wide"]) == 2
    assert "expected HEIGHTxWIDTH" in one_line(capsys)


def test_demo_runs_the_whole_path_and_may_run_again(tmp_path, constant_bundle, capsys):
    pytest.importorskip("trackeval", reason="the package 'trackeval' is not installed")
    arguments = [
        "demo",
        "--out",
        str(tmp_path / "demo"),
        "--model",
        str(constant_bundle.folder),
        "--frames",
        "3",
        "--offline",
    ]
    for _ in range(2):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert "sMOTSA" in printed
        named = [line.split(":")[1].strip() for line in printed.splitlines() if str(tmp_path) in line]
        assert [os.path.relpath(name, tmp_path) for name in named] == [
            "demo/drive",
            "demo/result/overlay.mp4",
            "demo/result/0000.txt",
            "demo/result/timings.json",
            "demo/scores/scores.json",
            "demo/scores/report.html",
        ]
        assert all(Path(name).exists() for name in named)


def test_demo_says_that_masks_were_never_annotated(tmp_path, constant_bundle, capsys):
    pytest.importorskip("trackeval", reason="the package 'trackeval' is not installed")
    arguments = ["demo", "--model", str(constant_bundle.folder), "--frames", "2", "--offline", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    assert "never annotated" not in capsys.readouterr().out
    description = constant_bundle.folder / "bundle.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"supervision": "weak"}))
    assert main([*arguments, str(tmp_path / "two")]) == 0
    assert "from boxes and track ids alone: the masks on screen were never annotated" in capsys.readouterr().out


def test_demo_shows_a_model_that_never_saw_a_mask():
    parser = argparse.ArgumentParser()
    demo.add(parser)
    assert read_bundle(parser.parse_args([]).model).supervision == "weak"


def test_demo_does_not_touch_a_strangers_folder(tmp_path, constant_bundle, capsys):
    for name in ("drive", "thesis"):
        folder = tmp_path / f"out-{name}"
        (folder / name).mkdir(parents=True)
        assert main(["demo", "--out", str(folder), "--model", str(constant_bundle.folder)]) == 2
        assert f"holds '{name}', which no earlier demonstration made" in one_line(capsys)
        assert (folder / name).is_dir()


def test_demo_tells_a_wrong_model_before_it_touches_anything(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--model", "nothing-of-that-name"]) == 2
    assert "no such model" in one_line(capsys)
    assert not (tmp_path / "demo").exists()


def test_doctor_tells_what_is_here(constant_bundle, capsys):
    assert main(["doctor", "--model", str(constant_bundle.folder), "--seconds", "0.2"]) in (0, 1)
    printed = capsys.readouterr().out
    assert "Python" in printed
    assert "backend onnx" in printed


def test_a_kitti_sequence_becomes_a_bag(tmp_path, capsys):
    pytest.importorskip("rosbags", reason="the package 'rosbags' is not installed")
    folder = tmp_path / "training" / "image_02" / "0003"
    folder.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / f"{number:06d}.png"), np.full((20, 30, 3), 50 * number, np.uint8))
    assert main(["drive", "--from-kitti", str(folder), "--out", str(tmp_path / "bag"), "--rate", "5"]) == 0
    assert "sequence 0003" in capsys.readouterr().out
    frames = list(open_source(tmp_path / "bag"))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 50, 100]
    assert frames[1].stamp_ns - frames[0].stamp_ns == 200_000_000
    assert main(["drive", "--from-kitti", str(tmp_path / "bag"), "--out", str(tmp_path / "other")]) == 2

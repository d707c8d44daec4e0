"""`wsperception label` as a user meets it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import cv2
import numpy as np
import pytest

from wsperception.cli import main
from wsperception.data.label_file import read_label_file
from wsperception.labelling.store import folder_lock


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and everything printed, of `wsperception label` in a process of its own."""
    command = [sys.executable, "-m", "wsperception", "label", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout + done.stderr


class Running:
    """The command while it serves."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "wsperception", "label", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> "Running":
        line = self.process.stdout.readline()
        match = re.fullmatch(r"label at (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends\)\n", line)
        assert match, line + self.process.stderr.read()
        self.url = match[1]
        return self

    def put(self, number: int, **values: object) -> None:
        labels = {"tags": None, "boxes": None, "points": None, "ignore": None, "seconds": {}, "revision": 0, **values}
        address, content = f"{self.url}api/frames/{number}", json.dumps(labels).encode()
        request = urllib.request.Request(address, content, {"Content-Type": "application/json"}, method="PUT")
        urllib.request.urlopen(request, timeout=60).close()

    def stop(self, with_signal: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(with_signal)
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, out, errors

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def test_frames_are_taken_labelled_and_found_again(street, tmp_path):
    out = tmp_path / "labels"
    with Running(street, "--out", out, "--every", "2", "--classes", "car,tram") as running:
        running.put(2, boxes=[{"class": "tram", "id": 1, "box": [1, 2, 3, 4]}], seconds={"boxes": 90})
        assert running.stop(signal.SIGINT) == (0, f"{out}/labels.json: 1 of 3 frames labelled, 1.5 min\n", "")
    file = read_label_file(out)
    assert (file.sequence, file.every, file.image_size, file.labels.names) == ("street", 2, (120, 200), ("car", "tram"))
    assert [frame.number for frame in file.frames] == [0, 2, 4]
    assert [frame.image for frame in file.frames] == [
        "images/street_0.png",
        "images/street_2.png",
        "images/street_4.png",
    ]
    assert (cv2.imread(str(out / "images/street_2.png")) == cv2.imread(str(street / "street_2.png"))).all()
    # Again, without the source and with it; a smaller step adds frames, and more classes may follow.
    with Running("--out", out) as running:
        assert b'"tram"' in urllib.request.urlopen(f"{running.url}api/frames/2", timeout=60).read()
    with Running(street, "--out", out, "--every", "1", "--classes", "car,tram,bus"):
        pass
    file = read_label_file(out)
    assert [frame.number for frame in file.frames] == [0, 1, 2, 3, 4]
    assert file.labels.names == ("car", "tram", "bus")
    assert file.frames[2].boxes[0].track_id == 1


def test_a_killed_server_loses_nothing(street, tmp_path):
    out = tmp_path / "labels"
    with Running(street, "--out", out) as running:
        running.put(0, points=[{"class": "car", "id": 4, "point": [5, 6]}])
        running.stop(signal.SIGKILL)
    assert read_label_file(out).frames[0].points[0].track_id == 4
    with Running("--out", out) as running:
        assert b'"id": 4' in urllib.request.urlopen(f"{running.url}api/frames/0", timeout=60).read()


def test_an_interrupted_start_is_taken_up(street, tmp_path):
    out = tmp_path / "labels"
    (out / "images").mkdir(parents=True)
    (out / "images" / "street_0.png").write_bytes(b"half a picture of an earlier try")
    (out / ".lock").touch()
    with Running(street, "--out", out, "--jpeg"):
        pass
    assert cv2.imread(str(out / "images" / "street_0.jpg")).shape == (120, 200, 3)


def test_a_folder_labelled_elsewhere(street, tmp_path):
    out = tmp_path / "labels"
    with Running(street, "--out", out) as running:
        code, text = run("--out", out)
        assert (code, text) == (2, f"wsperception: {out}: is being labelled already, at {running.url}\n")


def test_a_port_in_use(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["label", "--out", str(folder), "--port", str(port)]) == 2
    line = capsys.readouterr().err
    assert line == f"wsperception: port {port}: is in use already; name another with --port, or leave it out\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{tmp}/nowhere"], "nowhere: no such file or folder"),
        (["{tmp}/empty"], "empty: expected images"),
        (["{tmp}/street", "--every", "0"], "--every: expected 1 or more, got 0"),
        (["{tmp}/street", "--classes", "car,"], "LabelSpace.names: expected distinct, non-empty names"),
        (["{tmp}/street", "--classes", "car,car"], "LabelSpace.names: expected distinct, non-empty names"),
        (["{tmp}/street", "--classes", "car", "--model", "tiny"], "--classes and --model: expected one of them"),
        (["{tmp}/street", "--model", "nothing-of-that-name"], "nothing-of-that-name: no such model"),
        (["{tmp}/street", "--topic", "/camera"], "leave --topic out"),
        (["{tmp}/street", "--port", "70000"], "--port: expected 0 to 65535, got 70000"),
        (["{tmp}/street", "--video"], "--video: expected together with --export FILE.xml"),
        ([], "out: no labels.json to go on with; name the SOURCE"),
    ],
)
def test_one_line_and_exit_2(street, tmp_path, capsys, arguments, expected):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    assert main(["label", *(text.format(tmp=tmp_path) for text in arguments), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert expected in captured.err
    assert not out.exists()


def test_a_step_beyond_the_end_leaves_one_frame(street, tmp_path, capsys):
    (street / "street_0.png").unlink()
    (street / "street_0.png").write_bytes(b"")  # skipped, and the only multiple of 50
    assert main(["label", str(street), "--out", str(tmp_path / "out"), "--every", "50"]) == 2
    assert "no frame has a number that is a multiple of 50; lower --every" in capsys.readouterr().err


def test_a_damaged_label_file_is_left_alone(folder, street, capsys):
    text = (folder / "labels.json").read_text().replace('"boxes": null', '"boxes": [{}]', 1)
    (folder / "labels.json").write_text(text)
    for source in ([], [str(street)]):
        assert main(["label", *source, "--out", str(folder)]) == 2
        assert f"{folder}/labels.json: frames[0].boxes[0]: missing key 'class'" in capsys.readouterr().err
        assert (folder / "labels.json").read_text() == text


def test_a_folder_that_is_somebody_elses(street, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    assert main(["label", str(street), "--out", str(out)]) == 2
    assert "out: the folder is not empty and has no labels.json" in capsys.readouterr().err
    assert main(["label", str(street), "--out", str(out / "thesis.tex")]) == 2
    assert "expected a folder for the labels, found a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--classes", "pedestrian,car"], "expected car, pedestrian, as in"),
        (["--classes", "car"], "expected car, pedestrian, as in"),
        (["{tmp}/street"], "labels: holds the labels of '0007', not of 'street'"),
        (["--import", "{tmp}/none.xml"], "none.xml: no such file or folder"),
        (["--import", "{tmp}/street"], "street: expected LabelMe files"),
    ],
)
def test_what_does_not_fit_the_folder(folder, street, tmp_path, capsys, arguments, expected):
    before = (folder / "labels.json").read_bytes()
    assert main(["label", *(text.format(tmp=tmp_path) for text in arguments), "--out", str(folder)]) == 2
    assert expected in capsys.readouterr().err
    assert (folder / "labels.json").read_bytes() == before


@pytest.mark.parametrize("target", ["labels.xml", "labelme"])
def test_labels_go_out_and_come_back(folder, tmp_path, capsys, target):
    with Running("--out", folder) as running:
        box = {"class": "car", "id": 4, "box": [5, 6, 70.5, 80]}
        running.put(0, tags=["car"], boxes=[box], points=[], ignore=[[0, 0, 5, 5]])
        running.stop(signal.SIGINT)
    labelled = read_label_file(folder)
    where = tmp_path / "elsewhere" / target if target == "labelme" else tmp_path / target
    assert main(["label", "--out", str(folder), "--export", str(where)]) == 0
    assert capsys.readouterr().out == f"{folder}/labels.json: 1 of 2 frames labelled, 0.0 min\n"
    assert main(["label", "--out", str(folder), "--export", str(where)]) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert main(["label", "--out", str(folder), "--export", str(where), "--overwrite"]) == 0
    if target == "labelme":
        shown = json.loads((where / "000000.json").read_text())["imagePath"]
        assert (where / shown).resolve() == (folder / "images/000000.png").resolve()
    # Into the labels as they were before.
    assert main(["label", "--out", str(folder), "--import", str(where)]) == 2
    assert "frame 0 has tags, boxes, points, ignore already; --overwrite" in capsys.readouterr().err
    with Running("--out", folder) as running:
        running.put(0, revision=1)
        running.stop(signal.SIGINT)
    assert main(["label", "--out", str(folder), "--import", str(where)]) == 0
    again = read_label_file(folder)
    assert (again.frames[0].tags, again.frames[0].boxes) == (labelled.frames[0].tags, labelled.frames[0].boxes)
    assert (again.frames[0].points, again.frames[0].ignore) == ((), ((0.0, 0.0, 5.0, 5.0),))
    assert not list(tmp_path.rglob("*.part"))


def test_nothing_is_imported_while_somebody_labels(folder, tmp_path, capsys):
    with folder_lock(folder):
        assert main(["label", "--out", str(folder), "--export", str(tmp_path / "a.xml")]) == 2
    assert "is being labelled already" in capsys.readouterr().err


def test_names_that_are_no_address(street, tmp_path):
    os.rename(street / "street_0.png", street / "Straße 0.png")
    with Running(street, "--out", tmp_path / "out"):
        pass
    frames = read_label_file(tmp_path / "out").frames
    assert [frame.image for frame in frames] == [f"images/{number:06d}.png" for number in range(5)]


def test_a_bag(tmp_path):
    pytest.importorskip("rosbags", reason="the package 'rosbags' is not installed")
    from wsperception.data.drive.write import drive_command

    drive_command(tmp_path / "drive", 3, sequences=1, frames=3, size=(96, 320))
    (bag,) = (tmp_path / "drive").glob("bags/*")
    with Running(bag, "--out", tmp_path / "out", "--every", "2"):
        pass
    file = read_label_file(tmp_path / "out")
    assert [frame.number for frame in file.frames] == [0, 2]
    assert file.frames[1].stamp_ns > 0
    assert file.labels.names == ("car", "pedestrian")  # of the shipped model
    assert isinstance(cv2.imread(str(tmp_path / "out" / file.frames[1].image)), np.ndarray)


def test_the_help_says_how(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["label", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in ("Ctrl-C ends it", "labels.json", "--every N", "--import PATH", "LabelMe"):
        assert part in text

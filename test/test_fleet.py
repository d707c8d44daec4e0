"""Many sources at once: the results are those of one by one, and a broken one stops no other."""

import dataclasses
import importlib.util
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import cli
from wsperception.errors import InputError
from wsperception.fleet import FleetRequest, Outcome, _received, run_fleet
from wsperception.track import TrackRequest, run_track

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def write_street(folder: Path, frames: int) -> Path:
    folder.mkdir()
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((96, 320, 3), 40 * number, np.uint8))
    return folder


@pytest.fixture
def streets(tmp_path) -> list[Path]:
    """A sequence of two frames, a file that is no sequence, and a sequence of three."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    return [write_street(tmp_path / "a", 2), tmp_path / "broken.mp4", write_street(tmp_path / "b", 3)]


@pytest.fixture
def each(constant_bundle, tmp_path) -> TrackRequest:
    return TrackRequest(Path(), str(constant_bundle.folder), tmp_path / "results", threads=1, video=False)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_processes_give_what_one_process_gives_and_go_on_where_they_were(streets, each, tmp_path):
    seen = []
    outcomes = run_fleet(FleetRequest(tuple(streets), each, jobs=2), lambda done, length: seen.append((done, length)))
    assert [(outcome.source.name, outcome.frames, outcome.earlier) for outcome in outcomes] == [
        ("a", 2, False),
        ("broken.mp4", 0, False),
        ("b", 3, False),
    ]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, False]
    assert "broken.mp4" in outcomes[1].error
    assert files(tmp_path / "results") == ["a/a.txt", "a/timings.json", "b/b.txt", "b/timings.json"]
    for street in (streets[0], streets[2]):
        alone = run_track(dataclasses.replace(each, source=street, out=tmp_path / "alone" / street.name))
        assert alone.text.read_bytes() == (each.out / street.name / alone.text.name).read_bytes()

    # Again: what is done stays, the broken one is mended meanwhile.
    stamp = (each.out / "a" / "a.txt").stat().st_mtime_ns
    streets[1].unlink()
    streets[1] = write_street(tmp_path / "broken", 1)
    again = run_fleet(FleetRequest(tuple(streets), each, jobs=2))
    assert [(outcome.frames, outcome.earlier, outcome.error) for outcome in again] == [
        (2, True, ""),
        (1, False, ""),
        (3, True, ""),
    ]
    assert (each.out / "a" / "a.txt").stat().st_mtime_ns == stamp


def test_results_of_another_request_are_neither_taken_nor_replaced(streets, each, monkeypatch, tmp_path):
    run_track(dataclasses.replace(each, source=streets[0], out=each.out / "a"))
    monkeypatch.setattr("wsperception.fleet._in_processes", lambda tasks, jobs: map(_tracked_here, tasks))
    settings = tmp_path / "settings.yaml"
    settings.write_text("fusion: {min_area: 20}\n")
    changed = dataclasses.replace(each, settings=settings)
    (refused,) = run_fleet(FleetRequest((streets[0],), changed))
    assert refused.error.endswith("a: the folder exists and is not empty; name another or pass --overwrite")
    (done,) = run_fleet(FleetRequest((streets[0],), dataclasses.replace(changed, replace=True)))
    assert (done.error, done.earlier, done.frames) == ("", False, 2)
    (kept,) = run_fleet(FleetRequest((streets[0],), changed))
    assert kept.earlier


def _tracked_here(task: TrackRequest) -> Outcome:
    from wsperception.fleet import track_one

    return track_one(task)


def test_a_process_that_dies_is_named_with_its_signal(each, tmp_path):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.close()
    task = dataclasses.replace(each, source=tmp_path / "bag", out=tmp_path / "results" / "bag")
    outcome = _received(receiver, task, -9)
    assert outcome.error == "its process ended by signal 9, before the results were complete"
    assert str(outcome).endswith("bag: failed: its process ended by signal 9, before the results were complete")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"jobs": 0}, "jobs: expected at least 1, got 0"),
        ({"engine": "carts"}, "engine 'carts': unknown; expected processes or ray"),
        ({"sources": (Path("x/a"), Path("y/a"))}, "y/a: its results would go to .*results/a, as those of .*x/a;"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(each, changes, text):
    request = FleetRequest(**{"sources": (Path("x/a"),), "each": each, **changes})
    with pytest.raises(InputError, match=text):
        run_fleet(request)
    assert not each.out.exists()


def test_the_command_names_what_failed_and_exits_with_1(streets, each, monkeypatch, capsys):
    monkeypatch.setattr("wsperception.fleet._in_processes", lambda tasks, jobs: map(_tracked_here, tasks))
    sources = [str(path) for path in streets[:2]]
    options = ["--model", each.model, "--out", str(each.out), "--threads", "1", "--no-video"]
    assert cli.main(["track", *sources, *options]) == 1
    printed = capsys.readouterr()
    assert "a: 2 frames, 0 skipped" in printed.out
    assert "1 of 2 done, 1 failed" in printed.out
    assert "broken.mp4: failed: " in printed.err
    assert cli.main(["track", sources[0], "--jobs", "2", *options]) == 0
    assert "a: done before, in " in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_ray_gives_what_one_process_gives(streets, each, tmp_path):
    outcomes = run_fleet(FleetRequest(tuple(streets), each, jobs=2, engine="ray"))
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, False]
    for street in (streets[0], streets[2]):
        alone = run_track(dataclasses.replace(each, source=street, out=tmp_path / "alone" / street.name))
        assert alone.text.read_bytes() == (each.out / street.name / alone.text.name).read_bytes()


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_without_ray_one_line_says_how_to_get_it(streets, each):
    with pytest.raises(InputError, match=r"^engine 'ray': .*; install it with pip install 'wsperception\[ray\]'$"):
        run_fleet(FleetRequest(tuple(streets[:1]), each, engine="ray"))

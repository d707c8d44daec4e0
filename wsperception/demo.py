"""The whole path on one synthetic drive: make it, track it, play it over ROS topics, score both."""

import importlib.util
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from wsperception.bundle import read_bundle
from wsperception.data.drive.write import drive_command
from wsperception.errors import InputError
from wsperception.evaluation.command import evaluate_command
from wsperception.replay import compare, comparison_table
from wsperception.track import TrackRequest, TrackSummary, run_track

_DRIVE, _RESULT, _SCORES, _LIVE = "drive", "result", "scores", "live"

Progress = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]
"""From the title of a step, a context that gives a function to be called with frames done and frames in all."""


@dataclass(frozen=True)
class DemoSummary:
    """What the demonstration gave: the tracker's summary, the tables of scores, and the folders and files to look at.

    live_table   scores of the offline run and of the live replay side by side; empty without ROS 2
    files        (what it is, where it is)
    supervision  what the model's masks were learnt from, as its bundle says: "weak" are boxes and track ids
    """

    track: TrackSummary
    table: str
    live_table: str
    files: tuple[tuple[str, Path], ...]
    supervision: str


def can_go_live() -> bool:
    """Whether ROS 2 is here, installed or as wheels, with the messages that the node publishes."""
    return all(importlib.util.find_spec(name) is not None for name in ("rclpy", "vision_msgs"))


def run_demo(out: Path, model: str, seed: int, frames: int, live: bool, progress: Progress) -> DemoSummary:
    """Writes a drive, the result of tracking it and its scores into `out`, a folder each.

    live  also play the drive's bag to the node over topics, record what it publishes, and score that beside

    An earlier demonstration in `out` is replaced; InputError where the folder holds anything else.
    """
    bundle = read_bundle(model)  # a wrong name is told before an older drive is removed and one painted
    _make_room(out)
    steps = 4 if live else 3
    with progress(f"1/{steps} drive") as show:
        names = drive_command(out / _DRIVE, seed, frames=frames, progress=show)
    training = out / _DRIVE / "training"
    with progress(f"2/{steps} track") as show:
        request = TrackRequest(training / "image_02" / names[0], model, out / _RESULT)
        summary = run_track(request, show)
    with progress(f"3/{steps} score"):
        table = evaluate_command(
            training / "instances_txt",
            out / _RESULT,
            out / _SCORES,
            images=training / "image_02",
            seqmap=out / _DRIVE / "drive.seqmap",
        )
    assert summary.video is not None
    live_table = _live(out, names[0], model, progress) if live else ""
    files = (
        ("drive", out / _DRIVE),
        ("overlay video", summary.video),
        ("masks and ids (MOTS text)", summary.text),
        ("timings", summary.timings),
        ("scores", out / _SCORES / "scores.json"),
        ("report", out / _SCORES / "report.html"),
        *([("live replay", out / _LIVE)] if live else []),
    )
    return DemoSummary(summary, table, live_table, files, bundle.supervision)


def _live(out: Path, sequence: str, model: str, progress: Progress) -> str:
    from wsperception.ros.demo import live_demo

    bag = out / _DRIVE / "bags" / sequence
    with progress("4/4 live replay over ROS topics"):
        report = live_demo(bag, model, out / _LIVE)
        gt, seqmap = out / _DRIVE / "training/instances_txt", out / _DRIVE / "drive.seqmap"
        return comparison_table(compare(bag, gt, report, model, out / _LIVE, offline=out / _RESULT, seqmap=seqmap))


def _make_room(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: expected a folder for the demonstration, found a file")
    ours = [out / name for name in (_DRIVE, _RESULT, _SCORES, _LIVE)]
    strangers = sorted(entry.name for entry in out.iterdir() if entry not in ours)
    if strangers or ((out / _DRIVE).exists() and not (out / _DRIVE / "drive.seqmap").is_file()):
        found = strangers[0] if strangers else _DRIVE
        raise InputError(f"{out}: holds '{found}', which no earlier demonstration made; name another folder")
    for folder in ours:
        if folder.exists():
            shutil.rmtree(folder)

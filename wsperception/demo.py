"""The whole path on one synthetic drive: make it, track it, score it."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from wsperception.bundle import read_bundle
from wsperception.data.drive.write import drive_command
from wsperception.errors import InputError
from wsperception.evaluation.command import evaluate_command
from wsperception.track import TrackRequest, TrackSummary, run_track

_DRIVE, _RESULT, _SCORES = "drive", "result", "scores"

Progress = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]
"""From the title of a step, a context that gives a function to be called with frames done and frames in all."""


@dataclass(frozen=True)
class DemoSummary:
    """What the demonstration gave: the tracker's summary, the table of scores, and the folders and files to look at.

    files  (what it is, where it is)
    """

    track: TrackSummary
    table: str
    files: tuple[tuple[str, Path], ...]


def run_demo(out: Path, model: str, seed: int, frames: int, progress: Progress) -> DemoSummary:
    """Writes a drive, the result of tracking it and its scores into `out`, in three folders.

    An earlier demonstration in `out` is replaced; InputError where the folder holds anything else.
    """
    read_bundle(model)  # a wrong name is told before the drive is painted, and before an older one is removed
    _make_room(out)
    with progress("1/3 drive") as show:
        names = drive_command(out / _DRIVE, seed, frames=frames, progress=show)
    training = out / _DRIVE / "training"
    with progress("2/3 track") as show:
        request = TrackRequest(training / "image_02" / names[0], model, out / _RESULT)
        summary = run_track(request, show)
    with progress("3/3 score"):
        table = evaluate_command(
            training / "instances_txt",
            out / _RESULT,
            out / _SCORES,
            images=training / "image_02",
            seqmap=out / _DRIVE / "drive.seqmap",
        )
    assert summary.video is not None
    files = (
        ("drive", out / _DRIVE),
        ("overlay video", summary.video),
        ("masks and ids (MOTS text)", summary.text),
        ("timings", summary.timings),
        ("scores", out / _SCORES / "scores.json"),
        ("report", out / _SCORES / "report.html"),
    )
    return DemoSummary(summary, table, files)


def _make_room(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: expected a folder for the demonstration, found a file")
    ours = [out / name for name in (_DRIVE, _RESULT, _SCORES)]
    strangers = sorted(entry.name for entry in out.iterdir() if entry not in ours)
    if strangers or ((out / _DRIVE).exists() and not (out / _DRIVE / "drive.seqmap").is_file()):
        found = strangers[0] if strangers else _DRIVE
        raise InputError(f"{out}: holds '{found}', which no earlier demonstration made; name another folder")
    for folder in ours:
        if folder.exists():
            shutil.rmtree(folder)

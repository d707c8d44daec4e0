"""The labels of one folder while they are edited: every change is on disk before it is answered."""

import dataclasses
import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsperception.data.label_file import FrameLabels, LabelFile, frame_from, frame_mapping, write_label_file
from wsperception.data.label_values import check_keys
from wsperception.errors import InputError

LOCK_NAME = ".lock"
SENT = ("tags", "boxes", "points", "ignore", "seconds", "revision")
"""What a page sends of a frame; the rest of a frame never changes."""


class ConflictError(Exception):
    """The frame was saved by somebody else since it was read; `current` is what it holds now."""

    def __init__(self, current: FrameLabels) -> None:
        super().__init__(f"frame {current.number} was changed elsewhere")
        self.current = current


class LabelStore:
    """Labels in memory and in `labels.json`, always the same; for use from several threads."""

    def __init__(self, folder: Path, file: LabelFile) -> None:
        self.folder = folder
        self._file = file
        self._rows = {frame.number: row for row, frame in enumerate(file.frames)}
        self._saving = threading.Lock()

    @property
    def file(self) -> LabelFile:
        """The labels as they are now."""
        return self._file

    def frame(self, number: int) -> FrameLabels | None:
        """The labels of a frame; None if there is no such frame."""
        row = self._rows.get(number)
        return None if row is None else self._file.frames[row]

    def save(self, number: int, values: Any) -> FrameLabels:
        """Puts what a page sent (see SENT) in the place of a frame's labels, and returns them as they are now.

        values["revision"] is that of the frame which the page has changed. Raises ConflictError where the frame has
        another by now, InputError naming the key for what is no label, OSError where the disk is full. Then nothing
        has changed.
        """
        check_keys(values, SENT, f"frame {number}")
        file = self._file
        with self._saving:
            current = self.frame(number)
            assert current is not None
            sent = frame_from({**frame_mapping(current), **values}, file.labels, file.image_size, f"frame {number}")
            if sent.revision != current.revision:
                raise ConflictError(current)
            saved = dataclasses.replace(sent, revision=current.revision + 1)
            frames = list(self._file.frames)
            frames[self._rows[number]] = saved
            changed = dataclasses.replace(self._file, frames=tuple(frames))
            write_label_file(self.folder, changed)
            self._file = changed
        return saved

    def wait(self) -> None:
        """Returns when no save is under way."""
        with self._saving:
            pass


@contextmanager
def folder_lock(folder: Path) -> Iterator[Path]:
    """The folder for one process alone; gives the lock file, into which its holder may write who it is.

    The lock belongs to the open file, not to its existence: a process that dies in any way gives it back. Raises
    InputError with the content of the file where another process holds it.
    """
    path = folder / LOCK_NAME
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = " ".join(path.read_text(encoding="utf-8").split())[:100]
            raise InputError(f"{folder}: is being labelled already{f', at {holder}' if holder else ''}") from None
        path.write_text("", encoding="utf-8")
        yield path

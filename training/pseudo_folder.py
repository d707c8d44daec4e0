"""The note in a folder of masks that training/pseudo_labels.py made, by which training knows them from true ones."""

from collections.abc import Iterable
from pathlib import Path

from training.recipe import write_json
from wsperception.errors import InputError

NOTE = "pseudo_labels.json"


def write_note(folder: Path, run: Path, objects: int, lost: int) -> None:
    """Says of a folder which run made its masks, how many there are, and how many points have none."""
    write_json(folder / NOTE, {"run": run.resolve().name, "objects": objects, "lost": lost})


def expect_notes(folders: Iterable[Path]) -> None:
    """Raises InputError for a folder whose masks training/pseudo_labels.py did not make."""
    for folder in folders:
        if not (folder / NOTE).is_file():
            raise InputError(f"{folder}: no {NOTE}; expected a folder of masks that training/pseudo_labels.py made")

"""A folder of results belongs to one set of settings: what is there stays, and nothing else is mixed with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.recipe import write_json
from wsperception.errors import InputError


def claim_folder(folder: Path, settings: Mapping[str, Any], name: str = "settings.json") -> None:
    """Records in the file `name` what decides the results below `folder`, which is made.

    Raises InputError where that file says something else, or is no JSON.
    """
    path, values = folder / name, json.loads(json.dumps(settings))  # as they are read back: no tuples, keys are text
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, values)
        return
    try:
        kept = json.loads(path.read_bytes())
    except ValueError:
        raise InputError(f"{path}: not a JSON file; expected the settings of the results beside it") from None
    if kept != values:
        raise InputError(f"{folder}: holds results of other settings, see {name}; expected a new folder")

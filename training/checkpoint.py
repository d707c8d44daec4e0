"""The state of a run on disk: enough to go on as if it had never stopped.

No random state and no data position are kept, because none exist: everything random in step i is seeded with the run's
seed and i (see `training.loop`), and the clips of step i are a pure function of both (`ClipSampler`).
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

from training.recipe import completed, differing_keys
from wsperception.errors import InputError
from wsperception.nets.weights import BROKEN_FILE

NAME = "checkpoint.pt"


def save_tensors(path: Path, values: dict[str, Any]) -> None:
    """Writes tensors and plain values whole or not at all: a kill in the middle leaves the previous file."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        torch.save(values, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_tensors(path: Path) -> dict[str, Any]:
    """Reads tensors and plain values only: nothing in the file is executed. InputError where it is something else."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected weights") from None
    except BROKEN_FILE as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{path}: expected a file of weights: {reason[:120]}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected named weights, got {type(values).__name__}")
    return values


def save(path: Path, iteration: int, recipe: dict[str, Any], states: dict[str, Any]) -> None:
    """Writes a checkpoint.

    iteration  steps done
    recipe     `Recipe.mapping()`, compared when the run goes on
    states     name -> state_dict of the model, the optimizer, ...
    """
    save_tensors(path, {"iteration": iteration, "recipe": json.dumps(recipe), "states": states})


def load(path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """`iteration` and `states` of a checkpoint; InputError where it belongs to another recipe."""
    values = load_tensors(path)
    if values.keys() != {"iteration", "recipe", "states"}:
        raise InputError(f"{path}: expected a checkpoint of a training run, got the keys {', '.join(values)[:80]}")
    free = ("training.checkpoint_every", "training.accumulate")
    theirs = completed(json.loads(values["recipe"]), str(path))
    keys = [key for key in differing_keys(theirs, recipe) if key not in free]
    if keys:
        raise InputError(f"{path}: was written with another recipe (different: {', '.join(keys)}); expected the same")
    return values

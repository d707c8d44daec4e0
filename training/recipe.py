"""The recipe of a run: what it was asked to do, from a YAML file and the command line, and how that is recorded."""

import datetime
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from wsperception.data.clips import ClipSettings
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.errors import InputError
from wsperception.learn.methods import METHODS, supervisions
from wsperception.settings import check, from_mapping, setting, to_mapping
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
SECTIONS = ("training", "data", "method")


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are fitted. Defaults: Table 1 of WSMOTS; where it is silent, those of the code that it cites
    (Nesterov momentum 0.9, decay 1e-4 but not on normalisation layers, poly 0.9, 500 warm-up steps)."""

    supervision: str = setting(
        "weak", "weak: boxes and ids, no mask is read; full: masks; points: one per object; tags: classes of an image",
        choices=("weak", "full", "points", "tags"),
    )  # fmt: skip
    iterations: int = setting(31500, "steps; 31,500 are 150 epochs of the KITTI MOTS training split", low=1)
    batch: int = setting(24, "frames per step, over all processes and accumulated parts", unit="frames", low=1)
    accumulate: int = setting(1, "parts into which each process divides its share of the batch", low=1)
    seed: int = setting(0, "seed of everything random", low=0)
    precision: str = setting(
        "auto", "auto: bf16 or fp16 on CUDA, fp32 on a CPU", choices=("auto", "fp32", "bf16", "fp16")
    )
    optimizer: str = setting("sgd", "sgd with Nesterov momentum, or adamw", choices=("sgd", "adamw"))
    learning_rate: float = setting(0.02, "peak rate for a batch of reference_batch frames", low=0.0, high=10.0)
    reference_batch: int = setting(24, "the rate is scaled by batch / reference_batch", unit="frames", low=1)
    momentum: float = setting(0.9, "Nesterov momentum; beta1 of adamw", low=0.0, high=1.0)
    weight_decay: float = setting(1e-4, "decay of weights, normalisation layers excepted", low=0.0, high=1.0)
    warm_up: int = setting(500, "steps of the rise from a third of the rate", low=0)
    power: float = setting(0.9, "exponent of the polynomial decay", low=0.0, high=10.0)
    clip_norm: float = setting(0.0, "largest norm of the gradient; 0 does not clip", low=0.0)
    average: float = setting(0.0, "decay of the moving average of the weights that is exported; 0: none", low=0, high=1)
    channels_last: bool = setting(False, "memory layout of convolutions")
    checkpoint_every: int = setting(500, "steps between checkpoints", low=1)

    def __post_init__(self) -> None:
        check(self)

    @property
    def rate(self) -> float:
        """Peak learning rate of this batch."""
        return self.learning_rate * self.batch / self.reference_batch


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a run but the data: the method by name and three groups of settings."""

    name: str
    training: TrainingSettings
    data: ClipSettings
    method: Any

    def __post_init__(self) -> None:
        kinds = supervisions(self.name)
        if self.training.supervision not in kinds:
            got = self.training.supervision
            raise InputError(f"training.supervision: {self.name} learns from {' or '.join(kinds)}, got {got}")
        frames = getattr(self.method, "clip_frames", self.data.frames)
        if frames != self.data.frames:
            raise InputError(f"data.frames: expected {frames} as method.clip_frames, got {self.data.frames}")
        if self.training.batch % (self.data.frames * self.training.accumulate):
            raise InputError(
                f"training.batch: expected a multiple of data.frames x accumulate = {self.data.frames} x "
                f"{self.training.accumulate}, got {self.training.batch}"
            )
        if self.training.supervision == "tags" and any(self.data.crop):
            height, width = self.data.crop
            raise InputError(f"data.crop: expected 0 0, as tags are those of whole images, got {height} {width}")
        if self.needs_teacher and self.training.average == 0.0:
            raise InputError(
                "training.average: expected above 0, as the method learns from the averaged weights, got 0"
            )

    @property
    def labels(self) -> LabelSpace:
        """The classes to learn, things before stuff."""
        names, stuff = self.data.classes, getattr(self.method, "stuff_classes", 0)
        return LabelSpace(names, (True,) * (len(names) - stuff) + (False,) * min(stuff, len(names)))

    @property
    def needs_teacher(self) -> bool:
        """Whether the method learns from the moving average of its own weights."""
        return self.training.supervision == "weak" and getattr(self.method, "needs_average", False)

    def mapping(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"name": self.name} | {section: to_mapping(getattr(self, section)) for section in SECTIONS}


def read_recipe(name: str, path: Path | None, changes: Sequence[str]) -> Recipe:
    """The recipe of method `name` from a YAML file with the sections training, data and method, and `changes`.

    changes  "section.key=value", later ones win; the value is YAML

    Raises InputError naming the file, or the change, and the key.
    """
    values = _read_sections(path) if path else {section: {} for section in SECTIONS}
    where = str(path) if path else "settings"
    for change in changes:
        _apply(values, change)
        where = f"{path or 'settings'} with --set"
    values["training"].setdefault("supervision", supervisions(name)[0])
    return _recipe(name, values, where)


def completed(values: dict[str, Any], where: str) -> dict[str, Any]:
    """A recorded `Recipe.mapping()` with the defaults of the settings that came after it; InputError naming `where`."""
    return _recipe(values["name"], values, where).mapping()


def differing_keys(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys whose values differ between two recipes' mappings."""
    keys: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            keys += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(prefix + key)
    return keys


def record(recipe: Recipe, command: Sequence[str], roots: Iterable[Path], frames: Sequence[LabelledFrame]) -> dict:
    """What recipe.json holds: the settings, the command, the commit, the data's names and a digest of its files."""
    files = hashlib.sha256()
    for frame in frames:
        files.update(f"{frame.path.parent.name}/{frame.path.name} {frame.path.stat().st_size}\n".encode())
    return {
        "recipe": recipe.mapping(),
        "labels": {"names": list(recipe.labels.names), "is_thing": list(recipe.labels.is_thing)},
        "command": [_portable(argument) for argument in command],
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "data": {
            "roots": [root.resolve().name for root in roots],
            "frames": len(frames),
            "objects": sum(frame.objects for frame in frames),
            "sha256": files.hexdigest(),
        },
    }


def write_json(path: Path, values: dict) -> None:
    """Writes `values` whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(temporary, path)


def _recipe(name: str, values: dict[str, Any], where: str) -> Recipe:
    kinds = {"training": TrainingSettings, "data": ClipSettings, "method": METHODS[name].Settings}
    parts = {section: from_mapping(kind, values[section], f"{where}: {section}") for section, kind in kinds.items()}
    return Recipe(name, **parts)


def _read_sections(path: Path) -> dict[str, dict[str, Any]]:
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a YAML file of settings") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not all(isinstance(values[key] or {}, dict) for key in values):
        raise InputError(f"{path}: expected the sections {', '.join(SECTIONS)}, each with keys and values")
    for key in values:
        if key not in SECTIONS:
            raise InputError(f"{path}: unknown key '{key}'; known are {', '.join(SECTIONS)}")
    return {section: dict(values.get(section) or {}) for section in SECTIONS}


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or parts[0] not in SECTIONS:
        raise InputError(f"--set {change}: expected section.key=value with section {', '.join(SECTIONS)}")
    for part in parts[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {change}: '{part}' holds a value, not further keys")
    try:
        values[parts[-1]] = _number(yaml.safe_load(text), text)
    except yaml.YAMLError:
        raise InputError(f"--set {change}: expected a YAML value after '='") from None


def _portable(argument: str) -> str:
    """An absolute path as its name: where a folder lay on one machine says nothing on another."""
    return Path(argument).name if os.path.isabs(argument) else argument


def _number(value: Any, text: str) -> Any:
    """YAML 1.1 reads 1e-4 as text; whoever types it on a command line without quotes means the number."""
    if value != text.strip():
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _commit() -> str | None:
    """The commit of the source, with "+changes" where the tree differs from it; None without git."""
    folder = Path(__file__).resolve().parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")

"""Model bundles: a folder with bundle.json and an ONNX file, and nothing that runs when it is read."""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsperception.errors import InputError
from wsperception.settings import check, from_mapping, setting, to_mapping
from wsperception.types import LabelSpace

SCHEMA_VERSION = 1
OUTPUTS = ("boxes", "scores", "class_ids", "masks", "mask_boxes", "embeddings")
"""What a network gives, in this order; shapes in `wsperception.decode.RawOutputs`."""
SEMANTIC = "semantic"
"""What a panoptic network gives besides."""
SEMANTIC_STRIDE = 4
"""Input pixels per cell of that output, along either axis."""
MASK_ROWS = "mask_rows"
"""Tensor inside a network's graph: for how many rows an image masks are computed. Older graphs have none."""


@dataclass(frozen=True)
class Thresholds:
    """The values with which a model was validated; they become the pipeline's defaults."""

    score: float = setting(0.9, "Score from which a detection is tracked", low=0.0, high=1.0)
    mask: float = setting(0.5, "Foreground probability from which a pixel belongs to the mask", low=0.01, high=0.99)
    similarity: float = setting(0.0, "Similarity above which a detection continues a track", low=0.0, high=1.0)
    visible: float = setting(0.4, "Part of a mask that better objects must leave for it to be kept", low=0.0, high=1.0)
    certainty: float = setting(0.0, "Mean probability of a mask's pixels below which it is dropped", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainingRecord:
    """Where a model comes from: the command, the commit and date it ran at, and its whole recipe."""

    command: str
    commit: str
    date: str
    recipe: dict[str, Any]

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ModelBundle:
    """A model and what must be known to run it. The fields are the keys of bundle.json, apart from `folder`.

    input_size        (h, w)  pixels of the network's input; normalisation lives in the graph
    mask_side         M       cells per side of a mask grid
    mask_context      1: the grid covers the box; 1.5: half as much again, around its centre
    embedding_length  E
    max_detections    D       rows of each output
    sha256            of the ONNX file, filled in by `write_bundle`
    """

    name: str
    input_size: tuple[int, int]
    label_space: LabelSpace
    mask_side: int
    mask_context: float
    embedding_length: int
    max_detections: int
    method: str
    supervision: str
    training: TrainingRecord
    thresholds: Thresholds
    outputs: tuple[str, ...] = OUTPUTS
    onnx_file: str = "model.onnx"
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION
    folder: Path = Path()

    def __post_init__(self) -> None:
        check(self)
        if self.schema_version != SCHEMA_VERSION:
            raise InputError(f"schema_version: expected {SCHEMA_VERSION}, got {self.schema_version}")
        for name in ("mask_side", "embedding_length", "max_detections"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if min(self.input_size) < 1:
            raise InputError(f"input_size: expected height and width >= 1, got {list(self.input_size)}")
        if not 1.0 <= self.mask_context <= 4.0:
            raise InputError(f"mask_context: expected 1 to 4, got {self.mask_context}")
        if sorted(self.outputs) not in (sorted(OUTPUTS), sorted((*OUTPUTS, SEMANTIC))):
            raise InputError(
                f"outputs: expected {', '.join(OUTPUTS)} and perhaps {SEMANTIC}, got {', '.join(self.outputs)}"
            )
        if self.is_panoptic:
            self._check_panoptic()
        if Path(self.onnx_file).name != self.onnx_file or not self.onnx_file:
            raise InputError(f"onnx_file: expected a file name without a folder, got {self.onnx_file!r}")

    @property
    def onnx_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.onnx_file

    @property
    def is_panoptic(self) -> bool:
        """Whether the network also says what stuff every pixel shows."""
        return SEMANTIC in self.outputs

    @property
    def ordered_outputs(self) -> tuple[str, ...]:
        """The outputs in the order of OUTPUTS, the semantic one last where there is one."""
        return (*OUTPUTS, SEMANTIC) if self.is_panoptic else OUTPUTS

    def _check_panoptic(self) -> None:
        labels = self.label_space
        things = labels.thing_count
        if things == len(labels) or not all(labels.is_thing[:things]):
            kinds = zip(labels.names, labels.is_thing, strict=True)
            got = ", ".join(f"{name} ({'thing' if is_thing else 'stuff'})" for name, is_thing in kinds)
            raise InputError(f"label_space: expected things before stuff for the output '{SEMANTIC}', got {got}")
        if any(side % SEMANTIC_STRIDE for side in self.input_size):
            raise InputError(
                f"input_size: expected multiples of {SEMANTIC_STRIDE} for the output '{SEMANTIC}', "
                f"got {list(self.input_size)}"
            )


def read_bundle(name_or_folder: str | Path) -> ModelBundle:
    """The bundle in a folder, or the one of that name under a models folder (see `model_folders`).

    Raises InputError, naming the file, where the folder, a key or the ONNX file is missing, unknown or wrong, or where
    the ONNX file is not the one that the bundle was written with.
    """
    folder = _find(name_or_folder)
    path = folder / "bundle.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a model bundle (bundle.json and an ONNX file)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON: {' '.join(str(error).split())}") from None
    bundle = _from_values(values, path)
    found = _sha256(bundle.onnx_path)
    if found != bundle.sha256:
        raise InputError(f"{bundle.onnx_path}: expected SHA-256 {bundle.sha256[:16]}... of {path}, got {found[:16]}...")
    return bundle


def write_bundle(folder: Path, onnx_path: Path, bundle: ModelBundle) -> ModelBundle:
    """Copies an ONNX file into `folder` with a bundle.json beside it, and returns the bundle as `read_bundle` does.

    bundle  `sha256`, `folder` and `onnx_file` are filled in here

    A new folder appears in one piece. In an old one (whose other files stay) bundle.json is replaced last, so that an
    interruption leaves a bundle that is refused for its hash, never one that runs with wrong settings.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder}: cannot write the bundle: {error}") from None
    try:
        scratch.chmod(0o755)
        shutil.copyfile(onnx_path, scratch / "model.onnx")
        written = dataclasses.replace(bundle, sha256=_sha256(scratch / "model.onnx"), onnx_file="model.onnx")
        values = to_mapping(written)
        del values["folder"]
        (scratch / "bundle.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            for name in ("model.onnx", "bundle.json"):
                os.replace(scratch / name, folder / name)
        else:
            os.replace(scratch, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot write the bundle: {error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return read_bundle(folder)


def model_folders() -> list[Path]:
    """Folders in which a bundle is looked for by name, best first.

    $WSPERCEPTION_MODELS, models/ of the repository, and share/wsperception/models of a ROS workspace or of the Python
    installation.
    """
    chosen = os.environ.get("WSPERCEPTION_MODELS", "")
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    return [
        *([Path(chosen)] if chosen else []),
        Path(__file__).resolve().parents[1] / "models",
        *(Path(prefix) / "share" / "wsperception" / "models" for prefix in prefixes),
    ]


def _find(name_or_folder: str | Path) -> Path:
    path = Path(name_or_folder)
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{path}: expected the folder of a model bundle, got a file")
    folders = model_folders()
    if len(path.parts) == 1:
        for folder in folders:
            if (folder / path / "bundle.json").is_file():
                return folder / path
    known = sorted({found.parent.name for folder in folders for found in folder.glob("*/bundle.json")})
    raise InputError(
        f"{path}: no such model; expected a folder with bundle.json or one of: {', '.join(known) or 'none found'}"
    )


def _from_values(values: Any, path: Path) -> ModelBundle:
    """The bundle of parsed JSON; every key must be there, no other may be."""
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values, got {type(values).__name__}")
    # The defaults of the classes are for those who write a bundle. Who reads one must not fill gaps.
    required = {field.name for field in dataclasses.fields(ModelBundle)} - {"folder"}
    _check_keys(values, required, str(path))
    for key, kind in (("thresholds", Thresholds), ("label_space", LabelSpace), ("training", TrainingRecord)):
        if not isinstance(values[key], dict):
            raise InputError(f"{path}: {key}: expected keys and values, got {values[key]!r}")
        _check_keys(values[key], {field.name for field in dataclasses.fields(kind)}, f"{path}: {key}")
    _check_list(values["label_space"]["names"], str, f"{path}: label_space: names")
    _check_list(values["label_space"]["is_thing"], bool, f"{path}: label_space: is_thing")
    return from_mapping(ModelBundle, {**values, "folder": path.parent}, str(path))


def _check_keys(values: dict[str, Any], required: set[str], where: str) -> None:
    unknown, missing = sorted(set(values) - required), sorted(required - set(values))
    if unknown:
        raise InputError(f"{where}: unknown key '{unknown[0]}'; known are {', '.join(sorted(required))}")
    if missing:
        raise InputError(f"{where}: missing key '{missing[0]}'")


def _check_list(values: Any, kind: type, where: str) -> None:
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise InputError(f"{where}: expected a list of {kind.__name__}, got {values!r}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected the bundle's ONNX file") from None
    return digest.hexdigest()

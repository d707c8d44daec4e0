"""ROS parameters from settings dataclasses: declared, read and checked by walking their fields.

A nested dataclass becomes a prefix with a dot. Units, ranges and help come from the fields, so a threshold has one
definition for YAML files, the command line and ROS.
"""

import dataclasses
import math
import os
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from wsperception.backends import PRECISIONS
from wsperception.errors import InputError
from wsperception.settings import check, from_mapping, setting

T = TypeVar("T")


@dataclass(frozen=True)
class NodeSettings:
    """What the node is built from. Read-only once it runs."""

    model: str = setting("tiny", "Model bundle: a folder, or a name under models/")
    backend: str = setting("auto", "Engine that runs the network: auto, or one that `wsperception doctor` lists")
    precision: str = setting(
        "auto", "Arithmetic of the network; auto: the fastest that the engine is trusted with", choices=PRECISIONS
    )
    threads: int = setting(0, "CPU threads of the network; 0: one per physical core", low=0, high=256)
    cameras: tuple[str, ...] = setting(
        ("",), "Camera names, each the prefix of its topics; one empty name: image and ~/detections without a prefix"
    )
    image_transport: str = setting(
        "raw", "How images arrive: raw, or compressed on <image>/compressed", choices=("raw", "compressed")
    )
    autostart: bool = setting(True, "Configure and activate at start; otherwise wait for a lifecycle manager")
    batch_window_ms: float = setting(
        5.0,
        "With several cameras: wait this long for the others' images of the same moment",
        unit="ms",
        low=0.0,
        high=1e3,
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise InputError(f"cameras: expected distinct names, at least one, got {list(self.cameras)}")
        for name in self.cameras:
            usable = all(part.isidentifier() for part in name.split("/"))
            if not usable and (name or len(self.cameras) > 1):
                raise InputError(f"cameras: expected names of letters, digits and underscores, got '{name}'")


@dataclass(frozen=True)
class DiagnosticSettings:
    """When the node calls its own state a warning or an error. Changeable while running."""

    period_s: float = setting(1.0, "Time between two diagnostic messages", unit="s", low=0.1, high=60.0)
    silence_s: float = setting(
        5.0, "Without an image for longer: a warning that says why", unit="s", low=0.1, high=3600.0
    )
    warn_age_ms: float = setting(500.0, "Median input age from which to warn; 0: never", unit="ms", low=0.0, high=1e6)
    error_age_ms: float = setting(2000.0, "Median input age that is an error; 0: never", unit="ms", low=0.0, high=1e6)
    warn_rate_hz: float = setting(0.0, "Output rate below which to warn; 0: never", unit="Hz", low=0.0, high=1e4)
    error_rate_hz: float = setting(
        0.0, "Output rate below which it is an error; 0: never", unit="Hz", low=0.0, high=1e4
    )
    warn_drop_percent: float = setting(
        50.0, "Share of dropped images from which to warn; 0: never", unit="%", low=0.0, high=100.0
    )
    error_drop_percent: float = setting(
        95.0, "Share of dropped images that is an error; 0: never", unit="%", low=0.0, high=100.0
    )

    def __post_init__(self) -> None:
        check(self)


def declare(node: Node, defaults: Any, prefix: str, *, read_only: bool) -> None:
    """Declares every field of the settings `defaults`, below `prefix` ("" or ending with a dot).

    What was declared before keeps its value. Raises InputError, naming the parameter, where the user's value (command
    line or YAML) has the wrong type or leaves the range.
    """
    hints = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        name, value = prefix + field.name, getattr(defaults, field.name)
        if dataclasses.is_dataclass(value):
            declare(node, value, f"{name}.", read_only=read_only)
        elif not node.has_parameter(name):
            plain = list(value) if isinstance(value, tuple) else value
            descriptor = _descriptor(field, hints[field.name], read_only)
            try:
                node.declare_parameter(name, plain, descriptor)
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise InputError(f"parameter {name}: {' '.join(str(error).split())}") from None


def read(node: Node, kind: type[T], prefix: str, changes: Iterable[Parameter] = ()) -> T:
    """Settings of class `kind` from the parameters below `prefix`, with `changes` already made.

    Raises InputError, naming the parameter, where a value is out of range or two do not fit together.
    """
    changed = {change.name: change.value for change in changes}
    return from_mapping(kind, _values(node, kind, prefix, changed), prefix.rstrip(".") or "parameters")


def verdict(node: Node, kind: type, prefix: str, changes: Iterable[Parameter]) -> SetParametersResult:
    """Whether `changes` below `prefix` may be made, with the reason where not."""
    try:
        read(node, kind, prefix, changes)
    except InputError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def make_folder(name: str, folder: Path) -> None:
    """Makes the folder that parameter `name` asks for. Raises InputError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"parameter {name}: expected a folder to write to, got {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"parameter {name}: expected a folder to write to, got {folder}: not writable")


def _values(node: Node, kind: Any, prefix: str, changed: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name = prefix + field.name
        if dataclasses.is_dataclass(hints[field.name]):
            values[field.name] = _values(node, hints[field.name], f"{name}.", changed)
        else:
            value = changed[name] if name in changed else node.get_parameter(name).value
            values[field.name] = value if isinstance(value, str | int | float | None) else tuple(value)
    return values


def _descriptor(field: Any, hint: Any, read_only: bool) -> ParameterDescriptor:
    metadata = field.metadata
    unit = f" [{metadata['unit']}]" if metadata.get("unit") else ""
    descriptor = ParameterDescriptor(description=f"{metadata.get('help', '')}{unit}", read_only=read_only)
    if metadata.get("choices"):
        descriptor.additional_constraints = f"one of {', '.join(metadata['choices'])}"
    low, high = metadata.get("low", -math.inf), metadata.get("high", math.inf)
    if math.isinf(low) and math.isinf(high):
        return descriptor
    if hint is float:
        limit = sys.float_info.max
        bounds = FloatingPointRange(from_value=float(max(low, -limit)), to_value=float(min(high, limit)))
        descriptor.floating_point_range = [bounds]
    elif hint is int:
        whole = IntegerRange(from_value=int(max(low, -(2**63))), to_value=int(min(high, 2**63 - 1)), step=1)
        descriptor.integer_range = [whole]
    return descriptor

"""Settings: frozen dataclasses whose fields know their unit, range and meaning.

A settings class checks itself at birth, is read from YAML by `from_mapping`, written by `to_mapping`, and becomes
ROS parameters by walking `dataclasses.fields`. There is no registry and no inheritance: `setting()` describes a field,
`check()` in `__post_init__` enforces the description.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from wsperception.errors import InputError

T = TypeVar("T")


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with a description: `low` and `high` are inclusive, `choices` closes a set of names."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Raises InputError, naming the field, where a value has the wrong type or leaves its range."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        _check_type(field.name, value, hints[field.name])
        _check_range(field.name, value, field.metadata)


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Settings of class `kind` from plain values (YAML, JSON); nested classes take nested mappings.

    Raises InputError naming `where` (a file) and the key, for an unknown key, a wrong type or a value out of range.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected keys and values, got {type(values).__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise InputError(f"{where}: unknown key '{key}'; known are {', '.join(sorted(fields))}")
    hints = typing.get_type_hints(kind)
    given = {key: _convert(value, hints[key], f"{where}: {key}") for key, value in values.items()}
    missing = [
        name
        for name, field in fields.items()
        if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: missing key '{missing[0]}'")
    try:
        return kind(**given)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(where) else f"{where}: {text}") from None


def read_yaml(kind: type[T], path: Path) -> T:
    """Settings of class `kind` from a YAML file of values; an empty file gives the defaults."""
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a YAML file of settings") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return from_mapping(kind, {} if values is None else values, str(path))


def to_mapping(settings: Any) -> dict[str, Any]:
    """Plain values, ready for YAML or JSON: the inverse of `from_mapping`."""
    return {key: _plain(value) for key, value in dataclasses.asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _convert(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and value is not None:
        members = [member for member in typing.get_args(hint) if member is not types.NoneType]
        return _convert(value, members[0], where) if len(members) == 1 else value
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _check_type(name: str, value: Any, hint: Any) -> None:
    origin = typing.get_origin(hint)
    if origin is tuple:
        element = typing.get_args(hint)[0]
        arity = typing.get_args(hint)
        fixed = len(arity) if arity[-1] is not Ellipsis else None
        if not isinstance(value, tuple) or (fixed is not None and len(value) != fixed):
            raise InputError(f"{name}: expected {fixed or 'a list of'} values, got {value!r}")
        for entry in value:
            _check_type(name, entry, element)
        return
    allowed = typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)
    for kind in allowed:
        if _is(value, kind):
            if typing.get_origin(kind) is tuple:
                _check_type(name, value, kind)
            return
    names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
    raise InputError(f"{name}: expected {names}, got {value!r}")


def _is(value: Any, kind: Any) -> bool:
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, typing.get_origin(kind) or kind)


def _check_range(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    choices = metadata.get("choices", ())
    if choices and value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    low, high = metadata.get("low", -math.inf), metadata.get("high", math.inf)
    for entry in value if isinstance(value, tuple) else (value,):
        if isinstance(entry, int | float) and not isinstance(entry, bool) and not low <= entry <= high:
            raise InputError(f"{name}: expected {low:g} to {high:g}, got {entry!r}")

"""Plain values of the weak-label file, taken one by one: each is what it should be, or an error names its key."""

from collections.abc import Callable
from typing import Any, TypeVar

from wsperception.errors import InputError

T = TypeVar("T")

LARGEST_ID = 2**31 - 1
_DECIMALS = 2  # a hundredth of a pixel: finer than any hand


def check_keys(values: Any, expected: tuple[str, ...], where: str) -> None:
    """InputError where `values` is no mapping with exactly the `expected` keys."""
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected keys and values, got {type(values).__name__}")
    place = f"{where}: " if where else ""
    for key in expected:
        if key not in values:
            raise InputError(f"{place}missing key '{key}'")
    for key in values:
        if key not in expected:
            raise InputError(f"{place}unknown key '{key}'; known are {', '.join(expected)}")


def list_of(value: Any, where: str, read: Callable[[Any, str], T]) -> tuple[T, ...] | None:
    """Every entry read by `read(entry, key)`; None for null, which means not annotated."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, got {type(value).__name__}")
    return tuple(read(entry, f"{where}[{position}]") for position, entry in enumerate(value))


def numbers(value: Any, count: int, where: str) -> list[float]:
    """`count` finite numbers, rounded to hundredths."""
    numeric = isinstance(value, list) and all(type(entry) in (int, float) for entry in value)
    if not numeric or len(value) != count or not all(abs(entry) < 1e9 for entry in value):
        raise InputError(f"{where}: expected {count} numbers, got {value!r}"[:200])
    return [round(float(entry), _DECIMALS) for entry in value]


def track_id_of(value: Any, where: str) -> int | None:
    """An id from 0 to 2^31 - 1, or None for null: no id given."""
    return None if value is None else whole_number(value, where, LARGEST_ID)


def whole_number(value: Any, where: str, largest: int = 2**63 - 1) -> int:
    """A whole number from 0 to `largest`; true and false are none."""
    if type(value) is not int or not 0 <= value <= largest:
        raise InputError(f"{where}: expected a whole number from 0 to {largest}, got {value!r}"[:200])
    return int(value)


def text_of(value: Any, where: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise InputError(f"{where}: expected text, got {type(value).__name__}")
    return value


def flag_of(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InputError(f"{where}: expected true or false, got {value!r}")
    return value

"""Text files of labels, line by line."""

import math
from pathlib import Path

from wsperception.errors import InputError


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; InputError naming it where it is absent or not text."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected a text file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def whole_number(text: str, what: str, where: str) -> int:
    """A whole number, which may be written as 3.0; InputError otherwise."""
    number = finite_number(text, what, where)
    if number != int(number):
        raise InputError(f"{where}: {what}: expected a whole number, got '{text[:20]}'")
    return int(number)


def finite_number(text: str, what: str, where: str) -> float:
    """A finite number; InputError otherwise."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: {what}: expected a number, got '{text[:20]}'")
    return number

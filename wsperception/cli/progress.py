"""Progress bars of the commands."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(title: str, unit: str = " frames") -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere: a function that takes how many are done, and of how many."""
    with tqdm(desc=title, unit=unit, disable=not sys.stderr.isatty(), leave=False, dynamic_ncols=True) as bar:

        def show(done: int, length: int | None) -> None:
            bar.total = length
            bar.update(done - bar.n)

        yield show

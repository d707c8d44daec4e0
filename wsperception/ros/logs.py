"""What the parts without ROS log, in ROS's log: an engine's progress while it is built, for one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _RosHandler(logging.Handler):
    """Hands records of Python's logging to a logger of rclpy."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # A statement for each severity, because rclpy insists that a line of code always logs with the same one.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


@contextmanager
def python_logs_to(logger: Any) -> Iterator[None]:
    """For this while the package's Python logging, from INFO on, goes to `logger`, a node's."""
    package = logging.getLogger("wsperception")
    handler, level = _RosHandler(logger), package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)

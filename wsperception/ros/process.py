"""The process around a node: start, errors in one line, and an end that no signal can break."""

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from wsperception.errors import InputError
from wsperception.ros.logs import python_logs_to
from wsperception.ros.spinning import spin_once

N = TypeVar("N", bound=Node)

# A signal is noticed between two waits of the executor; five wake-ups per second cost nothing.
WAKE_S = 0.2


class Spinner:
    """The executor of a process, until `stopping` is set."""

    def __init__(self, node: Node, stopping: threading.Event) -> None:
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._stopping = stopping

    @property
    def goes_on(self) -> bool:
        """False once somebody asked the process to end."""
        return not self._stopping.is_set()

    def spin_once(self, timeout_s: float = WAKE_S) -> None:
        """Waits for one piece of work and does it."""
        spin_once(self._executor, timeout_s)

    def close(self) -> None:
        self._executor.shutdown()


def run_node(
    make: Callable[[], N],
    work: Callable[[N, Spinner], int],
    arguments: list[str] | None = None,
    close: Callable[[N], None] = lambda node: None,
) -> int:
    """Makes a node, does its work until that ends or the process is interrupted, and takes everything down.

    make   gives the node; InputError for a user's mistake
    work   what the process is for, while the spinner goes on; returns the exit status
    close  called before the node is destroyed, whatever happened

    Returns the status of `work`, 2 after a user's mistake.
    """
    # rclpy's handlers shut the context down under whoever is publishing or waiting at that moment, and Python's raise
    # KeyboardInterrupt anywhere: a second Ctrl-C then breaks the shutdown in the middle. Ours only set a flag, from
    # before the node exists: a signal while it is made counts too.
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    node: N | None = None
    try:
        _init(arguments)
        node = make()
        spinner = Spinner(node, stopping)
        with python_logs_to(node.get_logger()):
            try:
                return work(node, spinner)
            finally:
                close(node)
                spinner.close()
    except InputError as error:
        rclpy.logging.get_logger("wsperception").fatal(str(error))
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        # Python gives handlers back to the system while it shuts down, but leaves ignored signals alone: one that
        # comes now would otherwise make a clean end look like a crash.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _init(arguments: list[str] | None) -> None:
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        # rclpy's RCLError, which has no public name: a parameter file that is missing or not YAML, a malformed `-p` or
        # `-r`. What stands behind ", at" are lines of rcl's source.
        reason = " ".join(str(error).split()).partition(", at /")[0]
        raise InputError(f"arguments of ROS: {reason}") from None

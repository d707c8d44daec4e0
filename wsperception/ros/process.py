"""The process around a node: start, errors in one line, and an end that no signal can break."""

import signal
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from wsperception.errors import InputError

N = TypeVar("N", bound=Node)


def run_node(
    make: Callable[[], N],
    work: Callable[[N, SingleThreadedExecutor], int],
    arguments: list[str] | None = None,
    close: Callable[[N], None] = lambda node: None,
) -> int:
    """Makes a node, does its work until that ends or the process is interrupted, and takes everything down.

    make   gives the node; InputError for a user's mistake
    work   what the process is for; returns the exit status
    close  called before the node is destroyed, whatever happened

    Returns the status of `work`, 0 where it was interrupted, 2 after a user's mistake.
    """
    # rclpy's own handler ends the spinning and then calls this one. Python's default would raise KeyboardInterrupt
    # wherever the process happens to be; a second Ctrl-C then breaks the shutdown in the middle.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init(args=arguments)
    node: N | None = None
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            return work(node, executor)
        except ExternalShutdownException:
            return 0
        finally:
            close(node)
            executor.shutdown()
    except InputError as error:
        rclpy.logging.get_logger("wsperception").fatal(str(error))
        return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()

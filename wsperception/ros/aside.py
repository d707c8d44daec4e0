"""Work that takes long, such as building an engine, done aside while the node's callbacks go on."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from wsperception.ros.spinning import spin_once

T = TypeVar("T")

TICK_S = 0.05
PROGRESS_PERIOD_S = 5.0
_abandoned: list[Future[Any]] = []


class InterruptionError(Exception):
    """The process is to end; what was done aside has not been waited for."""


class Aside:
    """Does a node's long work in a thread of its own, and tells how long it has taken so far.

    text     what is being done; "" while nothing is
    goes_on  False once the process is to end; whoever spins the node may set it
    """

    def __init__(self, node: Node) -> None:
        self.text = ""
        self.goes_on: Callable[[], bool] = node.context.ok
        self._node = node

    def do(self, what: str, work: Callable[[], T]) -> T:
        """What `work()` gives; `what` it does is told. To be called from a callback of the node.

        Meanwhile the callbacks go on that are in another callback group than that one, or in the same if it is
        reentrant. Raises what `work` raises, and InterruptionError where the process is to end: then the thread is
        left to itself.
        """
        self.text = what
        pool = ThreadPoolExecutor(1, thread_name_prefix="perception-aside")
        future = pool.submit(work)
        pool.shutdown(wait=False)
        start_s = time.monotonic()
        told_s = 0.0
        try:
            with _other_callbacks(self._node) as let_run:
                while not future.done():
                    if not self.goes_on():
                        _abandoned.append(future)
                        raise InterruptionError(f"interrupted while {what}")
                    let_run(future)
                    elapsed_s = time.monotonic() - start_s
                    self.text = f"{what}, {elapsed_s:.0f} s so far"
                    if elapsed_s - told_s >= PROGRESS_PERIOD_S:
                        told_s = elapsed_s
                        self._node.get_logger().info(f"still {self.text}")
        finally:
            self.text = ""
        return future.result()


@contextmanager
def _other_callbacks(node: Node) -> Iterator[Callable[[Future[Any]], object]]:
    """Gives what lets other callbacks run for TICK_S, or until the future is done."""
    outer = node.executor
    if not isinstance(outer, SingleThreadedExecutor):  # other threads run them, or nobody spins
        yield lambda future: wait([future], TICK_S)
        return
    # rclpy's executors are not made to be entered twice, so that a second one takes their nodes for this while.
    inner = SingleThreadedExecutor(context=node.context)
    nodes = outer.get_nodes()
    for entry in nodes:
        inner.add_node(entry)
    try:
        yield lambda _: spin_once(inner, TICK_S)
    finally:
        for entry in nodes:
            outer.add_node(entry)
        inner.shutdown()


def end_process_if_busy(status: int) -> None:
    """Ends the process at once where abandoned work still runs; Python would wait for it, which may take minutes."""
    if any(not future.done() for future in _abandoned):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

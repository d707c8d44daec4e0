"""One step of an executor, which no lifecycle request can break."""

import rclpy
from rclpy.executors import Executor


def spin_once(executor: Executor, timeout_s: float) -> None:
    """Waits for one piece of work and does it."""
    try:
        executor.spin_once(timeout_sec=timeout_s)
    except RuntimeError as error:
        # In Humble and Jazzy a request for a transition that the state does not allow, such as a lifecycle manager's
        # `configure` for a node that has started by itself, raises rclpy's RCLError out of the service's callback,
        # and the node that spins would die of it. The class has no public name; Kilted answers such a request.
        if "lifecycle state machine transition" not in str(error):
            raise
        rclpy.logging.get_logger("wsperception").warning(f"a lifecycle request was refused: {error}")

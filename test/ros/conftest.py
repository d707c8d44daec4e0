"""Fixtures of the ROS tests. Everything stays on this machine: loopback discovery, a random domain, own processes."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # for toy_model and ros_peer

# Before any message class is imported: they read ROS_PYTHON_CHECK_FIELDS at import.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Workers that run beside each other must not meet: random for the run, and one apart from worker to worker.
RUN = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
os.environ["ROS_DOMAIN_ID"] = str(1 + (RUN.randrange(60) + WORKER) % 60)
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(FOLDER.parents[1] / "config/fastdds.xml")
os.environ["WSPERCEPTION_THREADS"] = "1"

try:
    import rclpy  # noqa: F401
    import vision_msgs.msg  # noqa: F401

    HAS_ROS = True
except ImportError:
    HAS_ROS = False

NEEDS_NO_ROS = ("test_launch_files.py", "test_interfaces.py", "test_config.py")
# These import rclpy at their top: without it they cannot even be collected. test_interfaces.py says so in the report.
collect_ignore = [] if HAS_ROS else [path.name for path in FOLDER.glob("test_*.py") if path.name not in NEEDS_NO_ROS]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A hanging executor must not hang the suite."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the toy model: cars and pedestrians, no stuff."""
    from toy_model import write_toy_bundle

    return write_toy_bundle(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def panoptic_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model with a stuff class in its label space."""
    from toy_model import write_toy_bundle

    return write_toy_bundle(tmp_path_factory.mktemp("panoptic"), stuff=("road",))


@pytest.fixture
def peer() -> Iterator[Any]:
    """The other side of the topics, in this process."""
    from ros_peer import Peer

    made = Peer()
    yield made
    made.close()


class Starter:
    """Starts processes of the ROS layer; `end` ends them and shows what they logged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Any] = []

    def __call__(
        self,
        parameters: dict[str, Any],
        arguments: list[str] | None = None,
        module: str = "wsperception.ros.perception_node",
        **environment: str,
    ) -> Any:
        from ros_peer import NodeProcess

        folder = self.folder / f"process-{len(self.started)}"
        folder.mkdir()
        self.started.append(NodeProcess(module, parameters, folder, arguments or [], environment))
        return self.started[-1]

    def end(self) -> None:
        for process in self.started:
            process.stop()
            sys.stdout.write(f"--- {process.log_path.name}\n{process.log}\n")


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Starter]:
    """For a test that needs processes of its own."""
    starter = Starter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """For the tests of a file that can share a process."""
    starter = Starter(tmp_path_factory.mktemp("shared"))
    yield starter
    starter.end()

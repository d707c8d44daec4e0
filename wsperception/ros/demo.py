"""A recorded sequence through live topics: player, node and recorder, each a process of its own."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wsperception.bundle import read_bundle
from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.ros import fastdds

STOP_S = 20.0


@dataclass(frozen=True)
class LiveReport:
    """What came out of a live replay.

    predictions  folder with `<sequence>.txt`, KITTI MOTS text of the frames that came out
    sequence     name of the files
    published    images that the player sent
    received     images whose results the recorder got
    missing      numbers of the frames between them
    latency_ms   p50, p95, p99 from sending an image to having its results
    dropped      images that the node counted as dropped for a newer one while it was busy
    """

    predictions: Path
    sequence: str
    published: int
    received: int
    missing: tuple[int, ...]
    latency_ms: Mapping[str, float]
    dropped: int = 0


def live_demo(bag: Path, bundle: str | Path, out: Path, *, rate: float = 1.0, timeout_s: float = 600.0) -> LiveReport:
    """Plays `bag` at `rate` times its speed to the node with model `bundle`, and records what it publishes in `out`.

    bag        what `wsperception track` reads: rosbag2, KITTI sequence, folder, video
    bundle     folder or name
    timeout_s  the whole replay must end in this time

    Discovery stays on this machine and a random domain keeps strangers out. Raises InputError where `bag` or `bundle`
    is wrong, and where a process cannot do its part, with the last line it said.
    """
    open_source(bag)
    model = read_bundle(bundle).folder.resolve()
    sequence = bag.resolve().name
    out.mkdir(parents=True, exist_ok=True)
    published = out / f"{sequence}.published.csv"
    published.unlink(missing_ok=True)
    environment = live_environment()
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, parameters: Mapping[str, object], *remaps: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"wsperception.ros.{name}", "--ros-args"]
        command += [word for key, value in parameters.items() for word in ("-p", f"{key}:={json.dumps(value)}")]
        command += [word for remap in remaps for word in ("-r", remap)]
        with (out / f"{name}.log").open("w") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment))
        return started[-1]

    try:
        node = start("perception_node", {"model": str(model), "use_sim_time": True})
        outputs = [f"{topic}:=/perception/{topic}" for topic in ("detections", "instance_ids", "label_info")]
        recording = {"out": str(out), "sequence": sequence, "published": str(published)}
        recorder = start("recorder", recording, *outputs)
        playing = {"source": str(bag), "rate": rate, "wait_for": "recorder_ready", "log": str(published)}
        player = start("player", playing)
        _expect_success(player, "player", out, timeout_s)
        _expect_success(recorder, "recorder", out, timeout_s)
        if node.poll() is not None:
            raise InputError(
                f"{out / 'perception_node.log'}: the node ended early: {_last_line(out, 'perception_node')}"
            )
    except subprocess.TimeoutExpired:
        raise InputError(f"{bag}: the live replay did not end in {timeout_s:.0f} s; see the logs in {out}") from None
    finally:
        _stop(started)
    return read_report(out, sequence)


def read_report(out: Path, sequence: str) -> LiveReport:
    """The report that a recorder left in `out`."""
    values = json.loads((out / f"{sequence}.json").read_text())
    dropped = int(values["node"].get("images dropped", 0))
    missing = tuple(values["missing"])
    return LiveReport(out, sequence, values["published"], values["received"], missing, values["latency_ms"], dropped)


def live_environment() -> dict[str, str]:
    """The environment for processes that talk to each other only: loopback, random domain, room for raw images."""
    package = Path(__file__).resolve().parents[2]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    environment["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(61, 100))
    # Newer releases warn about the name that Humble needs.
    older = os.environ.get("ROS_DISTRO") == "humble"
    environment |= {"ROS_LOCALHOST_ONLY": "1"} if older else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    profile = fastdds.profile()
    if profile is not None:
        environment[fastdds.profile_variable()] = str(profile)
    return environment


def _expect_success(process: subprocess.Popen[bytes], name: str, out: Path, timeout_s: float) -> None:
    if process.wait(timeout_s) != 0:
        raise InputError(f"{out / f'{name}.log'}: the {name} failed: {_last_line(out, name)}")


def _last_line(out: Path, name: str) -> str:
    lines = (out / f"{name}.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Interrupts what still runs, and kills what does not end."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""A recording played to the node, recorded, and scored beside the offline run of the same frames.

    ros2 launch wsperception replay.launch.py source:=drive/bags/0000 gt:=drive/training/instances_txt out:=out/replay

`source` is a rosbag2, a KITTI sequence, a folder of images or a video. Without `gt` nothing is scored. Ends by itself;
the exit status is 1 where a part failed.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, SignalProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from wsperception.bundle import read_bundle
from wsperception.errors import InputError
from wsperception.ros import fastdds

SHARE = Path(get_package_share_directory("wsperception"))

ARGUMENTS = {
    "source": (None, "What is played: rosbag2, KITTI sequence, folder of images, video"),
    "out": (None, "Folder for predictions, scores and the report"),
    "gt": ("", "Ground truth in KITTI MOTS form; empty: nothing is scored"),
    "topic": ("", "Image topic of a bag that has several"),
    "rate": ("1.0", "Speed of the replay: 1 as recorded"),
    "params_file": (str(SHARE / "config/perception.yaml"), "YAML file with the node's parameters"),
    "model": ("", "Model bundle: a folder or a name; empty: as in params_file"),
    "backend": ("", "Engine: auto, onnx, tensorrt, ...; empty: as in params_file"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}


def actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    read_bundle(model_name(values))  # what is missing is said before anything is played
    if values["gt"] and not Path(values["gt"]).exists():
        raise InputError(f"gt: {values['gt']}: no such file or folder; expected ground truth in KITTI MOTS form")
    source, live = Path(values["source"]).resolve(), Path(values["out"]).resolve() / "live"
    log = live / f"{source.name}.published.csv"
    log.unlink(missing_ok=True)  # the recorder takes it for the sign that the player has ended
    overrides = {name: values[name] for name in ("model", "backend") if values[name]}
    perception = LifecycleNode(
        package="wsperception",
        executable="perception",
        name="perception",
        namespace="",
        parameters=[values["params_file"], {**overrides, "use_sim_time": True, "autostart": True}],
        arguments=["--ros-args", "--log-level", f"perception:={values['log_level']}"],
        output="screen",
    )
    recorder = Node(
        package="wsperception",
        executable="recorder",
        name="recorder",
        parameters=[{"out": str(live), "sequence": source.name, "published": str(log)}],
        remappings=[(name, f"/perception/{name}") for name in ("detections", "instance_ids", "label_info")],
        output="screen",
    )
    playing = {"source": str(source), "topic": values["topic"], "rate": float(values["rate"]), "log": str(log)}
    player = Node(
        package="wsperception",
        executable="player",
        name="player",
        parameters=[{**playing, "wait_for": "recorder_ready"}],
        output="screen",
    )
    # A chain: the recorder ends when nothing comes any more, then the node, then the scores are made, then all is over.
    end = EmitEvent(event=Shutdown(reason="the replay is over"))
    stop = EmitEvent(event=SignalProcess(signal_number=signal.SIGINT, process_matcher=matches_action(perception)))
    scoring = score(values, source, live) if values["gt"] else None
    chain = [
        (player, "the player", []),
        (perception, "the node", []),
        (recorder, "the recorder", [stop, scoring or end]),
        *([(scoring, "the evaluation", [end])] if scoring is not None else []),
    ]
    handlers = [OnProcessExit(target_action=part, on_exit=after(name, then)) for part, name, then in chain]
    return [perception, recorder, player, *(RegisterEventHandler(handler) for handler in handlers)]


def after(
    name: str, then: list[LaunchDescriptionEntity]
) -> Callable[[ProcessExited, LaunchContext], list[LaunchDescriptionEntity]]:
    """What to do when a part has ended: go on, or end all with exit status 1 where it failed."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:  # the user's Ctrl-C, or another part's failure
            return []
        if event.returncode != 0:  # what a handler raises is launch's only way to another exit status than 0
            raise RuntimeError(f"{name} failed with exit status {event.returncode}; its last line says why")
        return then

    return on_exit


def score(values: dict[str, str], source: Path, live: Path) -> ExecuteProcess:
    """The offline run of the same frames, and the scores of both."""
    command = [sys.executable, "-m", "wsperception.replay", "--source", str(source), "--live", str(live)]
    command += ["--gt", values["gt"], "--model", model_name(values), "--out", str(live.parent)]
    return ExecuteProcess(cmd=command, output="screen")


def model_name(values: dict[str, str]) -> str:
    """The argument `model`, or what the parameter file says, or the node's default."""
    content = yaml.safe_load(Path(values["params_file"]).read_text()) or {}
    named = [(node or {}).get("ros__parameters", {}).get("model") for node in content.values()]
    return values["model"] or next((str(name) for name in named if name), "tiny")


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text) for name, (value, text) in ARGUMENTS.items()
    ]
    # Room for raw images in Fast DDS, unless the user has a profile; without it most of them are lost.
    room = [SetEnvironmentVariable(name, path) for name, path in fastdds.profile_to_set().items()]
    return LaunchDescription([*declared, *room, OpaqueFunction(function=actions)])

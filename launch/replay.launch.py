"""A recording played to the node, recorded, and scored beside the offline run of the same frames.

    ros2 launch wsperception replay.launch.py source:=drive/bags/0000 gt:=drive/training/instances_txt out:=out/replay

`source` is a rosbag2, a KITTI sequence, a folder of images or a video. Without `gt` nothing is scored.
"""

import os
import signal
import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
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
from launch.events.process import SignalProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

SHARE = Path(get_package_share_directory("wsperception"))
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
OLDER_RELEASES = ("humble", "iron")

ARGUMENTS = {
    "source": (None, "What is played: rosbag2, KITTI sequence, folder of images, video"),
    "out": (None, "Folder for predictions, scores and the report"),
    "gt": ("", "Ground truth in KITTI MOTS form; empty: nothing is scored"),
    "topic": ("", "Image topic of a bag that has several"),
    "rate": ("1.0", "Speed of the replay: 1 as recorded"),
    "params_file": (str(SHARE / "config/perception.yaml"), "YAML file with the node's parameters"),
    "model": ("tiny", "Model bundle: a folder or a name"),
    "backend": ("auto", "Engine: auto, onnx, tensorrt, ..."),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}


def actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    source, live = Path(values["source"]).resolve(), Path(values["out"]).resolve() / "live"
    log = str(live / f"{source.name}.published.csv")
    level = ["--ros-args", "--log-level", f"perception:={values['log_level']}"]
    perception = LifecycleNode(
        package="wsperception",
        executable="perception",
        name="perception",
        namespace="",
        parameters=[
            values["params_file"],
            {"model": values["model"], "backend": values["backend"], "use_sim_time": True, "autostart": True},
        ],
        arguments=level,
        output="screen",
    )
    recorder = Node(
        package="wsperception",
        executable="recorder",
        name="recorder",
        parameters=[{"out": str(live), "sequence": source.name, "published": log}],
        remappings=[(name, f"/perception/{name}") for name in ("detections", "instance_ids", "label_info")],
        output="screen",
    )
    player = Node(
        package="wsperception",
        executable="player",
        name="player",
        parameters=[
            {
                "source": str(source),
                "topic": values["topic"],
                "rate": float(values["rate"]),
                "wait_for": "recorder_ready",
                "log": log,
            }
        ],
        output="screen",
    )
    end = EmitEvent(event=Shutdown(reason="the replay is over"))
    # A chain: the recorder ends when nothing comes any more, then the node, then the scores are made, then all is over.
    scoring = score(values, source, live) if values["gt"] else None
    stop = EmitEvent(event=SignalProcess(signal_number=signal.SIGINT, process_matcher=matches_action(perception)))
    chain = [RegisterEventHandler(OnProcessExit(target_action=recorder, on_exit=[stop, scoring or end]))]
    if scoring is not None:
        chain.append(RegisterEventHandler(OnProcessExit(target_action=scoring, on_exit=[end])))
    return [perception, recorder, player, *chain]


def score(values: dict[str, str], source: Path, live: Path) -> ExecuteProcess:
    """The offline run of the same frames, and the scores of both."""
    command = [sys.executable, "-m", "wsperception.replay", "--source", str(source), "--live", str(live)]
    command += ["--gt", values["gt"], "--model", values["model"], "--out", str(live.parent)]
    return ExecuteProcess(cmd=command, output="screen")


def fast_dds() -> list[LaunchDescriptionEntity]:
    """Room for raw images in Fast DDS, unless the user has a profile; without it most of them are lost."""
    if any(name in os.environ for name in PROFILE_VARIABLES):
        return []
    name = PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") in OLDER_RELEASES]
    return [SetEnvironmentVariable(name, str(SHARE / "config/fastdds.xml"))]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text) for name, (value, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, *fast_dds(), OpaqueFunction(function=actions)])

"""The perception node on a robot.

    ros2 launch wsperception mots.launch.py image_topic:=/camera/image_raw
    ros2 launch wsperception mots.launch.py cameras:='[front, left]' image_topic:=image_raw rviz:=true

Arguments left empty keep the value of the parameter file.
"""

import os
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from wsperception.ros import fastdds

SHARE = Path(get_package_share_directory("wsperception"))

ARGUMENTS = {
    "params_file": (str(SHARE / "config/perception.yaml"), "YAML file with the node's parameters"),
    "model": ("", "Model bundle: a folder or a name; empty: as in params_file"),
    "backend": ("", "Engine: auto, onnx, tensorrt, ...; empty: as in params_file"),
    "image_topic": ("image", "Topic of the images; with cameras: the part behind the camera's name"),
    "namespace": ("", "Namespace of the node and of relative topics"),
    "cameras": ("", "Camera names, '[front, left]': one process, a set of topics each; empty: as in params_file"),
    "use_sim_time": ("false", "Take the time from /clock"),
    "autostart": ("", "Configure and activate at start; empty: as in params_file"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rviz": ("false", "Also start RViz with a view of image, masks and ids"),
}


def overrides(values: dict[str, str]) -> dict[str, object]:
    """Parameters that the launch arguments change; what is empty is left to the parameter file."""
    changed: dict[str, object] = {name: values[name] for name in ("model", "backend") if values[name]}
    if values["autostart"]:
        changed["autostart"] = is_true(values["autostart"])
    if values["cameras"]:
        changed["cameras"] = camera_names(values)
    changed["use_sim_time"] = is_true(values["use_sim_time"])
    return changed


def camera_names(values: dict[str, str]) -> list[str]:
    """Names of the argument `cameras`, which may be written with or without brackets; of the file where it is empty."""
    if values["cameras"]:
        return [str(name) for name in yaml.safe_load(f"[{values['cameras'].strip('[] ')}]")]
    content = yaml.safe_load(Path(values["params_file"]).read_text()) or {}
    for node in content.values():
        names = (node or {}).get("ros__parameters", {}).get("cameras")
        if names:
            return [str(name) for name in names]
    return [""]


def remappings(values: dict[str, str]) -> list[tuple[str, str]]:
    """Each camera's `image` to the topic that the driver publishes."""
    topic = values["image_topic"]
    names = camera_names(values)
    if names == [""]:
        return [("image", topic)]
    return [(f"{name}/image", f"{name}/{topic.lstrip('/')}") for name in names]


def view_remappings(values: dict[str, str]) -> list[tuple[str, str]]:
    """What rviz/mots.rviz shows, to the topics of the first camera."""
    place = "/" + values["namespace"].strip("/") if values["namespace"].strip("/") else ""
    camera = camera_names(values)[0]
    topic = remappings(values)[0][1]
    node = f"{place}/perception" + (f"/{camera}" if camera else "")
    return [
        ("image", topic if topic.startswith("/") else f"{place}/{topic}"),
        *((f"/perception/{name}", f"{node}/{name}") for name in ("overlay", "instance_ids")),
    ]


def is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on")


def actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    logger = ".".join(filter(None, [*values["namespace"].strip("/").split("/"), "perception"]))
    nodes: list[LaunchDescriptionEntity] = [
        LifecycleNode(
            package="wsperception",
            executable="perception",
            name="perception",
            namespace=values["namespace"],
            parameters=[values["params_file"], overrides(values)],
            remappings=remappings(values),
            arguments=["--ros-args", "--log-level", f"{logger}:={values['log_level']}"],
            output="screen",
        )
    ]
    if is_true(values["rviz"]):
        nodes.append(rviz(values))
    return nodes


def rviz(values: dict[str, str]) -> LaunchDescriptionEntity:
    """RViz with our view. Launch would end over a missing package and leave the node behind as an orphan."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        distribution = os.environ.get("ROS_DISTRO", "<distro>")
        return LogInfo(msg=f"no RViz: rviz2 is not installed; sudo apt install ros-{distribution}-rviz2")
    view = str(SHARE / "rviz/mots.rviz")
    return Node(package="rviz2", executable="rviz2", arguments=["-d", view], remappings=view_remappings(values))


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text) for name, (value, text) in ARGUMENTS.items()
    ]
    # Room for raw images in Fast DDS, unless the user has a profile; without it most of them are lost.
    room = [SetEnvironmentVariable(name, path) for name, path in fastdds.profile_to_set().items()]
    return LaunchDescription([*declared, *room, OpaqueFunction(function=actions)])

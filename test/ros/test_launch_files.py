"""The launch files, as far as they can be tried without ROS's launch; with it, they are run."""

import ast
import importlib.util
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
MOTS, REPLAY = REPOSITORY / "launch/mots.launch.py", REPOSITORY / "launch/replay.launch.py"
HAS_LAUNCH = importlib.util.find_spec("launch_ros") is not None


def parts(path: Path, *wanted: str) -> dict:
    """Functions and constants of a launch file, without running its imports of launch."""
    tree = ast.parse(path.read_text())
    kept = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name in wanted)
        or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in wanted)
    ]
    scope = {"Path": Path, "yaml": yaml, "SHARE": REPOSITORY}
    exec(compile(ast.Module(kept, []), str(path), "exec"), scope)
    return scope


@pytest.fixture
def mots():
    return parts(MOTS, "ARGUMENTS", "overrides", "camera_names", "remappings", "view_remappings", "is_true")


@pytest.fixture
def replay():
    return parts(REPLAY, "ARGUMENTS", "model_name")


def values(mots, **changes):
    return {name: value for name, (value, _) in mots["ARGUMENTS"].items()} | changes


def test_arguments(mots):
    assert set(mots["ARGUMENTS"]) == {
        "params_file",
        "model",
        "backend",
        "image_topic",
        "namespace",
        "cameras",
        "use_sim_time",
        "autostart",
        "log_level",
        "rviz",
    }
    assert Path(mots["ARGUMENTS"]["params_file"][0]) == REPOSITORY / "config/perception.yaml"


def test_without_arguments_the_parameter_file_rules(mots):
    assert mots["overrides"](values(mots)) == {"use_sim_time": False}
    assert mots["remappings"](values(mots)) == [("image", "image")]


def test_arguments_change_parameters_that_there_are(mots):
    changed = mots["overrides"](
        values(mots, model="tiny", backend="onnx", cameras="[front, left]", autostart="false", use_sim_time="true")
    )
    assert changed == {
        "model": "tiny",
        "backend": "onnx",
        "cameras": ["front", "left"],
        "autostart": False,
        "use_sim_time": True,
    }
    known = yaml.safe_load((REPOSITORY / "config/perception.yaml").read_text())["/**"]["ros__parameters"]
    assert set(changed) - {"use_sim_time"} <= set(known)


@pytest.mark.parametrize("cameras", ["[front, left]", "front, left", "['front','left']", "front,left"])
def test_cameras_may_be_written_as_a_person_would(mots, cameras):
    given = values(mots, cameras=cameras, image_topic="image_raw")
    assert mots["remappings"](given) == [("front/image", "front/image_raw"), ("left/image", "left/image_raw")]


def test_cameras_of_the_parameter_file(mots, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("/**:\n  ros__parameters:\n    cameras: [rear]\n")
    given = values(mots, params_file=str(path), image_topic="image_raw")
    assert mots["remappings"](given) == [("rear/image", "rear/image_raw")]


@pytest.mark.parametrize(
    ("changes", "place", "topic"),
    [
        ({"image_topic": "/front/image_raw"}, "/perception", "/front/image_raw"),
        ({"image_topic": "image_raw", "namespace": "robot/"}, "/robot/perception", "/robot/image_raw"),
        ({"cameras": "[front, left]", "image_topic": "/raw"}, "/perception/front", "/front/raw"),
    ],
)
def test_the_view_shows_the_first_camera(mots, changes, place, topic):
    view = (REPOSITORY / "rviz/mots.rviz").read_text()
    renamed = dict(mots["view_remappings"](values(mots, **changes)))
    assert renamed == {
        "image": topic,
        "/perception/overlay": f"{place}/overlay",
        "/perception/instance_ids": f"{place}/instance_ids",
    }
    assert all(f"Value: {name}\n" in view for name in renamed)


def test_both_files_give_fast_dds_room():
    for path in (MOTS, REPLAY):
        assert "fastdds.profile_to_set()" in path.read_text()


def test_replay_takes_model_and_backend_from_the_parameter_file_too(replay, tmp_path):
    assert (replay["ARGUMENTS"]["model"][0], replay["ARGUMENTS"]["backend"][0]) == ("", "")
    mine, empty = tmp_path / "my.yaml", tmp_path / "empty.yaml"
    mine.write_text("/**:\n  ros__parameters:\n    model: mine\n")
    empty.write_text("/**:\n  ros__parameters:\n    threads: 1\n")
    named = [
        replay["model_name"](values(replay, params_file=str(path), model=model))
        for path, model in ((mine, ""), (mine, "other"), (empty, ""))
    ]
    known = yaml.safe_load((REPOSITORY / "config/perception.yaml").read_text())["/**"]["ros__parameters"]
    assert named == ["mine", "other", known["model"]]


def test_replay_s_nodes_exist():
    text = REPLAY.read_text()
    for name in ("perception", "recorder", "player"):
        assert f'executable="{name}"' in text
        module = "perception_node" if name == "perception" else name
        assert (REPOSITORY / f"wsperception/ros/{module}.py").is_file()


@pytest.mark.skipif(not HAS_LAUNCH, reason="launch_ros is not installed: it comes with ROS 2, not with the wheels")
@pytest.mark.parametrize("path", [MOTS, REPLAY])
def test_launch_reads_the_file(path):
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(path))
    declared = {entity.name for entity in description.entities if isinstance(entity, DeclareLaunchArgument)}
    assert {"params_file", "model", "backend", "log_level"} <= declared

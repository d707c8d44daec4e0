"""config/, rviz/ and foxglove/: what is written there is what the code says."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from wsperception.pipeline import PipelineSettings
from wsperception.settings import from_mapping, to_mapping

REPOSITORY = Path(__file__).parents[2]
OUTPUTS = {"/perception/overlay", "/perception/instance_ids", "/perception/detections", "/diagnostics"}

# Values that belong to the model (its bundle.json); a file of defaults must not overrule them.
FROM_THE_MODEL = {
    ("tracker", "min_score"),
    ("tracker", "min_similarity"),
    ("fusion", "mask_threshold"),
    ("fusion", "min_visible"),
    ("fusion", "min_certainty"),
}


def written() -> dict:
    content = yaml.safe_load((REPOSITORY / "config/perception.yaml").read_text())
    assert list(content) == ["/**"]
    return content["/**"]["ros__parameters"]


def leaves(values: dict, prefix: tuple[str, ...] = ()) -> dict:
    """Path -> value of every value of a nested mapping."""
    found = {}
    for name, value in values.items():
        path = (*prefix, name)
        found |= leaves(value, path) if isinstance(value, dict) else {path: value}
    return found


def test_pipeline_values_are_the_defaults_of_the_code():
    defaults = leaves(to_mapping(PipelineSettings()))
    values = leaves(written()["pipeline"])
    assert set(defaults) >= FROM_THE_MODEL
    assert values == {path: default for path, default in defaults.items() if path not in FROM_THE_MODEL}


def test_node_values_are_the_defaults_of_the_code():
    parameters = pytest.importorskip("wsperception.ros.parameters", reason="rclpy is not installed")
    values = written()
    assert values.pop("diagnostics") == to_mapping(parameters.DiagnosticSettings())
    del values["pipeline"]
    assert values == to_mapping(parameters.NodeSettings())
    assert from_mapping(parameters.NodeSettings, values, "perception.yaml") == parameters.NodeSettings()
    assert {field.name for field in dataclasses.fields(parameters.NodeSettings)} == set(values)


def test_fast_dds_has_room_for_raw_images():
    space = {"dds": "http://www.eprosima.com"}
    root = ElementTree.parse(REPOSITORY / "config/fastdds.xml").getroot()
    sizes = {
        element.findtext("dds:type", namespaces=space): element
        for element in root.iter("{http://www.eprosima.com}transport_descriptor")
    }
    shared = sizes["SHM"]
    message = int(shared.findtext("dds:maxMessageSize", namespaces=space))
    assert message >= 1242 * 375 * 3 * 2  # a KITTI image in 16-bit colour
    assert int(shared.findtext("dds:segment_size", namespaces=space)) >= 4 * message
    assert "UDPv4" in sizes


def test_views_show_topics_that_the_node_publishes():
    view = yaml.safe_load((REPOSITORY / "rviz/mots.rviz").read_text())
    shown = {display["Topic"]["Value"] for display in view["Visualization Manager"]["Displays"]}
    assert shown == {"image", "/perception/overlay", "/perception/instance_ids"}
    layout = json.loads((REPOSITORY / "foxglove/mots.json").read_text())
    text = json.dumps(layout["configById"])
    assert all(topic in text for topic in OUTPUTS)

    def panels(part):
        return {part} if isinstance(part, str) else panels(part["first"]) | panels(part["second"])

    assert panels(layout["layout"]) == set(layout["configById"])

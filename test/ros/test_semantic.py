"""The node with a panoptic model: every pixel has its class, things keep their ids, and stuff is no detection."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from ros_peer import Results, header, image, pixels
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from toy_model import HEIGHT, WIDTH, picture, write_toy_bundle
from vision_msgs.msg import LabelInfo

from wsperception.bundle import SEMANTIC, read_bundle, write_bundle
from wsperception.ros import qos

FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
BLUE = (0, 0, 255)
CAR, PEDESTRIAN, ROAD, SKY = range(4)
HORIZON = 24


def write_panoptic_bundle(folder: Path) -> Path:
    """The toy model with a semantic branch: pure blue is sky, pure red and green are things, the rest is road.

    The probability of a class in a cell is its share of the cell's 16 pixels.
    """
    source = read_bundle(write_toy_bundle(folder, stuff=("road", "sky")))
    model = onnx.load(str(source.onnx_path))
    graph = model.graph
    constants = {
        "blue_colour": np.array(BLUE, np.uint8),
        "channel": np.array([1], np.int64),
        "white": np.array([255.0], np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    graph.node.extend(
        [
            helper.make_node("Equal", ["images", "blue_colour"], ["blue_equal"]),
            helper.make_node("Cast", ["blue_equal"], ["blue_channels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMin", ["blue_channels", "last"], ["blue_mask"], keepdims=0),  # (1, h, w)
            helper.make_node("Add", ["red_mask", "green_mask"], ["thing_mask"]),
            helper.make_node("Add", ["thing_mask", "blue_mask"], ["other_mask"]),
            helper.make_node("Sub", ["one", "other_mask"], ["road_mask"]),
            *(
                helper.make_node("Unsqueeze", [f"{name}_mask", "channel"], [f"{name}_plane"])
                for name in ("thing", "road", "blue")
            ),
            helper.make_node("Concat", ["thing_plane", "road_plane", "blue_plane"], ["planes"], axis=1),
            helper.make_node("AveragePool", ["planes"], ["shares"], kernel_shape=[4, 4], strides=[4, 4]),
            helper.make_node("Mul", ["shares", "white"], ["bytes"]),
            helper.make_node("Cast", ["bytes"], [SEMANTIC], to=TensorProto.UINT8),
        ]
    )
    graph.output.append(helper.make_tensor_value_info(SEMANTIC, TensorProto.UINT8, [1, 3, HEIGHT // 4, WIDTH // 4]))
    onnx.checker.check_model(model)
    path = folder / "panoptic.onnx"
    onnx.save(model, path)
    bundle = dataclasses.replace(source, name="toy-panoptic", outputs=(*source.outputs, SEMANTIC))
    return write_bundle(folder / "toy-panoptic", path, bundle).folder


@pytest.fixture(scope="module")
def node(start_shared, tmp_path_factory):
    """One node for the tests of this file."""
    return start_shared({"model": write_panoptic_bundle(tmp_path_factory.mktemp("model"))})


@pytest.fixture
def camera(peer, node):
    """Publisher of images, with the node's tracks forgotten."""
    peer.until_state("active")
    publisher = peer.publisher(Image, "/image")
    assert peer.call(Trigger, "/perception/reset", Trigger.Request()).success
    return publisher


def street(car: tuple[int, int, int, int], walker: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Sky above the horizon, road below, and a car and perhaps a pedestrian before them."""
    painted = picture(car, walker)
    sky = painted[:HORIZON]
    sky[(sky == 90).all(axis=2)] = BLUE
    return painted


def test_every_pixel_has_its_class_and_ids_stay(peer, camera):
    semantic = peer.listen(Image, "/perception/semantic")
    results = Results(peer, camera, "/perception/", semantic)
    # A car of 20 x 16 drives 4 pixels a frame, half of it before the sky; a pedestrian of 8 x 20 comes in the second
    # frame. Their edges lie on edges of cells, so the map is exact.
    cars = [(8 + 4 * number, 16, 28 + 4 * number, 32) for number in range(4)]
    walkers = [None, *[(60, 24 - 4 * number, 68, 44 - 4 * number) for number in range(3)]]
    for number, (car, walker) in enumerate(zip(cars, walkers, strict=True)):
        camera.publish(image(street(car, walker), FIRST_NS + number * STEP_NS))
        results.until(peer, number + 1)
        peer.until(lambda count=number + 1: len(semantic) >= count, "semantic")
    for number, (car, walker) in enumerate(zip(cars, walkers, strict=True)):
        classes, ids = np.full((HEIGHT, WIDTH), ROAD, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint16)
        classes[:HORIZON] = SKY
        for box, class_id, track_id in ((car, CAR, 1), (walker, PEDESTRIAN, 2)):
            if box is not None:
                x0, y0, x1, y1 = box
                classes[y0:y1, x0:x1], ids[y0:y1, x0:x1] = class_id, track_id
        message = semantic.messages[number]
        assert (message.encoding, message.step, message.header) == ("mono8", WIDTH, header(FIRST_NS + number * STEP_NS))
        np.testing.assert_array_equal(pixels(message), classes)
        np.testing.assert_array_equal(pixels(results.ids.messages[number]), ids)
        found = results.detections.messages[number].detections
        assert [entry.id for entry in found] == (["1"] if walker is None else ["1", "2"])  # no stuff among them


def test_label_info_names_things_and_stuff(peer, camera):
    received = peer.listen(LabelInfo, "/perception/label_info", qos.latched())
    peer.until(lambda: len(received) == 1, "label info")
    assert [(entry.class_id, entry.class_name) for entry in received.messages[0].class_map] == [
        (0, "car"),
        (1, "pedestrian"),
        (2, "road"),
        (3, "sky"),
    ]


def test_the_overlay_tints_stuff(peer, camera):
    overlay = peer.listen(Image, "/perception/overlay")
    peer.connect(camera, overlay)
    painted = street((8, 16, 28, 32))
    camera.publish(image(painted, FIRST_NS))
    peer.until(lambda: len(overlay) == 1, "overlay")
    drawn, shown = pixels(overlay.messages[0]), pixels(image(painted, FIRST_NS))
    # Away from the edge between the two and from every plate.
    assert (drawn[40, 60] != shown[40, 60]).any()
    assert np.abs(drawn[40, 60].astype(int) - shown[40, 60]).max() < 60

"""Type, encoding, header, QoS and content of every output of the node, between two processes."""

import numpy as np
from ros_peer import Results, header, image
from sensor_msgs.msg import Image
from toy_model import HEIGHT, WIDTH, picture
from vision_msgs.msg import LabelInfo

from wsperception.data.image_encodings import pixel_view
from wsperception.ros import messages, qos


def pixels(message):
    return pixel_view(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )


def test_detections_and_ids_of_two_objects(peer, start_node, toy_bundle):
    start_node({"model": toy_bundle})
    peer.until_state("active")
    results = Results(peer)
    camera = peer.publisher(Image, "/image")
    # Red x 10..30, y 5..20: centre (20, 12.5), 20 x 15. Green x 50..56, y 8..40: centre (53, 24), 6 x 32.
    camera.publish(image(picture((10, 5, 30, 20), (50, 8, 56, 40)), 1_700_000_000_123_456_789))
    peer.until(lambda: len(results.detections) and len(results.ids), "detections and ids")
    message, ids = results.detections.messages[0], results.ids.messages[0]
    assert message.header == ids.header == header(1_700_000_000_123_456_789)
    red, green = message.detections
    assert (red.id, green.id) == ("1", "2")
    assert red.header == green.header == message.header
    assert (red.bbox.center.position.x, red.bbox.center.position.y, red.bbox.center.theta) == (20.0, 12.5, 0.0)
    assert (red.bbox.size_x, red.bbox.size_y) == (20.0, 15.0)
    assert (green.bbox.center.position.x, green.bbox.center.position.y) == (53.0, 24.0)
    assert [len(detection.results) for detection in (red, green)] == [1, 1]
    assert (red.results[0].hypothesis.class_id, green.results[0].hypothesis.class_id) == ("0", "1")
    assert abs(red.results[0].hypothesis.score - 0.95) < 1e-6
    assert (ids.encoding, ids.height, ids.width, ids.step) == ("mono16", HEIGHT, WIDTH, 2 * WIDTH)
    expected = np.zeros((HEIGHT, WIDTH), np.uint16)
    expected[5:20, 10:30], expected[8:40, 50:56] = 1, 2
    np.testing.assert_array_equal(pixels(ids), expected)

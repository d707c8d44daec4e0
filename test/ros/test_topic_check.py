"""What the doctor sees of a camera's topic."""

import threading

import pytest
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from ros_peer import WAIT_S, Peer, header, image
from sensor_msgs.msg import Image
from std_msgs.msg import String
from toy_model import HEIGHT, WIDTH, picture

from wsperception.findings import ERROR, OK, WARN
from wsperception.ros import fastdds, topic_check
from wsperception.ros.topic_check import check_middleware, check_topics


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Discovery is slow where a dozen jobs share two cores."""
    monkeypatch.setattr(topic_check, "DISCOVERY_S", WAIT_S)


@pytest.fixture
def driver():
    """Publishes an image every 50 ms, in a thread of its own, from when it is started."""
    peer, stop, threads = Peer("driver"), threading.Event(), []

    def start(topic, make, kind=Image, profile: QoSProfile = qos_profile_sensor_data):
        publisher = peer.node.create_publisher(kind, topic, profile)

        def run():
            while not stop.wait(0.05):
                publisher.publish(make(peer.node.get_clock().now().nanoseconds))

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()
    peer.close()


def levels(findings):
    return [finding.level for finding in findings]


def test_a_healthy_camera(driver):
    driver("/cam/image", lambda now_ns: image(picture(), now_ns, "cam"))
    findings = check_topics("/cam/image", 1.0)
    assert levels(findings) == [OK, OK]
    assert findings[0].text.startswith("sensor_msgs/msg/Image from ")
    assert findings[0].text.endswith(", best_effort volatile: matches the node")
    assert f"Hz, {WIDTH} x {HEIGHT} bgr8, frame_id 'cam'" in findings[1].text


def test_the_image_topics_are_listed(driver):
    driver("/cam/image", lambda now_ns: image(picture(), now_ns, "cam"))
    (finding,) = check_topics(None, 0.1)
    assert (finding.level, finding.text) == (OK, "/cam/image (Image)")


def test_nobody_publishes(monkeypatch):
    monkeypatch.setattr(topic_check, "DISCOVERY_S", 0.3)
    (finding,) = check_topics("/nothing", 0.1)
    assert finding.level == ERROR and "nobody publishes it" in finding.text and finding.advice


def test_a_subscriber_that_hears_nothing_is_named(driver):
    driver("/cam/image", lambda now_ns: image(picture(), now_ns))
    listener = Peer("demanding")
    listener.node.create_subscription(Image, "/cam/image", lambda _: None, QoSProfile(depth=1))  # reliable
    listener.until(lambda: listener.node.count_publishers("/cam/image") > 0, "the driver")
    findings = check_topics("/cam/image", 3.0)
    listener.close()
    assert levels(findings) == [OK, ERROR, OK]
    wanted = " asks for reliable volatile, driver offers best_effort volatile: it hears nothing"
    assert wanted in findings[1].text and "qos_overrides./cam/image.subscription" in findings[1].advice


def test_another_type(driver):
    driver("/cam/image", lambda _: String(data="no image"), String)
    (finding,) = check_topics("/cam/image", 0.1)
    assert finding.level == ERROR and finding.text == "is a std_msgs/msg/String"
    assert "expected sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage" in finding.advice


def test_an_encoding_that_nobody_knows(driver):
    def odd(now_ns):
        message = image(picture(), now_ns)
        message.encoding = "thermal12"
        return message

    driver("/cam/image", odd)
    findings = check_topics("/cam/image", 1.0)
    assert levels(findings) == [OK, ERROR] and "image encoding 'thermal12'" in findings[1].text


@pytest.mark.parametrize(
    ("stamp_ns", "text"), [(0, "carry no stamp"), (1_000_000_000, "s old when they arrive")], ids=["none", "old"]
)
def test_stamps_that_are_of_no_use(driver, stamp_ns, text):
    driver("/cam/image", lambda _: image(picture(), stamp_ns))
    findings = check_topics("/cam/image", 1.0)
    assert levels(findings) == [OK, OK, WARN] and text in findings[2].text
    assert header(stamp_ns).stamp.nanosec == 0


def test_a_camera_that_is_off(driver):
    peer = Peer("silent")
    peer.node.create_publisher(Image, "/cam/image", qos_profile_sensor_data)
    findings = check_topics("/cam/image", 0.3)
    peer.close()
    assert levels(findings) == [OK, ERROR] and "no image in 0.3 s" in findings[1].text


@pytest.mark.parametrize(
    ("distribution", "variable", "other"),
    [
        (None, "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"),  # wheels: Kilted
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_the_profile_of_fast_dds(monkeypatch, tmp_path, distribution, variable, other):
    monkeypatch.setattr(topic_check, "get_rmw_implementation_identifier", lambda: "rmw_fastrtps_cpp")
    if distribution is None:
        monkeypatch.delenv("ROS_DISTRO", raising=False)
    else:
        monkeypatch.setenv("ROS_DISTRO", distribution)
    monkeypatch.setenv(variable, str(tmp_path / "gone.xml"))
    assert levels(check_middleware()) == [OK, ERROR]
    assert fastdds.profile_to_set() == {}
    (tmp_path / "gone.xml").write_text("")
    assert levels(check_middleware()) == [OK, OK]
    monkeypatch.delenv(variable)
    monkeypatch.setenv(other, str(tmp_path / "gone.xml"))  # which this release does not read
    finding = check_middleware()[1]
    assert finding.level == WARN and finding.advice.startswith(f"export {variable}=")
    ours = fastdds.profile()
    assert ours is not None and ours.name == "fastdds.xml" and fastdds.profile_to_set() == {variable: str(ours)}
    monkeypatch.setattr(topic_check, "get_rmw_implementation_identifier", lambda: "rmw_cyclonedds_cpp")
    assert levels(check_middleware()) == [OK]

"""The latest-frame policy: one place per camera, never a queue."""

import threading
import time

import pytest
from sensor_msgs.msg import Image

from wsperception.ros import inbox as inboxes
from wsperception.ros.inbox import Arrival, Inbox


def arrival(camera, number):
    return Arrival(camera, Image(width=number), 0.0)


def widths(taken):
    return [(entry.camera, entry.message.width) for entry in taken]


def test_a_newer_image_replaces_one_that_waits():
    inbox = Inbox(("front",))
    assert [inbox.put(arrival("front", number)) for number in (1, 2, 3)] == [False, True, True]
    assert widths(inbox.take(0.0, 0.0)) == [("front", 3)]
    assert inbox.take(0.0, 0.0) == []
    assert inbox.put(arrival("front", 4)) is False


def test_each_camera_has_its_place_and_the_order_is_that_of_the_cameras():
    inbox = Inbox(("front", "left"))
    inbox.put(arrival("left", 1))
    inbox.put(arrival("front", 2))
    assert widths(inbox.take(10.0, 0.0)) == [("front", 2), ("left", 1)]  # complete: no waiting


def test_a_silent_camera_is_not_waited_for_longer_than_the_window():
    inbox = Inbox(("front", "left"))
    inbox.put(arrival("front", 1))
    assert widths(inbox.take(0.01, 10.0)) == [("front", 1)]


def test_the_window_collects_what_comes_a_little_later():
    inbox = Inbox(("front", "left"))
    inbox.put(arrival("front", 1))
    threading.Timer(0.05, lambda: inbox.put(arrival("left", 2))).start()
    assert widths(inbox.take(10.0, 10.0)) == [("front", 1), ("left", 2)]


def test_taking_waits_for_an_image():
    inbox = Inbox(("front",))
    threading.Timer(0.05, lambda: inbox.put(arrival("front", 1))).start()
    assert widths(inbox.take(0.0, 10.0)) == [("front", 1)]


def test_closing_wakes_the_worker_and_forgets_what_waits():
    inbox = Inbox(("front",))
    threading.Timer(0.05, inbox.close).start()
    start = time.monotonic()
    assert inbox.take(0.0, 10.0) == []
    assert time.monotonic() - start < 9
    assert inbox.is_closed
    inbox.put(arrival("front", 1))
    assert inbox.take(0.0, 0.0) == []


@pytest.fixture
def patient(monkeypatch):
    """Whoever waits for the worker waits long, so that the order of events shows."""
    monkeypatch.setattr(inboxes, "HANDOVER_S", 30.0)


def wait_idle(inbox):
    deadline = time.monotonic() + 10
    while not inbox._is_idle and time.monotonic() < deadline:
        time.sleep(0.001)


def test_putting_waits_until_an_idle_worker_has_begun(patient):
    inbox, events = Inbox(("front",)), []

    def work():
        inbox.take(0.0, 10.0)
        time.sleep(0.05)
        events.append("begun")
        inbox.begun()

    worker = threading.Thread(target=work)
    worker.start()
    wait_idle(inbox)
    inbox.put(arrival("front", 1))
    events.append("put")
    worker.join()
    assert events == ["begun", "put"]


def test_putting_does_not_wait_for_a_busy_worker(patient):
    inbox = Inbox(("front",))
    start = time.monotonic()
    inbox.put(arrival("front", 1))
    inbox.take(0.0, 0.0)  # busy from here on
    inbox.put(arrival("front", 2))
    assert time.monotonic() - start < 20


def test_putting_does_not_wait_while_another_camera_is_awaited(patient):
    inbox = Inbox(("front", "left"))

    def work() -> None:
        inbox.take(30.0, 30.0)
        inbox.begun()

    worker = threading.Thread(target=work)
    worker.start()
    wait_idle(inbox)
    start = time.monotonic()
    inbox.put(arrival("front", 1))
    assert time.monotonic() - start < 20
    inbox.put(arrival("left", 2))
    worker.join()


def test_putting_does_not_wait_for_a_worker_that_dies():
    inbox = Inbox(("front",))
    worker = threading.Thread(target=inbox.take, args=(0.0, 10.0))  # never begins
    worker.start()
    wait_idle(inbox)
    start = time.monotonic()
    inbox.put(arrival("front", 1))
    assert time.monotonic() - start < 20
    worker.join()

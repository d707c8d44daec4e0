"""The page in a real browser: nothing is lost over reloads, tabs, full disks and servers that end; and its clock."""

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from desk import Desk
from devtools import label_server
from labels_server import running_server
from moving_square import SQUARE

from wsperception.data.label_file import read_label_file


def test_a_reload_loses_nothing(desk):
    desk.drag(*SQUARE)
    desk.page.key("2")
    desk.click(150, 90)
    desk.page.reload()
    assert desk.text("#objects").split() == ["pedestrian", "1", "box", "pedestrian", "2", "point"]
    assert desk.boxes() == [("pedestrian", 1, SQUARE)]
    desk.drag(100, 20, 140, 60)  # and the next id is known
    assert desk.boxes()[1] == ("car", 3, (100, 20, 140, 60))


def test_time_is_booked_on_what_was_done(desk):
    desk.drag(*SQUARE)
    time.sleep(1.2)
    desk.click(150, 90)
    desk.page.key("1", "Shift")
    time.sleep(1.2)
    desk.page.mouse("hover", *desk.at(10, 10))
    desk.page.key("d")
    seconds = desk.saved().seconds
    assert seconds["points"] >= 1.1 and seconds["review"] >= 1.1
    assert {"boxes", "tags"} <= set(seconds)
    assert "points" in desk.text("#clock") and "per labelled frame" in desk.text("#clock")


def test_two_tabs(desk, browser):
    other = browser.new_page()
    other.open(desk.url)
    desk.drag(*SQUARE)
    assert len(desk.boxes()) == 1
    other.click(*Desk(other, desk.url, desk.folder).at(150, 90))
    other.wait_for("!document.getElementById('banner').hidden")
    banner = other.evaluate("document.getElementById('banner').innerText")
    assert "Frame 0 was changed in another tab. Your change is not saved yet." in banner
    assert other.evaluate("document.getElementById('saved').innerText") == "not saved (1 frame)"
    assert desk.saved().points is None
    other.evaluate(
        "[...document.querySelectorAll('#banner button')].find((b) => b.innerText === 'Take theirs').click()"
    )
    other.wait_for("document.getElementById('banner').hidden")
    assert other.evaluate("document.getElementById('objects').innerText").split() == ["car", "1", "box"]
    # The other way round: the first tab has not seen what the second does now.
    other.click(*Desk(other, desk.url, desk.folder).at(150, 90))
    other.wait_for("document.getElementById('saved').dataset.state === 'idle'")
    desk.page.key("2")
    desk.page.wait_for("!document.getElementById('banner').hidden")
    desk.page.evaluate(
        "[...document.querySelectorAll('#banner button')].find((b) => b.innerText === 'Keep mine').click()"
    )
    assert desk.boxes() == [("pedestrian", 1, SQUARE)] and desk.saved().points is None
    refusals = [text for page in (other, desk.page) for text in page.complaints()]
    assert len(refusals) == 2 and all("409" in text for text in refusals)  # the browser's own note of each refusal
    desk.page.events.clear()
    other.close()


def test_a_tab_sees_what_another_has_done(desk, browser):
    other = browser.new_page()
    other.open(desk.url)
    desk.page.key("d")
    desk.drag(*SQUARE)
    desk.saved()
    other.key("d")
    other.wait_for("document.getElementById('objects').innerText.includes('car 1')")
    assert other.complaints() == []
    other.close()


@contextmanager
def full_disk(process: subprocess.Popen) -> Iterator[None]:
    """The server may write no byte more: the system refuses it, as on a full disk."""
    limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_said_and_nothing_is_lost(browser, folder, tmp_path):
    with label_server(["--out", str(folder)], tmp_path / "server.log") as (url, process):
        page = browser.new_page()
        page.open(url)
        desk = Desk(page, url, folder)
        with full_disk(process):
            desk.drag(*SQUARE)
            page.key("2")
            page.wait_for("document.getElementById('saved').dataset.state === 'failed'")
            assert "Not saved: File too large. Your labels are kept in this tab" in desk.text("#banner")
            assert desk.text("#saved") == "not saved (1 frame)"
            assert desk.text("#objects").split() == ["pedestrian", "1", "box"]
            page.key("d")
            desk.click(150, 90)
            assert read_label_file(folder).frames[0].boxes is None
            page.reload()  # over which the tab keeps what it could not save
            page.wait_for("document.getElementById('saved').dataset.state === 'failed'")
            assert desk.text("#objects").split() == ["pedestrian", "1", "box"]
        assert desk.boxes() == [("pedestrian", 1, SQUARE)]  # tried again by itself
        assert len(desk.saved(1).points) == 1
        assert page.evaluate("document.getElementById('banner').hidden")
        assert all("507" in text for text in page.complaints())
        page.close()


def test_a_server_that_comes_back_gets_what_it_missed(browser, folder, tmp_path):
    with label_server(["--out", str(folder)], tmp_path / "first.log") as (url, process):
        page = browser.new_page()
        page.open(url)
        desk = Desk(page, url, folder)
        desk.drag(*SQUARE)
        desk.saved()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    desk.page.key("2")
    page.wait_for("document.getElementById('saved').dataset.state === 'failed'")
    assert "the server does not answer" in desk.text("#banner")
    port = url.rstrip("/").rpartition(":")[2]
    with label_server(["--out", str(folder), "--port", port], tmp_path / "second.log") as (again, _):
        assert again == url
        assert desk.boxes() == [("pedestrian", 1, SQUARE)]
    page.close()


def test_names_are_text_and_never_markup(browser, folder):
    name = "<img src=x onerror=alert(1)>"
    values = json.loads((folder / "labels.json").read_text())
    values["classes"][1], values["sequence"] = name, "<script>alert(2)</script>"
    (folder / "labels.json").write_text(json.dumps(values))
    with running_server(folder) as server:
        page = browser.new_page()
        page.open(server.url)
        desk = Desk(page, server.url, folder)
        assert desk.text("#sequence") == "<script>alert(2)</script>"
        desk.drag(*SQUARE)
        page.key("2")
        assert desk.boxes() == [(name, 1, SQUARE)]
        assert name in desk.text("#objects")
        assert page.complaints() == []
        page.close()

"""A short sequence to label, and the page on which to label it."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from wsperception.data.label_file import BoxLabel, FrameLabels, LabelFile, PointLabel, write_label_file
from wsperception.labelling.server import LabelServer
from wsperception.types import LabelSpace

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside the tests

from desk import Desk
from devtools import Browser, find_browser
from labels_server import running_server
from moving_square import SIZE, picture

LABELS = LabelSpace(("car", "pedestrian"), (True, True))


@pytest.fixture
def street(tmp_path) -> Path:
    """A folder of five images, street_0.png to street_4.png."""
    folder = tmp_path / "street"
    folder.mkdir()
    for step in range(5):
        cv2.imwrite(str(folder / f"street_{step}.png"), cv2.cvtColor(picture(step), cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def labelled() -> LabelFile:
    """Three frames: one with everything, one annotated as empty, one not annotated."""
    frames = (
        FrameLabels(
            0,
            "images/000000.png",
            0,
            tags=("pedestrian",),
            boxes=(
                BoxLabel("car", 3, (10.0, 20.25, 60.5, 80.0)),
                BoxLabel("pedestrian", 3, (0.0, 0.0, 20.0, 50.0)),
                BoxLabel("car", None, (100.0, 10.0, 200.0, 120.0)),
            ),
            points=(PointLabel("car", 3, (30.5, 40.0)), PointLabel("pedestrian", None, (199.99, 119.99))),
            ignore=((150.0, 0.0, 200.0, 15.5),),
            seconds={"boxes": 12.5, "points": 1.0},
            revision=4,
        ),
        FrameLabels(5, "images/000005.png", 500, tags=(), boxes=(), points=(), ignore=()),
        FrameLabels(10, "images/000010.png", 1000),
    )
    return LabelFile("0007", "/data/0007", 5, SIZE, LABELS, frames)


@pytest.fixture
def folder(tmp_path, labelled) -> Path:
    """A folder with images for the first two frames of `labelled`, not labelled yet, as frames 0 and 5."""
    place = tmp_path / "labels"
    (place / "images").mkdir(parents=True)
    for step, frame in enumerate(labelled.frames[:2]):
        cv2.imwrite(str(place / frame.image), cv2.cvtColor(picture(step), cv2.COLOR_RGB2BGR))
    bare = tuple(FrameLabels(frame.number, frame.image, frame.stamp_ns) for frame in labelled.frames[:2])
    write_label_file(place, dataclasses.replace(labelled, frames=bare))
    return place


@pytest.fixture
def server(folder) -> Iterator[LabelServer]:
    """The server of `folder`, running."""
    with running_server(folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """A browser for the tests of a file."""
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    running = Browser(program, tmp_path_factory.mktemp("browser") / "profile")
    yield running
    running.close()


@pytest.fixture
def desk(browser, server, folder, caplog) -> Iterator[Desk]:
    """The page of `server` in a tab of its own, open on the first frame."""
    page = browser.new_page()
    page.open(server.url)
    yield Desk(page, server.url, folder)
    # Whatever a test did: no error that it did not ask for, on the console or in the server, and no address but ours.
    assert page.complaints() == []
    assert all(address.startswith(server.url) for address in page.requested()), page.requested()
    assert [record.message for record in caplog.records] == []
    page.close()

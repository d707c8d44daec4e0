import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from wsperception.learn.panoptic.cleaning import IGNORE, SHARED
from wsperception.learn.panoptic.labels import PseudoPanoptic
from wsperception.learn.panoptic.page import LabelledRounds, labelled_segments, write_page
from wsperception.types import VOID, LabelSpace

SPACE = LabelSpace(("road", "car", "sky"), (False, True, False))


def test_segments_by_hand() -> None:
    labels = np.array([[2, 1, 1, 1], [0, IGNORE, 1, 0]], np.uint8)
    instances = np.array([[0, 2, 1, SHARED], [0, 0, 1, 0]], np.int32)
    found = labelled_segments(PseudoPanoptic(labels, instances), SPACE)
    # Things first: cars nobody can tell apart, car 1, car 2; then road and sky.
    assert found.class_ids.tolist() == [VOID, 1, 1, 1, 0, 2]
    assert found.track_ids.tolist() == [0, 0, 1, 2, 0, 0]
    assert found.ids.tolist() == [[5, 3, 2, 1], [4, 0, 2, 4]]


def test_a_page_shows_image_boxes_and_rounds(tmp_path: Path) -> None:
    image = np.full((60, 90, 3), 200, np.uint8)
    first, second = np.full((60, 90), IGNORE, np.uint8), np.zeros((60, 90), np.uint8)
    first[:15] = 2
    none = np.zeros((60, 90), np.int32)
    rounds = [PseudoPanoptic(first, none), PseudoPanoptic(second, none)]
    entry = LabelledRounds("a <street>", image, np.array([[10, 10, 40, 50]], np.float32), rounds)
    path = tmp_path / "labels.html"
    write_page(path, [entry], SPACE)
    text = path.read_text()
    assert "a &lt;street&gt;: 1 boxes" in text
    assert "round 0: 75 % ignored" in text
    assert "round 1: 0 % ignored" in text
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        for data in re.findall(r"base64,([^\"]+)", text)
    ]
    assert [picture.shape for picture in pictures] == [(60, 90, 3)] * 3
    assert abs(pictures[0][10, 25].astype(int) - 200).max() > 40  # the box
    assert pictures[1][50, 45].max() < 80  # ignored
    assert pictures[2][50, 45].max() > 100
    assert list(tmp_path.iterdir()) == [path]


def test_no_images(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [], SPACE)
    assert "No images." in (tmp_path / "page.html").read_text()

"""Tags of crops: what full labels say of them, and the file."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.errors import InputError
from wsperception.learn.panoptic.crop_tags import read_tags, shown_classes, write_tags
from wsperception.types import VOID, LabelSpace

SPACE = LabelSpace(("car", "road", "sky"), (True, False, False))


def labels() -> PanopticLabels:
    """2 x 8: sky over road, a car (two of them) at the right, void at the left; row 5 has no pixel."""
    ids = np.array([[0, 2, 2, 2, 2, 2, 2, 3], [0, 1, 1, 1, 1, 1, 4, 3]], np.uint16)
    classes = np.array([VOID, 1, 2, 0, 0, 0], np.int32)
    return PanopticLabels("000004", ids, classes, np.zeros(6, bool), (classes >= 0).astype(np.float32))


def test_classes_of_crops_by_hand():
    crops = np.array([[0, 0, 1, 2], [0, 0, 4, 1], [4, 0, 8, 2]])
    found = shown_classes(labels(), crops, 3, 0.0)
    assert found.tolist() == [[False] * 3, [False, False, True], [True, True, True]]
    # Of the 8 pixels of the last crop 3 are cars', 2 road and 3 sky: above a quarter the road is no more.
    assert shown_classes(labels(), crops[2:], 3, 2 / 8).tolist() == [[True, True, True]]
    assert shown_classes(labels(), crops[2:], 3, 0.26).tolist() == [[True, False, True]]


def test_the_file_is_read_as_it_was_written(tmp_path):
    found = PanopticSet("hand", SPACE, ("000004",), lambda name: labels())
    path = tmp_path / "tags.json"
    write_tags(path, {"0007": found}, (2, 4), 0.0)
    tags = read_tags(path, SPACE)
    crops, shown = tags.of_image("0007/000004", (2, 8))
    assert crops.tolist() == [[0, 0, 4, 2], [4, 0, 8, 2]]
    assert shown.tolist() == [[False, True, True], [True, True, True]]
    crops, shown = tags.of_image("0007/000005", (2, 8))  # nobody tagged it
    assert (crops.shape, len(shown)) == ((0, 4), 0)
    with pytest.raises(InputError, match=r"tags.json: 0007/000004: expected tags of 4 crops of 4 x 2 px, got 2"):
        tags.of_image("0007/000004", (4, 8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tags": {}}, "crop: expected height and width in pixels, got None"),
        ({"crop": [2, 0], "tags": {}}, r"crop: expected height and width in pixels, got \[2, 0\]"),
        ({"crop": [2, 4]}, "tags: expected an image's name"),
        ({"crop": [2, 4], "tags": {"0/1": "road"}}, "tags: 0/1: expected a list of classes for each crop"),
        ({"crop": [2, 4], "tags": {"0/1": [["tram"]]}}, "tags: 0/1: unknown class 'tram'; known are car, road, sky"),
        ({"crop": [2, 4], "tags": {"0/1": [[["road"]]]}}, r"tags: 0/1: unknown class \['road'\]"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, message):
    (tmp_path / "tags.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"tags.json: {message}"):
        read_tags(tmp_path / "tags.json", SPACE)

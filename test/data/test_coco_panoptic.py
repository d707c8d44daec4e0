"""COCO's panoptic format and BDD100K's bitmasks: tiny files by hand, and the real samples where they lie beside us."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsperception.data.bdd import LABEL_SPACE as BDD
from wsperception.data.bdd import open_bdd_bitmasks
from wsperception.data.coco_panoptic import (
    Categories,
    open_coco_panoptic,
    read_categories,
    segment_colours,
    segment_numbers,
)
from wsperception.errors import InputError
from wsperception.types import LabelSpace

DATA = Path(__file__).parents[3] / "shared" / "data"
SAMPLE, BITMASKS = DATA / "panoptic_coco_sample/sample_data", DATA / "bdd100k_eval"
NUMBERS = [[0, 70_000, 70_000], [9, 9, 300]]
SEGMENTS = [
    {"id": 70_000, "category_id": 3, "iscrowd": 0},
    {"id": 9, "category_id": 150, "iscrowd": 0},
    {"id": 300, "category_id": 3, "iscrowd": 1},
]
CATEGORIES = [{"id": 3, "name": "car", "isthing": 1}, {"id": 150, "name": "sky", "isthing": 0}]


def write(folder: Path, name: str = "set", numbers=NUMBERS, segments=SEGMENTS, **changes) -> Path:
    """NAME.json with one image, and its PNG. `changes` replace keys of the JSON."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name / "000007.png"), segment_colours(np.array(numbers, np.uint32)))
    content = {
        "images": [{"id": 7, "file_name": "000007.jpg", "height": 2, "width": 3}],
        "annotations": [{"image_id": 7, "file_name": "000007.png", "segments_info": segments}],
        "categories": CATEGORIES,
    } | changes
    path = folder / f"{name}.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_by_hand(tmp_path):
    found = open_coco_panoptic(write(tmp_path), images=tmp_path / "images")
    assert found.labels == LabelSpace(("car", "sky"), (True, False))
    assert (found.names, found.scored) == (("000007",), False)
    labels = found.read("000007")
    assert labels.ids.tolist() == [[0, 3, 3], [1, 1, 2]]
    assert labels.class_ids.tolist() == [-1, 1, 0, 0]
    assert labels.is_crowd.tolist() == [False, False, True, False]
    assert labels.image == tmp_path / "images" / "000007.jpg"


def test_colours_by_hand():
    # 70,000 = 1 * 65536 + 17 * 256 + 112; OpenCV writes blue first.
    assert segment_colours(np.array([[70_000, 9]])).tolist() == [[[1, 17, 112], [0, 0, 9]]]
    numbers = np.random.default_rng(2).integers(0, 2**24, (4, 5)).astype(np.uint32)
    assert (segment_numbers(segment_colours(numbers)) == numbers).all()


def test_scores_of_a_result_and_categories_of_the_truth(tmp_path):
    truth = write(tmp_path, "truth")
    scored = [segment | {"score": score} for segment, score in zip(SEGMENTS, (0.5, 1.0, 0.25), strict=True)]
    path = write(tmp_path, "result", segments=scored, categories=None, images=None)
    found = open_coco_panoptic(path, categories=read_categories(truth))
    assert found.scored
    assert found.read("000007").scores.tolist() == [0, 1.0, 0.25, 0.5]
    some = write(tmp_path, "some", segments=[scored[0], *SEGMENTS[1:]])
    assert not open_coco_panoptic(some).scored
    with pytest.raises(InputError, match=r"result\.json: missing key 'categories'"):
        open_coco_panoptic(path)


def test_several_files_in_a_folder(tmp_path):
    for name in ("0001", "0000"):
        write(tmp_path, name)
    assert open_coco_panoptic(tmp_path).names == ("0000/000007", "0001/000007")
    assert len(open_coco_panoptic(tmp_path).read("0001/000007")) == 3
    write(tmp_path, "0002", categories=CATEGORIES[::-1])
    with pytest.raises(InputError, match=r"0002\.json: categories: expected the same as in 0000\.json"):
        open_coco_panoptic(tmp_path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"segments": SEGMENTS[:2]}, r"000007\.png: segment 300 is not in the JSON's segments_info"),
        ({"segments": [*SEGMENTS, {"id": 5, "category_id": 3}]}, r"000007\.png: segment 5 of the JSON has no pixel"),
        (
            {"segments": [*SEGMENTS[:2], {"id": 300, "category_id": 4}]},
            r"set\.json: annotations\[0\]: segment 300: category_id: unknown id 4; known are 3, 150",
        ),
        ({"segments": [*SEGMENTS[:2], {"id": 300}]}, r"annotations\[0\]: segment 300: missing key 'category_id'"),
        (
            {"segments": [*SEGMENTS[:2], SEGMENTS[2] | {"score": 1.5}]},
            r"set\.json: annotations\[0\]: segment 300: score: expected 0 to 1, got 1\.5",
        ),
        ({"numbers": [[0, 70_000]]}, r"000007\.png: expected 2 x 3 \(height x width\) as in the JSON, got 1 x 2"),
        ({"annotations": {}}, r"set\.json: annotations: expected a list, got dict"),
        ({"annotations": [{"image_id": 7}]}, r"annotations\[0\]: missing key 'file_name'"),
        ({"categories": [CATEGORIES[0], CATEGORIES[0]]}, r"set\.json: categories: expected distinct ids"),
        ({"categories": [{"id": 1, "name": "a"}]}, r"set\.json: categories\[0\]: missing key 'isthing'"),
        ({"categories": []}, r"set\.json: categories: LabelSpace"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, text):
    path = write(tmp_path, **changes)
    with pytest.raises(InputError, match=text):
        list(open_coco_panoptic(path))


JUNK = st.sampled_from([None, True, -1, 1.5, 2**40, "x", [], {}, [1], {"id": "x"}])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_value_of_the_wrong_kind_is_a_named_mistake(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("junk")
    path = write(folder, segments=[segment | {"score": 0.5} for segment in SEGMENTS])
    content = json.loads(path.read_text())
    place = content
    while True:  # down a random way, and one value replaced at its end
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JUNK)
    path.write_text(json.dumps(content))
    said = str(folder)
    try:
        list(open_coco_panoptic(path, images=folder))
    except InputError as error:
        said = str(error)
    assert said.startswith(str(folder))


def test_files_that_are_no_such_thing(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file; expected COCO panoptic JSON"):
        open_coco_panoptic(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json: not a JSON file"):
        open_coco_panoptic(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(InputError, match=r"bad\.json: expected COCO panoptic JSON, got list"):
        open_coco_panoptic(tmp_path / "bad.json")
    path = write(tmp_path)
    cv2.imwrite(str(tmp_path / "set/000007.png"), np.zeros((2, 3), np.uint16))
    with pytest.raises(InputError, match=r"000007\.png: expected three 8-bit channels of .*, got 1 channels of uint16"):
        open_coco_panoptic(path).read("000007")
    (tmp_path / "set/000007.png").unlink()
    with pytest.raises(InputError, match=r"set/000007\.png: no such file"):
        open_coco_panoptic(path).read("000007")


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the COCO panoptic sample is not here")
def test_the_sample():
    found = open_coco_panoptic(SAMPLE / "panoptic_examples.json", images=SAMPLE / "input_images")
    labels = found.read("000000142238")
    assert (len(found.labels), len(labels), labels.ids.shape) == (133, 18, (427, 640))
    assert labels.image is not None
    assert labels.image.is_file()
    entry = json.loads((SAMPLE / "panoptic_examples.json").read_text())["annotations"][0]
    areas = sorted(segment["area"] for segment in entry["segments_info"])
    assert sorted(np.bincount(labels.ids.ravel())[1:].tolist()) == areas
    assert isinstance(read_categories(SAMPLE / "panoptic_examples.json"), Categories)
    with pytest.raises(InputError, match=r"000000439180\.png: no such file"):  # the sample lists it without giving it
        found.read("000000439180")


def test_bitmasks_by_hand(tmp_path):
    # Red category, green attributes, blue * 256 + alpha the number; a file holds red first, OpenCV blue first.
    pixels = [[7, 0, 0, 1], [35, 0, 1, 44], [35, 0, 0, 44], [35, 2, 0, 5], [31, 1, 0, 6], [0, 0, 0, 0], [35, 4, 0, 7]]
    image = np.array([pixels], np.uint8)[..., [2, 1, 0, 3]]
    cv2.imwrite(str(tmp_path / "a.png"), image)
    labels = open_bdd_bitmasks(tmp_path).read("a")
    assert [BDD.names[row] for row in labels.class_ids[1:]] == ["road", "person", "car", "car", "car", "car"]
    assert labels.ids.tolist() == [[1, 4, 3, 5, 2, 0, 6]]
    assert labels.is_crowd.tolist() == [False, False, True, False, False, True, False]  # ignore, and crowd
    assert (len(BDD), sum(BDD.is_thing)) == (40, 10)
    image[0, 0, 2] = 41
    cv2.imwrite(str(tmp_path / "a.png"), image)
    with pytest.raises(InputError, match=r"a\.png: expected categories 0 to 40, got 41"):
        open_bdd_bitmasks(tmp_path).read("a")
    cv2.imwrite(str(tmp_path / "a.png"), image[..., :3])
    with pytest.raises(InputError, match=r"a\.png: expected four 8-bit channels of a panoptic bitmask, got 3"):
        open_bdd_bitmasks(tmp_path).read("a")
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"expected panoptic bitmasks"):
        open_bdd_bitmasks(tmp_path)


@pytest.mark.skipif(not BITMASKS.is_dir(), reason="the BDD100K sample is not here")
def test_bitmask_and_coco_panoptic_of_the_sample_say_the_same():
    labels = open_bdd_bitmasks(BITMASKS / "label/panseg_bdd100k").read("panseg_mask")
    entry = json.loads((BITMASKS / "label/panseg_coco/panseg_coco.json").read_text())
    numbers = segment_numbers(cv2.imread(str(BITMASKS / "label/panseg_coco/panseg_mask.png")))
    assert len(labels) == len(entry["segments_info"])
    for segment in entry["segments_info"]:
        rows = np.unique(labels.ids[numbers == segment["id"]])
        assert len(rows) == 1
        assert labels.class_ids[rows[0]] == segment["category_id"] - 1
        assert (labels.ids == rows[0]).sum() == segment["area"]

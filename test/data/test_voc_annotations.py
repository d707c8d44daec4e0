"""VOC's boxes and tags by hand, and the tag array of other methods where it lies beside us."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from wsperception.data.voc_annotations import THINGS, read_tag_array, read_voc_objects, voc_weak_labels
from wsperception.errors import InputError

TAGS = Path(__file__).parents[3] / "shared/data/irn_voc12/voc12/cls_labels.npy"
OBJECT = (
    "<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
DIFFICULT = "<difficult>1</difficult>"


def write(path: Path, *objects: str) -> Path:
    path.write_text(f"<annotation><folder>VOC2012</folder>{''.join(objects)}</annotation>")
    return path


def test_objects_and_weak_labels_by_hand(tmp_path):
    # VOC counts from 1 and includes the last pixel: 1..3 is [0, 3).
    path = write(
        tmp_path / "a.xml", OBJECT.format("person", "", 1, 2, 3, 10), OBJECT.format("car", DIFFICULT, 5, 5, 5, 5)
    )
    person, car = read_voc_objects(path)
    assert (person.class_id, person.box, person.difficult) == (THINGS.index("person"), (0, 1, 3, 10), False)
    assert (car.class_id, car.box, car.difficult) == (THINGS.index("car"), (4, 4, 5, 5), True)
    weak = voc_weak_labels((person, car))
    assert np.flatnonzero(weak.tags).tolist() == [THINGS.index("car"), THINGS.index("person")]
    assert weak.boxes.tolist() == [[0, 1, 3, 10]]
    assert weak.box_classes.tolist() == [THINGS.index("person")]
    assert weak.ignore_boxes.tolist() == [[4, 4, 5, 5]]


def test_an_image_without_objects(tmp_path):
    weak = voc_weak_labels(read_voc_objects(write(tmp_path / "a.xml")))
    assert not weak.tags.any()
    assert weak.boxes.shape == weak.ignore_boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (OBJECT.format("wolf", "", 1, 1, 2, 2), r"object 1: expected a class of VOC, got 'wolf'"),
        (OBJECT.format("dog", "", 1, "", 2, 2), r"object 1: expected bndbox with xmin, ymin, xmax and ymax"),
        (OBJECT.format("dog", "", 3, 1, 2, 2), r"object 1: expected xmin <= xmax and ymin <= ymax, got 3 1 2 2"),
        ("<object>", r"not an XML file"),
    ],
)
def test_mistakes_are_named(tmp_path, content, text):
    with pytest.raises(InputError, match=rf"a\.xml: {text}"):
        read_voc_objects(write(tmp_path / "a.xml", content))


def test_a_document_type_is_refused(tmp_path):
    (tmp_path / "a.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    with pytest.raises(InputError, match=r"a\.xml: expected a VOC annotation, got XML with a document type"):
        read_voc_objects(tmp_path / "a.xml")
    with pytest.raises(InputError, match=r"b\.xml: no such file; expected a VOC annotation"):
        read_voc_objects(tmp_path / "b.xml")


def test_tag_array_by_hand(tmp_path):
    tags = np.zeros(20, np.float32)
    tags[[0, 14]] = 1
    np.save(tmp_path / "tags.npy", {np.int32(2007000032): tags})
    found = read_tag_array(tmp_path / "tags.npy")
    assert list(found) == ["2007_000032"]
    assert [THINGS[row] for row in np.flatnonzero(found["2007_000032"])] == ["aeroplane", "person"]


class Harm:
    def __reduce__(self):
        return Path.touch, (Path("harm.txt"),)


def test_a_file_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "bad.npy", Harm())
    with pytest.raises(InputError, match=r"bad\.npy: expected a dict .* is not allowed in it"):
        read_tag_array(tmp_path / "bad.npy")
    assert not (tmp_path / "harm.txt").exists()
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(InputError, match=r"raw\.npy: expected a dict of image number"):
        read_tag_array(tmp_path / "raw.npy")
    assert not (tmp_path / "harm.txt").exists()


def test_other_arrays_are_refused(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"plain\.npy: expected a dict of image number"):
        read_tag_array(tmp_path / "plain.npy")
    np.save(tmp_path / "short.npy", {2007000032: np.zeros(3)})
    with pytest.raises(InputError, match=r"short\.npy: .* got an entry of shape \(3,\)"):
        read_tag_array(tmp_path / "short.npy")
    with pytest.raises(InputError, match=r"none\.npy: no such file; expected image tags"):
        read_tag_array(tmp_path / "none.npy")


@pytest.mark.skipif(not TAGS.is_file(), reason="the tag array of other methods is not here")
def test_the_real_tag_array():
    found = read_tag_array(TAGS)
    assert len(found) == 12031
    assert [THINGS[row] for row in np.flatnonzero(found["2007_000032"])] == ["aeroplane", "person"]
    assert all(tags.any() for tags in found.values())

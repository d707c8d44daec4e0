"""VOC 2012 and SBD: tiny files by hand, and the real sample where it lies beside us."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from wsperception.data.voc import BACKGROUND, LABEL_SPACE, PALETTE, open_voc, read_palette_image
from wsperception.data.voc_sbd import open_sbd
from wsperception.errors import InputError

SAMPLE = Path(__file__).parents[3] / "shared/data/labelme_voc/instance_segmentation/data_dataset_voc"
CAR, PERSON = 7, 15
"""VOC's numbers."""
CLASSES = [[0, 0, 7, 7, 255], [15, 15, 7, 15, 15]]
OBJECTS = [[0, 0, 1, 1, 255], [2, 2, 1, 4, 0]]


def write_palette(path: Path, values: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), PALETTE[np.array(values)][..., ::-1])


def xml(*objects: tuple[str, int]) -> str:
    entries = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>2</ymax></bndbox></object>"
        for name, difficult in objects
    )
    return f"<annotation>{entries}</annotation>"


@pytest.fixture
def root(tmp_path) -> Path:
    """A car (1), a person (2), one that is difficult (4; the XML has four objects), and a bit of class 15 alone."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    write_palette(folder / "SegmentationClass/2007_000032.png", CLASSES)
    write_palette(folder / "SegmentationObject/2007_000032.png", OBJECTS)
    for name in ("JPEGImages/2007_000032.jpg", "Annotations/2007_000032.xml", "ImageSets/Segmentation/val.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "JPEGImages/2007_000032.jpg"), np.zeros((2, 5, 3), np.uint8))
    text = xml(("car", 0), ("person", 0), ("dog", 1), ("person", 1))
    (folder / "Annotations/2007_000032.xml").write_text(text)
    (folder / "ImageSets/Segmentation/val.txt").write_text("2007_000032\n")
    return tmp_path


def test_by_hand(root):
    found = open_voc(root, "val")
    assert found.names == ("2007_000032",)
    labels = found.read("2007_000032")
    names = ["void" if row < 0 else LABEL_SPACE.names[row] for row in labels.class_ids.tolist()]
    assert names == ["void", "background", "car", "person", "person"]
    assert labels.ids.tolist() == [[1, 1, 2, 2, 0], [3, 3, 2, 4, 0]]
    assert labels.is_crowd.tolist() == [False, False, False, False, True]
    assert labels.image is not None
    assert labels.image.name == "2007_000032.jpg"
    assert open_voc(root / "VOCdevkit/VOC2012").names == found.names


def test_classes():
    assert len(LABEL_SPACE) == 21
    assert (LABEL_SPACE.names[CAR - 1], LABEL_SPACE.names[PERSON - 1]) == ("car", "person")
    assert (LABEL_SPACE.names[BACKGROUND], LABEL_SPACE.is_thing[BACKGROUND]) == ("background", False)


def test_palette(tmp_path):
    # As the devkit prints them: 1 is dark red, 3 olive, 4 navy, 15 the person's rose, 255 the boundary's cream.
    wanted = [[0, 0, 0], [128, 0, 0], [128, 128, 0], [0, 0, 128], [192, 128, 128], [224, 224, 192]]
    assert PALETTE[[0, 1, 3, 4, 15, 255]].tolist() == wanted
    everything = np.arange(256).reshape(8, 32)
    write_palette(tmp_path / "all.png", everything.tolist())
    assert (read_palette_image(tmp_path / "all.png") == everything).all()
    cv2.imwrite(str(tmp_path / "plain.png"), everything.astype(np.uint8))
    assert (read_palette_image(tmp_path / "plain.png") == everything).all()


def test_mistakes_are_named(root, tmp_path):
    folder = root / "VOCdevkit/VOC2012"
    with pytest.raises(InputError, match=r"JPEGImages: expected folders SegmentationClass and SegmentationObject"):
        open_voc(folder / "JPEGImages")
    with pytest.raises(InputError, match=r"train\.txt: no such file; expected a list of image names"):
        open_voc(root, "train")
    with pytest.raises(InputError, match=r"SegmentationObject/none\.png: no such file"):
        open_voc(root).read("none")
    read = open_voc(root).read
    cv2.imwrite(str(folder / "SegmentationObject/2007_000032.png"), np.full((2, 5, 3), 77, np.uint8))
    with pytest.raises(InputError, match=r"2007_000032\.png: expected VOC's palette or .*, got other colours"):
        read("2007_000032")
    write_palette(folder / "SegmentationObject/2007_000032.png", [[0, 1]])
    with pytest.raises(InputError, match=r"expected 2 x 5 \(height x width\) as in SegmentationClass, got 1 x 2"):
        read("2007_000032")
    write_palette(folder / "SegmentationObject/2007_000032.png", [[3, 0, 1, 1, 255], [2, 2, 1, 4, 0]])
    with pytest.raises(InputError, match=r"object 3: expected a class in SegmentationClass, got background"):
        read("2007_000032")
    write_palette(folder / "SegmentationClass/2007_000032.png", [[0, 0, 7, 7, 21], [15, 15, 7, 15, 15]])
    with pytest.raises(InputError, match=r"2007_000032\.png: expected classes 0 to 20 or 255, got 21"):
        read("2007_000032")


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the VOC sample is not here")
def test_the_sample():
    found = open_voc(SAMPLE)
    classes = {labels.name: [LABEL_SPACE.names[row] for row in labels.class_ids[1:]] for labels in found}
    assert classes == {
        "2011_000003": ["background", "person", "person", "bottle"],
        "2011_000006": ["background", "person", "person", "person", "chair", "person", "sofa"],
        "2011_000025": ["background", "bus", "bus", "car"],
    }


def write_sbd(path: Path, objects: list[list[int]], categories: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"Segmentation": np.array(objects, np.uint8), "Categories": np.array(categories, np.uint8)[:, None]}
    savemat(path, {"GTinst": entry})


def test_sbd_by_hand(tmp_path):
    folder = tmp_path / "benchmark_RELEASE/dataset"
    write_sbd(folder / "inst/2008_000002.mat", [[0, 2, 2], [1, 1, 0]], [PERSON, CAR])
    (folder / "train.txt").write_text("2008_000002\n")
    found = open_sbd(tmp_path, "train")
    assert found.names == open_sbd(folder).names == ("2008_000002",)
    labels = found.read("2008_000002")
    assert [LABEL_SPACE.names[row] for row in labels.class_ids[1:]] == ["background", "person", "car"]
    assert labels.ids.tolist() == [[1, 3, 3], [2, 2, 1]]
    assert labels.image is None


def test_mistakes_in_sbd_are_named(tmp_path):
    with pytest.raises(InputError, match="expected a folder inst with"):
        open_sbd(tmp_path)
    path = tmp_path / "inst/a.mat"
    write_sbd(path, [[0, 2]], [3])
    with pytest.raises(InputError, match=r"a\.mat: Categories: expected one for each of 2 objects, got 1"):
        open_sbd(tmp_path).read("a")
    write_sbd(path, [[0, 1]], [21])
    with pytest.raises(InputError, match=r"a\.mat: Categories: expected 1 to 20, got \[21\]"):
        open_sbd(tmp_path).read("a")
    path.write_bytes(b"no such thing" * 20)
    with pytest.raises(InputError, match=r"a\.mat: expected GTinst with Segmentation and Categories"):
        open_sbd(tmp_path).read("a")
    with pytest.raises(InputError, match=r"b\.mat: no such file; expected SBD's labels"):
        open_sbd(tmp_path).read("b")

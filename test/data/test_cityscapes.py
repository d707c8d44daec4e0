"""Cityscapes: tiny files by hand, and the real sample where it lies beside us."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.cityscapes import LABEL_SPACE, TRAIN_IDS, open_cityscapes, read_instance_ids, read_train_ids
from wsperception.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data"
AACHEN, FRANKFURT = DATA / "cityscapes_aachen", DATA / "cityscapes_frankfurt_gtonly"
needs_data = pytest.mark.skipif(
    not AACHEN.is_dir() or not FRANKFURT.is_dir(), reason="the Cityscapes sample is not here"
)
NAME = "ulm_000003_000019"


def write(path: Path, values: list[list[int]], dtype: type = np.uint16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.array(values, dtype))
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """Fine and coarse labels of one image in two splits, and the camera image of one."""
    for kind, split, car in (("gtFine", "train", 26001), ("gtCoarse", "train", 26), ("gtCoarse", "train_extra", 26002)):
        name = NAME if split == "train" else "bonn_000000_000019"
        write(tmp_path / f"{kind}/{split}/{name[:3]}/{name}_{kind}_instanceIds.png", [[7, 7, car]])
    write(tmp_path / f"leftImg8bit/train/{NAME[:3]}/{NAME}_leftImg8bit.png", [[1, 2, 3]], np.uint8)
    return tmp_path


def test_by_hand(tmp_path):
    # Road 7, two cars 26, a group of cars, ego vehicle 1 and unlabeled 0 (both void), a caravan 29 (not evaluated),
    # a bicycle 33, sky 23.
    path = write(tmp_path / "x.png", [[7, 26001, 26000, 26, 1], [0, 29003, 33012, 23, 7]])
    labels = read_instance_ids(path, "x")
    names = ["void" if row < 0 else LABEL_SPACE.names[row] for row in labels.class_ids.tolist()]
    assert names == ["void", "road", "sky", "car", "car", "car", "bicycle"]
    assert labels.ids.tolist() == [[1, 5, 4, 3, 0], [0, 0, 6, 2, 1]]
    assert labels.is_crowd.tolist() == [False, False, False, True, False, False, False]
    assert labels.scores.tolist() == [0, 1, 1, 1, 1, 1, 1]
    semantic = read_train_ids(write(tmp_path / "y.png", [[7, 26, 26, 26, 1], [0, 29, 33, 23, 7]], np.uint8))
    assert semantic.tolist() == [[0, 13, 13, 13, 255], [255, 255, 18, 10, 0]]
    assert (labels.semantic() == semantic).all()


def test_the_table():
    assert len(LABEL_SPACE) == 19
    assert LABEL_SPACE.is_thing == (*[False] * 11, *[True] * 8)
    wanted = {11: "building", 12: "wall", 17: "pole", 24: "person", 28: "bus", 31: "train", 33: "bicycle"}
    assert {label: LABEL_SPACE.names[TRAIN_IDS[label]] for label in wanted} == wanted
    assert (TRAIN_IDS[[0, 6, 9, 10, 14, 15, 16, 18, 29, 30, 34, 255]] == 255).all()


def test_splits_kinds_and_camera_images(root):
    fine = open_cityscapes(root)
    assert fine.names == (NAME,)
    labels = fine.read(NAME)
    assert labels.image == root / f"leftImg8bit/train/ulm/{NAME}_leftImg8bit.png"
    assert not labels.is_crowd.any()
    coarse = open_cityscapes(root, kind="gtCoarse")
    assert coarse.names == (NAME, "bonn_000000_000019") or coarse.names == ("bonn_000000_000019", NAME)
    assert open_cityscapes(root, "train", "gtCoarse").read(NAME).is_crowd.any()
    assert open_cityscapes(root, "train_extra", "gtCoarse").read("bonn_000000_000019").image is None
    assert open_cityscapes(root / "gtFine" / "train").names == (NAME,)


def test_results_may_have_any_folder_and_short_names(tmp_path):
    write(tmp_path / f"{NAME}_instanceIds.png", [[24, 24005]])
    assert open_cityscapes(tmp_path).names == (NAME,)


def test_mistakes_are_named(root, tmp_path):
    with pytest.raises(InputError, match=r"gtFine/test: no such folder; expected Cityscapes labels"):
        open_cityscapes(root, "test")
    with pytest.raises(InputError, match="kind of labels 'fine': unknown; expected gtFine or gtCoarse"):
        open_cityscapes(root, kind="fine")
    with pytest.raises(InputError, match=r"leftImg8bit: expected label images .*, found none"):
        open_cityscapes(root / "leftImg8bit")
    write(root / f"gtFine/val/ulm/{NAME}_gtFine_instanceIds.png", [[7]])
    with pytest.raises(InputError, match=rf"val.*: expected one label image of {NAME}, got .*train.* too"):
        open_cityscapes(root)
    with pytest.raises(InputError, match=r"none\.png: no such file; expected an image"):
        read_instance_ids(tmp_path / "none.png", "x")
    with pytest.raises(
        InputError, match=r"e\.png: expected one 16-bit channel of instance ids, got 1 channels of uint8"
    ):
        read_instance_ids(write(tmp_path / "e.png", [[1]], np.uint8), "x")
    for value in (34, 34001, 65535):
        with pytest.raises(InputError, match=rf"w\.png: expected labels 0 to 33, got value {value}"):
            read_instance_ids(write(tmp_path / "w.png", [[7, value]]), "x")
    with pytest.raises(InputError, match=r"l\.png: expected labels 0 to 33, got 40"):
        read_train_ids(write(tmp_path / "l.png", [[7, 40, 255]], np.uint8))
    (tmp_path / "t.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"t\.png: not a readable image"):
        read_train_ids(tmp_path / "t.png")


@needs_data
def test_instance_ids_and_label_ids_of_the_sample_agree():
    groups = {}
    for root in (AACHEN, FRANKFURT):
        found = open_cityscapes(root)
        assert len(found) == 5
        for labels in found:
            path = next(root.rglob(f"{labels.name}_gtFine_labelIds.png"))
            assert (read_train_ids(path) == labels.semantic()).all()
            assert (labels.image is not None) == (root == AACHEN)
            groups[labels.name[:13] + labels.name[13:20]] = sorted(
                LABEL_SPACE.names[row] for row in labels.class_ids[labels.is_crowd]
            )
    # Which labels stand without an instance number in the sample, read off the images.
    assert groups["aachen_000004_000019"] == ["bicycle", "car"]
    assert groups["aachen_000000_000019"] == []
    assert groups["frankfurt_000000_012"] == ["person"]


@needs_data
def test_train_ids_are_those_that_another_tool_wrote():
    folder = DATA / "qizhuli_wsp_sample/data/Cityscapes/gtFine/train/aachen"
    if not folder.is_dir():
        pytest.skip("the sample of pseudo-labels is not here")
    start = folder / "aachen_000000_000019_gtFine"
    wanted = cv2.imread(f"{start}_labelTrainIds.png", cv2.IMREAD_UNCHANGED)
    ours = read_train_ids(Path(f"{start}_labelIds.png"))
    # That tool drew the polygons again, so outlines differ: 0.5 % of the pixels.
    assert (ours == wanted).mean() > 0.99
    for label in np.unique(ours):
        assert np.bincount(wanted[ours == label]).argmax() == label

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from wsperception import rle
from wsperception.data.drive.canvas import SEMANTICS
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.drive.silhouettes import SilhouetteDrive
from wsperception.data.drive.write import write_drive
from wsperception.errors import InputError

REAL = Path(__file__).parents[3] / "shared/data/kitti_mots_gt/instances_txt"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="the KITTI MOTS ground truth is not here")


def mask(rows: slice, columns: slice) -> np.ndarray:
    picture = np.zeros((90, 160), bool)
    picture[rows, columns] = True
    return picture


CAR = mask(slice(40, 60), slice(30, 70))
WALKER = mask(slice(30, 70), slice(100, 112))
IGNORED = mask(slice(20, 30), slice(0, 50))


@pytest.fixture
def text(tmp_path) -> Path:
    def line(frame: int, number: int, class_number: int, picture: np.ndarray) -> str:
        return f"{frame} {number} {class_number} 90 160 {rle.encode(picture).decode()}\n"

    lines = [line(0, 1004, 1, CAR), line(0, 2001, 2, WALKER), line(2, 1004, 1, CAR), line(2, 10000, 10, IGNORED)]
    path = tmp_path / "made.txt"
    path.write_text("".join(lines))
    return path


def test_masks_ids_and_length_are_the_texts(text):
    frames = list(SilhouetteDrive(DriveSettings(seed=1), text).frames())
    assert [frame.image.shape for frame in frames] == [(90, 160, 3)] * 3
    assert [frame.ids.tolist() for frame in frames] == [[1004, 2001], [], [1004]]
    assert ((frames[0].object_ids == 1004) == CAR).all()
    assert ((frames[0].object_ids == 2001) == WALKER).all()
    assert not frames[1].object_ids.any()
    assert (frames[2].ignore_mask == IGNORED).all()
    assert frames[0].boxes.tolist() == [[30, 40, 70, 60], [100, 30, 112, 70]]
    assert frames[2].ignore_boxes.tolist() == [[0, 20, 50, 30]]
    assert (frames[0].semantic[CAR] == SEMANTICS.index("car")).all()


def test_only_the_masks_are_painted_over_and_looks_stay_with_the_id(text):
    with_car, empty, again = SilhouetteDrive(DriveSettings(seed=1), text).frames()
    # Lens blur reaches one pixel, and the sensor's grain differs by less than 40 grey levels.
    inner = np.zeros_like(CAR)
    inner[42:58, 32:68] = True
    assert np.abs(with_car.image[inner].mean(axis=0) - again.image[inner].mean(axis=0)).max() < 3
    assert (with_car.image[inner] != empty.image[inner]).any(axis=1).mean() > 0.9
    # A body has windows, panels and wheels, so it varies by more than the sensor's noise (deviation 4.5 at most).
    assert with_car.image[inner].astype(float).mean(axis=1).std() > 9


def test_the_seed_changes_the_looks_only(text):
    first = next(iter(SilhouetteDrive(DriveSettings(seed=1), text).frames()))
    other = next(iter(SilhouetteDrive(DriveSettings(seed=2), text).frames()))
    assert (first.object_ids == other.object_ids).all()
    assert (first.image != other.image).any()


def test_an_empty_text_and_an_unknown_class_are_named(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(InputError, match=r"empty\.txt: expected at least one object, found none"):
        SilhouetteDrive(DriveSettings(), empty)
    other = tmp_path / "other.txt"
    other.write_text(f"4 3001 3 90 160 {rle.encode(CAR).decode()}\n")
    with pytest.raises(InputError, match=r"other\.txt: frame 4: expected class 1, 2 or 10, got 3"):
        SilhouetteDrive(DriveSettings(), other)
    result = tmp_path / "result.txt"
    result.write_text(f"4 7 1 90 160 {rle.encode(CAR).decode()}\n")
    with pytest.raises(
        InputError, match=r"result\.txt: frame 4: expected ids of class \* 1000 \+ .* got id 7 of class 1"
    ):
        SilhouetteDrive(DriveSettings(), result)


def test_sequences_are_named_as_the_texts(text, tmp_path):
    assert write_drive(tmp_path / "one", DriveSettings(), silhouettes=text, bag=False) == ["made"]
    names = write_drive(tmp_path / "two", DriveSettings(), sequences=2, silhouettes=text.parent, bag=False)
    assert names == ["made-0", "made-1"]
    made = (tmp_path / "one/training/instances_txt/made.txt").read_text()
    assert made == text.read_text()


@needs_data
def test_real_masks_come_back_to_the_pixel():
    source = REAL / "0012.txt"
    wanted: dict[int, list[str]] = {}
    for line in source.read_text().splitlines():
        wanted.setdefault(int(line.split()[0]), []).append(line)
    for frame in islice(SilhouetteDrive(DriveSettings(seed=5), source).frames(), 4):
        for line in wanted.get(frame.index, []):
            _, number, class_number, height, width, counts = line.split()
            real = rle.decode(counts.encode(), (int(height), int(width)))
            # IoU 1 is equality.
            assert ((frame.object_ids == int(number)) == real).all()
            assert int(number) == 10000 or int(number) // 1000 == int(class_number)

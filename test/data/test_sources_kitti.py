"""KITTI's folder layouts: which folder is a sequence, its name, numbers and stamps."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.data.sources import open_source
from wsperception.data.sources.kitti import read_stamps
from wsperception.errors import InputError


def make_sequence(folder: Path, numbers: list[int], digits: int = 6) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"{number:0{digits}d}.png"), np.full((4, 6, 3), number, np.uint8))
    return folder


def test_frame_numbers_are_the_files_numbers(tmp_path):
    folder = make_sequence(tmp_path / "training" / "image_02" / "0001", [10, 15, 20])
    source = open_source(folder)
    frames = list(source)
    assert source.name == "0001"
    assert [frame.index for frame in frames] == [10, 15, 20]
    assert [frame.stamp_ns for frame in frames] == [1_000_000_000, 1_500_000_000, 2_000_000_000]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [10, 15, 20]


def test_other_names_than_kittis_count_by_position(tmp_path):
    # five digits: not a KITTI name
    assert [frame.index for frame in open_source(make_sequence(tmp_path / "clip", [3, 7], digits=5))] == [0, 1]


@pytest.mark.parametrize("root", ["", "training", "training/image_02"])
def test_a_root_with_one_sequence_means_that_sequence(tmp_path, root):
    make_sequence(tmp_path / "training" / "image_02" / "0004", [0, 1])
    assert open_source(tmp_path / root).name == "0004"


def test_a_root_with_several_sequences_asks_for_one(tmp_path):
    make_sequence(tmp_path / "training" / "image_02" / "0004", [0, 1])
    make_sequence(tmp_path / "training" / "image_02" / "0011", [0, 1, 2])
    with pytest.raises(InputError, match=r"holds 2 sequences \(0004, 0011\); name one with --sequence"):
        open_source(tmp_path)
    source = open_source(tmp_path, sequence="0011")
    assert (source.name, source.length) == ("0011", 3)
    with pytest.raises(InputError, match=r"no sequence '0005'; found 0004, 0011"):
        open_source(tmp_path, sequence="0005")


def test_a_raw_drive_with_its_own_stamps(tmp_path):
    drive = tmp_path / "2011_09_26_drive_0001_sync"
    make_sequence(drive / "image_02" / "data", [0, 1], digits=10)
    # 2011-09-26 00:00:00 UTC is day 15243 since 1970: 15243 * 86400 s = 1316995200 s
    (drive / "image_02" / "timestamps.txt").write_text("2011-09-26 00:00:01.5\n2011-09-26 00:00:02.000000007\n\n")
    for path in (drive, drive / "image_02", drive / "image_02" / "data"):
        source = open_source(path)
        assert source.name == "2011_09_26_drive_0001_sync"
        assert [frame.stamp_ns for frame in source] == [1_316_995_201_500_000_000, 1_316_995_202_000_000_007]


def test_odometry_times_in_seconds(tmp_path):
    make_sequence(tmp_path / "00" / "image_2", [0, 2])
    (tmp_path / "00" / "times.txt").write_text("0.0\n1.038e-01\n2.073e-01\n")
    source = open_source(tmp_path / "00")
    assert source.name == "00"
    assert [frame.stamp_ns for frame in source] == [0, 207_300_000]


@pytest.mark.parametrize("line", ["yesterday", "2011-09-26 99:00:00.0", "-1.0", "nan", "inf"])
def test_a_malformed_stamp_names_file_and_line(tmp_path, line):
    file = tmp_path / "times.txt"
    file.write_text(f"0.0\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_stamps(file)
    assert str(caught.value) == f"{file}:2: expected a date and time or seconds, got '{line}'"


def test_too_few_stamps(tmp_path):
    make_sequence(tmp_path / "00" / "image_2", [0, 2])
    (tmp_path / "00" / "times.txt").write_text("0.0\n0.1\n")
    with pytest.raises(InputError, match=r"times\.txt: expected a line for each frame up to 2, got 2 lines"):
        open_source(tmp_path / "00")


def test_two_files_of_one_frame(tmp_path):
    folder = make_sequence(tmp_path / "0000", [0, 1])
    cv2.imwrite(str(folder / "000001.jpg"), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(InputError, match=r"000001\.png: a second image of frame 1"):
        open_source(folder)

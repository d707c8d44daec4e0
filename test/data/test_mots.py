"""Reading MOTS text and PNG: hand-written files, every way in which they can be broken, and real ones."""

import gzip
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.data import mots_runs
from wsperception.data.mots import (
    MotsObject,
    find_sequences,
    from_segment_maps,
    read_mots,
    read_mots_png,
    read_mots_text,
    read_seqmap,
)
from wsperception.data.mots_runs import broken_run_lengths
from wsperception.errors import InputError
from wsperception.types import LabelSpace, SegmentMap

# 2 x 3 pixels with (row 1, column 0) and (row 0, column 1): down the columns 0 1 | 1 0 | 0 0, so runs 1 2 3.
LINE = "4 1007 1 2 3 123"
LABELS = LabelSpace(("pedestrian", "road", "car"), (True, False, True))


def write(folder: Path, text: str, name: str = "0002.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_line_by_hand(tmp_path: Path) -> None:
    sequence = read_mots_text(write(tmp_path, LINE))
    assert sequence.name == "0002"
    assert sequence.objects == (MotsObject(4, 1007, 1, (2, 3), b"123"),)
    assert sequence.last_frame == 4
    np.testing.assert_array_equal(rle.decode(b"123", (2, 3)), [[False, True, False], [True, False, False]])


def test_blank_lines_and_windows_ends_are_no_matter(tmp_path: Path) -> None:
    sequence = read_mots_text(write(tmp_path, f"\n{LINE}  \r\n\r\n0 2001 2 2 3 06\n"))
    assert [entry.track_id for entry in sequence.objects] == [1007, 2001]
    assert sequence.by_frame()[0] == [MotsObject(0, 2001, 2, (2, 3), b"06")]


def test_gzip_reads_as_the_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "0002.txt.gz"
    path.write_bytes(gzip.compress(LINE.encode()))
    sequence = read_mots(path)
    assert sequence.name == "0002"
    assert sequence.objects == read_mots_text(write(tmp_path, LINE)).objects


def test_an_empty_file_has_no_object(tmp_path: Path) -> None:
    sequence = read_mots_text(write(tmp_path, ""))
    assert sequence.objects == ()
    assert sequence.by_frame() == {}
    assert sequence.last_frame == -1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("4 1007 1 2 3", "expected 6 fields 'frame track_id class_id height width rle', got 5"),
        ("4 1007 1 2 3 12 3", "expected 6 fields 'frame track_id class_id height width rle', got 7"),
        ("4 car 1 2 3 123", "track_id: expected a whole number >= 0, got 'car'"),
        ("-1 1007 1 2 3 123", "frame: expected a whole number >= 0, got '-1'"),
        ("4 1007 1.0 2 3 123", "class_id: expected a whole number >= 0, got '1.0'"),
        ("4 1007 1 0 3 123", "expected an image size above zero, got 0 x 3"),
        ("4 1007 1 2 3 122", "mask of track 1007: the run lengths cover 5 pixels, expected 6 (height x width)"),
        ("4 1007 1 2 3 12", "mask of track 1007: the run lengths cover 3 pixels, expected 6 (height x width)"),
        ("4 1007 1 2 3 12P", "mask of track 1007: the run lengths are cut off"),
        ("4 1007 1 2 3 12#", "mask of track 1007: a character that belongs to no run length"),
        ("4 1007 1 2 3 12z", "mask of track 1007: a character that belongs to no run length"),
        # The fourth number is the difference to the second: 2 - 3 = -1.
        ("4 1007 1 2 3 123M", "mask of track 1007: a run length below zero"),
        ("4 1007 1 2 3 12PPPPPPPPPP1", "mask of track 1007: a run length of more than 32 bits"),
        ("4 1007 1 3 2 123", "expected image size 2 x 3 (height x width) as on line 1, got 3 x 2 (height x width)"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = write(tmp_path, f"{LINE}\n\n{line}\n{LINE}\n")
    with pytest.raises(InputError) as caught:
        read_mots_text(path)
    assert str(caught.value) == f"{path}:3: {complaint}"


def test_broken_and_missing_files(tmp_path: Path) -> None:
    cut = tmp_path / "0002.txt.gz"
    cut.write_bytes(gzip.compress(LINE.encode() * 50)[:-12])
    with pytest.raises(InputError, match=r"0002\.txt\.gz: broken or truncated gzip file"):
        read_mots(cut)
    with pytest.raises(InputError, match=r"0003\.txt: no such file"):
        read_mots(tmp_path / "0003.txt")


def test_all_masks_at_once_are_judged_as_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    for _ in range(60):
        monkeypatch.setattr(mots_runs, "CHUNK", int(random.integers(1, 200)))
        masks = [
            random.random(tuple(random.integers(1, 12, 2))) < random.choice([0.0, 0.1, 0.6, 1.0]) for _ in range(9)
        ]
        counts, pixels = [rle.encode(mask) for mask in masks], np.array([mask.size for mask in masks])
        assert broken_run_lengths(counts, pixels) == []
        row = int(random.integers(len(masks)))
        spoiled = bytearray(counts[row])
        spoiled[int(random.integers(len(spoiled)))] = int(random.integers(44, 116))
        counts[row] = bytes(spoiled)
        assert [found for found, _ in broken_run_lengths(counts, pixels)] == [row] * (
            not sound(counts[row], pixels[row])
        )


def sound(counts: bytes, pixels: int) -> bool:
    try:
        return int(rle.run_lengths(counts).sum()) == pixels
    except InputError:
        return False


def test_png_frames_give_what_the_text_gives(tmp_path: Path) -> None:
    folder = tmp_path / "0005"
    folder.mkdir()
    frame = np.zeros((2, 3), np.uint16)
    frame[1, 0] = frame[0, 1] = 1007
    frame[0, 2] = 10000
    cv2.imwrite(str(folder / "000004.png"), frame)
    cv2.imwrite(str(folder / "000006.png"), np.full((2, 3), 2001, np.uint16))  # no pixel is background
    cv2.imwrite(str(folder / "000007.png"), np.zeros((2, 3), np.uint16))
    sequence = read_mots_png(folder)
    text = write(tmp_path, "4 1007 1 2 3 123\n4 10000 10 2 3 411\n6 2001 2 2 3 06\n")
    assert sequence.objects == read_mots_text(text).objects
    assert (sequence.name, sequence.last_frame) == ("0005", 7)


@pytest.mark.parametrize(
    ("name", "image", "complaint"),
    [
        ("000001.png", np.zeros((2, 3), np.uint8), "expected one 16-bit channel, got uint8 of shape (2, 3)"),
        ("000001.png", np.zeros((2, 3, 3), np.uint16), "expected one 16-bit channel, got uint16 of shape (2, 3, 3)"),
        (
            "000001.png",
            np.zeros((3, 3), np.uint16),
            "expected image size 2 x 3 (height x width) as in 000000.png, got 3 x 3 (height x width)",
        ),
    ],
)
def test_png_of_another_kind_is_named(tmp_path: Path, name: str, image: np.ndarray, complaint: str) -> None:
    cv2.imwrite(str(tmp_path / "000000.png"), np.zeros((2, 3), np.uint16))
    cv2.imwrite(str(tmp_path / name), image)
    with pytest.raises(InputError) as caught:
        read_mots_png(tmp_path)
    assert str(caught.value) == f"{tmp_path / name}: {complaint}"


def test_a_truncated_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "000000.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(InputError, match=r"000000\.png: not a readable image; expected a 16-bit PNG"):
        read_mots_png(tmp_path)


def test_sequences_are_found_in_every_layout(tmp_path: Path) -> None:
    texts = tmp_path / "root" / "training" / "instances_txt"
    frames = tmp_path / "png" / "instances" / "0009"
    for folder in (texts, frames):
        folder.mkdir(parents=True)
    write(texts, LINE, "0001.txt")
    (texts / "0000.txt.gz").write_bytes(gzip.compress(LINE.encode()))
    cv2.imwrite(str(frames / "000000.png"), np.zeros((2, 3), np.uint16))
    for path in (tmp_path / "root", tmp_path / "root" / "training", texts):
        assert find_sequences(path) == {"0000": texts / "0000.txt.gz", "0001": texts / "0001.txt"}
    for path in (tmp_path / "png", frames.parent, frames):
        assert find_sequences(path) == {"0009": frames}
    assert find_sequences(texts / "0001.txt") == {"0001": texts / "0001.txt"}


def test_sequences_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file or folder; expected MOTS text files or PNG folders"):
        find_sequences(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected MOTS text files .* or folders of PNG frames, found neither"):
        find_sequences(tmp_path)
    write(tmp_path, LINE, "0001.txt")
    (tmp_path / "0001.txt.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected one file for sequence 0001, got 0001\.txt and 0001\.txt\.gz"):
        find_sequences(tmp_path)


def segment_map(ids: np.ndarray, class_ids: list[int], track_ids: list[int]) -> SegmentMap:
    rows = len(class_ids)
    boxes = np.zeros((rows, 4), np.float32)
    return SegmentMap(
        ids.astype(np.uint16),
        np.array(class_ids, np.int32),
        np.zeros(rows, np.float32),
        np.array(track_ids, np.int32),
        boxes,
    )


def test_segment_maps_give_what_their_text_gives(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    # Rows: void, a car, a pedestrian, an untracked car, road. The last two are not written.
    maps = [segment_map(random.integers(0, 5, (6, 9)), [-1, 2, 0, 2, 1], [0, 8 + frame, 3, 0, 0]) for frame in range(3)]
    lines = [line for frame, entry in enumerate(maps) for line in rle.write_mots_lines(frame, entry, LABELS)]
    expected = read_mots_text(write(tmp_path, "\n".join(lines)))
    sequence = from_segment_maps("0002", maps, LABELS)
    assert sequence.objects == expected.objects
    assert [entry.class_id for entry in sequence.objects] == [1, 2] * 3
    assert sequence.length == 3


def test_segment_maps_with_ignore_regions() -> None:
    maps = [SegmentMap.empty((2, 3))] * 2
    region = np.array([[False, True, False], [True, False, False]])
    sequence = from_segment_maps("a", maps, LABELS, [np.zeros((2, 3), bool), region])
    assert sequence.objects == (MotsObject(1, 10000, 10, (2, 3), b"123"),)
    with pytest.raises(InputError, match=r"ignore: expected one region per frame \(2\), got 1"):
        from_segment_maps("a", maps, LABELS, [region])


def test_seqmap(tmp_path: Path) -> None:
    path = write(tmp_path, "0000 empty 000000 000153\n\n0002 empty 000001 000600\n", "train.seqmap")
    assert read_seqmap(path) == {"0000": range(154), "0002": range(1, 601)}
    with pytest.raises(InputError, match=r"b\.seqmap:2: expected 'name empty first_frame last_frame', got '0001 x 0'"):
        read_seqmap(write(tmp_path, "0000 empty 0 5\n0001 x 0\n", "b.seqmap"))
    with pytest.raises(InputError, match=r"c\.seqmap: expected lines 'name empty first_frame last_frame', found none"):
        read_seqmap(write(tmp_path, "\n", "c.seqmap"))


def test_real_kitti_mots(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("kitti_mots_gt")
    found = find_sequences(folder)
    assert len(found) == 12
    sequence = read_mots(found["0012"])
    # `wc -l` of the file, and the last frame of its line in train.seqmap.
    assert len(sequence.objects) == 282
    assert sequence.last_frame <= read_seqmap(folder / "train.seqmap")["0012"].stop - 1
    assert {entry.class_id for entry in sequence.objects} == {1, 2, 10}

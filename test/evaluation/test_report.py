"""Scores as table, JSON and page; the drawing of timelines and of single frames."""

import errno
import json
import math
import os
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.data.mots import MotsObject, MotsSequence
from wsperception.errors import InputError
from wsperception.evaluation.frame_images import GREY, FrameImages
from wsperception.evaluation.matches import FrameErrors, TrackRow
from wsperception.evaluation.mots import MotsScores, evaluate_sequences
from wsperception.evaluation.mots_frames import SequencePair
from wsperception.evaluation.report import TABLE, json_text, number_text, score_table, scores_mapping, write_files
from wsperception.evaluation.report_colours import PALE, RED, track_colour
from wsperception.evaluation.report_page import choose_worst, report_page
from wsperception.evaluation.report_pictures import BAR, OPACITY, draw_frame
from wsperception.evaluation.report_timeline import timeline

pytest.importorskip("trackeval", reason="trackeval is not installed (extra: eval)")
pytest.importorskip("pycocotools", reason="pycocotools is not installed (extra: eval)")

SIZE = (60, 200)


def rectangle(frame: int, track_id: int, class_id: int, top: int, left: int) -> MotsObject:
    mask = np.zeros(SIZE, bool)
    mask[top : top + 20, left : left + 30] = True
    return MotsObject(frame, track_id, class_id, SIZE, rle.encode(mask))


TRUTH = MotsSequence(
    "0001",
    "truth.txt",
    (
        rectangle(0, 1001, 1, 30, 10),
        rectangle(0, 1002, 1, 30, 80),
        rectangle(0, 10000, 10, 0, 160),
        rectangle(1, 1001, 1, 30, 12),
    ),
)
PREDICTION = MotsSequence(
    "0001",
    "prediction.txt",
    (
        rectangle(0, 4, 1, 30, 10),
        rectangle(0, 5, 1, 0, 80),
        rectangle(0, 6, 1, 1, 161),  # nearly all in the ignore region
        rectangle(1, 4, 1, 30, 12),
    ),
)
PAIR = SequencePair("0001", TRUTH, PREDICTION, range(2))


@pytest.fixture(scope="module")
def scores() -> MotsScores:
    return evaluate_sequences([PAIR])


def test_numbers_as_text() -> None:
    assert (number_text(3), number_text(0.12345), number_text(-0.5), number_text(math.nan)) == (
        "3",
        "12.3",
        "-50.0",
        "-",
    )


def test_the_table_has_a_row_per_sequence_and_one_for_all(scores: MotsScores) -> None:
    lines = score_table(scores, ["something to know"]).splitlines()
    assert lines[0].split() == ["car", *TABLE]
    # 2 of 3 found, both exactly, and one false: (2 - 1) / 3.
    assert lines[2].split()[:9] == ["0001", "33.3", "33.3", "100.0", "0", "1", "1", "0", "66.7"]
    assert lines[3].split()[1:] == lines[2].split()[1:]
    assert lines[5].split()[0] == "pedestrian"
    assert lines[7].split()[1:4] == ["-", "-", "-"]
    assert lines[-2:] == [
        "per cent; a mask is found at IoU >= 0.5 (TrackEval); '-' where undefined",
        "note: something to know",
    ]


def test_json_is_in_per_cent_with_plain_counts(scores: MotsScores) -> None:
    content = json.loads(json_text(scores_mapping(scores, ["n"])))
    car = content["combined"]["car"]
    assert car["sMOTSA"] == pytest.approx(100 / 3)
    assert (car["IDS"], car["TP"], car["FP"], car["FN"]) == (0, 2, 1, 1)
    assert content["combined"]["pedestrian"]["sMOTSA"] is None
    assert content["sequences"]["0001"]["car"] == car
    assert content["curves"]["car"]["threshold"][::6] == [0.05, 0.35, 0.65, 0.95]
    assert np.mean(content["curves"]["car"]["HOTA"]) == pytest.approx(car["HOTA"])
    assert content["notes"] == ["n"]


def test_files_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "out", {"a.txt": "one", "b.txt": "two"})
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"a.txt": "one", "b.txt": "two"}

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="later: cannot be written: No space left on device"):
        write_files(tmp_path / "later", {"a.txt": "one"})
    assert list((tmp_path / "later").iterdir()) == []


class Outside(HTMLParser):
    """Gathers addresses that a page would have to fetch, and the names of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.fetched.append(value)


def test_the_page_is_whole_and_needs_nothing_else(scores: MotsScores) -> None:
    worst = [(errors, draw_frame(PAIR, errors, FrameImages(None, []))) for errors in choose_worst(scores)]
    page = report_page(scores, [PAIR], worst, "a <b> & c", ["a note"])
    parser = Outside()
    parser.feed(page)
    assert parser.fetched == []
    assert "@import" not in page
    assert "url(http" not in page
    assert parser.seen.count("img") == 1
    assert parser.seen.count("svg") == 3  # bars, curves, the timeline of cars; pedestrians have none
    for words in ("a &lt;b&gt; &amp; c", "a note", "Sequence 0001, frame 0: 1 missed (1002); 1 false (5); 1 found"):
        assert words in page
    assert "track 1001, frames 0 to 1: found as 4" in page


def test_a_perfect_result_has_no_worst_frame() -> None:
    pair = SequencePair("0001", TRUTH, TRUTH, range(2))
    scores = evaluate_sequences([pair])
    assert choose_worst(scores) == []
    assert "No frame with a missed object" in report_page(scores, [pair], [], "x")


def test_plots_leave_pyplot_alone(scores: MotsScores) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    report_page(scores, [PAIR], [], "x")
    assert dict(mpl.rcParams) == before


def test_errors_are_red_and_pairs_share_a_colour(scores: MotsScores) -> None:
    (errors,) = choose_worst(scores)
    picture = cv2.imdecode(np.frombuffer(draw_frame(PAIR, errors, FrameImages(None, [])), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    height, width = SIZE
    assert picture.shape == (height + BAR, 2 * width, 3)  # narrow panels stand side by side
    found, missed, false, ignored = (BAR + 45, 20), (BAR + 45, 90), (BAR + 17, width + 85), (BAR + 17, width + 187)
    blend = (1 - OPACITY) * GREY + OPACITY * np.array([track_colour(4), RED, PALE])
    np.testing.assert_allclose(picture[found], blend[0], atol=1)
    np.testing.assert_allclose(picture[found[0], width + found[1]], blend[0], atol=1)
    np.testing.assert_allclose(picture[missed], blend[1], atol=1)
    np.testing.assert_allclose(picture[false], blend[1], atol=1)
    np.testing.assert_allclose(picture[ignored], blend[2], atol=1)
    np.testing.assert_array_equal(picture[BAR + 55, 150], [GREY] * 3)
    assert (picture[BAR : BAR + 20, 160:190] == 200).any()  # the ignore region's lines


def test_camera_images_lie_below_the_masks(tmp_path: Path, scores: MotsScores) -> None:
    cv2.imwrite(str(tmp_path / "000000.png"), np.full((*SIZE, 3), (0, 0, 250), np.uint8))  # BGR: red
    (errors,) = choose_worst(scores)
    content = draw_frame(PAIR, errors, FrameImages(tmp_path, ["0001"]))
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    np.testing.assert_allclose(picture[BAR + 55, 60], (0, 0, 250), atol=6)


def test_timeline_by_hand() -> None:
    row = TrackRow(8, np.array([5, 6, 7, 9]), np.array([3, 3, -1, 4]), np.array([False, False, False, True]))
    drawing = timeline([row], np.array([0, 2, 0, 0, 0]), range(5, 10))
    for words in (
        "track 8, frames 5 to 6: found as 3",
        "track 8, frames 7 to 7: missed",
        "track 8, frames 9 to 9: found as 4",
        "frame 9: id switch to 4",
        "frame 6: 2 false",
        "false, max 2",
    ):
        assert words in drawing
    assert drawing.count("<rect") == 4
    gap = TrackRow(8, np.array([5, 7]), np.array([3, 3]), np.array([False, False]))
    assert timeline([gap], np.zeros(3, np.int64), range(5, 8)).count("<rect") == 2
    assert "none false" in timeline([], np.zeros(0, np.int64), range(0))


def test_images_are_found_by_number(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "image_02" / "0001"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "000003.png"), np.zeros((*SIZE, 3), np.uint8))
    (folder / "000004.png").write_bytes(b"no image")
    images = FrameImages(tmp_path, ["0001", "0002"])
    assert images.notes == [f"{tmp_path}: no images of sequence 0002: pictures on grey"]
    assert (images.length("0001"), images.length("0002")) == (5, 0)
    assert images.read("0001", 3, SIZE).max() == 0
    assert (images.read("0001", 2, SIZE) == GREY).all()
    assert (images.read("0001", 4, SIZE) == GREY).all()
    assert images.notes[1:] == [f"{folder / '000004.png'}: not a readable image: picture on grey"]
    with pytest.raises(InputError, match=r"000003\.png: expected 60 x 100 \(height x width\) .* 0001, got 60 x 200"):
        images.read("0001", 3, (60, 100))
    with pytest.raises(
        InputError, match=r"expected numbered images in a folder per sequence \(0009, \.\.\.\), found none"
    ):
        FrameImages(tmp_path, ["0009", "0010"])
    with pytest.raises(InputError, match="nowhere: no such folder; expected camera images"):
        FrameImages(tmp_path / "nowhere", ["0009"])


def test_a_frame_without_objects_of_one_side_is_drawn() -> None:
    pair = SequencePair("0001", MotsSequence("0001", "t", ()), PREDICTION, range(2))
    errors = FrameErrors("0001", 0, (), (4, 5, 6), (), (), (), 0.0)
    assert draw_frame(pair, errors, FrameImages(None, [])).startswith(b"\x89PNG")

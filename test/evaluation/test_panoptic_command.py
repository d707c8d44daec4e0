"""`wsperception eval` of panoptic labels, from files to files, in the three formats."""

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception.cli import main
from wsperception.data.coco_panoptic import segment_colours
from wsperception.data.panoptic_labels import PanopticLabels, PanopticSet
from wsperception.data.voc import PALETTE
from wsperception.errors import InputError
from wsperception.evaluation.command import evaluate_command
from wsperception.evaluation.panoptic import match_segments, overlap_areas
from wsperception.evaluation.panoptic_pictures import class_colour, draw_image
from wsperception.evaluation.panoptic_report import TABLE
from wsperception.evaluation.panoptic_run import WORST, evaluate_sets
from wsperception.evaluation.report_colours import RED
from wsperception.types import LabelSpace

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: eval)")

LABELS = LabelSpace(("car", "road", "sky"), (True, False, False))
CATEGORIES = [{"id": 3, "name": "car", "isthing": 1}, {"id": 7, "name": "road", "isthing": 0}]
CAR, ROAD = 3, 7


def write_coco(path: Path, images: dict[str, list[list[int]]], scores: dict[int, float] | None = None, **more) -> Path:
    """Segments are numbered `category * 10 + n`; `scores` by segment number."""
    annotations = []
    path.with_suffix("").mkdir(parents=True)
    for name, rows in images.items():
        numbers = np.kron(np.array(rows, np.uint32), np.ones((10, 10), np.uint32))
        cv2.imwrite(str(path.with_suffix("") / f"{name}.png"), segment_colours(numbers))
        segments = [
            {"id": number, "category_id": number // 10} | ({"score": scores[number]} if scores else {})
            for number in np.unique(numbers[numbers > 0]).tolist()
        ]
        annotations.append({"file_name": f"{name}.png", "image_id": name, "segments_info": segments})
    path.write_text(json.dumps({"annotations": annotations, "categories": CATEGORIES} | more))
    return path


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path, Path]:
    """Two images. In a the car is found at 2/3, a false car stands on the road; b is perfect."""
    gt = write_coco(tmp_path / "gt.json", {"a": [[31, 31, 31], [70, 70, 70]], "b": [[70, 70, 31]]})
    pred = write_coco(tmp_path / "pred.json", {"a": [[31, 31, 0], [70, 70, 32]], "b": [[70, 70, 31]]})
    return gt, pred, tmp_path / "out"


def scores_in(out: Path) -> dict:
    return json.loads((out / "scores.json").read_text())


def test_coco_panoptic_by_hand(files):
    gt, pred, out = files
    table = evaluate_command(gt, pred, out, data_format="coco-panoptic")
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "scores.json"]
    content = scores_in(out)
    # Cars: IoU 2/3 and 1, one false: PQ (5/3) / 2.5. Road: 2/3 and 1: 5/6.
    car, road = content["classes"]["car"], content["classes"]["road"]
    assert (car["PQ"], car["SQ"], car["RQ"]) == pytest.approx((200 / 3, 250 / 3, 80), abs=1e-12)
    assert (car["TP"], car["FP"], car["FN"]) == (2, 1, 0)
    assert road["PQ"] == pytest.approx(250 / 3)
    # As semantic classes: 3 of 4 + 1 pixels, 4 of 5.
    assert (car["IoU"], road["IoU"]) == pytest.approx((60, 80), abs=1e-12)
    combined = content["combined"]
    assert list(combined) == ["all", "things", "stuff"]
    assert combined["all"]["PQ"] == pytest.approx(75)
    assert combined["things"]["PQ"] == pytest.approx(200 / 3)
    assert (combined["all"]["TP"], combined["all"]["FP"], combined["all"]["classes"]) == (4, 1, 2)
    assert "AP50" not in car
    assert content["notes"] == ["no average precision: the predictions carry no scores"]
    assert [entry["name"] for entry in content["worst"]] == ["a"]
    assert content["worst"][0]["PQ"] == pytest.approx(100 * (4 / 3) / 2.5)
    head, _, everything, *_ = table.splitlines()
    assert head.split() == ["PQ", "SQ", "RQ", "IoU", "TP", "FP", "FN"]
    assert everything.split() == ["all", "75.0", "83.3", "90.0", "70.0", "4", "1", "0"]


def test_scores_of_the_result_give_average_precision(files, tmp_path):
    gt, _, out = files
    images = {"a": [[31, 31, 0], [70, 70, 32]], "b": [[70, 70, 31]]}
    pred = write_coco(tmp_path / "ranked.json", images, {31: 0.5, 32: 0.75, 70: 1.0}, categories=None)
    evaluate_command(gt, pred, out, data_format="coco-panoptic")
    content = scores_in(out)
    # The false car is the surest: precision 1/2 at the first, 2/3 at the second: 2/3. At 0.7 only b's car is found, and
    # ranks third (a's stands before it): 1/3 over half of the recall. 0.1 to 0.6: 2/3; 0.7 to 0.9: 1/6.
    car = content["classes"]["car"]
    assert (car["AP50"], car["AP70"]) == pytest.approx((200 / 3, 100 / 6), abs=1e-12)
    assert car["APvol_voc"] == pytest.approx(100 * (6 * 2 / 3 + 3 / 6) / 9)
    # 0.5 to 0.65: 2/3, for 2/3 > 0.65; 0.7 to 0.95: 1/6.
    assert car["APvol"] == pytest.approx(100 * (4 * 2 / 3 + 6 / 6) / 10)
    assert content["notes"] == []
    assert [name for name in TABLE if name not in content["combined"]["all"]] == []


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_report_is_whole_and_needs_nothing_beside_it(files):
    gt, pred, out = files
    evaluate_command(gt, pred, out, data_format="coco-panoptic")
    page = (out / "report.html").read_text()
    tags = Tags(page)
    assert tags.open == []
    assert tags.seen.count("img") == 1  # b is perfect
    assert tags.seen.count("svg") == 1
    assert "a: quality 53.3 % over all segments; 2 found, 0 missed, 1 false" in page
    assert 'src="http' not in page
    assert "<script" not in page
    assert "<link" not in page


def test_cityscapes_and_voc(tmp_path):
    road, car = 7, 26
    values = np.full((20, 30), road, np.uint16)
    values[:10] = car * 1000 + 4
    for folder, name in (("gt/gtFine/val/ulm", "ulm_000000_000019_gtFine"), ("pred", "ulm_000000_000019")):
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / f"{name}_instanceIds.png"), values)
        values[5:10] = road  # the prediction finds the upper half of the car: not above 0.5
    evaluate_command(tmp_path / "gt", tmp_path / "pred", tmp_path / "a", data_format="cityscapes", split="val")
    classes = scores_in(tmp_path / "a")["classes"]
    assert (classes["car"]["FN"], classes["car"]["FP"], classes["car"]["IoU"]) == (1, 1, pytest.approx(50))
    assert classes["road"]["PQ"] == pytest.approx(100 * 10 / 15)
    assert list(classes) == ["road", "car"]
    for place, column in (("gt", 10), ("pred", 12)):
        numbers = np.zeros((2, 20), int)
        numbers[:, :column] = 1
        for folder, value in (("SegmentationClass", 15), ("SegmentationObject", 1)):
            (tmp_path / "voc" / place / folder).mkdir(parents=True)
            image = PALETTE[value * numbers][..., ::-1]
            cv2.imwrite(str(tmp_path / "voc" / place / folder / "x.png"), image)
    evaluate_command(tmp_path / "voc/gt", tmp_path / "voc/pred", tmp_path / "b", data_format="voc")
    classes = scores_in(tmp_path / "b")["classes"]
    assert (classes["person"]["PQ"], classes["background"]["PQ"]) == pytest.approx((1000 / 12, 80), abs=1e-12)


def test_missing_and_further_predictions(files, tmp_path):
    gt, _, out = files
    less = write_coco(tmp_path / "less.json", {"b": [[70, 70, 31]], "c": [[31, 31, 31]]})
    with pytest.raises(InputError, match=r"less\.json: no prediction of 1 of 2 images, as of a"):
        evaluate_command(gt, less, out, data_format="coco-panoptic")
    assert not out.exists()
    evaluate_command(gt, less, out, data_format="coco-panoptic", missing_as_empty=True)
    content = scores_in(out)
    assert content["notes"][:2] == [
        "no prediction of 1 images: counted as nothing found",
        "predictions of 1 other images left out",
    ]
    assert (content["classes"]["car"]["TP"], content["classes"]["car"]["FN"]) == (1, 1)


def test_mistakes_are_named(files, tmp_path):
    gt, pred, out = files
    with pytest.raises(InputError, match="format 'coco': unknown; expected mots, coco-panoptic, cityscapes, voc"):
        evaluate_command(gt, pred, out, data_format="coco")
    with pytest.raises(InputError, match="strict: belongs to format mots; expected none for format voc"):
        evaluate_command(gt, pred, out, data_format="voc", strict=True)
    with pytest.raises(InputError, match="split: belongs to the formats cityscapes and voc"):
        evaluate_command(gt, pred, out, split="val")
    with pytest.raises(InputError, match="split: COCO panoptic has a JSON file per split"):
        evaluate_command(gt, pred, out, data_format="coco-panoptic", split="val")
    with pytest.raises(InputError, match="images: voc has its camera images in its own layout"):
        evaluate_command(gt, pred, out, data_format="voc", images=tmp_path)
    with pytest.raises(InputError, match="none: no such folder; expected camera images"):
        evaluate_command(gt, pred, out, data_format="coco-panoptic", images=tmp_path / "none")
    other = write_coco(tmp_path / "other.json", {"a": [[31, 31, 31]], "b": [[70, 70, 31]]})
    with pytest.raises(InputError, match=r"a: expected a prediction of 20 x 30 \(height x width\), got 10 x 30"):
        evaluate_command(gt, other, out, data_format="coco-panoptic")
    unknown = write_coco(tmp_path / "unknown.json", {"a": [[91, 31, 31], [70, 70, 70]], "b": [[70, 70, 31]]})
    with pytest.raises(InputError, match=r"unknown\.json: .* segment 91: category_id: unknown id 9; known are 3, 7"):
        evaluate_command(gt, unknown, out, data_format="coco-panoptic")
    assert not out.exists()
    evaluate_command(gt, pred, out, data_format="coco-panoptic")
    with pytest.raises(InputError, match=r"scores\.json: exists already"):
        evaluate_command(gt, pred, out, data_format="coco-panoptic")


def test_the_command_line(files, capsys):
    gt, pred, out = files
    arguments = ["eval", "--format", "coco-panoptic", "--gt", str(gt), "--pred", str(pred), "--out", str(out)]
    assert main(arguments) == 0
    assert "car" in capsys.readouterr().out
    assert main([*arguments, "--overwrite", "--seqmap", "x"]) == 2
    assert (
        capsys.readouterr().err
        == "wsperception: seqmap: belongs to format mots; expected none for format coco-panoptic\n"
    )


def labels(name: str, ids: np.ndarray, class_ids: list[int], image: Path | None = None) -> PanopticLabels:
    rows = len(class_ids) + 1
    return PanopticLabels(
        name, ids.astype(np.uint16), np.array([-1, *class_ids], np.int32), np.zeros(rows, bool),
        np.ones(rows, np.float32), image,
    )  # fmt: skip


def set_of(images: list[PanopticLabels], space: LabelSpace = LABELS) -> PanopticSet:
    by_name = {image.name: image for image in images}
    return PanopticSet("memory", space, tuple(by_name), by_name.__getitem__)


def test_the_worst_images_come_in_order_and_few():
    truth = [labels(f"image {number}", np.ones((1, 20)), [0]) for number in range(WORST + 3)]
    prediction = [labels(f"image {number}", np.arange(20)[None] < 20 - number, [0]) for number in range(WORST + 3)]
    result = evaluate_sets(set_of(truth), set_of(prediction))
    wanted = [f"image {number}" for number in range(WORST + 2, 2, -1)]
    assert [entry.name for entry in result.worst] == wanted
    assert result.worst[0].quality == pytest.approx(1 - (WORST + 2) / 20)
    perfect = evaluate_sets(set_of(truth[:2]), set_of(truth[:2]))
    assert perfect.worst == ()


def test_sets_of_other_classes():
    truth = [labels("a", np.ones((1, 2)), [0])]
    with pytest.raises(InputError, match="memory: expected the classes of memory: car, road, sky"):
        evaluate_sets(set_of(truth), set_of(truth, LabelSpace(("a", "b", "c"), (True, False, False))))


def test_a_picture_shows_classes_and_mistakes(tmp_path):
    ids = np.ones((60, 100))
    ids[:30, 60:] = 2
    truth = labels("a", ids, [1, 0])
    prediction = labels("a", np.ones((60, 100)), [1])
    matches = match_segments(truth, prediction, overlap_areas(truth, prediction))
    content = draw_image(truth, prediction, matches, LABELS)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    panels = picture[-60:, :100], picture[-60:, 100:]  # side by side, below their titles
    road = 0.6 * np.array(class_colour(1)) + 0.4 * 96
    np.testing.assert_allclose(panels[0][50, 20], road, atol=1)
    np.testing.assert_allclose(panels[1][10, 80], road, atol=1)
    assert (panels[0][:30, 60:] == RED).all(axis=2).mean() > 0.2  # hatched
    assert not (panels[1] == RED).all(axis=2).any()
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((5, 5, 3), np.uint8))
    wrong = labels("a", ids, [1, 0], tmp_path / "small.png")
    with pytest.raises(
        InputError, match=r"small\.png: expected 60 x 100 \(height x width\) as in the labels, got 5 x 5"
    ):
        draw_image(wrong, prediction, matches, LABELS)

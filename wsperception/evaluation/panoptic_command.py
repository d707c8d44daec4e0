"""`wsperception eval` for panoptic labels: COCO panoptic, Cityscapes and VOC files in, scores and a report out."""

from pathlib import Path

from wsperception.data.cityscapes import open_cityscapes
from wsperception.data.coco_panoptic import open_coco_panoptic, read_categories
from wsperception.data.panoptic_labels import PanopticSet
from wsperception.data.voc import open_voc
from wsperception.errors import InputError
from wsperception.evaluation.panoptic import match_segments, overlap_areas
from wsperception.evaluation.panoptic_page import panoptic_page
from wsperception.evaluation.panoptic_pictures import draw_image
from wsperception.evaluation.panoptic_report import panoptic_mapping, panoptic_table
from wsperception.evaluation.panoptic_run import Progress, evaluate_sets, read_prediction
from wsperception.evaluation.report import json_text, write_files

PANOPTIC_FORMATS = ("coco-panoptic", "cityscapes", "voc")


def evaluate_panoptic(
    gt: Path,
    pred: Path,
    out: Path,
    data_format: str,
    *,
    images: Path | None = None,
    split: str | None = None,
    missing_as_empty: bool = False,
    progress: Progress | None = None,
) -> str:
    """Scores `pred` against `gt`, writes scores.json and report.html into `out`, and returns the table as text.

    gt, pred          coco-panoptic: a JSON file, or a folder of them, each beside the folder of its name with the PNG
                      files; a segment of a result may carry a "score".  cityscapes: the data set, or a folder with
                      *_instanceIds.png.  voc: VOC2012, or a folder with SegmentationClass and SegmentationObject
    data_format       one of PANOPTIC_FORMATS
    images            coco-panoptic: folder of the camera images, for pictures; the others have them in their layout
    split             cityscapes: train, val, ...; voc: a list below ImageSets/Segmentation
    missing_as_empty  an image without a prediction counts as one in which nothing was found

    Raises InputError, one line naming the file, for whatever its user can mend.
    """
    truth, prediction = _sets(gt, pred, data_format, images, split)
    result = evaluate_sets(truth, prediction, missing_as_empty, progress)
    notes = _notes(truth, prediction)
    pictures = []
    for errors in result.worst:
        true = truth.read(errors.name)
        predicted = read_prediction(true, prediction)
        matches = match_segments(true, predicted, overlap_areas(true, predicted))
        pictures.append((errors, draw_image(true, predicted, matches, truth.labels)))
    page = panoptic_page(result, pictures, f"{pred} against {gt}", notes)
    write_files(out, {"scores.json": json_text(panoptic_mapping(result, data_format, notes)), "report.html": page})
    return panoptic_table(result, notes)


def _sets(
    gt: Path, pred: Path, data_format: str, images: Path | None, split: str | None
) -> tuple[PanopticSet, PanopticSet]:
    if images is not None and data_format != "coco-panoptic":
        raise InputError(f"images: {data_format} has its camera images in its own layout; expected no folder of images")
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder; expected camera images")
    if data_format == "cityscapes":
        return open_cityscapes(gt, split), open_cityscapes(pred)
    if data_format == "voc":
        return open_voc(gt, split), open_voc(pred)
    if split is not None:
        raise InputError("split: COCO panoptic has a JSON file per split; expected that file, and no name of a split")
    return open_coco_panoptic(gt, images), open_coco_panoptic(pred, categories=read_categories(gt))


def _notes(truth: PanopticSet, prediction: PanopticSet) -> list[str]:
    wanted, found = set(truth.names), set(prediction.names)
    notes = []
    if wanted - found:
        notes.append(f"no prediction of {len(wanted - found)} images: counted as nothing found")
    if found - wanted:
        notes.append(f"predictions of {len(found - wanted)} other images left out")
    if not prediction.scored:
        notes.append("no average precision: the predictions carry no scores")
    return notes

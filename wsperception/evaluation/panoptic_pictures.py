"""Single images with panoptic labels as pictures: ground truth and prediction, mistakes hatched in red."""

import cv2
import numpy as np

from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.errors import InputError
from wsperception.evaluation.frame_images import GREY
from wsperception.evaluation.panoptic import SegmentMatches
from wsperception.evaluation.report_colours import INK, RED, Colour, track_colour
from wsperception.evaluation.report_pictures import OPACITY, encoded_panels, hatch, put_label, titled
from wsperception.types import LabelSpace

WIDEST = 1024
"""Pixels; wider images are shrunk, for a report must stay small."""
LEAST_NAMED = 0.002
"""Share of the image below which a segment gets no name."""
OUTLINE: Colour = (250, 250, 250)


def class_colour(class_id: int) -> Colour:
    """Colour of a class, the same in all pictures; never red."""
    return track_colour(class_id + 1)


def draw_image(truth: PanopticLabels, prediction: PanopticLabels, matches: SegmentMatches, labels: LabelSpace) -> bytes:
    """PNG (grey background) or JPEG (camera image) bytes: ground truth and prediction.

    Segments have the colour of their class, void shows the image. What was missed, and what is false, is hatched and
    outlined in red and named; crowds are hatched in grey. InputError where the camera image is of another size.
    """
    image = _camera_image(truth)
    panels = [
        _panel("ground truth", image, truth, matches.missed, labels),
        _panel("prediction", image, prediction, matches.false, labels),
    ]
    return encoded_panels(panels, plain=bool((image == image[0, 0]).all()))


def _camera_image(truth: PanopticLabels) -> np.ndarray:
    """(H, W, 3) uint8 RGB; grey where there is none or it is unreadable."""
    grey = np.full((*truth.ids.shape, 3), GREY, np.uint8)
    image = cv2.imread(str(truth.image), cv2.IMREAD_COLOR) if truth.image is not None else None
    if image is None:
        return grey
    if image.shape != grey.shape:
        wanted, got = (" x ".join(map(str, array.shape[:2])) for array in (grey, image))
        raise InputError(f"{truth.image}: expected {wanted} (height x width) as in the labels, got {got}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _panel(title: str, image: np.ndarray, found: PanopticLabels, wrong: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """(BAR + H', W', 3) uint8 RGB, W' <= WIDEST."""
    scale = min(1.0, WIDEST / image.shape[1])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    ids = cv2.resize(found.ids, size, interpolation=cv2.INTER_NEAREST)  # (H', W')
    colours = np.array([class_colour(class_id) for class_id in found.class_ids.tolist()], np.uint8)  # (R, 3)
    painted = np.where((ids > 0)[..., None], colours[ids], canvas)
    canvas = np.asarray(cv2.addWeighted(canvas, 1 - OPACITY, painted, OPACITY, 0))
    canvas[_edges(ids)] = OUTLINE
    hatch(canvas, found.is_crowd[ids])
    is_wrong = np.zeros(len(found.class_ids), bool)
    is_wrong[wrong] = True
    hatch(canvas, is_wrong[ids], RED)
    _outline_and_name(canvas, ids, wrong, [labels.names[class_id] for class_id in found.class_ids[wrong]])
    return titled(title, canvas)


def _edges(ids: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour belongs to another segment."""
    edges = np.zeros(ids.shape, bool)
    edges[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edges[:-1] |= ids[:-1] != ids[1:]
    return edges


def _outline_and_name(canvas: np.ndarray, ids: np.ndarray, wrong: np.ndarray, names: list[str]) -> None:
    """Red outlines around mistakes, and their class, in place."""
    masks = [(ids == row).view(np.uint8) for row in wrong.tolist()]
    for mask in masks:
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, RED, 2)
    for mask, name in zip(masks, names, strict=True):
        if mask.mean() >= LEAST_NAMED:
            put_label(canvas, mask.view(bool), name, INK)

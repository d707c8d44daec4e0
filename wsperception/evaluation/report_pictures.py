"""Single frames as pictures: ground truth above, prediction below, errors outlined."""

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from wsperception import rle
from wsperception.data.mots import IGNORE_CLASS, MotsObject
from wsperception.evaluation.frame_images import FrameImages
from wsperception.evaluation.matches import FrameErrors
from wsperception.evaluation.mots_frames import SequencePair
from wsperception.evaluation.report_colours import AMBER, INK, PALE, RED, Colour, track_colour

OPACITY = 0.6
SIDE = 620
"""Panels wider than this many pixels are stacked, narrower ones stand side by side."""
JPEG_QUALITY = 85
BAR = 26
"""Height of the title bar of a panel."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
HATCHING = (200, 200, 200)


def draw_frame(pair: SequencePair, errors: FrameErrors, images: FrameImages) -> bytes:
    """PNG (grey background) or JPEG (camera image) bytes of one frame: ground truth and prediction.

    A found object and its prediction share a colour; a missed object and a false prediction are red; an id switch has
    an amber outline; a prediction that an ignore region took out is pale. Ignore regions are hatched.
    """
    truth = [entry for entry in pair.truth.objects if entry.frame == errors.frame]
    prediction = [entry for entry in pair.prediction.objects if entry.frame == errors.frame]
    image = images.read(pair.name, errors.frame, (truth or prediction)[0].size)
    regions = [entry for entry in truth if entry.class_id == IGNORE_CLASS]
    found = {true: track_colour(predicted) for true, predicted in errors.pairs}
    missed, false = dict.fromkeys(errors.missed, RED), dict.fromkeys(errors.false, RED)
    predicted = {entry.track_id: track_colour(entry.track_id) for entry in prediction}
    ignored = dict.fromkeys(errors.ignored, PALE)
    switched = dict.fromkeys(errors.switched, AMBER)
    panels = [
        _panel("ground truth", image, truth, {**found, **missed}, missed, regions),
        _panel("prediction", image, prediction, {**predicted, **ignored, **false}, {**switched, **false}, regions),
    ]
    return encoded_panels(panels, plain=bool((image == image[0, 0]).all()))


def encoded_panels(panels: Sequence[np.ndarray], plain: bool) -> bytes:
    """Panels (H', W', 3) uint8 RGB of one size as one picture: PNG where they are `plain`, else JPEG."""
    picture = np.concatenate(panels, axis=0 if panels[0].shape[1] > SIDE else 1)
    ending, options = (".png", []) if plain else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    ok, encoded = cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert ok
    return encoded.tobytes()


def titled(title: str, canvas: np.ndarray) -> np.ndarray:
    """(BAR + H, W, 3) uint8 RGB: a picture below its title."""
    bar = np.full((BAR, canvas.shape[1], 3), 250, np.uint8)
    cv2.putText(bar, title, (8, 18), FONT, 0.5, INK, 1, cv2.LINE_AA)
    return np.concatenate([bar, canvas])


def _panel(
    title: str,
    image: np.ndarray,
    objects: Sequence[MotsObject],
    colours: Mapping[int, Colour],
    outlines: Mapping[int, Colour],
    regions: Iterable[MotsObject],
) -> np.ndarray:
    """(BAR + H, W, 3) uint8 RGB."""
    canvas = image.copy()
    for region in regions:
        hatch(canvas, rle.decode(region.counts, region.size))
    shown = [entry for entry in objects if entry.track_id in colours and entry.class_id != IGNORE_CLASS]
    masks = [np.ascontiguousarray(rle.decode(entry.counts, entry.size)) for entry in shown]
    painted = canvas.copy()
    for entry, mask in zip(shown, masks, strict=True):
        painted[mask] = colours[entry.track_id]
    canvas = cv2.addWeighted(canvas, 1 - OPACITY, painted, OPACITY, 0)
    for entry, mask in zip(shown, masks, strict=True):
        contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outline = outlines.get(entry.track_id)
        cv2.drawContours(canvas, contours, -1, outline or colours[entry.track_id], 2 if outline else 1)
    for entry, mask in zip(shown, masks, strict=True):
        put_label(canvas, mask, str(entry.track_id), outlines.get(entry.track_id, INK))
    return titled(title, canvas)


def hatch(canvas: np.ndarray, mask: np.ndarray, colour: Colour = HATCHING) -> None:
    """Diagonal lines over a region, in place."""
    rows, columns = np.nonzero(mask)
    lines = (rows + columns) % 8 < 2
    canvas[rows[lines], columns[lines]] = colour


def put_label(canvas: np.ndarray, mask: np.ndarray, text: str, back: Colour) -> None:
    """A word or an id in a small box above the middle of the mask, in place."""
    left, top, wide, high = cv2.boundingRect(mask.view(np.uint8))
    if high == 0:
        return
    (width, height), _ = cv2.getTextSize(text, FONT, 0.4, 1)
    x = int(np.clip(left + (wide - width) / 2, 1, max(1, canvas.shape[1] - width - 3)))
    y = int(np.clip(top - 3, height + 2, canvas.shape[0] - 2))
    cv2.rectangle(canvas, (x - 2, y - height - 2), (x + width + 1, y + 2), back, -1)
    cv2.putText(canvas, text, (x, y), FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)

"""Where tags alone say that objects are: class peak responses (PRM, Zhou et al., CVPR 2018), for WISE's "PRM + E-Net".

A fully convolutional classifier gives each class a map of responses. Its local maxima, the peaks, decide about the tag
of the image, and so become places of objects. Only that half of PRM is here: the masks are E-Net's.

`responses` (C, h, w) are logits, `tags` (C,) is 1 for a class that is in the image, otherwise 0.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsperception.learn.points.lcfcn import Peaks

WINDOW = 7
"""Side, in cells, of the window in which a peak is the highest. PRM takes 3, on coarser maps."""


def find_peak_cells(responses: Tensor) -> Tensor:
    """(C, h, w) bool: the cells that are the highest of their window and above the mean of their map.

    Lower maxima are those of texture; a map that is the same everywhere has no peak.
    """
    highest = functional.max_pool2d(responses[None], WINDOW, stride=1, padding=WINDOW // 2)[0]
    return (responses == highest) & (responses > responses.mean(dim=(1, 2), keepdim=True))


def confidences(responses: Tensor) -> Tensor:
    """(C,): the mean response at the peaks of each class; of a map without one, the mean of the map."""
    peaks = find_peak_cells(responses)
    count = peaks.sum(dim=(1, 2))
    at_peaks = (responses * peaks).sum(dim=(1, 2)) / count.clamp(min=1)
    return torch.where(count > 0, at_peaks, responses.mean(dim=(1, 2)))


def tag_loss(responses: Tensor, tags: Tensor) -> Tensor:
    """Binary cross-entropy of the confidences, a mean over the classes: what pushes peaks up, or all of a map down."""
    return functional.binary_cross_entropy_with_logits(confidences(responses), tags)


@torch.no_grad()
def response_peaks(responses: Tensor, size: tuple[int, int]) -> Peaks:
    """The peaks that are likelier object than not, of classes that are likelier there than not.

    Pixels are those of an image of `size` (h, w): the middles of the cells.
    """
    present = confidences(responses) > 0
    cells = (find_peak_cells(responses) & (responses > 0) & present[:, None, None]).nonzero()  # (B, 3)
    classes, rows, columns = cells.T
    scale = np.array(size) / np.array(responses.shape[1:])
    middles = (cells[:, 1:].cpu().numpy() + 0.5) * scale
    scores = responses[classes, rows, columns].sigmoid().cpu().numpy().astype(np.float32)
    return Peaks(middles.astype(np.int64), classes.cpu().numpy().astype(np.int64), scores)

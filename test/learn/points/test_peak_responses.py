import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from wsperception.learn.points.peak_responses import confidences, find_peak_cells, response_peaks, tag_loss


def two_maps() -> torch.Tensor:
    """Class 0 has peaks of 3 and 1 in different windows and a shoulder of 2; class 1 is flat but for one dip."""
    responses = torch.full((2, 10, 20), -1.0)
    responses[0, 2, 3], responses[0, 2, 4], responses[0, 7, 15] = 3.0, 2.0, 1.0
    responses[1] = -2.0
    responses[1, 0, 0] = -4.0
    return responses


def test_peaks_by_hand() -> None:
    # The shoulder lies in the window of the 3. Elsewhere -1 is the highest: below the mean (-197 + 6) / 200.
    assert find_peak_cells(two_maps())[0].nonzero().tolist() == [[2, 3], [7, 15]]
    assert not find_peak_cells(torch.ones(1, 5, 5)).any()


def test_confidences_and_loss_by_hand() -> None:
    # Class 0: (3 + 1) / 2. Class 1: every -2 away from the dip is highest of its window and above the mean -2.01.
    assert confidences(two_maps()).tolist() == pytest.approx([2.0, -2.0])
    assert confidences(torch.full((1, 5, 5), 0.5)).tolist() == [0.5]
    # -log sigmoid(2) for the tag that is there, -log(1 - sigmoid(-2)) for the other: log(1 + e^-2), twice.
    loss = tag_loss(two_maps(), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2.0)))
    # The other way round: log(1 + e^2).
    assert tag_loss(two_maps(), torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log1p(math.exp(2.0)))


def test_the_loss_moves_the_peaks_alone() -> None:
    responses = two_maps()[:1].requires_grad_()
    tag_loss(responses, torch.ones(1)).backward()
    assert responses.grad is not None
    assert responses.grad.nonzero().tolist() == [[0, 2, 3], [0, 7, 15]]
    assert (responses.grad[responses.grad != 0] < 0).all()  # a step downhill raises them


def test_peaks_become_pixels() -> None:
    # Cells of 4 x 8 pixels: the middle of cell (2, 3) is row 10, column 28. Class 1 is not likely to be there.
    found = response_peaks(two_maps(), (40, 160))
    assert found.pixels.tolist() == [[10, 28], [30, 124]]
    assert found.class_ids.tolist() == [0, 0]
    assert found.scores.tolist() == pytest.approx([1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-1))])


def test_nothing_there() -> None:
    found = response_peaks(torch.full((2, 4, 4), -3.0), (8, 8))
    assert found.pixels.shape == (0, 2)
    assert found.pixels.dtype == np.int64
    assert len(found.scores) == 0

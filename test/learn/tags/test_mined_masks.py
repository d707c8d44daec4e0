import math

import numpy as np
import pytest
import torch

from wsperception.learn.semantic import IGNORED
from wsperception.learn.tags.mined_masks import MinedMasks, instance_loss, instance_rois, mined_masks, semantic_labels
from wsperception.learn.tags.reestimate import ReestimateSettings
from wsperception.nets.segment_set import SegmentSet

KEPT = ReestimateSettings(evidence="none")


def halves() -> SegmentSet:
    """Left half, right half and right column of 4 x 6 pixels."""
    superpixels = torch.tensor([0, 0, 0, 1, 1, 2]).expand(4, 6).contiguous()
    membership = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 1]]).bool()
    return SegmentSet(superpixels, membership, torch.tensor([[0.0, 0, 3, 4], [3, 0, 6, 4], [5, 0, 6, 4]]))


SCORES = torch.tensor([[0.1, 0.7, 0.2], [0.3, 0.9, 0.4], [0.8, 0.1, 0.6]])
IMAGE_SCORES = torch.tensor([0.5, 0.6, 0.7])


def mined_of(masks: torch.Tensor, classes: list[int], weights: list[float]) -> MinedMasks:
    return MinedMasks(torch.zeros((len(classes), 4)), torch.tensor(classes), torch.tensor(weights), masks)


def test_the_best_segment_of_each_tag_by_hand():
    image = np.zeros((4, 6, 3), np.uint8)
    found = mined_masks(image, halves(), SCORES, torch.tensor([True, False, True]), IMAGE_SCORES, KEPT)
    # Class 0 is best on segment 2 with 0.8, class 2 on the same one with 0.6; class 1 is no tag.
    assert found.classes.tolist() == [0, 2]
    assert found.weights.tolist() == pytest.approx([0.5, 0.7])
    assert found.boxes.tolist() == [[5, 0, 6, 4], [5, 0, 6, 4]]
    assert found.masks.sum(dim=(1, 2)).tolist() == [4, 4]
    assert found.masks[:, :, 5].all()
    chosen = found.select(torch.tensor([1]))
    assert chosen.classes.tolist() == [2]
    assert chosen.masks.shape == (1, 4, 6)


def test_masks_are_re_estimated():
    # The right half is red, and its right column alone is mined: GrabCut in the column's box can add nothing, but in
    # the box of the whole half it finds the half.
    image = np.zeros((40, 60, 3), np.uint8)
    image[:] = (30, 120, 30)
    image[5:35, 30:55] = (200, 30, 30)
    superpixels = torch.zeros((40, 60), dtype=torch.int64)
    superpixels[5:35, 30:38] = 1
    segments = SegmentSet(superpixels, torch.tensor([[False], [True]]), torch.tensor([[28.0, 3, 57, 37]]))
    tags, one = torch.tensor([True]), torch.ones(1)
    found = mined_masks(image, segments, torch.ones((1, 1)), tags, one, ReestimateSettings())
    assert found.masks[0, 6:34, 31:54].all()
    assert found.masks[0].sum() < 40 * 28


def test_no_tags_or_segments_give_no_masks():
    image = np.zeros((4, 6, 3), np.uint8)
    none = mined_masks(image, halves(), SCORES, torch.zeros(3), IMAGE_SCORES, KEPT)
    assert none.masks.shape == (0, 4, 6)
    empty = halves().select(torch.zeros(3, dtype=torch.bool))
    assert len(mined_masks(image, empty, SCORES[:0], torch.ones(3), IMAGE_SCORES, KEPT).masks) == 0


def test_closest_boxes_by_hand():
    # IoU with the seed (0 0 4 4): 1, 1/2, 1/4, 0; with (4 0 8 4): 0, 0, 0, 1.
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [0, 0, 2, 2], [4, 0, 8, 4]])
    rows, seeds = instance_rois(boxes, boxes[[0, 3]], 2)
    assert rows.tolist()[:2] == [0, 1]
    assert rows.tolist()[2] == 3
    assert seeds.tolist() == [0, 0, 1, 1]
    assert len(instance_rois(boxes, boxes[[0]], 10)[0]) == 4
    assert len(instance_rois(boxes, boxes[:0], 10)[0]) == 0


def test_instance_loss_by_hand():
    # Two RoIs over all of the image. Class 1's mask is the left half: 392 of 784 cells. Logits of log 3 are probability
    # 3/4: (-log(3/4) - log(1/4)) / 2 = 0.837. Class 0's is everything: -log(3/4) = 0.288. Weights 0.5 and 0.25.
    masks = torch.zeros((2, 28, 28), dtype=torch.bool)
    masks[0, :, :14] = masks[1] = True
    mined = mined_of(masks, [1, 0], [0.5, 0.25])
    logits = torch.full((2, 3, 28, 28), -5.0)
    logits[0, 1] = logits[1, 0] = math.log(3.0)
    rois = torch.tensor([[0.0, 0, 28, 28]]).repeat(2, 1)
    expected = (0.5 * (-math.log(3 / 4) - math.log(1 / 4)) / 2 + 0.25 * -math.log(3 / 4)) / 2
    assert instance_loss(logits, rois, torch.tensor([0, 1]), mined).item() == pytest.approx(expected)


def test_only_the_own_class_learns():
    masks = torch.ones((1, 28, 28), dtype=torch.bool)
    logits = torch.zeros((1, 3, 28, 28), dtype=torch.float64, requires_grad=True)
    loss = instance_loss(logits, torch.tensor([[0.0, 0, 28, 28]]), torch.tensor([0]), mined_of(masks, [2], [0.5]))
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :2].any()
    torch.testing.assert_close(logits.grad[0, 2], torch.full((28, 28), -0.5 * 0.5 / 784, dtype=torch.float64))


def test_instance_loss_of_nothing_is_attached():
    logits = torch.zeros((0, 3, 28, 28), requires_grad=True)
    none = mined_of(torch.zeros((0, 4, 4), dtype=torch.bool), [], [])
    loss = instance_loss(logits, torch.zeros((0, 4)), torch.zeros(0, dtype=torch.int64), none)
    assert loss.item() == 0.0
    assert loss.requires_grad


def test_labels_of_pixels_by_hand():
    masks = torch.tensor([[[1, 1, 0, 0]], [[0, 1, 1, 0]]]).bool()
    assert semantic_labels(mined_of(masks, [6, 2], [0.9, 0.1]), (1, 4)).tolist() == [[6, 6, 2, IGNORED]]
    none = mined_of(torch.zeros((0, 1, 4), dtype=torch.bool), [], [])
    assert semantic_labels(none, (1, 4)).tolist() == [[IGNORED] * 4]

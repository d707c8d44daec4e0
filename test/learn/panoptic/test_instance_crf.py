import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.crf.mean_field import PairwiseSettings  # noqa: E402
from wsperception.learn.panoptic.instance_crf import (  # noqa: E402
    IGNORE,
    InstanceCrf,
    InstanceCrfSettings,
    InstanceLabels,
    instance_labels,
    instance_loss,
    instance_unaries,
    matched_targets,
    panoptic_segments,
)
from wsperception.types import VOID  # noqa: E402

IS_THING = (False, True, False, True)
"""road, car, sky, person"""


def labels_of(class_ids=(1, 1), scores=(0.5, 0.9), boxes=((0, 0, 2, 1), (1, 0, 3, 2)), size=(2, 3)) -> InstanceLabels:
    return instance_labels(np.array(class_ids), np.array(scores), np.array(boxes, np.float32), IS_THING, size)


def one_hot_maps(rows, count: int):
    return torch.nn.functional.one_hot(torch.tensor(rows), count).permute(2, 0, 1).float()


def test_dummies_for_stuff():
    labels = labels_of()
    assert labels.class_ids.tolist() == [1, 1, 0, 2]
    assert labels.scores.tolist() == pytest.approx([0.5, 0.9, 1.0, 1.0])
    assert labels.boxes.tolist() == [[0, 0, 2, 1], [1, 0, 3, 2], [0, 0, 3, 2], [0, 0, 3, 2]]
    assert labels.things == 2
    none = instance_labels(np.zeros(0), np.zeros(0), np.zeros((0, 4)), IS_THING, (2, 3))
    assert (len(none), none.things) == (2, 0)


def test_unaries_by_hand():
    # Car 0.6 everywhere but 0.2 in the last pixel of the second row; w1 = 2, w2 = 0.5, epsilon 0.01.
    semantic = torch.full((4, 2, 3), 0.1, dtype=torch.float64)
    semantic[1] = 0.6
    semantic[1, 1, 2] = 0.2
    found = instance_unaries(semantic, labels_of(), torch.tensor([2.0, 0.5], dtype=torch.float64), 0.01)
    first = -math.log(2 * 0.5 * 0.6 + 0.5 * 0.6 + 0.01)  # inside the first box
    outside = -math.log(0.5 * 0.6 + 0.01)
    assert found[0].flatten().tolist() == pytest.approx([first, first, *[outside] * 3, -math.log(0.5 * 0.2 + 0.01)])
    corner = -math.log(2 * 0.9 * 0.2 + 0.5 * 0.2 + 0.01)
    second = -math.log(2 * 0.9 * 0.6 + 0.5 * 0.6 + 0.01)
    assert found[1].flatten().tolist() == pytest.approx([outside, second, second, outside, second, corner], abs=1e-6)
    road = -math.log(2.5 * 0.1 + 0.01)
    assert found[2].flatten().tolist() == pytest.approx([road] * 6)


def test_two_cars_side_by_side_are_told_apart():
    # One semantic blob, two boxes of it, a third detection of a class that is not there.
    semantic = torch.full((4, 12, 24), 0.02)
    semantic[0] = 0.94
    semantic[:, 4:9, 2:22] = torch.tensor([0.05, 0.9, 0.03, 0.02])[:, None, None]
    image = torch.full((3, 12, 24), 90.0)
    image[:, 4:9, 2:12], image[:, 4:9, 12:22] = 200.0, 30.0
    boxes = ((2, 4, 13, 9), (12, 4, 22, 9), (0, 0, 24, 12))
    labels = labels_of((1, 1, 3), (0.8, 0.7, 0.99), boxes, (12, 24))
    network = InstanceCrf(InstanceCrfSettings())
    segments = panoptic_segments(network(semantic, image, labels), labels)
    assert segments.class_ids.tolist() == [VOID, 1, 1, 0]  # neither the person nor the sky has a pixel
    assert (segments.ids[4:9, 2:12] == 1).all()
    assert (segments.ids[4:9, 12:22] == 2).all()
    assert (segments.ids == 3).sum() == 12 * 24 - 100
    assert segments.scores[1:3].tolist() == pytest.approx([0.8, 0.7])
    assert segments.boxes[1].tolist() == [2, 4, 13, 9]
    assert segments.boxes[3].tolist() == [0, 0, 24, 12]


def test_the_score_of_stuff_is_its_mean_probability():
    # Labels: a car, road, sky. Road wins at two of the three pixels, with 0.6 and 0.9.
    labels = labels_of((1,), (0.3,), ((0, 0, 1, 1),), (1, 3))
    probabilities = torch.tensor([[[0.7, 0.2, 0.1]], [[0.2, 0.6, 0.9]], [[0.1, 0.2, 0.0]]])
    segments = panoptic_segments(probabilities, labels)
    assert segments.ids.tolist() == [[1, 2, 2]]
    assert segments.class_ids.tolist() == [VOID, 1, 0]
    assert segments.scores.tolist() == pytest.approx([0.0, 0.3, 0.75])


def test_matching_by_hand():
    # Two cars in swapped order, a third true car without a detection, road, one unknown pixel.
    labels = labels_of(((1), 1), (0.9, 0.8), ((0, 0, 2, 1), (2, 0, 4, 1)), (2, 4))
    probabilities = one_hot_maps([[0, 0, 1, 1], [2, 2, 2, 3]], 4)  # car, car, road, sky
    truth = np.array([[2, 2, 0, -1], [1, 3, 3, 3]])
    targets = matched_targets(probabilities, labels, truth, torch.tensor([1, 1, 1, 0]))
    # Segment 0 lies in detection 1, segment 2 is detection 0, segment 1 has none, segment 3 is road, label 2.
    assert targets.tolist() == [[0, 0, 1, IGNORE], [IGNORE, 2, 2, 2]]


def test_matching_takes_the_best_sum_and_does_not_count_the_unknown():
    # Detection 0 has pixels 0, 1, 3: IoU 2/4 with segment 0 and 1/3 with segment 1. Detection 1 has pixel 2 and four
    # that are not known: IoU 1/3 with segment 0 and 0 with segment 1. Crosswise the sum is 2/3, straight it is 1/2;
    # were the four counted, crosswise would be 1/3 + 1/7.
    labels = labels_of((1, 1), (0.9, 0.8), ((0, 0, 2, 1), (2, 0, 4, 1)), (1, 9))
    probabilities = one_hot_maps([[0, 0, 1, 0, 1, 1, 1, 1, 2]], 4)
    truth = np.array([[0, 0, 0, 1, -1, -1, -1, -1, 2]])
    targets = matched_targets(probabilities, labels, truth, torch.tensor([1, 1, 0]))
    assert targets.tolist() == [[1, 1, 1, 0, IGNORE, IGNORE, IGNORE, IGNORE, 2]]


def test_classes_are_not_mixed():
    labels = labels_of((3,), (0.9,), ((0, 0, 2, 1),), (1, 2))
    probabilities = one_hot_maps([[0, 0]], 3)
    assert matched_targets(probabilities, labels, np.array([[0, 0]]), torch.tensor([1])).tolist() == [[IGNORE] * 2]


def test_loss_by_hand_and_whatever_the_order():
    labels = labels_of((1, 1), (0.9, 0.9), ((0, 0, 1, 1), (1, 0, 2, 1)), (1, 3))
    probabilities = torch.tensor([[[0.7, 0.1, 0.2]], [[0.2, 0.8, 0.3]], [[0.1, 0.1, 0.5]], [[0.0, 0.0, 0.0]]])
    losses = [
        instance_loss(probabilities, matched_targets(probabilities, labels, np.array([order]), torch.tensor([1, 1])))
        for order in ([0, 1, -1], [1, 0, -1])
    ]
    assert losses[0].item() == pytest.approx(-(math.log(0.7) + math.log(0.8)) / 2)
    assert losses[1].item() == pytest.approx(losses[0].item())


def test_nothing_to_learn_from():
    probabilities = torch.rand(2, 2, 2, requires_grad=True)
    loss = instance_loss(probabilities, torch.full((2, 2), IGNORE))
    loss.backward()
    assert loss.item() == 0.0
    assert probabilities.grad is not None
    empty = instance_labels(np.zeros(0), np.zeros(0), np.zeros((0, 4)), (True,), (2, 2))
    found = InstanceCrf(InstanceCrfSettings())(torch.rand(1, 2, 2), torch.zeros(3, 2, 2), empty)
    assert found.shape == (0, 2, 2)
    assert len(panoptic_segments(found, empty)) == 0


def test_gradient_reaches_the_semantic_network_and_the_weights():
    settings = InstanceCrfSettings(pairwise=PairwiseSettings(iterations=2, colour_sigma=20.0))
    network = InstanceCrf(settings).double()
    generator = torch.Generator().manual_seed(0)
    semantic = torch.rand((4, 2, 3), generator=generator, requires_grad=True)
    image = 255 * torch.rand((3, 2, 3), generator=generator)
    labels = labels_of()
    targets = torch.tensor([[0, 0, 1], [2, IGNORE, 1]])
    before = instance_loss(network(semantic, image, labels), targets)
    before.backward()
    assert network.log_unary.grad.abs().min() > 0
    assert network.log_pairwise.grad.abs().min() > 0
    with torch.no_grad():
        stepped = (semantic - 0.01 * semantic.grad).clamp(min=1e-3)
        assert instance_loss(network(stepped, image, labels), targets) < before

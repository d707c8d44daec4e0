import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.data.clips import ClipFrame  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.cam import grad_cam  # noqa: E402
from wsperception.learn.panoptic.cleaning import IGNORE  # noqa: E402
from wsperception.learn.panoptic.labels import CueSettings  # noqa: E402
from wsperception.learn.panoptic.tag_cues import TagLearner, class_heat, tag_cues, tag_loss  # noqa: E402
from wsperception.nets.semantic_net import SemanticSettings, TagNet  # noqa: E402
from wsperception.types import WeakLabels  # noqa: E402

TINY = SemanticSettings(backbone="tiny", channels=16)


def images_of(height: int, width: int, count: int = 1):
    return torch.randint(0, 256, (count, height, width, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_loss_by_hand():
    # sigmoid(0) = 1/2 for the first, sigmoid(log 3) = 3/4 for the second, of which only the second is there.
    loss = tag_loss(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[False, True]]))
    assert loss.item() == pytest.approx(-(math.log(1 / 2) + math.log(3 / 4)) / 2)


def test_heat_is_grad_cam():
    torch.manual_seed(0)
    net, images = TagNet(TINY, 3), images_of(64, 96, 2)
    found = class_heat(net, images)
    assert found.shape == (2, 3, 64, 96)
    activations = net.activations(images).detach().requires_grad_()
    for class_id in range(3):
        (gradients,) = torch.autograd.grad(net.scores(activations)[:, class_id].sum(), activations)
        heat = grad_cam(activations.detach(), gradients, "relu")[:, None]
        expected = torch.nn.functional.interpolate(heat, size=(64, 96), mode="bilinear")[:, 0]
        assert torch.allclose(found[:, class_id], expected, atol=1e-7)


def test_cues_show_what_the_classifier_sees_and_the_tags_allow():
    # A classifier that sees class 0 in bright cells and class 1 in dark ones.
    torch.manual_seed(0)
    net = TagNet(TINY, 3)
    net.activations = lambda images: torch.nn.functional.avg_pool2d(  # type: ignore[method-assign]
        torch.stack([images[..., 0].float(), 255 - images[..., 0].float()], dim=1), 8
    )
    net.classify = torch.nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        net.classify.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, 56:] = 250
    crops, settings = np.array([[0, 0, 64, 32], [32, 0, 96, 32]]), CueSettings()
    found = tag_cues(net, image, crops, np.array([[True, True, True], [True, False, True]]), settings)
    assert (found[:, :48] == 1).all()
    assert (found[:, 64:] == 0).all()
    neither = tag_cues(net, image, crops, np.zeros((2, 3), bool), settings)
    assert (neither == IGNORE).all()
    only_left = tag_cues(net, image, crops, np.array([[False, True, False], [False, False, True]]), settings)
    assert (only_left[:, 64:] == IGNORE).all()


def test_without_tags_there_is_no_label():
    found = tag_cues(
        TagNet(TINY, 2),
        np.zeros((32, 48, 3), np.uint8),
        np.zeros((0, 4), np.int64),
        np.zeros((0, 2), bool),
        CueSettings(),
    )
    assert found.shape == (32, 48)
    assert (found == IGNORE).all()


def crop_of(width: int, tags: list[bool]) -> ClipFrame:
    nobody, none = np.zeros(0, np.int64), np.zeros((0, 4), np.float32)
    image, weak = np.full((32, width, 3), 99, np.uint8), WeakLabels(tags=np.array(tags))
    return ClipFrame(image, none, nobody, nobody, None, none, None, 0, "street.png", weak)


def test_the_classifier_learns_the_tags_of_crops():
    torch.manual_seed(0)
    learner, generators = TagLearner(TINY, 3), [torch.Generator()] * 2
    with torch.no_grad():
        learner.net.classify.weight.zero_()
        learner.net.classify.bias.copy_(torch.tensor([math.log(3.0), 0.0, -1.0]))
    terms, figures = learner([crop_of(64, [True, False, False]), crop_of(64, [False, True, False])], generators, 0.0)
    # Probabilities 3/4, 1/2, 1 / (1 + e): the first right once, the second not above a half, the third twice right.
    third = math.log(1 + math.exp(-1.0))
    expected = (-math.log(3 / 4) - math.log(1 / 4) + 2 * math.log(2) + 2 * third) / 6
    assert terms["tags"].item() == pytest.approx(expected)
    assert figures["right"].tolist() == [1 + 1 + 2, 6]
    terms["tags"].backward()
    assert learner.net.classify.bias.grad is not None
    with pytest.raises(InputError, match=r"street.png: expected crops of one size, or method.tags.batch=1"):
        learner([crop_of(64, [True, False, False]), crop_of(32, [True, False, False])], generators, 0.0)

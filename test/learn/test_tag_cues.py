import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.cam import grad_cam  # noqa: E402
from wsperception.learn.panoptic_cleaning import IGNORE, fixed_crops  # noqa: E402
from wsperception.learn.panoptic_labels import CueSettings  # noqa: E402
from wsperception.learn.tag_cues import class_heat, tag_cues, tag_loss  # noqa: E402
from wsperception.nets.semantic_net import SemanticSettings, TagNet  # noqa: E402

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
    settings = CueSettings(crop_height=32, crop_width=64)
    assert len(fixed_crops((32, 96), (32, 64))) == 2  # columns 0 to 63 and 32 to 95
    found = tag_cues(net, image, np.array([[True, True, True], [True, False, True]]), settings)
    assert (found[:, :48] == 1).all()
    assert (found[:, 64:] == 0).all()
    neither = tag_cues(net, image, np.zeros((2, 3), bool), settings)
    assert (neither == IGNORE).all()
    only_left = tag_cues(net, image, np.array([[False, True, False], [False, False, True]]), settings)
    assert (only_left[:, 64:] == IGNORE).all()


def test_tags_of_another_number_of_crops():
    with pytest.raises(AssertionError, match="tags of 3 crops for 1"):
        tag_cues(TagNet(TINY, 2), np.zeros((32, 32, 3), np.uint8), np.zeros((3, 2), bool), CueSettings())

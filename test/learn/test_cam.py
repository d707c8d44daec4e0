import copy

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from wsperception.learn.cam import grad_cam, heat_of_boxes, normalised  # noqa: E402
from wsperception.nets.heads import BoxHead  # noqa: E402
from wsperception.nets.settings import NetSettings  # noqa: E402

ACTIVATIONS = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 4.0], [0.0, 0.0]]]])
GRADIENTS = torch.tensor([[[[0.2, -0.6], [0.1, -0.1]], [[0.1, 0.2], [0.3, 0.2]]]])
# alpha, their means: -0.1 and 0.2.


def test_one_channel_by_hand():
    # |-0.1| A = (0.1 0.2; 0.3 0.6); (A - 1) / 5 = (0 0.2; 0.4 1). With ReLU -0.1 A is nowhere above 0.
    absolute = grad_cam(ACTIVATIONS[:, :1], GRADIENTS[:, :1], "absolute")
    torch.testing.assert_close(absolute, torch.tensor([[[0.1, 0.2], [0.3, 0.6]]]))
    torch.testing.assert_close(normalised(absolute, "range"), torch.tensor([[[0.0, 0.2], [0.4, 1.0]]]))
    torch.testing.assert_close(normalised(absolute, "maximum"), torch.tensor([[[1 / 6, 2 / 6], [3 / 6, 1.0]]]))
    assert grad_cam(ACTIVATIONS[:, :1], GRADIENTS[:, :1], "relu").abs().max() == 0.0


def test_two_channels_by_hand():
    # |alpha|: 0.1 A1 + 0.2 A2 = (0.1 0.2 + 0.8; 0.3 0.6).
    # ReLU: -0.1 A1 + 0.2 A2 = (-0.1 -0.2 + 0.8; -0.3 -0.6), negative values to 0.
    absolute = grad_cam(ACTIVATIONS, GRADIENTS, "absolute")
    torch.testing.assert_close(absolute, torch.tensor([[[0.1, 1.0], [0.3, 0.6]]]))
    torch.testing.assert_close(normalised(absolute, "range")[0, 1], torch.tensor([0.2 / 0.9, 0.5 / 0.9]))
    torch.testing.assert_close(grad_cam(ACTIVATIONS, GRADIENTS, "relu"), torch.tensor([[[0.0, 0.6], [0.0, 0.0]]]))


def test_each_map_has_its_own_scale_and_a_flat_one_is_cold():
    maps = torch.tensor([[[2.0, 4.0]], [[-1.0, 0.5]], [[3.0, 3.0000002]], [[0.0, 0.0]]])
    expected = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(normalised(maps, "range"), expected)
    # By the maximum, what is below 0 becomes 0, and an even map is hot everywhere.
    expected = torch.tensor([[[0.5, 1.0]], [[0.0, 1.0]], [[1.0, 1.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(normalised(maps, "maximum"), expected)


def box_head() -> tuple[BoxHead, Tensor, Tensor]:
    """A head whose activations can be negative, features of three boxes, and their classes."""
    torch.manual_seed(3)
    head = BoxHead(NetSettings(fpn_channels=8, box_features=16, box_conv_relu=False), 2)
    torch.nn.init.normal_(head.cls_score.weight)
    return head, torch.randn(3, 8, 14, 14), torch.tensor([1, 0, 1])


@pytest.mark.parametrize("variant", ["absolute", "relu"])
def test_heat_agrees_with_finite_differences(variant):
    head, features, classes = box_head()
    double = copy.deepcopy(head).double()
    with torch.no_grad():
        activations = double.activations(features.double())
        alpha = torch.zeros(3, 8, dtype=torch.float64)
        for channel in range(8):
            # Raising a whole channel by e changes the score by e times the sum of its gradients: 196 alpha.
            change = torch.zeros_like(activations)
            change[:, channel] = 1e-5
            up, down = (double.scores(activations + sign * change)[0] for sign in (1, -1))
            alpha[:, channel] = (up - down)[torch.arange(3), classes + 1] / 2e-5 / 196
        weights = alpha.abs() if variant == "absolute" else alpha
        heat = (weights[:, :, None, None] * activations).sum(dim=1)
        heat = heat if variant == "absolute" else heat.clamp(min=0)
        heat = (heat - heat.amin((1, 2), True)) / (heat.amax((1, 2), True) - heat.amin((1, 2), True))
    found = heat_of_boxes(head, features, classes, variant, "range")
    assert found.shape == (3, 28, 28)
    coarse = torch.nn.functional.interpolate(heat[:, None].float(), (28, 28), mode="bilinear")[:, 0]
    torch.testing.assert_close(found, coarse, atol=2e-4, rtol=0)


def test_boxes_do_not_mix():
    head, features, classes = box_head()
    together = heat_of_boxes(head, features, classes, "absolute", "range")
    for row in range(3):
        alone = heat_of_boxes(head, features[row : row + 1], classes[row : row + 1], "absolute", "range")
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=0)
    other = heat_of_boxes(head, features, torch.tensor([1, 1, 1]), "absolute", "range")
    assert not torch.allclose(together[1], other[1], atol=0.05)  # the class decides


def test_heat_is_a_target():
    # No gradient arrives at a weight, no hook of distributed training is called, and none can flow through the result.
    head, features, classes = box_head()
    features.requires_grad_()
    called = []
    for parameter in head.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: called.append(parameter))
    heat = heat_of_boxes(head, features, classes, "absolute", "range")
    assert not heat.requires_grad
    assert not called
    assert features.grad is None
    assert all(parameter.grad is None for parameter in head.parameters())
    with torch.no_grad():
        torch.testing.assert_close(heat_of_boxes(head, features, classes, "absolute", "range"), heat)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing_and_the_head_still_learns_after_it(kind):
    head, features, classes = box_head()
    exact = heat_of_boxes(head, features, classes, "relu", "range")
    with torch.autocast("cpu", kind):
        torch.testing.assert_close(heat_of_boxes(head, features, classes, "relu", "range"), exact)
        logits, deltas = head(features)
    (logits.float().sum() + deltas.float().sum()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_memory_layout_and_empty():
    head, features, classes = box_head()
    heat = heat_of_boxes(head, features, classes, "absolute", "range")
    last = head.to(memory_format=torch.channels_last)
    found = heat_of_boxes(last, features.contiguous(memory_format=torch.channels_last), classes, "absolute", "range")
    torch.testing.assert_close(found, heat, atol=1e-4, rtol=0)
    assert heat_of_boxes(head, features[:0], classes[:0], "absolute", "range").shape == (0, 28, 28)

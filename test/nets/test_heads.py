from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.heads import (  # noqa: E402
    BoxHead,
    SemanticHead,
    TrackingHead,
    mask_boxes,
    pooled_by_mask,
)
from wsperception.nets.perception_net import PerceptionNet  # noqa: E402
from wsperception.nets.settings import NetSettings  # noqa: E402

SMALL = {"backbone": "tiny", "fpn_channels": 8, "box_features": 16, "mask_channels": 8, "track_features": 12}


def test_pooled_by_mask_by_hand():
    # One channel, 1 x 2 cells worth 3 and 7 (padded to a square of side 2 by zeros). The mask has 2 x 2 pixels a cell:
    # the left cell is covered fully, the right one by a quarter: (3 * 1 + 7 * 0.25) / 1.25 = 3.8.
    features = torch.tensor([[[[3.0, 7.0], [0.0, 0.0]]]])
    mask = torch.zeros(1, 4, 4)
    mask[0, :2, :2] = 1.0
    mask[0, 0, 2] = 1.0
    assert pooled_by_mask(features, mask).item() == pytest.approx(3.8, abs=1e-3)


def test_pooled_by_mask_of_an_empty_mask_is_zero():
    assert pooled_by_mask(torch.ones(1, 3, 2, 2), torch.zeros(1, 4, 4)).tolist() == [[0.0, 0.0, 0.0]]


def test_pooled_by_mask_gradient():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pooled_by_mask, (features, masks))


def test_mask_boxes_grow_about_the_centre():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    assert mask_boxes(boxes, 1.5).tolist() == [[5.0, 10.0, 35.0, 70.0]]
    assert mask_boxes(boxes, 1.0) is boxes


def test_embeddings_have_unit_length_and_differ_by_class():
    torch.manual_seed(0)
    head = TrackingHead(NetSettings(embedding_length=5, **SMALL), 2)
    found = head(torch.randn(3, 8, 14, 14), torch.rand(3, 28, 28))
    assert found.shape == (3, 2, 5)
    assert torch.allclose(found.norm(dim=2), torch.ones(3, 2))
    assert not torch.allclose(found[:, 0], found[:, 1])


def test_pooled_embeddings_are_the_normalised_features():
    head = TrackingHead(NetSettings(embedding_length=8, track_head="pooled", **SMALL), 2)
    features = torch.arange(1.0, 9.0)[None, :, None, None].expand(1, 8, 14, 14)
    found = head(features, torch.ones(1, 28, 28))[0]
    expected = torch.arange(1.0, 9.0) / (8 * 9 * 17 / 6) ** 0.5  # the squares 1 ... 64 sum to 204
    assert torch.allclose(found, expected.expand(2, 8), atol=1e-4)


def test_pooled_embeddings_need_their_length():
    with pytest.raises(InputError, match="embedding_length: expected fpn_channels = 8"):
        NetSettings(embedding_length=4, track_head="pooled", **SMALL)


def test_other_classes_count_as_background():
    torch.manual_seed(0)
    head = BoxHead(NetSettings(other_classes=3, **SMALL), 2)
    torch.nn.init.normal_(head.cls_score.weight)
    features = torch.randn(4, 8, 14, 14)
    logits, deltas = head(features)
    hidden = torch.nn.functional.avg_pool2d(head.activations(features), 2).flatten(1)
    everything = head.cls_score(head.fc7(head.fc6(hidden).relu()).relu()).softmax(dim=1)
    assert logits.shape == (4, 3)
    assert deltas.shape == (4, 3, 4)
    assert torch.allclose(logits.softmax(dim=1)[:, 1:], everything[:, 1:3], atol=1e-6)


def test_the_box_branch_does_not_mix_rois():
    # Grad-CAM of all RoIs takes one backward pass only if no RoI reaches another's score.
    torch.manual_seed(0)
    head = BoxHead(NetSettings(**SMALL), 2)
    activations = head.activations(torch.randn(3, 8, 14, 14)).detach().requires_grad_()
    logits, _ = head.scores(activations)
    (gradient,) = torch.autograd.grad(logits[1, 2], activations)
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2]].abs().sum() == 0


# ---- the semantic branch


def semantic_settings(**changes: int) -> NetSettings:
    return NetSettings(fpn_channels=8, semantic_channels=8, stuff_classes=2, **changes)


def levels(height: int, width: int, count: int = 4) -> list[torch.Tensor]:
    """Random features (2, 8, ...) at strides 4, 8, 16, ... of an input."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(2, 8, height // 4 >> step, width // 4 >> step, generator=generator) for step in range(count)]


def test_semantic_branch_is_panoptic_fpns():
    # As the paper draws it: every level to stride 4, their sum, one 1x1 convolution. Ours adds the bias twice.
    torch.manual_seed(0)
    head = SemanticHead(semantic_settings()).eval()
    nn.init.normal_(head.logits.weight)
    nn.init.normal_(head.logits.bias)
    pyramid = levels(64, 96)
    total = torch.zeros(2, 8, 16, 24)
    for number, level in enumerate(pyramid):
        for conv in head.levels[number]:
            level = functional.relu(conv(level))
            if number:
                level = functional.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
        total = total + level
    assert [len(stages) for stages in head.levels] == [1, 1, 2, 3]
    assert head.logits.bias is not None
    expected = functional.conv2d(total, head.logits.weight, 2 * head.logits.bias)
    logits = head(pyramid)
    assert logits.shape == (2, 3, 16, 24)  # "a thing" and two stuff classes at stride 4
    assert torch.allclose(logits, expected, atol=1e-4)
    assert (head(levels(64, 96, 5)) == logits).all()  # a pooled fifth level is not read


def test_an_untrained_semantic_branch_prefers_no_class():
    torch.manual_seed(0)
    probabilities = SemanticHead(semantic_settings())(levels(64, 64)).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.1


def test_the_other_branches_know_things_only():
    torch.manual_seed(0)
    net = PerceptionNet(replace(semantic_settings(), backbone="tiny", box_features=8, mask_channels=8), 5)
    assert net.class_count == 3
    assert net.box.cls_score.out_features == 4
    assert net.mask.logits.out_channels == 3
    assert net.semantic is not None
    assert net.semantic.logits.out_channels == 3
    plain = PerceptionNet(NetSettings(fpn_channels=8, backbone="tiny", box_features=8, mask_channels=8), 5)
    assert plain.semantic is None
    assert plain.class_count == 5
    with pytest.raises(InputError, match="stuff_classes: expected fewer than the 2 classes, got 2"):
        PerceptionNet(semantic_settings(), 2)

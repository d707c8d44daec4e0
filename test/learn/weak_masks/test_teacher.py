import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.weak_masks.teacher import mask_quality, teacher_masks  # noqa: E402
from wsperception.nets.perception_net import PerceptionNet  # noqa: E402
from wsperception.nets.settings import NetSettings  # noqa: E402


def quality(cells: dict[tuple[int, int], float], box: list[float], min_iou: float = 0.5) -> float:
    """Of a 4x4 mask over (10, 20) to (18, 28), so that a cell is 2 x 2; cells: (row, column) -> probability."""
    masks = torch.full((1, 4, 4), 0.1)
    for (row, column), value in cells.items():
        masks[0, row, column] = value
    extents = torch.tensor([[10.0, 20.0, 18.0, 28.0]])
    return mask_quality(masks, extents, torch.tensor([box]), min_iou).item()


def test_quality_by_hand():
    # Foreground in rows 1 to 2, columns 0 to 2: tight box (10, 22) to (16, 26), 24 large. Mean (0.9 + 0.6 + 0.5) / 3.
    cells = {(1, 0): 0.9, (2, 2): 0.6, (1, 1): 0.5}
    assert quality(cells, [10, 22, 16, 26]) == pytest.approx(2 / 3)
    # The true box (10, 20) to (18, 28) is 64 large: IoU 24 / 64 = 0.375.
    assert quality(cells, [10, 20, 18, 28]) == 0.0
    assert quality(cells, [10, 20, 18, 28], min_iou=0.375) == pytest.approx(2 / 3)
    # (14, 22) to (20, 26): 8 shared of 24 + 24 - 8 = 40, IoU 0.2.
    assert quality(cells, [14, 22, 20, 26], min_iou=0.19) == pytest.approx(2 / 3)
    assert quality(cells, [14, 22, 20, 26], min_iou=0.21) == 0.0


def test_an_empty_mask_is_refused():
    assert quality({}, [10, 20, 18, 28], min_iou=0.1) == 0.0
    assert mask_quality(torch.zeros(0, 4, 4), torch.zeros(0, 4), torch.zeros(0, 4), 0.5).shape == (0,)


def test_masks_come_with_the_probability_of_their_class():
    torch.manual_seed(0)
    settings = NetSettings(
        backbone="tiny", fpn_channels=16, box_features=16, mask_channels=16, mask_layers=1, mask_context=1.5
    )
    net = PerceptionNet(settings, 2).eval()
    with torch.no_grad():
        net.mask.logits.weight.zero_()
        net.mask.logits.bias.copy_(torch.tensor([2.0, -2.0]))  # class 0: foreground everywhere; class 1: nowhere
        net.box.cls_score.weight.zero_()
        net.box.cls_score.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    boxes = torch.tensor([[10.0, 10.0, 30.0, 40.0], [40.0, 20.0, 60.0, 50.0], [5.0, 5.0, 25.0, 25.0]])
    images = torch.zeros(2, 64, 96, 3, dtype=torch.uint8)
    taught = teacher_masks(net, images, boxes, torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]), 0.4)
    assert taught.masks.shape == (3, 28, 28)
    assert taught.extents[0].tolist() == [5.0, 2.5, 35.0, 47.5]
    # exp(1) / (exp(1) + 2) of the class; the filled grid is 1.5 x 1.5 of the box, IoU 1 / 2.25 = 0.44 >= 0.4.
    expected = 0.57612 * torch.tensor(2.0).sigmoid().item()
    assert taught.weights.tolist() == pytest.approx([expected, 0.0, expected], abs=1e-4)
    refused = teacher_masks(net, images, boxes, torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]), 0.5)
    assert refused.weights.tolist() == [0.0, 0.0, 0.0]
